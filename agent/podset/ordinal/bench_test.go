package ordinal

import "testing"

// The budget is 10 ms for 10,000 pods.
func BenchmarkDecide10k(b *testing.B) {
	for name, change := range map[string]option{"settled": settledOn("a"), "rolling": unordered, "ordered": func(*Spec) {}} {
		b.Run(name, func(b *testing.B) {
			spec, pods := set(10000, change, partition(100)), ups("a", 0, 9999)
			b.ReportAllocs()
			for b.Loop() {
				Decide(spec, pods, noon)
			}
		})
	}
}
