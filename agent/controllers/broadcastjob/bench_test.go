package broadcastjob

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A job on five thousand nodes, half of which are done.
func BenchmarkDecide(b *testing.B) {
	job := broadcastJob(asksForOne)
	var found seen
	for i := range 5000 {
		n := sized("4")
		n.Name = fmt.Sprintf("n%04d", i)
		found.nodes = append(found.nodes, *n)
		p := pod{name: "pull-" + n.Name, node: n.Name, phase: corev1.PodRunning}
		if i%2 == 0 {
			p.phase = corev1.PodSucceeded
		}
		found.pods = append(found.pods, p)
	}
	s := &steps{}
	b.ReportAllocs()
	for b.Loop() {
		s.Decide(job, found, noon)
	}
}
