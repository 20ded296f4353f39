package imagepulljob

import (
	"context"
	"fmt"
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

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(-d)} }

type change = func(*kruise.ImagePullJob)

// pullJob is one for nginx:1 without a single default.
func pullJob(changes ...change) *kruise.ImagePullJob {
	job := &kruise.ImagePullJob{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "pull", UID: "job", CreationTimestamp: *ago(0)}}
	job.Spec.Image = "docker.io/library/nginx:1"
	for _, c := range changes {
		c(job)
	}
	return job
}

func parallel(v string) change {
	return func(j *kruise.ImagePullJob) { j.Spec.Parallelism = new(intstr.Parse(v)) }
}

func never(j *kruise.ImagePullJob) { j.Spec.CompletionPolicy.Type = kruise.Never }

func withSecrets(names ...string) change {
	return func(j *kruise.ImagePullJob) { j.Spec.PullSecrets = names }
}

func limited(seconds int64) change {
	return func(j *kruise.ImagePullJob) { j.Spec.CompletionPolicy.ActiveDeadlineSeconds = &seconds }
}

func ttl(seconds int32) change {
	return func(j *kruise.ImagePullJob) { j.Spec.CompletionPolicy.TTLSecondsAfterFinished = &seconds }
}

func started(d time.Duration) change {
	return func(j *kruise.ImagePullJob) { j.Status.StartTime = ago(d) }
}

func completed(d time.Duration) change {
	return func(j *kruise.ImagePullJob) { j.Status.CompletionTime = ago(d) }
}

func called(name string) change {
	return func(j *kruise.ImagePullJob) { j.Name, j.UID = name, types.UID(name) }
}

// nodeImage is one of a node; asked says that the job's tag is in it.
func nodeImage(name string, changes ...func(*kruise.NodeImage)) *kruise.NodeImage {
	n := &kruise.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{"name": name}}}
	for _, c := range changes {
		c(n)
	}
	return n
}

func asked(n *kruise.NodeImage) {
	o := newOrder(Default(pullJob()), "nginx", "1", nil, noon, func(int32) int32 { return 0 })
	o.apply(n)
}

// says is what the daemon says of version v of the tag.
func says(phase kruise.ImagePullPhase, v int64) func(*kruise.NodeImage) {
	return func(n *kruise.NodeImage) {
		is := kruise.ImageTagStatus{Tag: "1", Phase: phase, Version: v}
		if phase != kruise.ImagePhasePulling {
			is.CompletionTime = ago(0)
		}
		n.Status.ImageStatuses = map[string]kruise.ImageStatus{"nginx": {Tags: []kruise.ImageTagStatus{is}}}
	}
}

func home() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: defaultNamespace}}
}

func secret(name, token string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-of-" + name), Labels: map[string]string{"team": "a"}},
		Type:       corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(token)},
	}
}

// world is the controller with an API server in memory, and daemons that the test plays.
type world struct {
	*testing.T
	server *acttest.Server
	clock  *clocktesting.FakeClock
	events *record.FakeRecorder
	steps  *steps
	desk   *desk
	loop   *loop.Loop[*kruise.ImagePullJob, seen, *plan]
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	server, err := acttest.New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, server: server, clock: clocktesting.NewFakeClock(noon), events: record.NewFakeRecorder(100)}
	w.restart()
	return w
}

// restart is another agent, which knows nothing of the last one.
func (w *world) restart() {
	w.desk = newDesk(w.server, w.events, w.clock)
	w.steps = newSteps(w.server, w.server.Plain, w.events, w.desk, Options{ConfigNamespace: defaultNamespace, Secrets: true})
	w.steps.luck = func(int32) int32 { return 7 }
	w.loop = &loop.Loop[*kruise.ImagePullJob, seen, *plan]{
		Steps: w.steps, Client: w.server, Clock: w.clock, New: func() *kruise.ImagePullJob { return &kruise.ImagePullJob{} },
	}
}

// round reconciles the job once, without what it ordered being written.
func (w *world) round(names ...string) reconcile.Result {
	w.Helper()
	if len(names) == 0 {
		names = []string{"pull"}
	}
	var result reconcile.Result
	for _, name := range names {
		for again := true; again; again = result.RequeueAfter == soon {
			var err error
			if result, err = w.loop.Reconcile(w.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}}); err != nil {
				w.Fatal(err)
			}
		}
	}
	return result
}

// deliver writes what was ordered.
func (w *world) deliver() {
	w.Helper()
	w.clock.Step(quiet)
	for _, n := range w.nodes() {
		if result, err := w.desk.Reconcile(w.Context(), request(n.Name)); err != nil || result.RequeueAfter != 0 {
			w.Fatal(result, err)
		}
	}
}

func (w *world) nodes() []kruise.NodeImage {
	w.Helper()
	var nodes kruise.NodeImageList
	if err := w.server.Plain.List(context.Background(), &nodes); err != nil {
		w.Fatal(err)
	}
	return nodes.Items
}

// daemons end the pulls that nodes were asked for.
func (w *world) daemons(phase kruise.ImagePullPhase) {
	w.Helper()
	for _, n := range w.nodes() {
		for name, spec := range n.Spec.Images {
			var tags []kruise.ImageTagStatus
			for _, t := range spec.Tags {
				tags = append(tags, kruise.ImageTagStatus{Tag: t.Tag, Version: t.Version, Phase: phase, CompletionTime: ago(0)})
			}
			if n.Status.ImageStatuses == nil {
				n.Status.ImageStatuses = map[string]kruise.ImageStatus{}
			}
			n.Status.ImageStatuses[name] = kruise.ImageStatus{Tags: tags}
		}
		if err := w.server.Plain.Status().Update(context.Background(), &n); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) job() *kruise.ImagePullJob {
	var job kruise.ImagePullJob
	if err := w.server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "pull"}, &job); err != nil {
		return nil
	}
	return &job
}

func (w *world) copies() []corev1.Secret {
	w.Helper()
	var all corev1.SecretList
	if err := w.server.Plain.List(context.Background(), &all, client.InNamespace(defaultNamespace)); err != nil {
		w.Fatal(err)
	}
	return all.Items
}

func (w *world) says(want string) {
	w.Helper()
	s := w.job().Status
	if got := fmt.Sprintf("%d desired, %d active, %d succeeded, %d failed: %s", s.Desired, s.Active, s.Succeeded, s.Failed, s.Message); got != want {
		w.Errorf("%s; want %s", got, want)
	}
}
