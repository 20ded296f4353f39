package integration_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/controllers/advancedcronjob"
	"github.com/flotilla-project/flotilla/agent/controllers/broadcastjob"
	"github.com/flotilla-project/flotilla/agent/controllers/ephemeraljob"
	"github.com/flotilla-project/flotilla/agent/nodefit"
	"github.com/flotilla-project/flotilla/pkg/index"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// jobs is a world with nodes of its own and the three controllers of jobs, under the agent's service account.
type jobs struct {
	*daemons
	count *writes
}

func newJobs(t *testing.T, nodes int) *jobs {
	t.Helper()
	j := &jobs{daemons: newDaemons(t, nodes), count: &writes{counts: map[string]int{}}}
	j.installJobs()
	cfg := rest.CopyConfig(j.cfg)
	cfg.Impersonate.UserName = "system:serviceaccount:open-cluster-management-agent:agent"
	cfg.Impersonate.Groups = []string{"system:serviceaccounts", "system:authenticated"}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		j.count.next = next
		return j.count
	})
	m, err := manager.New(cfg, scheme(j.world), logr.Discard(), "jobs-test", j.options())
	j.Expect(err).NotTo(HaveOccurred())
	j.Expect(index.ByOwner(t.Context(), m.GetFieldIndexer(), &corev1.Pod{})).To(Succeed())
	for _, register := range []func(ctrl.Manager) error{
		func(m ctrl.Manager) error { return broadcastjob.Register(m, broadcastjob.Options{}) }, advancedcronjob.Register, ephemeraljob.Register,
	} {
		j.Expect(register(m)).To(Succeed())
	}
	j.run(m)
	return j
}

func (w *world) installJobs() {
	w.t.Helper()
	for kind, list := range map[string]client.ObjectList{
		"broadcastjobs": &kruise.BroadcastJobList{}, "advancedcronjobs": &kruise.AdvancedCronJobList{}, "ephemeraljobs": &kruise.EphemeralJobList{},
	} {
		w.installCRD("apps.kruise.io_" + kind + ".yaml")
		w.Eventually(func() error { return w.client.List(w.t.Context(), list) }).Should(Succeed())
	}
}

func (j *jobs) broadcast(change ...func(*kruise.BroadcastJob)) *kruise.BroadcastJob {
	job := &kruise.BroadcastJob{
		ObjectMeta: metav1.ObjectMeta{Name: "pull", Namespace: j.namespace},
		Spec: kruise.BroadcastJobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			NodeSelector: map[string]string{j.label: ""}, Containers: []corev1.Container{{Name: "main", Image: "pull:1"}},
		}}},
	}
	for _, c := range change {
		c(job)
	}
	return job
}

// told is like "completed 0/3/0 of 3": active, succeeded, failed and desired.
func (j *jobs) told(name string) func() string {
	return func() string {
		var job kruise.BroadcastJob
		j.Expect(j.client.Get(j.t.Context(), client.ObjectKey{Namespace: j.namespace, Name: name}, &job)).To(Succeed())
		s := job.Status
		return fmt.Sprintf("%s %d/%d/%d of %d", s.Phase, s.Active, s.Succeeded, s.Failed, s.Desired)
	}
}

// finish ends the pods of the namespace, or those on some nodes.
func (j *jobs) finish(phase corev1.PodPhase, nodes ...string) {
	j.t.Helper()
	for _, p := range j.pods() {
		if len(nodes) > 0 && !slices.Contains(nodes, nodefit.Target(&p)) {
			continue
		}
		before := p.DeepCopy()
		p.Status.Phase = phase
		j.Expect(j.client.Status().Patch(j.t.Context(), &p, client.MergeFrom(before))).To(Succeed())
	}
}

func (j *jobs) events() string {
	var events corev1.EventList
	j.Expect(j.client.List(j.t.Context(), &events, client.InNamespace(j.namespace))).To(Succeed())
	return fmt.Sprint(events.Items)
}

// BJ-3, BJ-5, BJ-6, BJ-8, BJ-13, BJ-16: on three nodes, one of which comes later.
func TestBroadcastJobOnEveryNode(t *testing.T) {
	j := newJobs(t, 2)
	j.Expect(j.client.Create(t.Context(), j.broadcast())).To(Succeed())
	j.Eventually(j.told("pull")).Should(Equal("running 2/0/0 of 2"))
	j.Expect(j.count.onPods()).To(Equal(2), "writes: %v", j.count)
	late := j.addNode(j.namespace + "-late")
	j.Eventually(j.told("pull")).Should(Equal("running 3/0/0 of 3"))
	j.finish(corev1.PodSucceeded)
	j.Eventually(j.told("pull")).Should(Equal("completed 0/3/0 of 3"))
	for _, pod := range j.pods() {
		j.Expect(pod.Labels).To(HaveKeyWithValue("broadcastjob-name", "pull"))
		j.Expect(metav1.GetControllerOf(&pod)).NotTo(BeNil())
	}
	j.Eventually(j.events).Should(And(ContainSubstring("SuccessfulCreate"), ContainSubstring("JobComplete"), ContainSubstring("broadcastjob-controller")))
	j.count.reset()
	j.Expect(j.client.Delete(t.Context(), late)).To(Succeed())
	j.Consistently(j.count.String, time.Second).Should(Equal("map[]"), "a job that is over is written to")
}

// BJ-7, BJ-11, BJ-12, BJ-15
func TestBroadcastJobFailsAndIsCleanedUp(t *testing.T) {
	j := newJobs(t, 3)
	j.Expect(j.client.Create(t.Context(), j.broadcast(func(job *kruise.BroadcastJob) {
		job.Spec.Parallelism = new(intstr.FromString("50%"))
		job.Spec.CompletionPolicy.TTLSecondsAfterFinished = new(int32(2))
	}))).To(Succeed())
	j.Eventually(j.told("pull")).Should(Equal("running 2/0/0 of 3"))
	failing := nodefit.Target(&j.pods()[0])
	j.finish(corev1.PodFailed, failing)
	j.Eventually(j.told("pull")).Should(Equal("failed 0/0/2 of 3"))
	j.Expect(j.pods()).To(HaveLen(1))
	j.Eventually(func() bool {
		return apierrors.IsNotFound(j.client.Get(t.Context(), client.ObjectKey{Namespace: j.namespace, Name: "pull"}, &kruise.BroadcastJob{}))
	}).Should(BeTrue())
}

// CJ-6, CJ-8, CJ-9, CJ-10: child after child, each waking the next by its end, whatever kind they are.
func TestAdvancedCronJobOfBothKinds(t *testing.T) {
	j := newJobs(t, 1)
	pods := j.broadcast().Spec.Template
	pods.Spec.RestartPolicy = corev1.RestartPolicyNever
	for name, template := range map[string]kruise.CronJobTemplate{
		"jobs":       {JobTemplate: &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: pods}}},
		"broadcasts": {BroadcastJobTemplate: &kruise.BroadcastJobTemplateSpec{Spec: kruise.BroadcastJobSpec{Template: pods}}},
	} {
		j.Expect(j.client.Create(t.Context(), &kruise.AdvancedCronJob{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: j.namespace},
			Spec: kruise.AdvancedCronJobSpec{
				Schedule: "@every 1s", TimeZone: new("Asia/Tokyo"), ConcurrencyPolicy: kruise.ForbidConcurrent, Template: template,
				SuccessfulJobsHistoryLimit: new(int32(1)),
			},
		})).To(Succeed())
	}
	status := func(name string) func() kruise.AdvancedCronJobStatus {
		return func() kruise.AdvancedCronJobStatus {
			var acj kruise.AdvancedCronJob
			j.Expect(j.client.Get(t.Context(), client.ObjectKey{Namespace: j.namespace, Name: name}, &acj)).To(Succeed())
			return acj.Status
		}
	}
	runs := func(g Gomega, s kruise.AdvancedCronJobStatus) string {
		g.Expect(s.Active).To(HaveLen(1))
		g.Expect(s.LastScheduleTime).NotTo(BeNil())
		g.Expect(s.Active[0].Name).To(HaveSuffix(fmt.Sprintf("-%d", s.LastScheduleTime.Unix())))
		return s.Active[0].Name
	}
	var first string
	j.Eventually(func(g Gomega) {
		job := runs(g, status("jobs")())
		var child batchv1.Job
		g.Expect(j.client.Get(t.Context(), client.ObjectKey{Namespace: j.namespace, Name: job}, &child)).To(Succeed())
		g.Expect(child.Annotations["apps.kruise.io/scheduled-at"]).To(HaveSuffix("+09:00"))
		first = runs(g, status("broadcasts")())
		g.Expect(j.told(first)()).To(Equal("running 1/0/0 of 1"))
	}).Should(Succeed())
	for range 2 {
		was := status("broadcasts")().Active[0].Name
		j.finish(corev1.PodSucceeded)
		j.Eventually(func(g Gomega) { g.Expect(runs(g, status("broadcasts")())).NotTo(Equal(was)) }).Should(Succeed())
		j.Eventually(j.pods).Should(ContainElement(HaveField("Status.Phase", BeElementOf(corev1.PodPhase(""), corev1.PodPending))))
	}
	j.Eventually(func() bool { // the history of one // CJ-8
		return apierrors.IsNotFound(j.client.Get(t.Context(), client.ObjectKey{Namespace: j.namespace, Name: first}, &kruise.BroadcastJob{}))
	}).Should(BeTrue())
	j.Expect(j.events()).NotTo(ContainSubstring("advancedcronjob-controller")) // CJ-11
}

// EJ-2, EJ-7, EJ-8, EJ-9: into pods that are there, one after the other.
func TestEphemeralJobInRunningPods(t *testing.T) {
	j := newJobs(t, 0)
	for i := range 2 {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: j.namespace, Name: fmt.Sprintf("w%d", i), Labels: map[string]string{"app": "web"}},
			Spec: corev1.PodSpec{
				Containers:          []corev1.Container{{Name: "main", Image: "web:1"}},
				EphemeralContainers: nil,
			},
		}
		j.Expect(j.client.Create(t.Context(), pod)).To(Succeed())
	}
	j.Expect(j.client.Create(t.Context(), &kruise.EphemeralJob{
		ObjectMeta: metav1.ObjectMeta{Name: "debug", Namespace: j.namespace},
		Spec: kruise.EphemeralJobSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, TTLSecondsAfterFinished: new(int32(1)),
			Template: kruise.EphemeralContainerTemplateSpec{EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: "tool", Image: "tool:1", ImagePullPolicy: corev1.PullIfNotPresent, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
			}}}},
		},
	})).To(Succeed())
	get := func() (job kruise.EphemeralJob) {
		j.Expect(j.client.Get(t.Context(), client.ObjectKey{Namespace: j.namespace, Name: "debug"}, &job)).To(Succeed())
		return job
	}
	treated := func() (names []string) {
		for _, p := range j.pods() {
			for _, c := range p.Spec.EphemeralContainers {
				j.Expect(c.Env).To(ContainElement(corev1.EnvVar{Name: "KRUISE_EJOB_ID", Value: string(get().UID)}))
				names = append(names, p.Name)
			}
		}
		return names
	}
	end := func(name string) {
		pod := &corev1.Pod{}
		j.Expect(j.client.Get(t.Context(), client.ObjectKey{Namespace: j.namespace, Name: name}, pod)).To(Succeed())
		before := pod.DeepCopy()
		pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "tool", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Now()},
		}}}
		j.Expect(j.client.Status().Patch(t.Context(), pod, client.MergeFrom(before))).To(Succeed())
	}
	j.Eventually(treated).Should(Equal([]string{"w0"}))
	j.Consistently(treated, time.Second).Should(HaveLen(1))
	end("w0")
	j.Eventually(treated).Should(Equal([]string{"w0", "w1"}))
	j.Expect(get().Finalizers).To(ConsistOf("apps.kruise.io/ephemeralcontainers-cleanup"))
	end("w1")
	j.Eventually(func() bool {
		var job kruise.EphemeralJob
		err := j.client.Get(t.Context(), client.ObjectKey{Namespace: j.namespace, Name: "debug"}, &job)
		j.Expect(err == nil && job.Status.Phase == kruise.EphemeralJobFailed).To(BeFalse())
		return apierrors.IsNotFound(err)
	}).Should(BeTrue(), "it succeeds and goes when its time to live has passed")
}

// BJ-1, BJ-2, CJ-2, CJ-3, CJ-4, EJ-1, NP-8.1: an API server that asks the webhooks.
func TestJobsAtAdmission(t *testing.T) {
	w := newWorld(t)
	w.installJobs()
	h := withWebhooks(w)
	j := &jobs{daemons: &daemons{world: w, label: "none"}}

	job := j.broadcast()
	h.Expect(h.client.Create(t.Context(), job)).To(Succeed())
	h.Expect(job.Spec.Template.Spec.RestartPolicy).To(Equal(corev1.RestartPolicyOnFailure))
	h.Expect(job.Spec.Template.Spec.Containers[0].ImagePullPolicy).To(Equal(corev1.PullAlways))
	h.Expect(job.Spec.FailurePolicy.Type).To(Equal(kruise.FailurePolicyTypeFailFast))
	refused := j.broadcast(func(job *kruise.BroadcastJob) {
		job.Name, job.Spec.Template.Spec.Containers[0].Env = "bad", []corev1.EnvVar{{Name: "="}}
	})
	h.Expect(h.client.Create(t.Context(), refused)).To(MatchError(ContainSubstring("spec.template.spec.containers[0].env[0].name")))

	acj := &kruise.AdvancedCronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "nightly", Namespace: h.namespace},
		Spec: kruise.AdvancedCronJobSpec{Schedule: "0 3 * * *", Template: kruise.CronJobTemplate{
			BroadcastJobTemplate: &kruise.BroadcastJobTemplateSpec{Spec: kruise.BroadcastJobSpec{Template: j.broadcast().Spec.Template}},
		}},
	}
	h.Expect(h.client.Create(t.Context(), acj)).To(Succeed())
	h.Expect(*acj.Spec.SuccessfulJobsHistoryLimit).To(Equal(int32(3)))
	before := acj.DeepCopy()
	acj.Spec.Schedule = "0 4 * * *"
	h.Expect(h.client.Patch(t.Context(), acj, client.MergeFrom(before))).To(Succeed())
	before = acj.DeepCopy()
	acj.Spec.Template.BroadcastJobTemplate.Spec.Paused = true
	h.Expect(apierrors.IsInvalid(h.client.Patch(t.Context(), acj, client.MergeFrom(before)))).To(BeTrue())

	ejob := &kruise.EphemeralJob{
		ObjectMeta: metav1.ObjectMeta{Name: "debug", Namespace: h.namespace},
		Spec: kruise.EphemeralJobSpec{Selector: &metav1.LabelSelector{}, Template: kruise.EphemeralContainerTemplateSpec{
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "tool", Image: "tool:1"}}},
		}},
	}
	err := h.client.Create(t.Context(), ejob)
	h.Expect(apierrors.IsBadRequest(err)).To(BeTrue(), "%v", err)
	h.Expect(strings.Count(err.Error(), "it has no default here")).To(Equal(2))
	c := &ejob.Spec.Template.EphemeralContainers[0]
	c.ImagePullPolicy, c.TerminationMessagePolicy = corev1.PullAlways, corev1.TerminationMessageReadFile
	c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	h.Expect(h.client.Create(t.Context(), ejob)).To(Succeed())
}
