package probe

import (
	"fmt"
	"testing"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/cri/critest"
)

// BenchmarkSecond is what 110 probes of a period of one second cost beside the runtime: each run of the loop is one second.
func BenchmarkSecond(b *testing.B) {
	const pods = 110
	r := &critest.Runtime{}
	p := newPool(Options{Node: "node-1", Runtime: r})
	probe := corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"check"}}}}
	var all []*worker
	for i := range pods {
		uid := fmt.Sprint("pod-", i)
		started := time.Now().Add(-time.Hour)
		r.SetContainer(cri.Status{StartedAt: started, Container: cri.Container{ID: uid, Name: "main", PodUID: uid, State: cri.Running, CreatedAt: started}})
		all = append(all, &worker{key: key{"shop", uid, uid, "", "main", "m#alive"}, target: p.target, records: p.records, handler: probe.ProbeHandler})
	}
	b.ReportAllocs()
	for b.Loop() {
		p.target.containers.at = time.Time{} // a second later the list is old
		for _, w := range all {
			w.tick(b.Context(), probe)
		}
	}
	if got := len(p.results()); got != pods || p.results()[place{"pod-0", "m#alive"}].state != kruise.ProbeSucceeded {
		b.Errorf("%d results", got)
	}
}
