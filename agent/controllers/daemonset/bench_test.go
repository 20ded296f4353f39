package daemonset

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/clock"
)

// BenchmarkDecide5kNodes is a round over 5,000 nodes that finds nothing to do: with a thousand events it is done a thousand times.
func BenchmarkDecide5kNodes(b *testing.B) {
	ds := daemonSet(inPlaceIfPossible)
	found := seen{revisions: []*appsv1.ControllerRevision{stored(ds, "now", 1)}, resting: map[string]time.Time{}}
	for i := range 5000 {
		name := fmt.Sprintf("n%04d", i)
		found.nodes = append(found.nodes, *node(name))
		found.pods = append(found.pods, running(ds, "logs-"+name, name, "now"))
	}
	s := newSteps(nil, nil, nil, clock.RealClock{}, Options{})
	b.ReportAllocs()
	for b.Loop() {
		if p := s.Decide(ds, found, noon); len(p.steps.Lines()) != 0 || p.steps.Counts.Available != 5000 {
			b.Fatalf("%v %+v", p.steps.Lines()[:3], p.steps.Counts)
		}
	}
}
