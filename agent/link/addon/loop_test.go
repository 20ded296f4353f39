package addon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/util/keyutil"
	"open-cluster-management.io/api/addon/v1alpha1"
	"open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var logsSecret = types.NamespacedName{Namespace: defaultNamespace, Name: "logs-hub-kubeconfig"}

// world is a hub and a member, and an agent that reconciles when it is told to.
type world struct {
	*WithT
	t       *testing.T
	hub     client.WithWatch
	member  client.WithWatch
	agent   *Agent
	held    string
	patches atomic.Int32
	refuse  error // what the hub says to lists
	forget  bool  // the hub has no place for the driver
}

func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, certificatesv1.AddToScheme, coordinationv1.AddToScheme, v1alpha1.Install, v1beta1.Install,
	} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	w := &world{WithT: NewWithT(t), t: t}
	w.SetDefaultEventuallyTimeout(10 * time.Second)
	scheme := newScheme(t)
	w.member = fake.NewClientBuilder().WithScheme(scheme).
		WithObjects(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: defaultNamespace}}).Build()
	built := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.ManagedClusterAddOn{}, &certificatesv1.CertificateSigningRequest{}).Build()
	w.hub = interceptor.NewClient(built, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, addOns := list.(*v1alpha1.ManagedClusterAddOnList); addOns && w.refuse != nil {
				return w.refuse
			}
			return c.List(ctx, list, opts...)
		},
		Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
			var o client.ListOptions
			o.ApplyOptions(opts)
			if o.Raw != nil && o.Raw.SendInitialEvents != nil { // the fake does not know of it
				return nil, apierrors.NewInvalid(schema.GroupKind{}, "", nil)
			}
			return c.Watch(ctx, list, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			w.patches.Add(1)
			err := c.SubResource(sub).Patch(ctx, o, p, opts...)
			if a, ok := o.(*v1alpha1.ManagedClusterAddOn); ok && w.forget {
				a.Status.KubeClientDriver = ""
			}
			return err
		},
	})
	w.restart()
	return w
}

// restart is another process with another memory.
func (w *world) restart() {
	ctx, cancel := context.WithCancel(w.t.Context())
	a := New(Deps{
		Hub: w.hub, Local: w.member, Holder: east, Kubeconfig: []byte("by certificate"), TokenKubeconfig: []byte("by token"),
		Held:      func(context.Context) (string, error) { return w.held, nil },
		Namespace: "open-cluster-management-agent", Record: "flotilla-addons-x",
	}, Options{Driver: driverCSR, Look: 50 * time.Millisecond, Retry: time.Second})
	a.begin(ctx, w.hub, Kinds[0])
	w.agent = a
	w.t.Cleanup(func() { cancel(); a.end() })
}

func (w *world) reconcile() error {
	w.t.Helper()
	_, err := w.agent.reconcile(w.t.Context(), "logs")
	return err
}

func (w *world) secret(g Gomega) *corev1.Secret {
	var s corev1.Secret
	g.Expect(w.member.Get(w.t.Context(), logsSecret, &s)).To(Succeed())
	return &s
}

func (w *world) requests(g Gomega) []certificatesv1.CertificateSigningRequest {
	var all certificatesv1.CertificateSigningRequestList
	g.Expect(w.hub.List(w.t.Context(), &all)).To(Succeed())
	return all.Items
}

// issue signs the request that waits.
func (w *world) issue(life time.Duration) {
	w.t.Helper()
	w.Eventually(func(g Gomega) {
		for _, csr := range w.requests(g) {
			if len(csr.Status.Conditions) > 0 {
				continue
			}
			block, _ := pem.Decode(csr.Spec.Request)
			request, err := x509.ParseCertificateRequest(block.Bytes)
			g.Expect(err).NotTo(HaveOccurred())
			csr.Status.Certificate = w.sign(request, life)
			csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue}}
			g.Expect(w.hub.Status().Update(w.t.Context(), &csr)).To(Succeed())
			return
		}
		g.Expect("no request waits").To(BeEmpty())
	}).Should(Succeed())
}

func (w *world) sign(request *x509.CertificateRequest, life time.Duration) []byte {
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.Expect(err).NotTo(HaveOccurred())
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: request.Subject, NotBefore: now.Add(life - time.Hour), NotAfter: now.Add(life)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, request.PublicKey, ca)
	w.Expect(err).NotTo(HaveOccurred())
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (w *world) given() {
	w.t.Helper()
	w.Expect(w.reconcile()).To(Succeed())
	w.issue(time.Hour)
	w.Eventually(func(g Gomega) { g.Expect(w.secret(g).Data).To(HaveKey(keyCert)) }).Should(Succeed())
}

func TestACertificateIsRenewedInTime(t *testing.T) { // OCM-6.1, OCM-19.4
	w := newWorld(t, alpha(kube()))
	w.Expect(w.reconcile()).To(Succeed())
	w.issue(4 * time.Second) // of an hour: due at once, but not faster than it runs out
	w.issue(time.Hour)
	w.Eventually(func(g Gomega) {
		block, _ := pem.Decode(w.secret(g).Data[keyCert])
		cert, err := x509.ParseCertificate(block.Bytes)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(time.Until(cert.NotAfter)).To(BeNumerically(">", 50*time.Minute))
	}).Should(Succeed())
	w.Expect(w.requests(w)).To(HaveLen(2))
	w.Eventually(func(g Gomega) {
		g.Expect(w.reconcile()).To(Succeed())
		var a v1alpha1.ManagedClusterAddOn
		g.Expect(w.hub.Get(t.Context(), client.ObjectKeyFromObject(alpha()), &a)).To(Succeed())
		g.Expect(meta.IsStatusConditionTrue(a.Status.Conditions, "ClusterCertificateRotated")).To(BeTrue())
	}).Should(Succeed())
	w.Consistently(func(g Gomega) { g.Expect(w.requests(g)).To(HaveLen(2)) }, "300ms").Should(Succeed())
}

func TestARestartedAgentKeepsWhatIsGood(t *testing.T) {
	w := newWorld(t, alpha(kube()))
	w.given()
	before := w.secret(w)
	w.agent.end()
	record := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "open-cluster-management-agent", Name: "flotilla-addons-x"}}
	w.Expect(w.member.Delete(t.Context(), record)).To(Succeed())
	w.restart()
	w.Expect(w.reconcile()).To(Succeed())
	w.Consistently(func(g Gomega) {
		g.Expect(w.requests(g)).To(HaveLen(1))
		g.Expect(w.secret(g).ResourceVersion).To(Equal(before.ResourceVersion))
	}, "300ms").Should(Succeed())
	w.Expect(w.member.Get(t.Context(), client.ObjectKeyFromObject(record), record)).To(Succeed(), "what it had made is remembered anew")
}

func TestCredentialsAreTakenAwayOnlyWhenThatIsSure(t *testing.T) {
	w := newWorld(t, alpha(kube()))
	w.given()
	stays := func(why string) {
		t.Helper()
		_ = w.reconcile()
		w.Expect(w.secret(w).Data).To(HaveKey(keyCert), why)
	}
	hidden := w.agent.seen
	w.agent.seen = fake.NewClientBuilder().WithScheme(newScheme(t)).Build() // a cache that lost its add-on
	stays("the hub still has the add-on")
	w.Expect(w.hub.Delete(t.Context(), alpha())).To(Succeed())
	w.agent.seen = hidden
	w.refuse = errors.New("no answer")
	stays("the hub does not say")
	w.refuse, w.held = nil, "the hub was restored"
	stays("the hub's history is in doubt")
	w.held = ""
	w.Expect(w.reconcile()).To(Succeed())
	w.Expect(client.IgnoreNotFound(w.member.Get(t.Context(), logsSecret, &corev1.Secret{}))).To(Succeed())
	w.Expect(w.agent.vault.ledger.addOns(t.Context())).To(BeEmpty())
}

func TestASecretOfSomebodyElseIsNotTakenAway(t *testing.T) {
	w := newWorld(t)
	w.Expect(w.agent.vault.ledger.note(t.Context(), "logs", logsSecret)).To(Succeed())
	w.Expect(w.member.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: logsSecret.Namespace, Name: logsSecret.Name}})).To(Succeed())
	w.Expect(w.reconcile()).To(Succeed())
	w.secret(w)
}

func TestNothingChangedIsNothingWritten(t *testing.T) { // OCM-20.1
	for name, forget := range map[string]bool{"a hub that keeps the driver": false, "a hub that has no place for it": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, alpha(kube()))
			w.forget = forget
			for range 3 {
				w.Expect(w.reconcile()).To(Succeed())
			}
			w.Expect(w.patches.Load()).To(Equal(int32(1)))
		})
	}
}

func TestNoCertificateIsAskedForWithoutAPlaceForIt(t *testing.T) {
	a := alpha(kube())
	a.Status.Namespace = "tools"
	w := newWorld(t, a)
	w.Expect(w.reconcile()).To(Succeed())
	w.Consistently(func(g Gomega) { g.Expect(w.requests(g)).To(BeEmpty()) }, "300ms").Should(Succeed())
	w.Expect(w.member.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tools"}})).To(Succeed())
	w.Eventually(func(g Gomega) { g.Expect(w.requests(g)).To(HaveLen(1)) }).Should(Succeed())
}

func TestALeaseThatMayNotBeReadKeepsNoCredentialsBack(t *testing.T) {
	w := newWorld(t, alpha(kube()))
	w.agent.Local = interceptor.NewClient(w.member, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, lease := o.(*coordinationv1.Lease); lease {
				return errors.New("forbidden")
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	w.Expect(w.reconcile()).To(MatchError(ContainSubstring("get lease of add-on: forbidden")))
	w.Eventually(func(g Gomega) { g.Expect(w.requests(g)).To(HaveLen(1)) }).Should(Succeed())
	var a v1alpha1.ManagedClusterAddOn
	w.Expect(w.hub.Get(t.Context(), client.ObjectKeyFromObject(alpha()), &a)).To(Succeed())
	w.Expect(a.Status.Conditions).To(BeEmpty(), "nothing is known of its health")
}

func TestARecordThatCannotBeReadTakesNothingAway(t *testing.T) {
	w := newWorld(t)
	w.Expect(w.member.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: "open-cluster-management-agent", Name: "flotilla-addons-x", Annotations: map[string]string{annotationSecrets: "{"},
	}})).To(Succeed())
	w.Expect(w.reconcile()).NotTo(Succeed())
}

func TestAPairIsStoredWithoutForeignKeys(t *testing.T) {
	have := map[string][]byte{keyToken: []byte("old"), "extra": []byte("x"), keyCert: []byte("old")}
	got := with(have, map[string][]byte{keyCert: []byte("new")})
	NewWithT(t).Expect(got).To(Equal(map[string][]byte{"extra": []byte("x"), keyCert: []byte("new")}))
}

func TestAHubWithoutAddOnsIsAskedSeldom(t *testing.T) { // OCM-20.2
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		a := New(Deps{Serves: func(context.Context, string) (bool, error) { asked.Add(1); return false, nil }}, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		<-time.After(time.Hour)
		synctest.Wait()
		if n := asked.Load(); n < 24 || n > 32 { // two versions, every four to five minutes
			t.Errorf("%d questions in an hour", n)
		}
		cancel()
		<-done
	})
}

func TestTheOlderVersionIsSpokenWhereItIsServed(t *testing.T) { // OCM-1.3
	for name, tc := range map[string]struct {
		serves []string
		want   string
	}{
		"both":       {[]string{"v1alpha1", "v1beta1"}, "v1alpha1"},
		"older hub":  {[]string{"v1alpha1"}, "v1alpha1"},
		"newer only": {[]string{"v1beta1"}, "v1beta1"},
		"neither":    {nil, ""},
	} {
		a := New(Deps{Serves: func(_ context.Context, version string) (bool, error) {
			for _, v := range tc.serves {
				if v == version {
					return true, nil
				}
			}
			return false, nil
		}}, Options{})
		kind, err := a.discover(t.Context())
		if err != nil || (kind == nil) != (tc.want == "") || kind != nil && kind.Version != tc.want {
			t.Errorf("%s: %v, %v", name, kind, err)
		}
	}
}

func TestAKeyIsKeptByNobodyElse(t *testing.T) {
	w := newWorld(t, alpha(kube()))
	w.given()
	_, err := keyutil.ParsePrivateKeyPEM(w.secret(w).Data[keyKey])
	w.Expect(err).NotTo(HaveOccurred())
	for _, csr := range w.requests(w) {
		w.Expect(string(csr.Spec.Request)).NotTo(ContainSubstring("PRIVATE"))
	}
}
