package ephemeraljob

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
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ephemeralJob(change ...func(*kruise.EphemeralJob)) *kruise.EphemeralJob {
	job := &kruise.EphemeralJob{
		ObjectMeta: metav1.ObjectMeta{Name: "debug", Namespace: "shop", UID: "owner", Generation: 1},
		Spec: kruise.EphemeralJobSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: kruise.EphemeralContainerTemplateSpec{EphemeralContainers: []corev1.EphemeralContainer{container("tool")}},
		},
	}
	for _, c := range change {
		c(job)
	}
	return job
}

func container(name string) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: name, Image: "tool:1", ImagePullPolicy: corev1.PullIfNotPresent, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		Env: []corev1.EnvVar{{Name: "A", Value: "b"}},
	}}
}

func replicas(n int32) func(*kruise.EphemeralJob) {
	return func(job *kruise.EphemeralJob) { job.Spec.Replicas = &n }
}

func parallelism(n int32) func(*kruise.EphemeralJob) {
	return func(job *kruise.EphemeralJob) { job.Spec.Parallelism = &n }
}

func deadline(seconds int64) func(*kruise.EphemeralJob) {
	return func(job *kruise.EphemeralJob) { job.Spec.ActiveDeadlineSeconds = &seconds }
}

func ttl(seconds int32) func(*kruise.EphemeralJob) {
	return func(job *kruise.EphemeralJob) { job.Spec.TTLSecondsAfterFinished = &seconds }
}

func paused(job *kruise.EphemeralJob) { job.Spec.Paused = true }

// web is w0, w1 and so on, the first of which is the oldest.
func web(i int, change ...func(*corev1.Pod)) client.Object {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("w%d", i), Namespace: "shop", UID: types.UID(fmt.Sprintf("pod-%d", i)), Labels: map[string]string{"app": "web"},
			CreationTimestamp: metav1.NewTime(noon.Add(time.Duration(i-100) * time.Second)),
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

// having gives a pod a container that is not the job's.
func having(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, container(name)) }
}

type world struct {
	*testing.T
	server *acttest.Server
	clock  *clocktesting.FakePassiveClock
	loop   *loop.Loop[*kruise.EphemeralJob, seen, *plan]
	events *record.FakeRecorder
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	server, err := acttest.New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, server: server, clock: clocktesting.NewFakePassiveClock(noon), events: record.NewFakeRecorder(1000)}
	w.loop = &loop.Loop[*kruise.EphemeralJob, seen, *plan]{
		Steps: &steps{local: w.server, events: w.events}, Client: w.server, Events: w.events, Clock: w.clock,
		New: func() *kruise.EphemeralJob { return &kruise.EphemeralJob{} },
	}
	return w
}

func (w *world) try() (reconcile.Result, error) {
	return w.loop.Reconcile(w.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "debug"}})
}

func (w *world) round() reconcile.Result {
	w.Helper()
	result, err := w.try()
	w.must(err)
	return result
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) job() *kruise.EphemeralJob {
	w.Helper()
	var job kruise.EphemeralJob
	w.must(w.server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "debug"}, &job))
	return &job
}

func (w *world) change(f func(*kruise.EphemeralJob)) {
	w.Helper()
	job := w.job()
	f(job)
	w.must(w.server.Plain.Update(context.Background(), job))
}

func (w *world) pod(name string) *corev1.Pod {
	w.Helper()
	var p corev1.Pod
	w.must(w.server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: name}, &p))
	return &p
}

// treated are the pods with a container of the job.
func (w *world) treated() string {
	w.Helper()
	var pods corev1.PodList
	w.must(w.server.Plain.List(context.Background(), &pods))
	var all []string
	for _, p := range pods.Items {
		if slices.ContainsFunc(p.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return isOurs(w.job(), c) }) {
			all = append(all, p.Name)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

var (
	runs  = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	pulls = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}
	ended = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(noon)}}
	broke = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, FinishedAt: metav1.NewTime(noon)}}
)

// kubelet reports the job's containers of a pod.
func (w *world) kubelet(state corev1.ContainerState, pods ...string) {
	w.Helper()
	for _, name := range pods {
		p := w.pod(name)
		p.Status.EphemeralContainerStatuses = nil
		for _, c := range p.Spec.EphemeralContainers {
			p.Status.EphemeralContainerStatuses = append(p.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: state})
		}
		w.must(w.server.Plain.Status().Update(context.Background(), p))
	}
}

// expect compares with phase and numbers, like "Running 1/2/0/0 of 3": running, succeeded, waiting, failed and matched.
func (w *world) expect(numbers, treated string, conditions ...string) {
	w.Helper()
	s := w.job().Status
	if got := fmt.Sprintf("%s %d/%d/%d/%d of %d", s.Phase, s.Running, s.Succeeded, s.Waiting, s.Failed, s.Matches); got != numbers {
		w.Errorf("the job is %q, want %q", got, numbers)
	}
	if got := w.treated(); got != treated {
		w.Errorf("treated are %q, want %q", got, treated)
	}
	var had []string
	for _, c := range s.Conditions {
		if c.Type != reconciling {
			had = append(had, string(c.Type)+"="+c.Reason)
		}
	}
	if got, want := strings.Join(had, " "), strings.Join(conditions, " "); got != want {
		w.Errorf("conditions %q, want %q", got, want)
	}
}

func (w *world) waits() string {
	for _, c := range w.job().Status.Conditions {
		if c.Type == reconciling {
			return c.Message
		}
	}
	return ""
}

func (w *world) heard() (all []string) {
	for {
		select {
		case e := <-w.events.Events:
			all = append(all, strings.Fields(e)[0]+" "+strings.Fields(e)[1])
		default:
			return all
		}
	}
}
