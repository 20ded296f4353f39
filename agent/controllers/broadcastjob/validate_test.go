package broadcastjob

import (
	"strings"
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestDefault(t *testing.T) { // BJ-1
	got := Default(broadcastJob()).Spec
	if got.CompletionPolicy.Type != kruise.Always || got.Parallelism.IntValue() != 2147483647 || got.FailurePolicy.Type != kruise.FailurePolicyTypeFailFast ||
		got.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
		t.Errorf("%+v", got)
	}
}

func TestValidate(t *testing.T) { // BJ-2
	for wrong, change := range map[string]func(*kruise.BroadcastJob){
		"":                                     func(*kruise.BroadcastJob) {},
		"spec.template.spec.restartPolicy":     func(job *kruise.BroadcastJob) { job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyAlways },
		"labels[broadcastjob-name]":            func(job *kruise.BroadcastJob) { job.Spec.Template.Labels[NameLabel] = "x" },
		"labels[broadcastjob-controller-uid]":  func(job *kruise.BroadcastJob) { job.Spec.Template.Labels[UIDLabel] = "x" },
		"completionPolicy.ttlSecondsAfter":     func(job *kruise.BroadcastJob) { never(job); ttl(1)(job) },
		"completionPolicy.activeDeadlineSecon": func(job *kruise.BroadcastJob) { never(job); deadline(1)(job) },
		"spec.parallelism":                     parallelism("many"),
		"spec.template.spec.containers":        func(job *kruise.BroadcastJob) { job.Spec.Template.Spec.Containers = nil },
		"completionPolicy.type":                func(job *kruise.BroadcastJob) { job.Spec.CompletionPolicy.Type = "Sometimes" },
		"failurePolicy.type":                   onFailure("Shrug", 0),
	} {
		got := Validate(Default(broadcastJob(change)))
		if (len(got) == 0) != (wrong == "") || len(got) > 0 && !strings.Contains(got[0].Field, wrong) {
			t.Errorf("%q: %v", wrong, got)
		}
	}
}

func TestOnlyNodesThatBeginOrCeaseToFitWake(t *testing.T) { // BJ-16
	before := node("n0")
	done := broadcastJob(func(job *kruise.BroadcastJob) {
		job.Status.Conditions = []kruise.JobCondition{{Type: kruise.JobComplete, Status: corev1.ConditionTrue}}
	})
	for name, tc := range map[string]struct {
		job      *kruise.BroadcastJob
		old, now *corev1.Node
		initial  bool
		wakes    bool
	}{
		"a node comes":                {now: before, wakes: true},
		"it was there before":         {now: before, initial: true},
		"one comes that does not fit": {now: node("n0", cordon)},
		"a node goes":                 {old: before, wakes: true},
		"a heartbeat":                 {old: before, now: node("n0", func(n *corev1.Node) { n.ResourceVersion = "2" })},
		"a taint":                     {old: before, now: node("n0", taint("x", corev1.TaintEffectNoExecute)), wakes: true},
		"a smaller node":              {job: broadcastJob(asksForOne), old: sized("2"), now: sized("900m"), wakes: true},
		"a smaller one that will do":  {job: broadcastJob(asksForOne), old: sized("2"), now: sized("1")},
		"a job that is over":          {job: done, now: before},
		"a spec that cannot be read":  {job: broadcastJob(badAffinity), now: before},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.job == nil {
				tc.job = broadcastJob()
			}
			w := newWorld(t, 0, tc.job)
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			h := onNodes{w.server}
			switch {
			case tc.old == nil:
				h.Create(t.Context(), event.CreateEvent{Object: tc.now, IsInInitialList: tc.initial}, q)
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

func asksForOne(job *kruise.BroadcastJob) {
	job.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("1")}
}

func sized(cpu string) *corev1.Node {
	return node("n0", func(n *corev1.Node) { n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse(cpu)} })
}

func badAffinity(job *kruise.BroadcastJob) {
	job.Spec.Template.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "x", Operator: "Like"}}}},
	}}}
}

func TestWhatKeepsAJobOffANode(t *testing.T) { // BJ-3
	tolerant := broadcastJob(func(job *kruise.BroadcastJob) {
		job.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Key: "node.kubernetes.io/unschedulable", Operator: corev1.TolerationOpExists}}
	})
	for name, tc := range map[string]struct {
		job  *kruise.BroadcastJob
		node *corev1.Node
		want string
	}{
		"nothing":             {broadcastJob(), node("n0"), ""},
		"a taint":             {broadcastJob(), node("n0", taint("x", corev1.TaintEffectNoSchedule)), "tainted"},
		"not ready":           {broadcastJob(), node("n0", taint(corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute)), "tainted"},
		"rather not":          {broadcastJob(), node("n0", taint("x", corev1.TaintEffectPreferNoSchedule)), ""},
		"cordoned":            {broadcastJob(), node("n0", cordon), "cordoned"},
		"cordoned, tolerated": {tolerant, node("n0", cordon, taint("node.kubernetes.io/unschedulable", corev1.TaintEffectNoSchedule)), ""},
		"not selected":        {broadcastJob(func(job *kruise.BroadcastJob) { job.Spec.Template.Spec.NodeSelector = map[string]string{"a": "b"} }), node("n0"), "not selected"},
	} {
		where, err := placeOf(&tc.job.Spec.Template)
		if err != nil {
			t.Fatal(err)
		}
		if got := where.objection(tc.node); got != tc.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
