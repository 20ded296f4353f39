package integration_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisebeta "github.com/openkruise/kruise-api/apps/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/defaults"
)

// A template with something in it that has defaults, of every sort.
func richTemplate() corev1.PodTemplateSpec {
	probe := func(h corev1.ProbeHandler) *corev1.Probe { return &corev1.Probe{ProbeHandler: h} }
	get := &corev1.HTTPGetAction{Port: intstr.FromInt32(80)}
	fields := []corev1.DownwardAPIVolumeFile{{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}
	volumes := []corev1.VolumeSource{
		{}, {HostPath: &corev1.HostPathVolumeSource{Path: "/a"}}, {Secret: &corev1.SecretVolumeSource{SecretName: "a"}},
		{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "a"}}},
		{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: fields}},
		{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}, {DownwardAPI: &corev1.DownwardAPIProjection{Items: fields}},
		}}},
		{ISCSI: &corev1.ISCSIVolumeSource{TargetPortal: "a", IQN: "iqn.2001-04.com.example:a"}},
		{RBD: &corev1.RBDVolumeSource{CephMonitors: []string{"a"}, RBDImage: "a"}},
		{AzureDisk: &corev1.AzureDiskVolumeSource{DiskName: "a", DataDiskURI: "https://a.blob.core.windows.net/a"}},
		{ScaleIO: &corev1.ScaleIOVolumeSource{Gateway: "a", System: "a", VolumeName: "a", SecretRef: &corev1.LocalObjectReference{Name: "a"}}},
		{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}},
		}}}},
		{Image: &corev1.ImageVolumeSource{Reference: "data:1"}},
	}
	t := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "init", Image: "init:1"}, {Name: "newest", Image: "init"}},
			Containers: []corev1.Container{{
				Name: "main", Image: "host:5000/web@sha256:" + strings.Repeat("0", 64),
				Ports:          []corev1.ContainerPort{{ContainerPort: 80}},
				Env:            []corev1.EnvVar{{Name: "NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
				Resources:      corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("100.5m")}},
				LivenessProbe:  probe(corev1.ProbeHandler{HTTPGet: get.DeepCopy()}),
				ReadinessProbe: probe(corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 80}}),
				StartupProbe:   probe(corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}),
				Lifecycle:      &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: get.DeepCopy()}},
			}},
		},
	}
	for i, v := range volumes {
		t.Spec.Volumes = append(t.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("v%d", i), VolumeSource: v})
	}
	return t
}

// Our table of defaults is that of the API server. // WL-0.9
func TestDefaultsOfTemplatesAreThoseOfTheAPIServer(t *testing.T) {
	w := newWorld(t)
	theirs := &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "rich"}, Template: richTemplate()}
	w.Expect(w.client.Create(t.Context(), theirs, client.DryRunAll)).To(Succeed())
	ours := richTemplate()
	defaults.PodSpec(&ours.Spec)
	if d := cmp.Diff(theirs.Template.Spec, ours.Spec); d != "" {
		t.Error(d)
	}
	claim := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}},
	}}
	mine := []corev1.PersistentVolumeClaim{*claim.DeepCopy()}
	defaults.Claims(mine)
	w.Expect(w.client.Create(t.Context(), &claim, client.DryRunAll)).To(Succeed())
	if d := cmp.Diff(claim.Spec, mine[0].Spec); d != "" || mine[0].Status.Phase != claim.Status.Phase {
		t.Error(d)
	}
}

func TestCloneSetsAreFilledInAndJudged(t *testing.T) { // WL-0.9, WL-1.1, WL-1.2
	w := withWebhooks(newWorld(t))
	bare := w.cloneSet(2)
	w.create(bare)
	stored := w.get().Spec
	w.Expect(*stored.RevisionHistoryLimit).To(BeEquivalentTo(10))
	w.Expect(stored.UpdateStrategy.MaxUnavailable.String()).To(Equal("20%"))
	w.Expect(stored.UpdateStrategy.Type).To(BeEquivalentTo("ReCreate"))
	w.Expect(stored.Template.Spec.DNSPolicy).To(BeEquivalentTo("ClusterFirst"))
	w.Expect(stored.Template.Spec.Containers[0].ImagePullPolicy).To(BeEquivalentTo("Always"))

	for name, tc := range map[string]struct {
		change func(*kruise.CloneSet)
		field  string
	}{
		"a name of a container": {func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.Containers[0].Name = "A b" }, "spec.template.spec.containers[0].name"},
		"a mount of nothing": {func(cs *kruise.CloneSet) {
			cs.Spec.Template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		}, "spec.template.spec.containers[0].volumeMounts[0].name"},
		"a restart policy":        {func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.RestartPolicy = "Never" }, "spec.template.spec.restartPolicy"},
		"a selector":              {func(cs *kruise.CloneSet) { cs.Spec.Selector.MatchLabels["b"], cs.Spec.Template.Labels["b"] = "c", "c" }, "spec.selector"},
		"a partition":             {func(cs *kruise.CloneSet) { cs.Spec.UpdateStrategy.Partition = new(intstr.FromString("half")) }, "spec.updateStrategy.partition"},
		"a pod that is not there": {func(cs *kruise.CloneSet) { cs.Spec.ScaleStrategy.PodsToDelete = []string{"gone"} }, "spec.scaleStrategy.podsToDelete[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.get()
			after := before.DeepCopy()
			tc.change(after)
			err := w.client.Patch(t.Context(), after, client.MergeFrom(before))
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.field) {
				t.Error(err)
			}
		})
	}
	mounted := w.cloneSet(0, func(cs *kruise.CloneSet) {
		cs.Name = "mounted"
		cs.Spec.Template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		cs.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
	})
	w.create(mounted)
	w.Expect(mounted.Spec.VolumeClaimTemplates[0].Status.Phase).To(BeEquivalentTo("Pending"))
	w.isProtected()
}

func (h *hooked) isProtected() { // WL-7.2, NP-9
	h.t.Helper()
	h.change(func(cs *kruise.CloneSet) {
		cs.Labels = map[string]string{"policy.kruise.io/delete-protection": "Cascading"}
	})
	h.Expect(apierrors.IsForbidden(h.client.Delete(h.t.Context(), h.get()))).To(BeTrue())
	h.change(func(cs *kruise.CloneSet) { cs.Spec.Replicas = new(int32(0)) })
	h.Expect(h.client.Delete(h.t.Context(), h.get())).To(Succeed())
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "web"}}
	service.Labels = map[string]string{"policy.kruise.io/delete-protection": "Always"}
	service.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	h.Expect(h.client.Create(h.t.Context(), service)).To(Succeed())
	err := h.client.Delete(h.t.Context(), service)
	h.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
	service.Labels = nil
	h.Expect(h.client.Update(h.t.Context(), service)).To(Succeed())
	h.Expect(h.client.Delete(h.t.Context(), service)).To(Succeed())
}

// Comparing specs costs the API server; one near the size limit must not cost too much.
func TestAHugeCloneSetCanBeChanged(t *testing.T) {
	w := withWebhooks(newWorld(t))
	w.create(w.cloneSet(0, func(cs *kruise.CloneSet) {
		for i := range 4000 {
			cs.Spec.Template.Spec.Containers[0].Env = append(cs.Spec.Template.Spec.Containers[0].Env,
				corev1.EnvVar{Name: fmt.Sprintf("E%d", i), Value: strings.Repeat("x", 200)})
		}
	}))
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Replicas = new(int32(1)) })
	w.change(func(cs *kruise.CloneSet) { cs.Labels = map[string]string{"a": "b"} })
	w.Expect(w.get().Spec.Template.Spec.Containers[0].Env).To(HaveLen(4000))
}

func TestPodsOfOurWorkloadsWaitForTheirGate(t *testing.T) { // WL-4.8
	w := withWebhooks(newWorld(t))
	pod := ownedPod(w.namespace)
	w.Eventually(func() []corev1.PodReadinessGate {
		pod = ownedPod(w.namespace)
		w.Expect(w.client.Create(t.Context(), pod, client.DryRunAll)).To(Succeed())
		return pod.Spec.ReadinessGates
	}).Should(ConsistOf(corev1.PodReadinessGate{ConditionType: "KruisePodReady"}))
	pod = ownedPod(w.namespace)
	pod.OwnerReferences = nil
	w.Expect(w.client.Create(t.Context(), pod, client.DryRunAll)).To(Succeed())
	w.Expect(pod.Spec.ReadinessGates).To(BeEmpty())
}

func TestAnOutageStopsNothingThatRuns(t *testing.T) { // WL-0.9, NP-8 (WH-1)
	w := withWebhooks(newWorld(t))
	w.create(w.cloneSet(1, func(cs *kruise.CloneSet) { cs.Finalizers = []string{"example.com/wait"} }))
	w.stop()
	dry := func(o client.Object) error { return w.client.Create(context.Background(), o, client.DryRunAll) }
	w.Eventually(func() error { return dry(ownedPod(w.namespace)) }).Should(MatchError(ContainSubstring("mpod.kb.io")), "a pod of a workload waits")
	w.Expect(dry(w.cloneSet(1, func(cs *kruise.CloneSet) { cs.Name = "new" }))).To(MatchError(ContainSubstring("cloneset.kb.io")))

	w.Expect(dry(ownedPod("kube-system"))).To(Succeed(), "a pod of the system")
	w.Expect(dry(ownedPod(home))).To(Succeed(), "a pod beside the agent")
	other := ownedPod(w.namespace)
	other.OwnerReferences = nil
	w.Expect(dry(other)).To(Succeed(), "a pod of somebody else")
	w.change(func(cs *kruise.CloneSet) { cs.Labels = map[string]string{"a": "b"} })
	w.change(func(cs *kruise.CloneSet) { cs.Finalizers = nil })
	w.Expect(w.client.Delete(t.Context(), w.get())).To(Succeed(), "an unprotected workload")
	w.start()
	w.create(w.cloneSet(1))
}

func (w *world) statefulSet(change ...func(*kruisebeta.StatefulSet)) *kruisebeta.StatefulSet {
	template := w.cloneSet(1)
	s := &kruisebeta.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: w.namespace},
		Spec:       kruisebeta.StatefulSetSpec{Selector: template.Spec.Selector, Template: template.Spec.Template},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func TestStatefulSetsAreServedInBothVersions(t *testing.T) { // WL-0.2, WL-2.1, WL-2.2, WL-2.3
	w := withWebhooks(newWorld(t))
	beta := w.statefulSet(func(s *kruisebeta.StatefulSet) {
		s.Spec.ReserveOrdinals, s.Spec.ServiceName = []intstr.IntOrString{intstr.FromInt32(1)}, "db"
	})
	w.Expect(w.client.Create(t.Context(), beta)).To(Succeed())
	w.Expect(beta.Spec.PodManagementPolicy).To(BeEquivalentTo("OrderedReady"))
	w.Expect(beta.Spec.Template.Spec.DNSPolicy).To(BeEquivalentTo("ClusterFirst"))
	w.Expect(beta.Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted).To(BeEquivalentTo("Retain"))

	alpha := &kruise.StatefulSet{}
	key := client.ObjectKeyFromObject(beta)
	w.Eventually(func() error { return w.client.Get(t.Context(), key, alpha) }).Should(Succeed())
	w.Expect(alpha.Spec.ServiceName).To(Equal("db"))
	w.Expect(alpha.UID).To(Equal(beta.UID))
	alpha.Spec.Replicas = new(int32(2))
	w.Expect(w.client.Update(t.Context(), alpha)).To(Succeed())
	w.Expect(w.client.Get(t.Context(), key, beta)).To(Succeed())
	w.Expect(*beta.Spec.Replicas).To(BeEquivalentTo(2))
	w.Expect(beta.Spec.ReserveOrdinals).To(BeEmpty(), "v1alpha1 does not know them")

	old := &kruise.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "old", Namespace: w.namespace}}
	old.Spec.Selector, old.Spec.Template = beta.Spec.Selector, w.cloneSet(1).Spec.Template
	w.Expect(w.client.Create(t.Context(), old)).To(Succeed())
	w.Expect(old.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.IntValue()).To(Equal(1))
	w.Expect(w.client.Get(t.Context(), client.ObjectKeyFromObject(old), beta)).To(Succeed())
	w.Expect(beta.Spec.Template.Spec.Containers[0].ImagePullPolicy).To(BeEquivalentTo("Always"))

	old.Spec.ServiceName = "other"
	w.Expect(apierrors.IsInvalid(w.client.Update(t.Context(), old))).To(BeTrue())
	dotted := w.statefulSet(func(s *kruisebeta.StatefulSet) { s.Name = "a.b" })
	w.Expect(w.client.Create(t.Context(), dotted)).To(MatchError(ContainSubstring("metadata.name")))
}

func TestDaemonSetsAreFilledInAndJudged(t *testing.T) { // WL-3.1
	w := newWorld(t)
	w.installCRD("apps.kruise.io_daemonsets.yaml")
	hooks := withWebhooks(w)
	template := w.cloneSet(1)
	set := &kruise.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "log", Namespace: w.namespace},
		Spec:       kruise.DaemonSetSpec{Selector: template.Spec.Selector, Template: template.Spec.Template},
	}
	bad := set.DeepCopy()
	bad.Spec.Template.Spec.Containers[0].Name = "A b"
	hooks.Expect(w.client.Create(t.Context(), set)).To(Succeed())
	hooks.Expect(set.Spec.BurstReplicas.IntValue()).To(Equal(250))
	bad.Name = "bad"
	err := w.client.Create(t.Context(), bad)
	hooks.Expect(apierrors.IsInternalError(err)).To(BeTrue(), "%v", err)
	hooks.Expect(err).To(MatchError(ContainSubstring("spec.template.spec.containers[0].name")))
}

// A certificate is replaced under the eyes of those who call, and nobody is refused. // NP-8 (WH-10, WH-12)
func TestACertificateIsReplacedWhileItIsServed(t *testing.T) {
	w := withWebhooks(newWorld(t))
	first := w.serial()
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: home, Name: "kruise-webhook-certs"}
	w.Expect(w.client.Get(t.Context(), key, secret)).To(Succeed())
	delete(secret.Data, "cert.pem") // as if it had come to its end
	w.Expect(w.client.Update(t.Context(), secret)).To(Succeed())
	w.Eventually(func() string {
		w.Expect(w.client.Create(t.Context(), w.cloneSet(1), client.DryRunAll)).To(Succeed())
		return w.serial()
	}).WithTimeout(3 * patience).WithPolling(time.Second).ShouldNot(Equal(first))
	for range 20 {
		w.Expect(w.client.Create(t.Context(), w.cloneSet(1), client.DryRunAll)).To(Succeed())
	}
}

// serial is the number of the certificate that is served.
func (h *hooked) serial() string {
	h.t.Helper()
	at := fmt.Sprintf("127.0.0.1:%d", h.options.Server.Port)
	conn, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is looked at, not trusted
	h.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}
