package integration_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/app"
	"github.com/flotilla-project/flotilla/agent/controllers/statefulset"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
	"github.com/flotilla-project/flotilla/pkg/index"
	"github.com/flotilla-project/flotilla/pkg/manager"
	"github.com/flotilla-project/flotilla/test/fleet"
)

// stateful is a world with StatefulSets.
type stateful struct{ *world }

func newStateful(t *testing.T) *stateful {
	t.Helper()
	w := &stateful{newWorld(t)}
	w.installCRD("apps.kruise.io_statefulsets.yaml")
	w.Eventually(func() error { return w.client.List(t.Context(), &kruise.StatefulSetList{}) }).Should(Succeed())
	(&daemons{world: w.world}).grant()
	return w
}

// controller starts the StatefulSet controller under the agent's service account; stop kills it.
func (w *stateful) controller(gates ...func(*statefulset.Options)) (counted *writes, stop context.CancelFunc) {
	w.t.Helper()
	options := statefulset.Options{AutoDeletePVC: true, PodIndexLabel: true}
	for _, g := range gates {
		g(&options)
	}
	counted = &writes{counts: map[string]int{}}
	cfg := rest.CopyConfig(w.cfg)
	cfg.Impersonate.UserName = "system:serviceaccount:open-cluster-management-agent:agent"
	cfg.Impersonate.Groups = []string{"system:serviceaccounts", "system:authenticated"}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		counted.next = next
		return counted
	})
	m, err := manager.New(cfg, scheme(w.world), logr.Discard(), "agent-test", w.options())
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(index.ByOwner(w.t.Context(), m.GetFieldIndexer(), &corev1.Pod{}, &appsv1.ControllerRevision{})).To(Succeed())
	w.Expect(statefulset.Register(m, options)).To(Succeed())
	return counted, w.run(m)
}

func (w *stateful) statefulSet(replicas int32, change ...func(*kruise.StatefulSet)) *kruise.StatefulSet {
	set := &kruise.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: w.namespace},
		Spec: kruise.StatefulSetSpec{
			Replicas: &replicas, ServiceName: "dbs", PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "db"}},
				Spec: corev1.PodSpec{
					Containers:     []corev1.Container{{Name: "main", Image: "web:1"}},
					ReadinessGates: []corev1.PodReadinessGate{{ConditionType: pub.InPlaceUpdateReady}},
				},
			},
		},
	}
	for _, c := range change {
		c(set)
	}
	return set
}

func inOrder(set *kruise.StatefulSet) {
	set.Spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement
}

func rollingUpdate(policy kruise.PodUpdateStrategyType, unavailable string, partition int32) func(*kruise.StatefulSet) {
	return func(set *kruise.StatefulSet) {
		set.Spec.UpdateStrategy.RollingUpdate = &kruise.RollingUpdateStatefulSetStrategy{
			PodUpdatePolicy: policy, MaxUnavailable: new(intstr.Parse(unavailable)), Partition: &partition,
		}
	}
}

func dbImage(name string) func(*kruise.StatefulSet) {
	return func(set *kruise.StatefulSet) { set.Spec.Template.Spec.Containers[0].Image = name }
}

func disks(set *kruise.StatefulSet) {
	claim := corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}}}
	claim.Name = "data"
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{claim}
	set.Spec.Template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
}

func (w *stateful) make(set *kruise.StatefulSet) {
	w.t.Helper()
	w.Expect(w.client.Create(w.t.Context(), set)).To(Succeed())
}

func (w *stateful) set() *kruise.StatefulSet {
	w.t.Helper()
	var set kruise.StatefulSet
	w.Expect(w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "db"}, &set)).To(Succeed())
	return &set
}

func (w *stateful) alter(changes ...func(*kruise.StatefulSet)) {
	w.t.Helper()
	before := w.set()
	after := before.DeepCopy()
	for _, f := range changes {
		f(after)
	}
	w.Expect(w.client.Patch(w.t.Context(), after, client.MergeFrom(before))).To(Succeed())
}

// settled waits until the StatefulSet says so of its present generation.
func (w *stateful) settled() {
	w.t.Helper()
	w.Eventually(func() string {
		set := w.set()
		if set.Status.ObservedGeneration != set.Generation {
			return "its status is older than its spec"
		}
		for _, c := range set.Status.Conditions {
			if c.Type == "Ready" && c.Status == corev1.ConditionTrue {
				return "Ready"
			}
		}
		return fmt.Sprintf("%+v", set.Status.Conditions)
	}).Should(Equal("Ready"))
}

// images are what the pods run, by name.
func (w *stateful) images() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, p := range w.pods() {
		all[p.Name] = p.Spec.Containers[0].Image
	}
	return all
}

func TestStatefulSetFromNothingToAnotherImage(t *testing.T) { // WL-0.2, WL-2.15, WL-2.12
	w := newStateful(t)
	w.kubelet(always)
	count, _ := w.controller()
	const n = 10
	w.make(w.statefulSet(n, rollingUpdate(kruise.InPlaceIfPossiblePodUpdateStrategyType, "50%", 0)))
	w.settled()
	pods := w.pods()
	w.Expect(pods).To(HaveLen(n))
	t.Logf("creating %d pods took %.2f writes a pod: %v", n, float64(count.onPods())/n, count)
	w.Expect(count.onPods()).To(BeNumerically("<=", 2*n)) // the pod, and its gate
	status := w.set().Status
	for _, pod := range pods {
		w.Expect(pod.Labels).To(HaveKeyWithValue("controller-revision-hash", status.UpdateRevision))
		w.Expect(pod.Labels).To(HaveKeyWithValue("statefulset.kubernetes.io/pod-name", pod.Name))
		w.Expect(pod.Labels).To(HaveKeyWithValue("lifecycle.apps.kruise.io/state", "Normal"))
		w.Expect(pod.Spec.Hostname).To(Equal(pod.Name))
	}
	w.Expect(status.AvailableReplicas).To(BeEquivalentTo(n))
	var scale autoscalingv1.Scale
	w.Expect(w.client.SubResource("scale").Get(t.Context(), w.set(), &scale)).To(Succeed())
	w.Expect(scale.Status.Selector).To(Equal("app=db"))
	w.Expect(scale.Status.Replicas).To(BeEquivalentTo(n))

	count.reset()
	w.Consistently(count.String, time.Second).Should(Equal("map[]"), "a settled set is written to")
	w.alter(dbImage("web:2"))
	w.settled()
	t.Logf("updating %d pods in place took %.2f writes a pod: %v", n, float64(count.onPods())/n, count)
	w.Expect(count.onPods()).To(BeNumerically("<=", 4*n))
	w.Expect(uids(w.pods())).To(Equal(uids(pods)), "pods were made anew")
	for _, pod := range w.pods() {
		w.Expect(pod.Status.ContainerStatuses[0].RestartCount).To(BeEquivalentTo(1))
	}
	w.Expect(w.set().Status.CurrentRevision).To(Equal(w.set().Status.UpdateRevision))
	w.Eventually(func() []string {
		var events corev1.EventList
		w.Expect(w.client.List(t.Context(), &events, client.InNamespace(w.namespace))).To(Succeed())
		var reasons []string
		for _, e := range events.Items {
			if e.Source.Component == "statefulset-controller" && e.InvolvedObject.Kind == "StatefulSet" {
				reasons = append(reasons, e.Reason)
			}
		}
		return reasons
	}).Should(ContainElements("SuccessfulCreate", "SuccessfulUpdatePodInPlace"))
}

func TestStatefulSetInOrderWithClaims(t *testing.T) { // WL-2.4, WL-2.6, WL-2.10
	w := newStateful(t)
	w.kubelet(always)
	_, kill := w.controller()
	w.make(w.statefulSet(3, inOrder, disks))
	w.settled()
	before := uids(w.pods())
	w.alter(dbImage("web:2"))
	w.Eventually(func() string { return w.images()["db-2"] }, patience, time.Millisecond).Should(Equal("web:2"))
	kill() // and another one goes on
	w.controller()
	w.settled()
	w.Expect(w.images()).To(Equal(map[string]string{"db-0": "web:2", "db-1": "web:2", "db-2": "web:2"}))
	for name, uid := range uids(w.pods()) {
		w.Expect(before[name]).NotTo(Equal(uid))
	}
	w.alter(func(set *kruise.StatefulSet) {
		set.Spec.ReserveOrdinals = []intstr.IntOrString{intstr.FromString("1-2")}
	})
	w.settled()
	w.Expect(slices.Sorted(maps.Keys(w.images()))).To(Equal([]string{"db-0", "db-3", "db-4"})) // WL-2.16.2
	var claims corev1.PersistentVolumeClaimList
	w.Expect(w.client.List(t.Context(), &claims, client.InNamespace(w.namespace))).To(Succeed())
	w.Expect(claims.Items).To(HaveLen(5), "claims are retained")
	for _, claim := range claims.Items {
		w.Expect(claim.Labels).To(Equal(map[string]string{"app": "db"}))
		w.Expect(claim.OwnerReferences).To(BeEmpty())
	}
}

func TestStatefulSetPartitionAndBadImage(t *testing.T) { // WL-2.7, WL-2.10
	w := newStateful(t)
	w.kubelet(func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image != "web:bad" })
	w.controller()
	w.make(w.statefulSet(5, rollingUpdate(kruise.RecreatePodUpdateStrategyType, "2", 3)))
	w.settled()
	w.alter(dbImage("web:2"))
	w.settled()
	want := map[string]string{"db-0": "web:1", "db-1": "web:1", "db-2": "web:1", "db-3": "web:2", "db-4": "web:2"}
	w.Expect(w.images()).To(Equal(want))
	lost := w.pods()[0]
	w.Expect(w.client.Delete(t.Context(), &lost)).To(Succeed())
	w.Eventually(func() string { return uids(w.pods())[lost.Name] }).ShouldNot(Or(BeEmpty(), Equal(string(lost.UID))))
	w.settled()
	w.Expect(w.images()).To(Equal(want))

	w.alter(dbImage("web:bad"), rollingUpdate(kruise.RecreatePodUpdateStrategyType, "2", 0))
	bad := func() int {
		return len(slices.DeleteFunc(w.pods(), func(p corev1.Pod) bool { return p.Spec.Containers[0].Image != "web:bad" }))
	}
	w.Eventually(bad).Should(Equal(2))
	w.Consistently(bad, time.Second).Should(Equal(2))
	w.alter(dbImage("web:3"))
	w.settled()
	w.Expect(bad()).To(BeZero())
}

func (w *stateful) claim(n int) *corev1.PersistentVolumeClaim {
	w.t.Helper()
	var claim corev1.PersistentVolumeClaim
	w.Expect(w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: fmt.Sprintf("data-db-%d", n)}, &claim)).To(Succeed())
	return &claim
}

// provision binds a claim and gives it what it asks for.
func (w *stateful) provision(n int) {
	w.t.Helper()
	claim := w.claim(n)
	before := claim.DeepCopy()
	claim.Status.Phase, claim.Status.Capacity = corev1.ClaimBound, claim.Spec.Resources.Requests
	w.Expect(w.client.Status().Patch(w.t.Context(), claim, client.MergeFrom(before))).To(Succeed())
}

func (w *stateful) asks(n int) string {
	w.t.Helper()
	size := w.claim(n).Spec.Resources.Requests[corev1.ResourceStorage]
	return size.String()
}

func diskSize(quantity string) func(*kruise.StatefulSet) {
	return func(set *kruise.StatefulSet) {
		set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse(quantity)
	}
}

func TestStatefulSetClaimsGrowAndGo(t *testing.T) { // WL-2.8, WL-2.9
	w := newStateful(t)
	w.kubelet(always)
	w.controller(func(o *statefulset.Options) { o.AutoResizePVC = true })
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-disk"}, Provisioner: "none", AllowVolumeExpansion: new(true)}
	w.Expect(w.client.Create(t.Context(), class)).To(Succeed())
	t.Cleanup(func() { w.Expect(w.client.Delete(context.Background(), class)).To(Succeed()) })
	w.make(w.statefulSet(2, disks, func(set *kruise.StatefulSet) {
		set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName = &class.Name
		set.Spec.VolumeClaimUpdateStrategy.Type = kruise.OnPodRollingUpdateVolumeClaimUpdateStrategyType
		set.Spec.PersistentVolumeClaimRetentionPolicy = &kruise.StatefulSetPersistentVolumeClaimRetentionPolicy{
			WhenDeleted: kruise.DeletePersistentVolumeClaimRetentionPolicyType, WhenScaled: kruise.DeletePersistentVolumeClaimRetentionPolicyType,
		}
	}))
	w.settled()
	for n := range 2 {
		w.provision(n)
		owner := w.claim(n).OwnerReferences
		w.Expect(owner).To(HaveLen(1))
		w.Expect(owner[0].UID).To(Equal(w.set().UID))
	}

	w.alter(diskSize("2Gi"), dbImage("web:2"))
	w.Eventually(func() string { return w.asks(1) }).Should(Equal("2Gi"))
	w.Expect(w.asks(0)).To(Equal("1Gi"), "one place at a time")
	w.Expect(w.images()).To(HaveKeyWithValue("db-1", "web:1"))
	w.provision(1)
	w.Eventually(func() string { return w.images()["db-1"] }).Should(Equal("web:2"))
	w.Eventually(func() string { return w.asks(0) }).Should(Equal("2Gi"))
	w.provision(0)
	w.settled()
	w.Expect(w.set().Status.VolumeClaims).To(Equal([]kruise.VolumeClaimStatus{{VolumeClaimName: "data", CompatibleReplicas: 2, CompatibleReadyReplicas: 2}}))

	gone := uids(w.pods())["db-1"]
	w.alter(func(set *kruise.StatefulSet) { set.Spec.Replicas = new(int32(1)) })
	w.Eventually(func() string {
		for _, ref := range w.claim(1).OwnerReferences {
			return string(ref.UID)
		}
		return ""
	}).Should(Equal(gone))
	w.Eventually(w.images).ShouldNot(HaveKey("db-1"))
}

// The agent as it is installed, told to run nothing but StatefulSets.
func TestAgentThatRunsStatefulSetsAlone(t *testing.T) { // WL-0.3
	w := newStateful(t)
	w.kubelet(always)
	o, err := app.NewOptions()
	w.Expect(err).NotTo(HaveOccurred())
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	o.Bind(flags)
	w.Expect(flags.Parse([]string{"--controllers=statefulset", "--feature-gates=StatefulSetStartOrdinal=true,PodIndexLabel=false", "--kubeconfig=" + fleet.Shared(t).Cluster(member).Kubeconfig()})).To(Succeed())
	o.Manager.Namespace = w.namespace
	w.Expect(o.Validate()).To(BeEmpty())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		w.Expect(<-done).To(Succeed())
	})
	w.make(w.statefulSet(2, func(set *kruise.StatefulSet) { set.Spec.Ordinals = &kruise.StatefulSetOrdinals{Start: 3} }))
	w.settled()
	w.Expect(slices.Sorted(maps.Keys(w.images()))).To(Equal([]string{"db-3", "db-4"}))
	w.Expect(w.pods()[0].Labels).NotTo(HaveKey("apps.kubernetes.io/pod-index"))
}

// What OpenKruise stored is taken over, and what lost its owner is adopted: nothing restarts. // WL-0.5, WL-0.6
func TestStatefulSetIsTakenOver(t *testing.T) {
	w := newStateful(t)
	w.kubelet(always)
	set := w.statefulSet(2)
	w.make(set)
	data, err := revision.Data(&set.Spec.Template)
	w.Expect(err).NotTo(HaveOccurred())
	owner := []metav1.OwnerReference{*metav1.NewControllerRef(set, kruise.SchemeGroupVersion.WithKind("StatefulSet"))}
	stored := &appsv1.ControllerRevision{Revision: 1, ObjectMeta: metav1.ObjectMeta{
		Name: "db-5bd6fb65d4", Namespace: w.namespace, OwnerReferences: owner,
		Labels: map[string]string{"app": "db", "controller.kubernetes.io/hash": "5bd6fb65d4"},
	}}
	stored.Data.Raw = data
	w.Expect(w.client.Create(t.Context(), stored)).To(Succeed())
	for i, refs := range [][]metav1.OwnerReference{owner, nil} {
		name := fmt.Sprintf("db-%d", i)
		w.Expect(w.client.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: w.namespace, OwnerReferences: refs,
			Labels: map[string]string{"app": "db", "controller-revision-hash": stored.Name, "statefulset.kubernetes.io/pod-name": name},
		}, Spec: set.Spec.Template.Spec})).To(Succeed())
	}
	before := uids(w.pods())
	w.controller()
	w.settled()
	w.Expect(uids(w.pods())).To(Equal(before))
	w.Expect(w.set().Status.UpdateRevision).To(Equal(stored.Name))
	for _, pod := range w.pods() {
		w.Expect(metav1.IsControlledBy(&pod, set)).To(BeTrue())
	}
	w.alter(dbImage("web:2"), rollingUpdate(kruise.InPlaceIfPossiblePodUpdateStrategyType, "1", 0))
	w.settled()
	w.Expect(uids(w.pods())).To(Equal(before), "pods of before cannot be updated in place")
	for _, pod := range w.pods() { // WL-2.16.9
		w.Expect(pod.Labels).NotTo(HaveKey("lifecycle.apps.kruise.io/state"))
		w.Expect(pod.Status.ContainerStatuses[0].Image).To(Equal("web:2"))
	}
}
