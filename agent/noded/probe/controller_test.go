package probe

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/noded/cri/critest"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// wanted is a NodePodProbe for pods, each with a probe of each name.
func wanted(names []string, pods ...string) *kruise.NodePodProbe {
	o := &kruise.NodePodProbe{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
	for _, pod := range pods {
		p := kruise.PodProbe{Name: pod, Namespace: "shop", UID: pod + "-uid", IP: "10.0.0.1"}
		for _, name := range names {
			p.Probes = append(p.Probes, kruise.ContainerProbe{Name: name, ContainerName: "main"})
		}
		o.Spec.PodProbes = append(o.Spec.PodProbes, p)
	}
	return o
}

func written(o *kruise.NodePodProbe, all ...kruise.PodProbeStatus) *kruise.NodePodProbe {
	o.Status.PodProbeStatuses = all
	return o
}

func of(pod string, states ...kruise.ContainerProbeState) kruise.PodProbeStatus {
	return kruise.PodProbeStatus{Name: pod, Namespace: "shop", UID: pod + "-uid", ProbeStates: states}
}

func state(name string, s kruise.ProbeState, message string, probed, changed time.Duration) kruise.ContainerProbeState {
	return kruise.ContainerProbeState{Name: name, State: s, Message: message,
		LastProbeTime: metav1.NewTime(noon.Add(probed)), LastTransitionTime: metav1.NewTime(noon.Add(changed))}
}

func TestStatusOf(t *testing.T) { // PB-7
	good := state("m#a", kruise.ProbeSucceeded, "x", 0, 0)
	for name, tc := range map[string]struct {
		o       *kruise.NodePodProbe
		results map[place]result
		want    []kruise.PodProbeStatus
	}{
		"nothing is known yet":  {o: wanted([]string{"m#a"}, "web")},
		"the first result":      {o: wanted([]string{"m#a"}, "web"), results: map[place]result{{"web-uid", "m#a"}: {kruise.ProbeSucceeded, "x", noon}}, want: []kruise.PodProbeStatus{of("web", good)}},
		"what is written stays": {o: written(wanted([]string{"m#a"}, "web"), of("web", good)), want: []kruise.PodProbeStatus{of("web", good)}},
		"another message": {o: written(wanted([]string{"m#a"}, "web"), of("web", good)), results: map[place]result{{"web-uid", "m#a"}: {kruise.ProbeSucceeded, "y", noon.Add(time.Minute)}},
			want: []kruise.PodProbeStatus{of("web", state("m#a", kruise.ProbeSucceeded, "y", time.Minute, 0))}},
		"another state": {o: written(wanted([]string{"m#a"}, "web"), of("web", good)), results: map[place]result{{"web-uid", "m#a"}: {kruise.ProbeFailed, "y", noon.Add(time.Minute)}},
			want: []kruise.PodProbeStatus{of("web", state("m#a", kruise.ProbeFailed, "y", time.Minute, time.Minute))}},
		"a probe that is gone": {o: written(wanted([]string{"m#b"}, "web"), of("web", good)), results: map[place]result{{"web-uid", "m#a"}: {kruise.ProbeSucceeded, "x", noon}}},
		"a pod that is gone":   {o: written(wanted([]string{"m#a"}, "db"), of("web", good), of("db", good)), want: []kruise.PodProbeStatus{of("db", good)}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, statusOf(tc.o, tc.results).PodProbeStatuses); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTasksKnowWhatIsWritten(t *testing.T) { // PB-1
	o := written(wanted([]string{"m#a", "m#b"}, "web"), of("web", state("m#b", kruise.ProbeFailed, "x", 0, 0)))
	got := tasks(o)
	a, b := got[key{"shop", "web", "web-uid", "10.0.0.1", "main", "m#a"}], got[key{"shop", "web", "web-uid", "10.0.0.1", "main", "m#b"}]
	if len(got) != 2 || a.before != nil || b.before == nil || b.before.Message != "x" {
		t.Errorf("%+v", got)
	}
}

func TestRoundsWriteAndTellOnce(t *testing.T) { // PB-7, PB-8
	s := runtime.NewScheme()
	if err := kruise.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	writes := 0
	local := fake.NewClientBuilder().WithScheme(s).WithObjects(wanted([]string{"m#a", "m#b"}, "web")).WithStatusSubresource(&kruise.NodePodProbe{}).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				writes++
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	events := record.NewFakeRecorder(10)
	options := Options{Node: "node-1", Runtime: &critest.Runtime{}, Events: events}
	all := newPool(options)
	daemon := newProbes(local, all, options)
	round := func() {
		t.Helper()
		if _, err := daemon.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "node-1"}}); err != nil {
			t.Fatal(err)
		}
	}
	round()
	put := func(probe string, s kruise.ProbeState, message string) {
		all.records.put(&worker{key: key{"shop", "web", "web-uid", "10.0.0.1", "main", probe}}, result{s, message, noon}, true)
	}
	put("m#a", kruise.ProbeSucceeded, "fine")
	put("m#b", kruise.ProbeUnknown, "new")
	for range 3 {
		round()
	}
	if writes != 1 {
		t.Errorf("%d writes", writes)
	}
	put("m#b", kruise.ProbeFailed, "bad")
	for range 3 {
		round()
	}
	close(events.Events)
	var told []string
	for e := range events.Events {
		told = append(told, e)
	}
	if d := cmp.Diff("Normal KruiseProbeSucceeded fine, Normal KruiseProbeFailed bad", strings.Join(told, ", ")); d != "" || writes != 2 {
		t.Error(d, writes)
	}
}

func TestWithoutTheObjectNothingIsProbed(t *testing.T) {
	s := runtime.NewScheme()
	if err := kruise.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	options := Options{Node: "node-1", Runtime: &critest.Runtime{}, Events: record.NewFakeRecorder(1)}
	all := newPool(options)
	all.sync(map[key]task{only: {probe: corev1.Probe{}}})
	daemon := newProbes(fake.NewClientBuilder().WithScheme(s).Build(), all, options)
	if _, err := daemon.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "node-1"}}); err != nil || len(all.wanted) != 0 {
		t.Errorf("%v %v", err, all.wanted)
	}
}
