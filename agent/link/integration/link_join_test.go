package integration

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func (w *world) node(name, zone string) {
	w.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone, corev1.LabelTopologyRegion: "r1"}}}
	w.Expect(w.member.Create(w.Context(), n)).To(Succeed())
	w.Cleanup(func() { _ = w.member.Delete(w.T.Context(), n) })
	n.Status.Capacity = corev1.ResourceList{"cpu": resource.MustParse("4")}
	n.Status.Allocatable = n.Status.Capacity
	w.Expect(w.member.Status().Update(w.Context(), n)).To(Succeed())
}

func TestAnAgentJoinsWithNothingButABootstrapKubeconfig(t *testing.T) { // OCM-3.2, OCM-21.2
	w := newWorld(t, "joins")
	w.node("joins-n1", "b")
	w.node("joins-n2", "a")
	w.start()

	csr := w.approve()
	w.Expect(csr.GenerateName).To(Equal("joins-"))
	w.Expect(csr.Spec.SignerName).To(Equal("kubernetes.io/kube-apiserver-client"))
	w.Eventually(func(g Gomega) {
		cluster := w.managedCluster(g)
		g.Expect(cluster.Spec.HubAcceptsClient).To(BeFalse())
	}).Should(Succeed())

	// The certificate is stored on both sides before anything else happens.
	w.Eventually(func(g Gomega) {
		secret := get(g, t.Context(), w.member, &corev1.Secret{}, "open-cluster-management-agent", "hub-kubeconfig-secret")
		g.Expect(secret.Data).To(And(HaveKeyWithValue("cluster-name", []byte("joins")), HaveKeyWithValue("agent-name", []byte("a1")),
			HaveKey("tls.crt"), HaveKey("tls.key"), HaveKey("kubeconfig")))
		block, _ := pem.Decode(secret.Data["tls.crt"])
		cert, err := x509.ParseCertificate(block.Bytes)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(cert.Subject.CommonName).To(Equal("system:open-cluster-management:joins:a1"))
	}).Should(Succeed())
	w.Eventually(func(g Gomega) { // the files come right after the secret
		info, err := os.Stat(filepath.Join(w.options.HubKubeconfigDir, "tls.key"))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)))
	}).Should(Succeed())

	w.accept()
	w.Eventually(func(g Gomega) {
		status := w.managedCluster(g).Status
		g.Expect(meta.IsStatusConditionTrue(status.Conditions, clusterv1.ManagedClusterConditionJoined)).To(BeTrue())
		g.Expect(meta.IsStatusConditionTrue(status.Conditions, clusterv1.ManagedClusterConditionAvailable)).To(BeTrue())
		g.Expect(status.Version.Kubernetes).To(HavePrefix("v1."))
		cpu := status.Capacity["cpu"]
		g.Expect(cpu.String()).To(Equal("8"))
		claims := map[string]string{}
		for _, c := range status.ClusterClaims {
			claims[c.Name] = c.Value
		}
		g.Expect(claims).To(And(HaveKeyWithValue("zones.flotilla.dev", "a,b"), HaveKeyWithValue("regions.flotilla.dev", "r1"),
			HaveKey("id.k8s.io"), HaveKeyWithValue("kubeversion.open-cluster-management.io", status.Version.Kubernetes)))
	}).Should(Succeed())

	lease := func(g Gomega) time.Time {
		return get(g, t.Context(), w.hub, &coordinationv1.Lease{}, "joins", "managed-cluster-lease").Spec.RenewTime.Time
	}
	before := lease(w)
	w.Eventually(lease).Should(BeTemporally(">", before))

	var events eventsv1.EventList
	w.Expect(w.hub.List(t.Context(), &events, client.InNamespace("joins"))).To(Succeed())
	w.Expect(events.Items).To(ContainElement(And(HaveField("Reason", "Available"), HaveField("ReportingController", "klusterlet-agent"))))

	// A claim of a user is reported within moments, and a third zone changes ours.
	claim := &clusterv1alpha1.ClusterClaim{ObjectMeta: metav1.ObjectMeta{Name: "tier.example.com"}, Spec: clusterv1alpha1.ClusterClaimSpec{Value: "gold"}}
	w.Expect(w.member.Create(t.Context(), claim)).To(Succeed())
	w.node("joins-n3", "c")
	w.Eventually(func(g Gomega) {
		g.Expect(w.managedCluster(g).Status.ClusterClaims).To(ContainElements(
			clusterv1.ManagedClusterClaim{Name: "tier.example.com", Value: "gold"},
			clusterv1.ManagedClusterClaim{Name: "zones.flotilla.dev", Value: "a,b,c"}))
	}).WithTimeout(quickly).Should(Succeed())

	// Nothing changes, nothing is written.
	var quiet string
	w.Eventually(func(g Gomega) {
		now := w.managedCluster(g).ResourceVersion
		defer func() { quiet = now }()
		g.Expect(now).To(Equal(quiet))
	}).WithPolling(3 * time.Second).Should(Succeed())
	w.Consistently(func(g Gomega) { g.Expect(w.managedCluster(g).ResourceVersion).To(Equal(quiet)) }, "6s", "500ms").Should(Succeed())
}

func TestARestartedAgentUsesWhatItHas(t *testing.T) { // OCM-2.4
	t.Parallel()
	w := newWorld(t, "restarts")
	w.join()
	w.stop()
	w.options.HubKubeconfigDir = filepath.Join(t.TempDir(), "new-pod") // as in a cluster: the secret is all that is left
	w.start()
	cluster := w.managedCluster(w)
	meta.RemoveStatusCondition(&cluster.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
	w.Expect(w.hub.Status().Update(t.Context(), cluster)).To(Succeed())
	w.Eventually(func(g Gomega) {
		g.Expect(meta.IsStatusConditionTrue(w.managedCluster(g).Status.Conditions, clusterv1.ManagedClusterConditionAvailable)).To(BeTrue())
	}).Should(Succeed())
	w.Expect(w.requests()).To(Equal(1))
}

func (w *world) requests() int {
	w.Helper()
	var all certificatesv1.CertificateSigningRequestList
	w.Expect(w.hub.List(w.Context(), &all, client.MatchingLabels{clusterv1.ClusterNameLabelKey: w.cluster})).To(Succeed())
	return len(all.Items)
}

func TestASecretThatWasTamperedWithIsRenewed(t *testing.T) { // OCM-6.1
	t.Parallel()
	w := newWorld(t, "renews")
	w.join()
	secret := get(w, t.Context(), w.member, &corev1.Secret{}, "open-cluster-management-agent", "hub-kubeconfig-secret")
	old := secret.Data["tls.crt"]
	secret.Data["kubeconfig"] = append(secret.Data["kubeconfig"], []byte("\n# edited\n")...)
	w.Expect(w.member.Update(t.Context(), secret)).To(Succeed())
	w.approve() // with the certificate it has, the agent asks for the next
	w.Eventually(func(g Gomega) {
		now := get(g, t.Context(), w.member, &corev1.Secret{}, "open-cluster-management-agent", "hub-kubeconfig-secret")
		g.Expect(now.Data["tls.crt"]).NotTo(Equal(old))
		rotated := meta.FindStatusCondition(w.managedCluster(g).Status.Conditions, "ClusterCertificateRotated")
		g.Expect(rotated).NotTo(BeNil())
		g.Expect(rotated.Reason).To(Equal("ClientCertificateUpdated"))
	}).Should(Succeed())
	// The running clients go on with it.
	w.Eventually(func(g Gomega) time.Time {
		return get(g, t.Context(), w.hub, &coordinationv1.Lease{}, "renews", "managed-cluster-lease").Spec.RenewTime.Time
	}).Should(BeTemporally(">", time.Now()))
}

func TestADeniedAgentAsksAgainWithAFreshKey(t *testing.T) { // OCM-3.3
	t.Parallel()
	w := newWorld(t, "denied")
	w.start()
	var first certificatesv1.CertificateSigningRequest
	w.Eventually(func(g Gomega) {
		var all certificatesv1.CertificateSigningRequestList
		g.Expect(w.hub.List(t.Context(), &all, client.MatchingLabels{clusterv1.ClusterNameLabelKey: "denied"})).To(Succeed())
		g.Expect(all.Items).To(HaveLen(1))
		first = all.Items[0]
	}).Should(Succeed())
	first.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{
		Type: certificatesv1.CertificateDenied, Status: corev1.ConditionTrue, Reason: "Test", Message: "no",
	}}
	w.Expect(w.hub.SubResource("approval").Update(t.Context(), &first)).To(Succeed())
	second := w.approve()
	w.Expect(second.Name).NotTo(Equal(first.Name))
	w.Expect(second.Spec.Request).NotTo(Equal(first.Spec.Request))
}

func TestAChangedBootstrapKubeconfigJoinsAgain(t *testing.T) { // OCM-2.4
	t.Parallel()
	w := newWorld(t, "moves")
	w.join()
	w.Expect(w.requests()).To(Equal(1))
	w.writeBootstrapTo("renamed-hub") // the entry's name takes part in the comparison
	w.approve()
	w.Eventually(func(g Gomega) {
		secret := get(g, t.Context(), w.member, &corev1.Secret{}, "open-cluster-management-agent", "hub-kubeconfig-secret")
		g.Expect(string(secret.Data["kubeconfig"])).To(ContainSubstring("renamed-hub"))
	}).Should(Succeed())
	w.Expect(w.requests()).To(Equal(2))
}
