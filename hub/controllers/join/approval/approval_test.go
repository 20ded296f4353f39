package approval

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

const agent = "system:open-cluster-management:east:k2x9a"

var eastGroups = []string{identity.Group("east"), identity.AllMembers}

// asked is a request of east's agent for its own renewal, changed by the case.
func asked(t *testing.T, change ...func(*ask)) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	a := ask{user: agent, subject: pkix.Name{CommonName: agent, Organization: eastGroups}, pem: "CERTIFICATE REQUEST"}
	a.csr.Name = "east-abc"
	a.csr.Labels = map[string]string{clusterv1.ClusterNameLabelKey: "east"}
	a.csr.Spec.SignerName = certificatesv1.KubeAPIServerClientSignerName
	for _, change := range change {
		change(&a)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: a.subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	a.csr.Spec.Username = a.user
	a.csr.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: a.pem, Bytes: der})
	return &a.csr
}

type ask struct {
	csr     certificatesv1.CertificateSigningRequest
	user    string
	subject pkix.Name
	pem     string
}

func by(user string) func(*ask)         { return func(a *ask) { a.user = user } }
func called(name string) func(*ask)     { return func(a *ask) { a.subject.CommonName = name } }
func grouped(all ...string) func(*ask)  { return func(a *ask) { a.subject.Organization = all } }
func labelled(k, v string) func(*ask)   { return func(a *ask) { a.csr.Labels[k] = v } }
func signedBy(signer string) func(*ask) { return func(a *ask) { a.csr.Spec.SignerName = signer } }
func settled(kind certificatesv1.RequestConditionType) func(*ask) {
	return func(a *ask) {
		a.csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: kind}}
	}
}

// OCM-3.4: all five checks of a renewal, and the two conditions of a first certificate.
func TestDecide(t *testing.T) {
	const bootstrapper = identity.Bootstrapper
	for name, tc := range map[string]struct {
		change  []func(*ask)
		refused bool // by the authorizer
		auto    []string
		approve string
		leave   string
	}{
		"a renewal":                      {approve: "renewal"},
		"a renewal without shared group": {change: []func(*ask){grouped(eastGroups[0])}, approve: "renewal"},
		"no label":                       {change: []func(*ask){labelled(clusterv1.ClusterNameLabelKey, "")}, leave: "label"},
		"another signer":                 {change: []func(*ask){signedBy("kubernetes.io/kubelet-serving")}, leave: "signer"},
		"no certificate request":         {change: []func(*ask){func(a *ask) { a.pem = "CERTIFICATE" }}, leave: "PEM block"},
		"another cluster's group":        {change: []func(*ask){grouped(identity.Group("west"), identity.AllMembers)}, leave: "organizations"},
		"an administrator's group too":   {change: []func(*ask){grouped(append(eastGroups, "system:masters")...)}, leave: "organizations"},
		"two clusters at once":           {change: []func(*ask){grouped(append(eastGroups, identity.Group("west"))...)}, leave: "organizations"},
		"only the shared group":          {change: []func(*ask){grouped(identity.AllMembers)}, leave: "organizations"},
		"another cluster's name":         {change: []func(*ask){called(identity.User("west", "k2x9a"))}, leave: "common name"},
		"a name beginning like east":     {change: []func(*ask){called(identity.User("east2", "k2x9a"))}, leave: "common name"},
		"no agent in the name":           {change: []func(*ask){called(identity.Group("east"))}, leave: "common name"},
		"for another agent of east":      {change: []func(*ask){called(identity.User("east", "other"))}, leave: "asks for a certificate of"},
		"a forged renewal, all of west": {
			change: []func(*ask){labelled(clusterv1.ClusterNameLabelKey, "west"), called(identity.User("west", "a")), grouped(identity.Group("west"))},
			leave:  `user "system:open-cluster-management:east:k2x9a" asks for`,
		},
		"a denied cluster":         {refused: true, leave: "no right to renew"},
		"an approved request":      {change: []func(*ask){settled(certificatesv1.CertificateApproved)}},
		"a denied request":         {change: []func(*ask){settled(certificatesv1.CertificateDenied)}},
		"an add-on's request":      {change: []func(*ask){labelled(identity.AddOnLabel, "logs")}},
		"an administrator's":       {change: []func(*ask){by("kubernetes-admin")}},
		"first, gate off":          {change: []func(*ask){by(bootstrapper)}},
		"first, listed":            {change: []func(*ask){by(bootstrapper)}, auto: []string{bootstrapper}, approve: "first certificate"},
		"first, another is":        {change: []func(*ask){by(bootstrapper + "2")}, auto: []string{bootstrapper}},
		"first, listed, malicious": {change: []func(*ask){by(bootstrapper), grouped("system:masters")}, auto: []string{bootstrapper}, leave: "organizations"},
	} {
		t.Run(name, func(t *testing.T) {
			request := asked(t, tc.change...)
			seen := facts{review: &authorizationv1.SubjectAccessReviewStatus{Allowed: !tc.refused}}
			seen.subject, seen.malformed = identity.Subject(request.Spec.Request)
			got := decide(request, seen, tc.auto)
			if (got.approve != "") != (tc.approve != "") || !strings.Contains(got.approve, tc.approve) ||
				(got.leave != "") != (tc.leave != "") || !strings.Contains(got.leave, tc.leave) {
				t.Errorf("got %+v, want approve %q, leave %q", got, tc.approve, tc.leave)
			}
		})
	}
}

// hub is a fake API server whose authorizer says what a test wants.
type hub struct {
	client.Client
	allowed, down bool
	reviews       []authorizationv1.SubjectAccessReviewSpec
	events        *record.FakeRecorder
}

func newHub(t *testing.T, request *certificatesv1.CertificateSigningRequest) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	h := &hub{allowed: true, events: record.NewFakeRecorder(10)}
	h.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(request).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			review, ok := o.(*authorizationv1.SubjectAccessReview)
			if !ok || h.down {
				return errors.New("connection refused")
			}
			h.reviews = append(h.reviews, review.Spec)
			review.Status.Allowed = h.allowed
			return nil
		},
	}).Build()
	return h
}

func (h *hub) round(t *testing.T, auto ...string) error {
	t.Helper()
	l := &loop.Loop[*certificatesv1.CertificateSigningRequest, facts, plan]{
		Steps: &Steps{Hub: h, Live: h, Events: h.events, Auto: auto}, Client: h,
		New: func() *certificatesv1.CertificateSigningRequest { return &certificatesv1.CertificateSigningRequest{} }}
	_, err := l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "east-abc"}})
	return err
}

func (h *hub) conditions(t *testing.T) []certificatesv1.CertificateSigningRequestCondition {
	t.Helper()
	var request certificatesv1.CertificateSigningRequest
	if err := h.Get(context.Background(), client.ObjectKey{Name: "east-abc"}, &request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Conditions
}

// OCM-3.4: the review is built from the sender alone, and the reason is what other software looks for.
func TestARenewalIsApprovedOnce(t *testing.T) {
	h := newHub(t, asked(t, func(a *ask) {
		a.csr.Spec.UID, a.csr.Spec.Groups = "u-1", eastGroups
		a.csr.Spec.Extra = map[string]certificatesv1.ExtraValue{"scope": {"x"}}
	}))
	for range 2 {
		if err := h.round(t); err != nil {
			t.Fatal(err)
		}
	}
	got := h.conditions(t)
	if len(got) != 1 || got[0].Type != certificatesv1.CertificateApproved || got[0].Reason != "AutoApprovedByHubCSRApprovingController" {
		t.Errorf("%+v", got)
	}
	if len(h.reviews) != 1 {
		t.Fatalf("%d reviews", len(h.reviews))
	}
	r := h.reviews[0]
	if r.User != agent || r.UID != "u-1" || len(r.Groups) != 2 || r.Extra["scope"][0] != "x" || *r.ResourceAttributes != (authorizationv1.ResourceAttributes{
		Verb: "renew", Group: "register.open-cluster-management.io", Resource: "managedclusters", Subresource: "clientcertificates"}) {
		t.Errorf("%+v", r)
	}
}

func TestWhatFailsACheckIsLeftAloneWithAnEvent(t *testing.T) {
	h := newHub(t, asked(t, called(identity.User("west", "a"))))
	if err := h.round(t); err != nil {
		t.Fatal(err)
	}
	if got := h.conditions(t); len(got) != 0 {
		t.Errorf("neither approved nor denied is what it should be: %+v", got)
	}
	if len(h.reviews) != 0 {
		t.Error("the authorizer was asked about a request that fails without it")
	}
	if got := <-h.events.Events; !strings.Contains(got, ReasonLeftAlone) || !strings.Contains(got, "common name") {
		t.Error(got)
	}
}

func TestNoAnswerOfTheAuthorizerIsNoApproval(t *testing.T) {
	h := newHub(t, asked(t))
	h.down = true
	if err := h.round(t); err == nil {
		t.Error("the failure is lost, nothing would try again")
	}
	if got := h.conditions(t); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestARequestOfAnAdministratorIsNoNews(t *testing.T) {
	h := newHub(t, asked(t, by("kubernetes-admin"), func(a *ask) { a.csr.ObjectMeta = metav1.ObjectMeta{Name: "east-abc", Labels: a.csr.Labels} }))
	if err := h.round(t); err != nil {
		t.Fatal(err)
	}
	if len(h.events.Events) != 0 || len(h.reviews) != 0 {
		t.Error("somebody else's request made noise")
	}
}
