package failover

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkDecide1k is a decision over 1,000 subsets in as many clusters.
func BenchmarkDecide1k(b *testing.B) {
	fleet := func(options func(i int) []func(*Subset)) []Subset {
		var all []Subset
		for i := range 1000 {
			all = append(all, subset(fmt.Sprintf("c%03d", i), options(i)...))
		}
		return all
	}
	for name, subsets := range map[string][]Subset{
		"still": fleet(func(int) []func(*Subset) { return nil }),
		"away": fleet(func(i int) []func(*Subset) {
			if i%20 == 0 {
				return []func(*Subset){silent(time.Duration(i) * time.Hour), failedOver(time.Hour)}
			}
			return []func(*Subset){atMost(6)}
		}),
		"cutOff": fleet(func(i int) []func(*Subset) { return []func(*Subset){silent(time.Duration(i%60) * time.Second)} }),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(keepRunning(), subsets, noon)
			}
		})
	}
}
