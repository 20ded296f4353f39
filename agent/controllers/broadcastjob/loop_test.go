package broadcastjob

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func (w *world) expect(numbers string, conditions ...string) {
	w.Helper()
	if got := w.numbers(); got != numbers {
		w.Errorf("the job is %q, want %q", got, numbers)
	}
	if d := cmp.Diff(conditions, w.conditions()); d != "" {
		w.Error(d)
	}
}

func (w *world) expectPods(want ...string) {
	w.Helper()
	if d := cmp.Diff(want, w.where()); d != "" {
		w.Error(d)
	}
}

func (w *world) expectEvents(want ...string) {
	w.Helper()
	if d := cmp.Diff(want, w.heard()); d != "" {
		w.Error(d)
	}
}

// BJ-3, BJ-3.5, BJ-5, BJ-9, BJ-10, BJ-13, BJ-16: a pod on every node that fits, also on one that comes later, until all are done.
func TestEveryNodeRunsItOnce(t *testing.T) {
	w := newWorld(t, 2, broadcastJob(), node("master", taint("control-plane", corev1.TaintEffectNoSchedule)))
	w.settle()
	w.expect("running 2/0/0 of 2", "Reconciling=Running")
	w.expectPods("n0", "n1")
	w.expectEvents("Normal SuccessfulCreate", "Normal SuccessfulCreate")
	if start := w.job().Status.StartTime; start == nil || !start.Equal(new(metav1.NewTime(noon))) {
		t.Errorf("started at %v", start)
	}
	w.kubelet(phase(corev1.PodSucceeded), "n0")
	w.add(node("n2"))
	w.settle()
	w.expect("running 2/1/0 of 3", "Reconciling=Running")
	w.clock.SetTime(noon.Add(time.Minute))
	w.kubelet(phase(corev1.PodSucceeded))
	w.settle()
	w.expect("completed 0/3/0 of 3", "Complete=Complete")
	w.expectEvents("Normal JobComplete", "Normal SuccessfulCreate")
	if end := w.job().Status.CompletionTime; end == nil || !end.Equal(new(metav1.NewTime(noon.Add(time.Minute)))) {
		t.Errorf("completed at %v", end)
	}
	w.add(node("n3"))
	w.changeNode("n0", cordon)
	w.settle()
	w.expectPods("n0 Succeeded", "n1 Succeeded", "n2 Succeeded") // it is over
}

// BJ-6, BJ-8
func TestPodCarriesItsMarks(t *testing.T) {
	w := newWorld(t, 1, broadcastJob(func(job *kruise.BroadcastJob) {
		job.Spec.Template.Finalizers = []string{"example.com/keep"}
		job.Spec.Template.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "windows", Operator: corev1.NodeSelectorOpDoesNotExist}},
			}}},
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 1}},
		}}
	}))
	w.round()
	pod := w.pods()[0]
	want := metav1.ObjectMeta{
		Name: pod.Name, GenerateName: "pull-", Namespace: "shop", UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		Labels:      map[string]string{"app": "pull", "broadcastjob-name": "pull", "broadcastjob-controller-uid": "owner"},
		Annotations: map[string]string{"team": "a"}, Finalizers: []string{"example.com/keep"},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "apps.kruise.io/v1alpha1", Kind: "BroadcastJob", Name: "pull", UID: "owner", Controller: new(true), BlockOwnerDeletion: new(true),
		}},
	}
	if d := cmp.Diff(want, pod.ObjectMeta); d != "" {
		t.Error(d)
	}
	affinity := pod.Spec.Affinity.NodeAffinity
	pinned := []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"n0"}}}}}
	if d := cmp.Diff(pinned, affinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms); d != "" {
		t.Error(d)
	}
	if len(affinity.PreferredDuringSchedulingIgnoredDuringExecution) != 1 || pod.Spec.RestartPolicy != corev1.RestartPolicyOnFailure || pod.Spec.NodeName != "" {
		t.Errorf("%+v", pod.Spec)
	}
	if !strings.HasPrefix(pod.Name, "pull-") || len(pod.Name) != len("pull-")+suffixLength {
		t.Errorf("name %q", pod.Name)
	}
}

// BJ-6: --assign-bcj-pods-by-scheduler=false
func TestPodsCanBeBoundAtOnce(t *testing.T) {
	w := newWorld(t, 1, broadcastJob())
	w.restart(Options{BindPods: true})
	w.round()
	if spec := w.pods()[0].Spec; spec.NodeName != "n0" || spec.Affinity != nil {
		t.Errorf("%+v", spec)
	}
}

// BJ-7
func TestParallelism(t *testing.T) {
	for width, want := range map[string]int{"2": 2, "34%": 2, "1%": 1, "100%": 5, "9": 5} {
		w := newWorld(t, 5, broadcastJob(parallelism(width)))
		w.settle()
		if got := len(w.pods()); got != want {
			t.Errorf("parallelism %s: %d pods", width, got)
		}
		w.kubelet(phase(corev1.PodSucceeded))
		w.settle()
		if got := len(w.pods()); got != min(5, 2*want) {
			t.Errorf("parallelism %s: %d pods after the first were done", width, got)
		}
	}
}

// BJ-7: fewer at a time than there are is told once, and costs no pod.
func TestTooManyActivePodsAreLeftAlone(t *testing.T) {
	w := newWorld(t, 3, broadcastJob())
	w.settle()
	w.heard()
	w.change(parallelism("1"))
	w.add(node("n3"))
	w.settle()
	w.settle()
	w.expectPods("n0", "n1", "n2")
	w.expectEvents("Warning TooManyActivePods")
	w.expect("running 3/0/0 of 4", "Reconciling=Parallelism")
}

// BJ-5: cordoning a node takes its pod, done or not; one that goes already keeps its node desired.
func TestNodesThatNoLongerFitLoseTheirPods(t *testing.T) {
	w := newWorld(t, 4, broadcastJob())
	w.settle()
	w.kubelet(phase(corev1.PodSucceeded), "n1")
	w.heard()
	w.changeNode("n0", cordon)
	w.changeNode("n1", taint("x", corev1.TaintEffectNoSchedule))
	w.changeNode("n2", taint("x", corev1.TaintEffectPreferNoSchedule))
	w.settle()
	w.expectPods("n2", "n3")
	w.expect("running 2/0/0 of 2", "Reconciling=Running")
	w.expectEvents("Normal SuccessfulDelete", "Normal SuccessfulDelete")
	w.kubelet(phase(corev1.PodSucceeded))
	w.settle()
	w.expect("completed 0/2/0 of 2", "Complete=Complete")
}

// BJ-13: a pod that goes before it was done does not count as done; where none can follow, nobody waits for it.
func TestAPodThatGoesIsNotDone(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Node)
		want   string
	}{
		"its node fits":     {change: func(*corev1.Node) {}, want: "running 0/1/0 of 2"},
		"its node does not": {change: cordon, want: "completed 0/1/0 of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, broadcastJob(func(job *kruise.BroadcastJob) { job.Spec.Template.Finalizers = []string{"example.com/keep"} }))
			w.settle()
			w.kubelet(phase(corev1.PodSucceeded), "n1")
			i := slices.IndexFunc(w.pods(), func(p corev1.Pod) bool { return p.Status.Phase != corev1.PodSucceeded })
			w.must(w.server.Plain.Delete(context.Background(), &w.pods()[i]))
			w.changeNode("n0", tc.change)
			w.settle()
			if got := w.numbers(); got != tc.want {
				t.Errorf("%s", got)
			}
		})
	}
}

// BJ-13: with no node there is nothing to complete, and it says why.
func TestAJobWithoutNodesGoesOn(t *testing.T) {
	w := newWorld(t, 0, broadcastJob(), node("n0", cordon), node("n1", taint("x", corev1.TaintEffectNoExecute)))
	w.settle()
	w.expect("running 0/0/0 of 0", "Reconciling=NoNodeFits")
	if m := w.job().Status.Conditions[0].Message; m != "none of 2 nodes fits (1 cordoned, 1 tainted); waits for one that does" {
		t.Error(m)
	}
}

// BJ-9, BJ-12: the restarts of all containers together, and only more than the limit.
func TestRestartsBeyondTheLimitFailAJob(t *testing.T) {
	w := newWorld(t, 2, broadcastJob(onFailure(kruise.FailurePolicyTypeFailFast, 2)))
	w.settle()
	w.kubelet(restarted(2), "n0")
	w.settle()
	w.expect("running 2/0/0 of 2", "Reconciling=Running")
	w.heard()
	w.kubelet(restarted(3), "n0")
	w.settle()
	w.expect("failed 0/0/2 of 2", "Failed=Failed")
	w.expectPods("n0 Running") // the one that failed stays to be looked at
	w.expectEvents("Normal SuccessfulDelete", "Warning failed pod is found")
	if w.job().Status.CompletionTime == nil {
		t.Error("it has not ended")
	}
}

// BJ-11, BJ-13
func TestFailurePolicies(t *testing.T) {
	for policy, want := range map[kruise.FailurePolicyType]string{
		"":                               "failed 0/0/1 of 2",
		kruise.FailurePolicyTypeFailFast: "failed 0/0/1 of 2",
		kruise.FailurePolicyTypeContinue: "completed 0/1/1 of 2",
		kruise.FailurePolicyTypePause:    "paused 0/0/1 of 2",
	} {
		w := newWorld(t, 2, broadcastJob(onFailure(policy, 0), parallelism("1")))
		w.settle()
		w.kubelet(phase(corev1.PodFailed))
		w.settle()
		w.kubelet(func(p *corev1.Pod) {
			if p.Status.Phase == "" {
				p.Status.Phase = corev1.PodSucceeded
			}
		})
		w.settle()
		if got := w.numbers(); got != want {
			t.Errorf("policy %q: %s", policy, got)
		}
	}
}

// BJ-11: paused by a failure it says so once, and goes on once the failed pod is gone.
func TestPauseByFailure(t *testing.T) {
	w := newWorld(t, 2, broadcastJob(onFailure(kruise.FailurePolicyTypePause, 0), parallelism("1")))
	w.settle()
	w.kubelet(phase(corev1.PodFailed))
	w.heard()
	w.settle()
	w.settle()
	w.restart(Options{})
	w.settle()
	w.expect("paused 0/0/1 of 2", "Reconciling=FailedPods")
	w.expectEvents("Warning Paused")
	failed := w.pods()[0]
	w.must(w.server.Plain.Delete(context.Background(), &failed))
	w.settle()
	w.expect("running 1/0/0 of 2", "Reconciling=Parallelism")
	w.expectEvents("Normal Continue", "Normal SuccessfulCreate")
}

// BJ-11: pods that run go on, none is made.
func TestPausedBySpec(t *testing.T) {
	w := newWorld(t, 2, broadcastJob(parallelism("1")))
	w.settle()
	w.change(paused)
	w.kubelet(phase(corev1.PodSucceeded))
	w.heard()
	w.settle()
	w.expect("paused 0/1/0 of 2", "Reconciling=Paused")
	w.change(unpaused)
	w.settle()
	w.expect("running 1/1/0 of 2", "Reconciling=Running")
	w.expectEvents("Normal Continue", "Normal SuccessfulCreate")
}

// BJ-10, BJ-11, BJ-12: the deadline also holds after a restart of the agent.
func TestDeadline(t *testing.T) {
	w := newWorld(t, 1, broadcastJob(deadline(60)))
	if wait := w.round().RequeueAfter; wait != time.Minute {
		t.Errorf("looks again after %v", wait)
	}
	w.clock.SetTime(noon.Add(50 * time.Second))
	w.restart(Options{})
	if wait := w.round().RequeueAfter; wait != 10*time.Second {
		t.Errorf("after a restart it looks again after %v", wait)
	}
	w.heard()
	w.clock.SetTime(noon.Add(time.Minute))
	w.settle()
	w.expect("failed 0/0/1 of 1", "Failed=Failed")
	w.expectEvents("Normal SuccessfulDelete", "Warning DeadlineExceeded")
	w.expectPods()
}

// BJ-14
func TestAJobThatNeverCompletes(t *testing.T) {
	w := newWorld(t, 1, broadcastJob(never, deadline(1), ttl(0), onFailure(kruise.FailurePolicyTypeFailFast, 0)))
	if wait := w.round().RequeueAfter; wait != 0 {
		t.Errorf("it has a deadline after %v", wait)
	}
	w.kubelet(phase(corev1.PodSucceeded))
	w.clock.SetTime(noon.Add(time.Hour))
	w.settle()
	w.expect("running 0/1/0 of 1", "Reconciling=Running")
	w.add(node("n1"))
	w.settle()
	w.expectPods("n0 Succeeded", "n1")
	w.kubelet(phase(corev1.PodFailed), "n1")
	w.settle()
	w.expect("failed 0/1/1 of 2", "Failed=Failed")
	w.add(node("n2"))
	w.settle()
	w.expect("failed 0/1/1 of 3", "Failed=Failed") // for good, but it counts
	w.expectPods("n0 Succeeded", "n1 Failed")
}

// BJ-15
func TestTimeToLive(t *testing.T) {
	w := newWorld(t, 1, broadcastJob(ttl(60)))
	w.settle()
	w.kubelet(phase(corev1.PodSucceeded))
	for range 2 { // when it ends, and when an agent starts later
		if wait := w.round().RequeueAfter; wait != time.Minute {
			t.Errorf("looks again after %v", wait)
		}
	}
	w.clock.SetTime(noon.Add(time.Minute))
	w.round()
	var gone kruise.BroadcastJob
	if err := w.server.Plain.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "pull"}, &gone); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// BJ-15: without any time to live it goes as soon as it has ended.
func TestNoTimeToLive(t *testing.T) {
	for life, want := range map[string]time.Duration{"none": 0, "0": soon} {
		change := func(*kruise.BroadcastJob) {}
		if life == "0" {
			change = ttl(0)
		}
		w := newWorld(t, 1, broadcastJob(change, deadline(60)))
		w.settle()
		w.kubelet(phase(corev1.PodSucceeded))
		if wait := w.round().RequeueAfter; wait != want {
			t.Errorf("with a time to live of %s it looks again after %v", life, wait)
		}
	}
}

// BJ-4: of two pods on a node one counts, and it is told once.
func TestTwoPodsOnANode(t *testing.T) {
	w := newWorld(t, 1, broadcastJob())
	w.settle()
	w.heard()
	twin := w.pods()[0]
	twin.ObjectMeta = metav1.ObjectMeta{Name: "zz", Namespace: "shop", OwnerReferences: twin.OwnerReferences, Labels: twin.Labels}
	twin.Status.Phase = corev1.PodSucceeded
	stranger := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: "shop", Labels: twin.Labels}, Spec: corev1.PodSpec{NodeName: "n0"}}
	w.add(&twin)
	w.add(stranger)
	w.round()
	w.round()
	w.expect("completed 1/1/0 of 1", "Complete=Complete")
	w.expectEvents("Normal JobComplete", "Warning DuplicatePodCreatedOnSameNode")
}

// BJ-13: nothing new for a job that goes.
func TestADeletedJobMakesNoPods(t *testing.T) {
	w := newWorld(t, 1, broadcastJob(func(job *kruise.BroadcastJob) { job.Finalizers = []string{"foregroundDeletion"} }))
	w.must(w.server.Plain.Delete(context.Background(), w.job()))
	w.settle()
	w.expectPods()
}

func TestASpecThatCannotBeCarriedOutTouchesNothing(t *testing.T) {
	w := newWorld(t, 1, broadcastJob())
	w.settle()
	w.heard()
	w.change(func(job *kruise.BroadcastJob) { job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyAlways })
	w.settle()
	w.settle()
	w.expectPods("n0")
	w.expectEvents("Warning InvalidSpec")
	w.change(func(job *kruise.BroadcastJob) { job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever })
	w.settle()
	w.expect("running 1/0/0 of 1", "Reconciling=Running")
}

// It says which pod it waits for, and why, in words that stay while nothing changes.
func TestItSaysWhatItWaitsFor(t *testing.T) {
	w := newWorld(t, 3, broadcastJob())
	w.settle()
	pulls := func(reason string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodPending
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}
		}
	}
	w.kubelet(phase(corev1.PodSucceeded), "n0")
	w.kubelet(pulls("ErrImagePull"), "n1")
	w.kubelet(pulls("ContainerCreating"), "n2")
	w.settle()
	name := ""
	for _, p := range w.pods() {
		if p.Spec.NodeName == "n1" {
			name = p.Name
		}
	}
	want := "1 of 3 nodes done, waiting for " + name + " on node n1: ImagePullBackOff"
	if c := w.job().Status.Conditions[0]; c.Reason != reasonHalted || c.Message != want {
		t.Errorf("%+v", c)
	}
	w.kubelet(pulls("ImagePullBackOff"), "n1")
	w.round()
	if writes := w.server.Writes(); len(writes) != 0 {
		t.Errorf("it says the same again: %v", writes)
	}
}
