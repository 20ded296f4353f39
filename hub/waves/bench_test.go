package waves

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// BenchmarkDecide1k is a decision over 1,000 subsets.
func BenchmarkDecide1k(b *testing.B) {
	fleet := func(updated int) []Subset {
		var all []Subset
		for i := range 1000 {
			s := subset(fmt.Sprintf("c%03d", i))
			if i < updated {
				on("b", 0, 4)(&s)
			}
			all = append(all, s)
		}
		return all
	}
	canary := Strategy{MaxFailures: intstr.FromString("5%"), Deadline: time.Hour, Waves: []Wave{{Subsets: []string{"c000"}}, {Percent: 10}, {Percent: 50}, {}}}
	for name, in := range map[string]Input{
		"still":         {Strategy: canary, Subsets: fleet(1000), Update: "b", State: State{Revision: "b", Stable: "b", Phase: Complete, Wave: 4}},
		"halfWay":       {Strategy: canary, Subsets: fleet(500), Update: "b", State: going(4)},
		"waveEach":      {Strategy: Strategy{Deadline: time.Hour}, Subsets: fleet(500), Update: "b", State: going(500)},
		"everyWaveOver": {Strategy: Strategy{}, Subsets: fleet(1000), Update: "b", State: going(1)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(in, noon)
			}
		})
	}
}
