package ephemeraljob

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// EJ-2, EJ-4, EJ-6, EJ-7, EJ-8: pod after pod, oldest first.
func TestPodAfterPod(t *testing.T) {
	w := newWorld(t, ephemeralJob(), web(1), web(0), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: "shop"}})
	w.round()
	w.expect("Unknown 0/0/0/0 of 2", "w0", "Initialized=Initialized")
	if job := w.job(); len(job.Finalizers) != 1 || job.Finalizers[0] != "apps.kruise.io/ephemeralcontainers-cleanup" || !job.Status.StartTime.Equal(new(metav1.NewTime(noon))) {
		t.Errorf("%+v", job)
	}
	w.kubelet(runs, "w0")
	w.round()
	w.expect("Running 1/0/0/0 of 2", "w0", "Initialized=Initialized")
	w.kubelet(ended, "w0")
	w.round()
	w.expect("Unknown 0/1/0/0 of 2", "w0 w1", "Initialized=Initialized")
	if got := w.waits(); got != "1 of 2 pods done" {
		t.Errorf("waits for %q", got)
	}
	w.kubelet(ended, "w1")
	w.clock.SetTime(noon.Add(time.Minute))
	w.round()
	w.expect("Succeeded 0/2/0/0 of 2", "w0 w1", "Initialized=Initialized", "JobSucceeded=JobSucceeded")
	if job := w.job(); !job.Status.CompletionTime.Equal(new(metav1.NewTime(noon.Add(time.Minute)))) || w.waits() != "" {
		t.Errorf("%+v", job.Status)
	}
}

// EJ-9
func TestContainersCarryTheJob(t *testing.T) {
	w := newWorld(t, ephemeralJob(), web(0, having("mine")))
	w.round()
	want := container("tool")
	want.Env = append(want.Env, corev1.EnvVar{Name: "KRUISE_EJOB_ID", Value: "owner"})
	if d := cmp.Diff([]corev1.EphemeralContainer{container("mine"), want}, w.pod("w0").Spec.EphemeralContainers); d != "" {
		t.Error(d)
	}
	if writes := w.server.Writes(); len(writes) != 3 || writes[2] != "patch pod/ephemeralcontainers w0" {
		t.Errorf("%q", writes)
	}
	w.round()
	if writes := w.server.Writes(); len(writes) != 0 {
		t.Errorf("again: %q", writes)
	}
}

// EJ-8: pods that wait are not subtracted from what may be treated, those that run are.
func TestParallelism(t *testing.T) {
	w := newWorld(t, ephemeralJob(parallelism(2)), web(0), web(1), web(2), web(3), web(4))
	w.round()
	w.expect("Unknown 0/0/0/0 of 5", "w0 w1", "Initialized=Initialized")
	w.kubelet(runs, "w0", "w1")
	w.round()
	w.expect("Running 2/0/0/0 of 5", "w0 w1", "Initialized=Initialized")
	w.kubelet(pulls, "w0")
	w.round()
	w.expect("Running 1/0/1/0 of 5", "w0 w1 w2", "Initialized=Initialized")
	if got := w.waits(); got != "0 of 5 pods done, waiting for w0: ImagePullBackOff" {
		t.Errorf("waits for %q", got)
	}
}

// EJ-5: foreign containers of the name, pods that end, and those beyond replicas are no targets.
func TestTargets(t *testing.T) {
	done := func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }
	leaving := func(p *corev1.Pod) {
		p.DeletionTimestamp, p.Finalizers = new(metav1.NewTime(noon)), []string{"example.com/keep"}
	}
	pods := []client.Object{web(0, having("tool")), web(1, done), web(2, leaving), web(3), web(4), web(5)}
	w := newWorld(t, append(pods, ephemeralJob(replicas(2), parallelism(9)))...)
	w.round()
	w.expect("Unknown 0/0/0/0 of 2", "w3 w4", "Initialized=Initialized")
	if n := len(w.pod("w0").Spec.EphemeralContainers); n != 1 {
		t.Errorf("%d containers", n)
	}
}

// EJ-7: the table, then what overrides it.
func TestPhases(t *testing.T) {
	both := func(a, b corev1.ContainerState) func(*world) {
		return func(w *world) {
			w.kubelet(a, "w0")
			w.kubelet(b, "w1")
		}
	}
	starting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "RunContainerError"}}
	for name, tc := range map[string]struct {
		job  []func(*kruise.EphemeralJob)
		does func(*world)
		late bool
		want string
		says string
		ends bool
	}{
		"all succeeded":           {does: both(ended, ended), want: "Succeeded 0/2/0/0 of 2", says: "JobSucceeded=JobSucceeded", ends: true},
		"one runs":                {does: both(ended, runs), want: "Running 1/1/0/0 of 2"},
		"one runs, one failed":    {does: both(broke, runs), want: "Running 1/0/0/1 of 2", says: "JobFailed=CreateFailed"},
		"all failed":              {does: both(broke, starting), want: "Failed 0/0/0/2 of 2", says: "JobFailed=CreateFailed", ends: true},
		"mixed":                   {does: both(ended, broke), want: "Unknown 0/1/0/1 of 2", says: "JobFailed=CreateFailed"},
		"all wait":                {does: both(pulls, pulls), want: "Waiting 0/0/2/0 of 2"},
		"more wanted than match":  {job: []func(*kruise.EphemeralJob){replicas(3)}, does: both(ended, ended), want: "Unknown 0/2/0/0 of 2"},
		"past its deadline":       {job: []func(*kruise.EphemeralJob){deadline(60)}, does: both(ended, runs), late: true, want: "Failed 1/1/0/0 of 2", says: "JobFailed=DeadlineExceeded", ends: true},
		"just before it":          {job: []func(*kruise.EphemeralJob){deadline(61)}, does: both(ended, runs), late: true, want: "Running 1/1/0/0 of 2"},
		"done at its deadline":    {job: []func(*kruise.EphemeralJob){deadline(60)}, does: both(ended, ended), late: true, want: "Succeeded 0/2/0/0 of 2", says: "JobSucceeded=JobSucceeded", ends: true},
		"paused":                  {job: []func(*kruise.EphemeralJob){deadline(60)}, does: func(w *world) { both(ended, runs)(w); w.change(paused) }, late: true, want: "Paused 1/1/0/0 of 2"},
		"paused when it was done": {does: func(w *world) { both(ended, ended)(w); w.change(paused) }, want: "Paused 0/2/0/0 of 2", says: "JobSucceeded=JobSucceeded", ends: true},
		"without containers by now": {does: func(w *world) {
			w.change(func(job *kruise.EphemeralJob) { job.Spec.Template.EphemeralContainers = nil })
		}, want: "Error 0/0/0/0 of 2", says: "JobError=Error"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, web(0), web(1), ephemeralJob(append(tc.job, parallelism(2))...))
			w.round()
			tc.does(w)
			if tc.late {
				w.clock.SetTime(noon.Add(time.Minute))
			}
			w.round()
			conditions := []string{"Initialized=Initialized"}
			if tc.says != "" {
				conditions = append(conditions, tc.says)
			}
			w.expect(tc.want, "w0 w1", conditions...)
			if ended := w.job().Status.CompletionTime != nil; ended != tc.ends {
				t.Errorf("ended: %v", ended)
			}
		})
	}
}

func TestNoPods(t *testing.T) { // EJ-7
	w := newWorld(t, ephemeralJob())
	w.round()
	w.expect("Waiting 0/0/0/0 of 0", "", "Initialized=Initialized", "MatchedEmpty=MatchEmpty")
	w.server.Writes()
	w.round()
	if writes := w.server.Writes(); len(writes) != 0 {
		t.Errorf("says it again: %q", writes)
	}
}

func TestWhatCannotBeDone(t *testing.T) { // EJ-1, EJ-7
	for name, change := range map[string]func(*kruise.EphemeralJob){
		"no containers":           func(job *kruise.EphemeralJob) { job.Spec.Template.EphemeralContainers = nil },
		"a selector that is none": func(job *kruise.EphemeralJob) { job.Spec.Selector.MatchLabels["_"] = "-" },
	} {
		w := newWorld(t, ephemeralJob(change), web(0))
		w.round()
		w.round()
		if s := w.job().Status; s.Phase != kruise.EphemeralJobError || w.treated() != "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// EJ-3, EJ-4: half an hour, unless it says so itself.
func TestTimeToLive(t *testing.T) {
	for want, change := range map[time.Duration]func(*kruise.EphemeralJob){1800 * time.Second: func(*kruise.EphemeralJob) {}, time.Minute: ttl(60)} {
		w := newWorld(t, ephemeralJob(change, deadline(100)), web(0))
		if wait := w.round().RequeueAfter; wait != 100*time.Second {
			t.Errorf("looks again after %v", wait)
		}
		w.kubelet(ended, "w0")
		for range 2 { // when it ends, and when an agent starts later
			if wait := w.round().RequeueAfter; wait != want {
				t.Errorf("looks again after %v, want %v", wait, want)
			}
		}
		w.clock.SetTime(noon.Add(want))
		w.round()
		w.round() // off with the finalizer // EJ-2
		var gone kruise.EphemeralJob
		if err := w.server.Plain.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "debug"}, &gone); !apierrors.IsNotFound(err) {
			t.Errorf("it is still there: %v", err)
		}
	}
}

// EJ-9: what a pod refuses is told and tried again; a cluster without ephemeral containers, and a pod that is gone, are not.
func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		says  error
		heard []string
	}{
		"refused":  {says: apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "w0", errors.New("no")), heard: []string{"Warning CreateFailed"}},
		"unknown":  {says: apierrors.NewGenericServerResponse(404, "patch", schema.GroupResource{}, "", "", 0, false)},
		"pod gone": {says: apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "w0")},
	} {
		w := newWorld(t, ephemeralJob(), web(0))
		w.server.Before = func(write string) error {
			if strings.HasPrefix(write, "patch pod/ephemeralcontainers") {
				return tc.says
			}
			return nil
		}
		_, err := w.try()
		if d := cmp.Diff(tc.heard, w.heard()); d != "" || (err != nil) != (tc.heard != nil) {
			t.Errorf("%s: %v %s", name, err, d)
		}
	}
}

// EJ-8: the first that is refused is the last that is asked.
func TestSlowStart(t *testing.T) {
	objects := []client.Object{ephemeralJob(parallelism(50))}
	for i := range 50 {
		objects = append(objects, web(i))
	}
	w := newWorld(t, objects...)
	w.server.Before = func(write string) error {
		if strings.HasPrefix(write, "patch pod/") {
			return errors.New("no")
		}
		return nil
	}
	if _, err := w.try(); err == nil || len(w.heard()) != 1 {
		t.Errorf("%v", err)
	}
}

func TestWhatWakesAJob(t *testing.T) { // EJ-10
	w := newWorld(t, ephemeralJob(), ephemeralJob(func(job *kruise.EphemeralJob) {
		job.Name, job.Spec.Selector.MatchLabels = "other", map[string]string{"app": "db"}
	}))
	pod := web(0).(*corev1.Pod)
	if got := jobsOf(w.server)(context.Background(), pod); len(got) != 1 || got[0].Name != "debug" {
		t.Errorf("%v", got)
	}
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"a container of the job":  {func(p *corev1.Pod) { p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "tool"}} }, true},
		"another container":       {func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main"}} }, false},
		"a new spec":              {having("tool"), false},
		"the end of the pod":      {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, true},
		"the start of its ending": {func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.NewTime(noon)) }, true},
	} {
		after := pod.DeepCopy()
		tc.change(after)
		if got := news().Update(event.UpdateEvent{ObjectOld: pod, ObjectNew: after}); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
