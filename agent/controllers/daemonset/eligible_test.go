package daemonset

import (
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/nodefit"
)

// required is a node affinity of one expression.
func required(key, operator string, values ...string) *corev1.Affinity {
	return requiring(corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOperator(operator), Values: values}}})
}

func requiring(terms ...corev1.NodeSelectorTerm) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}}
}

func byName(operator, name string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOperator(operator), Values: []string{name}}}}
}

func TestNodeDecisions(t *testing.T) { // WL-3.4
	n := node("n0", label("disk", "ssd"), label("size", "8"))
	with := func(key string, effects ...corev1.TaintEffect) *corev1.Node {
		tainted := n.DeepCopy()
		for _, e := range effects {
			taint(key, e)(tainted)
		}
		return tainted
	}
	affinity := func(a *corev1.Affinity) func(*corev1.PodSpec) { return func(s *corev1.PodSpec) { s.Affinity = a } }
	for name, tc := range map[string]struct {
		spec      func(*corev1.PodSpec)
		node      *corev1.Node
		run, keep bool
	}{
		"any node":                      {node: n, run: true, keep: true},
		"another node is named":         {spec: func(s *corev1.PodSpec) { s.NodeName = "n1" }, node: n},
		"this node is named":            {spec: func(s *corev1.PodSpec) { s.NodeName = "n0" }, node: n, run: true, keep: true},
		"its labels match":              {spec: func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "ssd"} }, node: n, run: true, keep: true},
		"its labels do not match":       {spec: func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "hdd"} }, node: n},
		"affinity in":                   {spec: affinity(required("disk", "In", "ssd", "nvme")), node: n, run: true, keep: true},
		"affinity not in":               {spec: affinity(required("disk", "NotIn", "ssd")), node: n},
		"affinity exists":               {spec: affinity(required("gpu", "Exists")), node: n},
		"affinity does not exist":       {spec: affinity(required("gpu", "DoesNotExist")), node: n, run: true, keep: true},
		"affinity greater":              {spec: affinity(required("size", "Gt", "7")), node: n, run: true, keep: true},
		"affinity less":                 {spec: affinity(required("size", "Lt", "8")), node: n},
		"affinity by name":              {spec: affinity(requiring(byName("In", "n0"))), node: n, run: true, keep: true},
		"affinity by another name":      {spec: affinity(requiring(byName("In", "n1"))), node: n},
		"affinity by any other name":    {spec: affinity(requiring(byName("NotIn", "n0"))), node: n},
		"one term of two is enough":     {spec: affinity(requiring(byName("In", "n1"), byName("In", "n0"))), node: n, run: true, keep: true},
		"an empty term matches nothing": {spec: affinity(requiring(corev1.NodeSelectorTerm{})), node: n},
		"no term matches nothing":       {spec: affinity(requiring()), node: n},
		"not scheduled":                 {node: with("x", corev1.TaintEffectNoSchedule), keep: true},
		"not executed":                  {node: with("x", corev1.TaintEffectNoExecute)},
		"neither":                       {node: with("x", corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute)},
		"rather not":                    {node: with("x", corev1.TaintEffectPreferNoSchedule), run: true, keep: true},
		"tolerated": {spec: func(s *corev1.PodSpec) {
			s.Tolerations = []corev1.Toleration{{Key: "x", Operator: corev1.TolerationOpExists}}
		}, node: with("x", corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute), run: true, keep: true},
		"a node that is not ready":       {node: with("node.kubernetes.io/not-ready", corev1.TaintEffectNoExecute), run: true, keep: true},
		"an unreachable one":             {node: with("node.kubernetes.io/unreachable", corev1.TaintEffectNoExecute), run: true, keep: true},
		"one under pressure":             {node: with("node.kubernetes.io/disk-pressure", corev1.TaintEffectNoSchedule), run: true, keep: true},
		"a cordoned one":                 {node: with("node.kubernetes.io/unschedulable", corev1.TaintEffectNoSchedule), run: true, keep: true},
		"one without a network":          {node: with("node.kubernetes.io/network-unavailable", corev1.TaintEffectNoSchedule), keep: true},
		"which host networks do not use": {spec: func(s *corev1.PodSpec) { s.HostNetwork = true }, node: with("node.kubernetes.io/network-unavailable", corev1.TaintEffectNoSchedule), run: true, keep: true},
	} {
		t.Run(name, func(t *testing.T) {
			ds := daemonSet()
			if tc.spec != nil {
				tc.spec(&ds.Spec.Template.Spec)
			}
			where, err := placementOf(&ds.Spec.Template)
			if err != nil {
				t.Fatal(err)
			}
			if run, keep := where.decide(tc.node); run != tc.run || keep != tc.keep {
				t.Errorf("run %v, keep %v, want %v and %v", run, keep, tc.run, tc.keep)
			}
		})
	}
}

func TestTolerationOfTheTemplateIsNotDoubled(t *testing.T) { // WL-3.4
	all := tolerationsOf(&corev1.PodSpec{Tolerations: []corev1.Toleration{
		{Key: "node.kubernetes.io/unreachable", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(30))},
	}})
	if len(all) != 6 || all[0].TolerationSeconds != nil {
		t.Errorf("%v", all)
	}
}

func TestTargetOfAPod(t *testing.T) { // WL-3.4
	for want, spec := range map[string]corev1.PodSpec{
		"n1": {NodeName: "n1", Affinity: requiring(byName("In", "n0"))},
		"n0": {Affinity: requiring(byName("In", "n0"))},
		"":   {Affinity: requiring(byName("NotIn", "n0"))},
	} {
		if got := nodefit.Target(&corev1.Pod{Spec: spec}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestOnlyNodeChangesThatMeanSomethingWake(t *testing.T) { // WL-3.10
	before := node("n0", label("zone", "a"))
	change := func(f func(*corev1.Node)) *corev1.Node {
		n := before.DeepCopy()
		f(n)
		return n
	}
	chosen := rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) {
		r.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"wave": "1"}}
	})
	for name, tc := range map[string]struct {
		ds          *kruise.DaemonSet
		old, now    *corev1.Node
		from, wakes bool // from: of the initial list
	}{
		"a node comes":                      {ds: daemonSet(), now: before, wakes: true},
		"it was there before":               {ds: daemonSet(), now: before, from: true},
		"one comes that runs nothing of it": {ds: daemonSet(), now: node("n1", taint("x", corev1.TaintEffectNoExecute))},
		"a node goes":                       {ds: daemonSet(), old: before, wakes: true},
		"a heartbeat":                       {ds: daemonSet(), old: before, now: change(func(n *corev1.Node) { n.Status.Conditions = []corev1.NodeCondition{{Type: "Ready", Status: "False"}} })},
		"a label that nobody asks for":      {ds: daemonSet(), old: before, now: change(label("x", "y"))},
		"a taint":                           {ds: daemonSet(), old: before, now: change(taint("x", corev1.TaintEffectNoSchedule)), wakes: true},
		"a taint that is tolerated":         {ds: daemonSet(), old: before, now: change(taint("node.kubernetes.io/not-ready", corev1.TaintEffectNoExecute))},
		"it is chosen for the update":       {ds: daemonSet(chosen), old: before, now: change(label("wave", "1")), wakes: true},
		"a spec that cannot be read":        {ds: daemonSet(func(ds *kruise.DaemonSet) { ds.Spec.Template.Spec.Affinity = required("x", "Like") }), now: before},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 0, tc.ds)
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			h := onNodes{w.Server}
			switch {
			case tc.old == nil:
				h.Create(t.Context(), event.CreateEvent{Object: tc.now, IsInInitialList: tc.from}, q)
			case tc.now == nil:
				h.Delete(t.Context(), event.DeleteEvent{Object: tc.old}, q)
			default:
				h.Update(t.Context(), event.UpdateEvent{ObjectOld: tc.old, ObjectNew: tc.now}, q)
			}
			if got := q.Len() > 0; got != tc.wakes {
				t.Errorf("wakes: %v", got)
			}
		})
	}
}
