package signer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	testclock "k8s.io/utils/clock/testing"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
)

const signer = "example.com/signer"

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

type ask struct {
	request
	subject pkix.Name
}

func key(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// asked is what east's agent asks for its add-on logs, changed by the case.
func asked(t *testing.T, change ...func(*ask)) *request {
	t.Helper()
	a := ask{subject: pkix.Name{CommonName: "logs-user", Organization: []string{"writers"}, OrganizationalUnit: []string{"unit"}}}
	a.Name, a.Labels = "addon-east-logs-1", map[string]string{clusterv1.ClusterNameLabelKey: "east", "open-cluster-management.io/addon-name": "logs"}
	a.Spec.SignerName, a.Spec.Username = signer, "system:open-cluster-management:east:k2"
	for _, c := range change {
		c(&a)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: a.subject, DNSNames: []string{"logs.addon.open-cluster-management.io"}}, key(t))
	if err != nil {
		t.Fatal(err)
	}
	a.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return &a.request
}

func by(user string) func(*ask)     { return func(a *ask) { a.Spec.Username = user } }
func called(name string) func(*ask) { return func(a *ask) { a.subject.CommonName = name } }
func has(condition certificatesv1.RequestConditionType) func(*ask) {
	return func(a *ask) {
		a.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: condition}}
	}
}

// authority is a secret with a certificate authority that ends then.
func authority(t *testing.T, is bool, until time.Time) *corev1.Secret {
	t.Helper()
	k := key(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: noon.Add(-time.Hour), NotAfter: until,
		IsCA: is, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}}, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "open-cluster-management-hub", Name: "ca"}, Data: map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "tls.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})}}
}

// world is an add-on logs on east, whose template has the signer, as the specs name it.
func world(change ...func(*addonv1alpha1.AddOnTemplate, *addonv1alpha1.ClusterManagementAddOn, *clusterv1.ManagedCluster)) []client.Object {
	tmpl := &addonv1alpha1.AddOnTemplate{ObjectMeta: metav1.ObjectMeta{Name: "t"}, Spec: addonv1alpha1.AddOnTemplateSpec{AddonName: "logs", Registration: []addonv1alpha1.RegistrationSpec{{
		Type: addonv1alpha1.RegistrationTypeCustomSigner, CustomSigner: &addonv1alpha1.CustomSignerRegistrationConfig{SignerName: signer, SigningCA: addonv1alpha1.SigningCARef{Name: "ca"},
			Subject: &addonv1alpha1.Subject{User: "logs-user", Groups: []string{"writers"}, OrganizationUnits: []string{"unit"}}}}}}}
	offer := &addonv1alpha1.ClusterManagementAddOn{ObjectMeta: metav1.ObjectMeta{Name: "logs"}}
	offer.Spec.SupportedConfigs = []addonv1alpha1.ConfigMeta{{ConfigGroupResource: config.Templates, DefaultConfig: &addonv1alpha1.ConfigReferent{Name: "t"}}}
	addon := &installation{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "logs"}}
	addon.Status.ConfigReferences = []addonv1alpha1.ConfigReference{{ConfigGroupResource: config.Templates, DesiredConfig: &addonv1alpha1.ConfigSpecHash{ConfigReferent: addonv1alpha1.ConfigReferent{Name: "t"}, SpecHash: "h"}}}
	cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}}
	for _, c := range change {
		c(tmpl, offer, cluster)
	}
	return []client.Object{tmpl, offer, addon, cluster}
}

type hub struct {
	client.Client
	events *record.FakeRecorder
}

func newHub(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) hub {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, clusterv1.Install, addonv1alpha1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return hub{fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).
		WithStatusSubresource(&request{}).Build(), record.NewFakeRecorder(5)}
}

func (h hub) round(t *testing.T) error {
	t.Helper()
	_, err := newLoop(&Steps{Hub: h, Live: h, Configs: h, Events: h.events, Clock: testclock.NewFakePassiveClock(noon)}).
		Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "addon-east-logs-1"}})
	return err
}

func (h hub) request(t *testing.T) *request {
	t.Helper()
	var r request
	if err := h.Get(t.Context(), client.ObjectKey{Name: "addon-east-logs-1"}, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// OCM-19.4: approved, then signed by the template's authority, and no longer good than that.
func TestARequestIsApprovedAndSigned(t *testing.T) {
	ca := authority(t, true, noon.Add(24*time.Hour))
	h := newHub(t, interceptor.Funcs{}, append(world(), asked(t), ca)...)
	if err := h.round(t); err != nil {
		t.Fatal(err)
	}
	if c := h.request(t).Status.Conditions; len(c) != 1 || c[0].Type != certificatesv1.CertificateApproved || c[0].Reason != "AutoApprovedByHubCSRApprovingController" {
		t.Fatalf("%+v", c)
	}
	if err := h.round(t); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(h.request(t).Status.Certificate)
	if block == nil {
		t.Fatal("no certificate")
	}
	got, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Data["tls.crt"])
	if _, err := got.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: noon, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if got.Subject.CommonName != "logs-user" || got.IsCA || !got.NotAfter.Equal(noon.Add(24*time.Hour)) || got.DNSNames[0] != "logs.addon.open-cluster-management.io" {
		t.Errorf("%v %v %v", got.Subject, got.IsCA, got.NotAfter)
	}
	before := h.request(t).ResourceVersion
	if err := h.round(t); err != nil || h.request(t).ResourceVersion != before {
		t.Errorf("signed again: %v", err)
	}
}

// OCM-19.4: the requester is the cluster's agent, the subject is the template's.
func TestWhatIsNotAsTheTemplateSaysIsLeftAlone(t *testing.T) {
	type (
		tmpl  = *addonv1alpha1.AddOnTemplate
		offer = *addonv1alpha1.ClusterManagementAddOn
		of    = *clusterv1.ManagedCluster
	)
	derived := pkix.Name{CommonName: "system:open-cluster-management:cluster:east:addon:logs:agent:k2",
		Organization: []string{"system:open-cluster-management:cluster:east:addon:logs", "system:open-cluster-management:addon:logs", "system:authenticated"}}
	unnamed := func(t tmpl, _ offer, _ of) { t.Spec.Registration[0].CustomSigner.Subject = nil }
	for name, tc := range map[string]struct {
		request *request
		world   []client.Object
		want    string
	}{
		"as it says":                     {asked(t), world(), "Approved"},
		"a derived subject":              {asked(t, func(a *ask) { a.subject = derived }), world(unnamed), "Approved"},
		"another than the derived one":   {asked(t), world(unnamed), "common name is"},
		"another cluster's agent":        {asked(t, by("system:open-cluster-management:east2:k2")), world(), "is no agent of cluster"},
		"another name":                   {asked(t, called("admin")), world(), "common name is"},
		"another group":                  {asked(t, func(a *ask) { a.subject.Organization = append(a.subject.Organization, "more") }), world(), "organizations are"},
		"another unit":                   {asked(t, func(a *ask) { a.subject.OrganizationalUnit = nil }), world(), "organizational units are"},
		"a denied cluster":               {asked(t), world(func(_ tmpl, _ offer, c of) { c.Spec.HubAcceptsClient = false }), "is not accepted"},
		"another signer":                 {asked(t, func(a *ask) { a.Spec.SignerName = "example.com/other" }), world(), ""},
		"the template of another add-on": {asked(t), world(func(t tmpl, _ offer, _ of) { t.Spec.AddonName = "mesh" }), ""},
		"a template that no spec names":  {asked(t), world(func(_ tmpl, o offer, _ of) { o.Spec.SupportedConfigs[0].DefaultConfig = nil }), ""},
		"it drives itself": {asked(t), world(func(_ tmpl, o offer, _ of) {
			o.Annotations = map[string]string{"addon.open-cluster-management.io/lifecycle": "self"}
		}), ""},
		"somebody has denied it": {asked(t, has(certificatesv1.CertificateDenied)), world(), "Denied"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, interceptor.Funcs{}, append(tc.world, tc.request)...)
			if err := h.round(t); err != nil {
				t.Fatal(err)
			}
			got := ""
			if c := h.request(t).Status.Conditions; len(c) > 0 {
				got = string(c[0].Type)
			} else if len(h.events.Events) > 0 {
				got = <-h.events.Events
			}
			if !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestAnAuthorityThatIsNoneSignsNothing(t *testing.T) {
	broken := authority(t, true, noon.Add(time.Hour))
	broken.Data["tls.key"] = []byte("x")
	for name, tc := range map[string]struct {
		secret *corev1.Secret
		want   string
	}{
		"missing":          {nil, "not found"},
		"no authority":     {authority(t, false, noon.Add(time.Hour)), "holds no certificate authority"},
		"over":             {authority(t, true, noon.Add(-time.Minute)), "ended 2026-01-01T11:59:00Z"},
		"not to be read":   {broken, "read the certificate authority"},
		"in another place": {&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "ca"}}, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := append(world(), asked(t, has(certificatesv1.CertificateApproved)))
			if tc.secret != nil {
				objects = append(objects, tc.secret)
			}
			h := newHub(t, interceptor.Funcs{}, objects...)
			if err := h.round(t); err == nil || !strings.Contains(err.Error(), tc.want) || len(h.request(t).Status.Certificate) > 0 {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// A hub that may not approve for a signer says which right it takes.
func TestARightThatTheHubHasNotIsSaid(t *testing.T) {
	h := newHub(t, interceptor.Funcs{SubResourceUpdate: func(context.Context, client.Client, string, client.Object, ...client.SubResourceUpdateOption) error {
		return apierrors.NewForbidden(certificatesv1.Resource("certificatesigningrequests"), "x", errors.New("no right"))
	}}, append(world(), asked(t))...)
	if err := h.round(t); err == nil {
		t.Error("the failure is lost, nothing would try again")
	}
	if got := <-h.events.Events; !strings.Contains(got, "takes the right to approve for it") {
		t.Error(got)
	}
}
