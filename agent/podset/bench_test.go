package podset

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkDecide10k holds the budget of a decision over 10,000 pods: 10 ms.
func BenchmarkDecide10k(b *testing.B) {
	const n = 10_000
	fleet := func(revision string, first, count int) []Pod {
		var pods []Pod
		for i := range count {
			pods = append(pods, up(fmt.Sprintf("web-%05d", first+i), revision,
				on(fmt.Sprintf("node-%03d", i%500)), readyFor(time.Duration(i*7919%n)*time.Second), createdAgo(time.Duration(i%97)*time.Hour)))
		}
		return pods
	}
	rolling := join(fleet("b", 0, n/2), fleet("a", n/2, n/2))
	for name, bm := range map[string]struct {
		spec Spec
		pods []Pod
	}{
		"still":    {steady(n, maxUnavailable(100)), fleet("b", 0, n)},
		"scaleOut": {steady(n, maxUnavailable(100)), nil},
		"scaleIn":  {steady(n/2, maxUnavailable(100)), fleet("b", 0, n)},
		"recreate": {toRevision("b", n, maxUnavailable(100)), rolling},
		"inPlace":  {toRevision("b", n, maxUnavailable(n), inPlace), rolling},
		"ordered":  {toRevision("b", n, maxUnavailable(100), inPlace, prioritized, func(s *Spec) { s.Scatter = 1 }), rolling},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(bm.spec, bm.pods, noon)
			}
		})
	}
}
