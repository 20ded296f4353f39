package broadcastjob

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/nodefit"
	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// job is one without a single default.
func broadcastJob(change ...func(*kruise.BroadcastJob)) *kruise.BroadcastJob {
	job := &kruise.BroadcastJob{
		ObjectMeta: metav1.ObjectMeta{Name: "pull", Namespace: "shop", UID: "owner", Generation: 1},
		Spec: kruise.BroadcastJobSpec{Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "pull"}, Annotations: map[string]string{"team": "a"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "pull:1"}}},
		}},
	}
	for _, c := range change {
		c(job)
	}
	return job
}

func parallelism(v string) func(*kruise.BroadcastJob) {
	return func(job *kruise.BroadcastJob) { job.Spec.Parallelism = new(intstr.Parse(v)) }
}

func onFailure(t kruise.FailurePolicyType, limit int32) func(*kruise.BroadcastJob) {
	return func(job *kruise.BroadcastJob) {
		job.Spec.FailurePolicy = kruise.FailurePolicy{Type: t, RestartLimit: limit}
	}
}

func deadline(seconds int64) func(*kruise.BroadcastJob) {
	return func(job *kruise.BroadcastJob) { job.Spec.CompletionPolicy.ActiveDeadlineSeconds = &seconds }
}

func ttl(seconds int32) func(*kruise.BroadcastJob) {
	return func(job *kruise.BroadcastJob) { job.Spec.CompletionPolicy.TTLSecondsAfterFinished = &seconds }
}

func never(job *kruise.BroadcastJob)    { job.Spec.CompletionPolicy.Type = kruise.Never }
func paused(job *kruise.BroadcastJob)   { job.Spec.Paused = true }
func unpaused(job *kruise.BroadcastJob) { job.Spec.Paused = false }

func node(name string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, c := range change {
		c(n)
	}
	return n
}

func taint(key string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: effect})
	}
}

func cordon(n *corev1.Node) { n.Spec.Unschedulable = true }

// world is one job, an API server in memory, a scheduler and kubelets.
type world struct {
	*testing.T
	server *acttest.Server
	clock  *clocktesting.FakePassiveClock
	loop   *loop.Loop[*kruise.BroadcastJob, seen, *plan]
	events *record.FakeRecorder
}

func newWorld(t *testing.T, nodes int, objects ...client.Object) *world {
	t.Helper()
	for i := range nodes {
		objects = append(objects, node(fmt.Sprintf("n%d", i)))
	}
	server, err := acttest.New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, server: server, clock: clocktesting.NewFakePassiveClock(noon), events: record.NewFakeRecorder(1000)}
	w.restart(Options{})
	return w
}

// restart is another agent, which knows nothing of the last one.
func (w *world) restart(o Options) {
	w.loop = &loop.Loop[*kruise.BroadcastJob, seen, *plan]{
		Steps:  &steps{local: w.server, live: w.server.Plain, events: w.events, options: o},
		Client: w.server, Events: w.events, Clock: w.clock, New: func() *kruise.BroadcastJob { return &kruise.BroadcastJob{} },
	}
}

// try reconciles once.
func (w *world) try() (reconcile.Result, error) {
	return w.loop.Reconcile(w.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "pull"}})
}

func (w *world) round() reconcile.Result {
	w.Helper()
	result, err := w.try()
	w.must(err)
	return result
}

// settle reconciles until nothing is written any more.
func (w *world) settle() {
	w.Helper()
	w.server.Writes()
	for range 20 {
		w.round()
		if len(w.server.Writes()) == 0 {
			return
		}
	}
	w.Fatal("still writing after 20 rounds")
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) pods() []corev1.Pod {
	w.Helper()
	var pods corev1.PodList
	w.must(w.server.Plain.List(context.Background(), &pods))
	return pods.Items
}

// where are the nodes that have a pod, with its phase if it has one.
func (w *world) where() (all []string) {
	w.Helper()
	for _, p := range w.pods() {
		all = append(all, strings.TrimSuffix(nodefit.Target(&p)+" "+string(p.Status.Phase), " "))
	}
	slices.Sort(all)
	return all
}

// kubelet has the pods of nodes do something; of all without names.
func (w *world) kubelet(does func(*corev1.Pod), nodes ...string) {
	w.Helper()
	for _, p := range w.pods() {
		target := nodefit.Target(&p)
		if len(nodes) > 0 && !slices.Contains(nodes, target) {
			continue
		}
		if p.Spec.NodeName == "" {
			p.Spec.NodeName = target
			w.must(w.server.Plain.Update(context.Background(), &p))
		}
		does(&p)
		w.must(w.server.Plain.Status().Update(context.Background(), &p))
	}
}

func phase(to corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = to }
}

func restarted(times int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodRunning
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", RestartCount: 1}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", RestartCount: times - 1}}
	}
}

func (w *world) job() *kruise.BroadcastJob {
	w.Helper()
	var job kruise.BroadcastJob
	w.must(w.server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "pull"}, &job))
	return &job
}

func (w *world) change(changes ...func(*kruise.BroadcastJob)) {
	w.Helper()
	job := w.job()
	for _, f := range changes {
		f(job)
	}
	w.must(w.server.Plain.Update(context.Background(), job))
}

func (w *world) changeNode(name string, f func(*corev1.Node)) {
	w.Helper()
	var n corev1.Node
	w.must(w.server.Plain.Get(context.Background(), client.ObjectKey{Name: name}, &n))
	f(&n)
	w.must(w.server.Plain.Update(context.Background(), &n))
}

func (w *world) add(o client.Object) {
	w.Helper()
	w.must(w.server.Plain.Create(context.Background(), o))
}

// numbers are those of the status, like "running 1/2/0 of 3": active, succeeded, failed and desired.
func (w *world) numbers() string {
	w.Helper()
	s := w.job().Status
	return fmt.Sprintf("%s %d/%d/%d of %d", s.Phase, s.Active, s.Succeeded, s.Failed, s.Desired)
}

// conditions are like "Complete=Complete".
func (w *world) conditions() (all []string) {
	w.Helper()
	for _, c := range w.job().Status.Conditions {
		all = append(all, string(c.Type)+"="+c.Reason)
	}
	return all
}

// heard are the events so far, without their messages, which it forgets.
func (w *world) heard() (all []string) {
	for {
		select {
		case e := <-w.events.Events:
			kind, rest, _ := strings.Cut(e, " ")
			reason, _, _ := strings.Cut(rest, " ")
			if strings.HasPrefix(rest, reasonPodFailed) {
				reason = reasonPodFailed
			}
			all = append(all, kind+" "+reason)
		default:
			slices.Sort(all)
			return all
		}
	}
}
