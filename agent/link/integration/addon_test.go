package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	addonNamespace = "open-cluster-management-agent-addon"
	addonCRD       = "managedclusteraddons.addon.open-cluster-management.io"
	kubeSigner     = "kubernetes.io/kube-apiserver-client"
	customSigner   = "example.com/addon"
)

// install makes an add-on of the cluster, as its controller on the hub would.
func (w *world) install(name string, signers ...string) {
	w.Helper()
	a := &addonv1alpha1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: w.cluster, Name: name}}
	w.Expect(w.hub.Create(w.Context(), a)).To(Succeed())
	w.Eventually(func(g Gomega) { // the agent may tell of its health meanwhile
		status := w.addOn(g, name)
		for _, signer := range signers {
			status.Status.Registrations = append(status.Status.Registrations, addonv1alpha1.RegistrationConfig{SignerName: signer})
		}
		g.Expect(w.hub.Status().Update(w.Context(), status)).To(Succeed())
	}).Should(Succeed())
	w.Cleanup(func() { _ = w.hub.Delete(w.T.Context(), a) })
}

func (w *world) addOn(g Gomega, name string) *addonv1alpha1.ManagedClusterAddOn {
	return get(g, w.Context(), w.hub, &addonv1alpha1.ManagedClusterAddOn{}, w.cluster, name)
}

func (w *world) addOnSecret(g Gomega, name string) *corev1.Secret {
	return get(g, w.Context(), w.member, &corev1.Secret{}, addonNamespace, name)
}

func (w *world) withoutSecrets(names ...string) {
	w.Helper()
	w.Eventually(func(g Gomega) {
		for _, name := range names {
			err := w.member.Get(w.Context(), client.ObjectKey{Namespace: addonNamespace, Name: name}, &corev1.Secret{})
			g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "%s: %v", name, err)
		}
	}).Should(Succeed())
}

// available says what the add-on's condition is.
func (w *world) available(g Gomega, name string, status metav1.ConditionStatus, reason string) {
	c := meta.FindStatusCondition(w.addOn(g, name).Status.Conditions, "Available")
	g.Expect(c).To(And(Not(BeNil()), HaveField("Status", status), HaveField("Reason", reason)))
}

func (w *world) addOnRequests(g Gomega, addOn, signer string) (out []certificatesv1.CertificateSigningRequest) {
	var all certificatesv1.CertificateSigningRequestList
	g.Expect(w.hub.List(w.Context(), &all, client.MatchingLabels{
		"open-cluster-management.io/cluster-name": w.cluster, "open-cluster-management.io/addon-name": addOn,
	})).To(Succeed())
	for _, csr := range all.Items {
		if csr.Spec.SignerName == signer {
			out = append(out, csr)
		}
	}
	return out
}

// sign plays the hub's controller for a custom signer.
func (w *world) sign(addOn string) {
	w.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.Expect(err).NotTo(HaveOccurred())
	w.Eventually(func(g Gomega) {
		requests := w.addOnRequests(g, addOn, customSigner)
		g.Expect(requests).To(HaveLen(1))
		block, _ := pem.Decode(requests[0].Spec.Request)
		request, err := x509.ParseCertificateRequest(block.Bytes)
		g.Expect(err).NotTo(HaveOccurred())
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: request.Subject, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, request.PublicKey, ca)
		g.Expect(err).NotTo(HaveOccurred())
		requests[0].Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		g.Expect(w.hub.Status().Update(w.Context(), &requests[0])).To(Succeed())
	}).Should(Succeed())
}

// whoami uses the credentials in a secret as the add-on's agent would: as files in one folder.
func (w *world) whoami(g Gomega, secret *corev1.Secret) string {
	config, err := clientcmd.Load(secret.Data["kubeconfig"])
	g.Expect(err).NotTo(HaveOccurred())
	auth := config.AuthInfos["default-auth"]
	g.Expect(auth).NotTo(BeNil())
	if auth.TokenFile != "" {
		g.Expect(auth.TokenFile).To(Equal("token"))
		auth.TokenFile, auth.Token = "", string(secret.Data["token"])
	} else {
		g.Expect([]string{auth.ClientCertificate, auth.ClientKey}).To(Equal([]string{"tls.crt", "tls.key"}))
		auth.ClientCertificate, auth.ClientCertificateData = "", secret.Data["tls.crt"]
		auth.ClientKey, auth.ClientKeyData = "", secret.Data["tls.key"]
	}
	rest, err := clientcmd.NewDefaultClientConfig(*config, nil).ClientConfig()
	g.Expect(err).NotTo(HaveOccurred())
	c, err := client.New(rest, client.Options{Scheme: scheme()})
	g.Expect(err).NotTo(HaveOccurred())
	review := &authenticationv1.SelfSubjectReview{}
	g.Expect(c.Create(w.Context(), review)).To(Succeed())
	return review.Status.UserInfo.Username
}

func TestAnAddOnGetsItsCredentials(t *testing.T) { // OCM-19.4
	t.Parallel()
	const name = "creds-logs"
	w := newWorld(t, "addon-creds")
	w.join()
	w.install(name, kubeSigner, customSigner)
	w.Eventually(func(g Gomega) {
		for _, signer := range []string{kubeSigner, customSigner} {
			g.Expect(w.addOnRequests(g, name, signer)).To(ConsistOf(HaveField("GenerateName", "addon-addon-creds-"+name+"-")))
		}
		g.Expect(w.addOn(g, name).Status.KubeClientDriver).To(Equal("csr"))
	}).Should(Succeed())
	w.approve()
	w.sign(name)

	secrets := []string{name + "-hub-kubeconfig", name + "-example.com-addon-client-cert"}
	const user = "system:open-cluster-management:cluster:addon-creds:addon:" + name + ":agent:a1"
	w.Eventually(func(g Gomega) {
		secret := w.addOnSecret(g, secrets[0])
		g.Expect(secret.Data).To(And(HaveLen(4), HaveKeyWithValue("cluster-name", []byte("addon-creds"))))
		g.Expect(w.whoami(g, secret)).To(Equal(user))
		g.Expect(w.addOnSecret(g, secrets[1]).Data).To(And(HaveLen(3), HaveKey("tls.crt"), HaveKey("tls.key")))
		g.Expect(meta.IsStatusConditionTrue(w.addOn(g, name).Status.Conditions, "ClusterCertificateRotated")).To(BeTrue())
	}).Should(Succeed())

	// What lies beside the certificate is mended, a certificate that is gone is asked for again.
	first := w.addOnSecret(w, secrets[0])
	first.Data["kubeconfig"], first.Data["extra"] = []byte("nonsense"), []byte("somebody else's")
	w.Expect(w.member.Update(t.Context(), first)).To(Succeed())
	w.Eventually(func(g Gomega) {
		secret := w.addOnSecret(g, secrets[0])
		g.Expect(w.whoami(g, secret)).To(Equal(user))
		g.Expect(secret.Data).To(And(HaveKey("extra"), HaveKeyWithValue("tls.crt", first.Data["tls.crt"])))
	}).Should(Succeed())
	w.Expect(w.member.Delete(t.Context(), first)).To(Succeed())
	w.Eventually(func(g Gomega) { g.Expect(w.addOnRequests(g, name, kubeSigner)).To(HaveLen(2)) }).Should(Succeed())
	w.approve()
	w.Eventually(func(g Gomega) {
		secret := w.addOnSecret(g, secrets[0])
		g.Expect(w.whoami(g, secret)).To(Equal(user))
		g.Expect(bytes.Equal(secret.Data["tls.crt"], first.Data["tls.crt"])).To(BeFalse())
	}).Should(Succeed())

	// An add-on that goes while the agent is away leaves no credentials either.
	w.stop()
	w.Expect(w.hub.Delete(t.Context(), w.addOn(w, name))).To(Succeed())
	w.options.HubKubeconfigDir = filepath.Join(t.TempDir(), "new-pod")
	w.start()
	w.withoutSecrets(secrets...)
}

func TestTheHealthOfAnAddOnIsItsLeases(t *testing.T) { // OCM-19.6
	t.Parallel()
	const name = "health-logs"
	w := newWorld(t, "addon-health")
	w.join()
	w.install(name)
	w.Eventually(func(g Gomega) { w.available(g, name, "Unknown", "ManagedClusterAddOnLeaseNotFound") }).Should(Succeed())
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: addonNamespace, Name: name},
		Spec:       coordinationv1.LeaseSpec{RenewTime: new(metav1.NowMicro())},
	}
	w.Expect(w.member.Create(t.Context(), lease)).To(Succeed())
	w.Eventually(func(g Gomega) { w.available(g, name, "True", "ManagedClusterAddOnLeaseUpdated") }).Should(Succeed())
	quiet := w.addOn(w, name).ResourceVersion
	w.Consistently(func(g Gomega) { g.Expect(w.addOn(g, name).ResourceVersion).To(Equal(quiet)) }, "5s", "500ms").Should(Succeed())

	lease.Spec.RenewTime = new(metav1.NewMicroTime(time.Now().Add(-6 * time.Minute)))
	w.Expect(w.member.Update(t.Context(), lease)).To(Succeed())
	w.Eventually(func(g Gomega) { w.available(g, name, "False", "ManagedClusterAddOnLeaseUpdateStopped") }).Should(Succeed())
	w.Expect(w.member.Delete(t.Context(), lease)).To(Succeed())
	w.Eventually(func(g Gomega) { w.available(g, name, "Unknown", "ManagedClusterAddOnLeaseNotFound") }).Should(Succeed())

	// The hub judges this one.
	w.Eventually(func(g Gomega) {
		judged := w.addOn(g, name)
		judged.Status.HealthCheck.Mode = addonv1alpha1.HealthCheckModeCustomized
		judged.Status.Conditions = []metav1.Condition{{Type: "Available", Status: "True", Reason: "WorkApplied", LastTransitionTime: metav1.Now()}}
		g.Expect(w.hub.Status().Update(t.Context(), judged)).To(Succeed())
	}).Should(Succeed())
	w.Consistently(func(g Gomega) { w.available(g, name, "True", "WorkApplied") }, "5s", "500ms").Should(Succeed())
}

func TestTheWorkloadManagerIsAnAddOn(t *testing.T) { // OCM-19.6
	t.Parallel()
	w := newWorld(t, "addon-own")
	w.options.Workloads = true
	w.join()
	w.install("flotilla-workload-manager")
	w.Eventually(func(g Gomega) {
		w.available(g, "flotilla-workload-manager", "True", "ManagedClusterAddOnLeaseUpdated")
		get(g, t.Context(), w.member, &coordinationv1.Lease{}, addonNamespace, "flotilla-workload-manager")
	}).Should(Succeed())
	w.Expect(w.member.Delete(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: addonNamespace, Name: "flotilla-workload-manager"}})).To(Succeed())
}

func TestAnAddOnMayHaveATokenInstead(t *testing.T) { // OCM-2.5, OCM-19.4
	t.Parallel()
	const name = "token-logs"
	w := newWorld(t, "addon-token")
	w.options.AddOnRegistrationAuth, w.options.AddOnTokenSeconds = "token", 600
	w.join()
	w.install(name, kubeSigner)
	const user = "system:serviceaccount:addon-token:" + name + "-agent"
	w.Eventually(func(g Gomega) {
		status := w.addOn(g, name).Status
		g.Expect(status.KubeClientDriver).To(Equal("token"))
		g.Expect(status.Registrations[0].Subject.User).To(Equal(user))
	}).Should(Succeed())

	w.tokenInfrastructure(name)
	var first []byte
	w.Eventually(func(g Gomega) {
		secret := w.addOnSecret(g, name+"-hub-kubeconfig")
		g.Expect(secret.Data).To(And(HaveLen(3), HaveKey("token")))
		g.Expect(w.whoami(g, secret)).To(Equal(user))
		g.Expect(meta.IsStatusConditionTrue(w.addOn(g, name).Status.Conditions, "TokenRefreshed")).To(BeTrue())
		first = secret.Data["token"]
	}).Should(Succeed())

	// The hub makes the account anew: the old token is worth nothing.
	w.Expect(w.hub.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.cluster, Name: name + "-agent"}})).To(Succeed())
	w.tokenInfrastructure(name)
	w.Eventually(func(g Gomega) {
		secret := w.addOnSecret(g, name+"-hub-kubeconfig")
		g.Expect(bytes.Equal(secret.Data["token"], first)).To(BeFalse())
		g.Expect(w.whoami(g, secret)).To(Equal(user))
	}).Should(Succeed())
	w.Expect(w.hub.Delete(t.Context(), w.addOn(w, name))).To(Succeed())
	w.withoutSecrets(name + "-hub-kubeconfig")
}

// tokenInfrastructure is what the hub makes for an add-on that says it has tokens. OCM-19.4
func (w *world) tokenInfrastructure(addOn string) {
	w.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.cluster, Name: addOn + "-agent"}}
	w.Expect(w.hub.Create(w.Context(), account)).To(Succeed())
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.cluster, Name: addOn + "-token"},
		Rules:      []rbacv1.PolicyRule{rule(list("create"), list(""), list("serviceaccounts/token"), account.Name)},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:open-cluster-management:" + w.cluster}},
	}
	for _, o := range []client.Object{role, binding} {
		if err := w.hub.Create(w.Context(), o); !apierrors.IsAlreadyExists(err) {
			w.Expect(err).NotTo(HaveOccurred())
		}
	}
	w.Eventually(func(g Gomega) {
		a := w.addOn(g, addOn)
		meta.SetStatusCondition(&a.Status.Conditions, metav1.Condition{
			Type: "TokenInfrastructureReady", Status: "True", Reason: "TokenInfrastructureApplied",
			Message: "ServiceAccount " + w.cluster + "/" + account.Name + " is ready (UID: " + string(account.UID) + ")",
		})
		g.Expect(w.hub.Status().Update(w.Context(), a)).To(Succeed())
	}).Should(Succeed())
}

func TestAHubWithoutAddOnsMissesNothing(t *testing.T) { // OCM-19
	w := newRoughWorld(t, "addon-none")
	w.options.HealthCheckPeriod = time.Second // so the hub is asked for its add-ons every ten
	definition := get(w, t.Context(), w.hub, &apiextensionsv1.CustomResourceDefinition{}, "", addonCRD)
	w.Expect(w.hub.Delete(t.Context(), definition.DeepCopy())).To(Succeed())
	gone := func(g Gomega) {
		err := w.hub.Get(t.Context(), client.ObjectKeyFromObject(definition), &apiextensionsv1.CustomResourceDefinition{})
		g.Expect(apierrors.IsNotFound(err)).To(BeTrue())
	}
	restore := func() {
		again := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: addonCRD, Annotations: definition.Annotations}, Spec: definition.Spec}
		w.Expect(w.hub.Create(t.Context(), again)).To(Succeed())
		w.Expect(established(t.Context(), w.hub)).To(Succeed())
	}
	w.Eventually(gone).Should(Succeed())
	w.join() // to where it tells that it is available

	restore()
	w.install("late-logs")
	w.Eventually(func(g Gomega) { w.available(g, "late-logs", "Unknown", "ManagedClusterAddOnLeaseNotFound") }).Should(Succeed())

	w.Expect(w.hub.Delete(t.Context(), definition.DeepCopy())).To(Succeed())
	w.Eventually(gone).Should(Succeed())
	restore()
	w.install("later-logs")
	w.Eventually(func(g Gomega) { w.available(g, "later-logs", "Unknown", "ManagedClusterAddOnLeaseNotFound") }).WithTimeout(2 * soon).Should(Succeed())
}
