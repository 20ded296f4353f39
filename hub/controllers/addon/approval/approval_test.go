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
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	name   = "system:open-cluster-management:cluster:east:addon:logs:agent:k2"
	group  = "system:open-cluster-management:cluster:east:addon:logs"
	shared = "system:open-cluster-management:addon:logs"
)

type ask struct {
	request
	subject pkix.Name
}

// asked is what east's agent asks for its add-on logs, changed by the case.
func asked(t *testing.T, change ...func(*ask)) *request {
	t.Helper()
	a := ask{subject: pkix.Name{CommonName: name, Organization: []string{group, shared}}}
	a.Name, a.Labels = "addon-east-logs-1", map[string]string{clusterv1.ClusterNameLabelKey: "east", "open-cluster-management.io/addon-name": "logs"}
	a.Spec.SignerName, a.Spec.Username = certificatesv1.KubeAPIServerClientSignerName, "system:open-cluster-management:east:k2"
	for _, c := range change {
		c(&a)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: a.subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.Spec.Request == nil {
		a.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	return &a.request
}

func by(user string) func(*ask)        { return func(a *ask) { a.Spec.Username = user } }
func called(name string) func(*ask)    { return func(a *ask) { a.subject.CommonName = name } }
func grouped(all ...string) func(*ask) { return func(a *ask) { a.subject.Organization = all } }

// installation runs by a template; its agent claims a subject for it.
func logs() *installation {
	a := &installation{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "logs"}}
	a.Status.ConfigReferences = []addonv1alpha1.ConfigReference{{ConfigGroupResource: addonv1alpha1.ConfigGroupResource{Group: addonv1alpha1.GroupName, Resource: "addontemplates"},
		DesiredConfig: &addonv1alpha1.ConfigSpecHash{ConfigReferent: addonv1alpha1.ConfigReferent{Name: "t"}, SpecHash: "h"}}}
	a.Status.Registrations = []addonv1alpha1.RegistrationConfig{{SignerName: certificatesv1.KubeAPIServerClientSignerName, Subject: addonv1alpha1.Subject{User: "system:admin", Groups: []string{"system:open-cluster-management:west"}}}}
	return a
}

func accepted() *clusterv1.ManagedCluster {
	return &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}}
}

func offered() *addonv1alpha1.ClusterManagementAddOn {
	return &addonv1alpha1.ClusterManagementAddOn{ObjectMeta: metav1.ObjectMeta{Name: "logs"}}
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
	return hub{fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build(), record.NewFakeRecorder(5)}
}

// round says what became of the request: approved, or the event about it.
func (h hub) round(t *testing.T) (string, error) {
	t.Helper()
	if _, err := newLoop(&Steps{Hub: h, Events: h.events}).Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "addon-east-logs-1"}}); err != nil {
		return "", err
	}
	var r request
	if err := h.Get(t.Context(), client.ObjectKey{Name: "addon-east-logs-1"}, &r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Status.Conditions {
		return string(c.Type) + " " + c.Reason, nil
	}
	select {
	case e := <-h.events.Events:
		return e, nil
	default:
		return "", nil
	}
}

// OCM-19.4: the requester is the cluster's agent, the subject is the expected one.
func TestApproval(t *testing.T) {
	const approved = "Approved AutoApprovedByHubCSRApprovingController"
	plain, going, self := logs(), logs(), offered()
	plain.Status.ConfigReferences = nil
	going.DeletionTimestamp, going.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"some/one"}
	self.Annotations = map[string]string{"addon.open-cluster-management.io/lifecycle": "self"}
	denied := accepted()
	denied.Spec.HubAcceptsClient = false
	for title, tc := range map[string]struct {
		request *request
		others  []client.Object
		want    string
	}{
		"what is expected":             {asked(t), []client.Object{logs(), offered(), accepted()}, approved},
		"with the group of everybody":  {asked(t, grouped(shared, "system:authenticated", group)), []client.Object{logs(), offered(), accepted()}, approved},
		"another cluster's agent":      {asked(t, by("system:open-cluster-management:west:k2")), []client.Object{logs(), offered(), accepted()}, `user "system:open-cluster-management:west:k2" is no agent of cluster "east"`},
		"a cluster called like it":     {asked(t, by("system:open-cluster-management:east2:k2")), []client.Object{logs(), offered(), accepted()}, "is no agent of cluster"},
		"an add-on's agent":            {asked(t, by(name)), []client.Object{logs(), offered(), accepted()}, "is no agent of cluster"},
		"another cluster's name":       {asked(t, called(strings.ReplaceAll(name, "east", "west"))), []client.Object{logs(), offered(), accepted()}, "common name is"},
		"another add-on's name":        {asked(t, called(strings.ReplaceAll(name, "logs", "mesh"))), []client.Object{logs(), offered(), accepted()}, "common name is"},
		"the subject that status says": {asked(t, called("system:admin"), grouped("system:open-cluster-management:west")), []client.Object{logs(), offered(), accepted()}, "common name is"},
		"a group too many":             {asked(t, grouped(group, shared, "system:open-cluster-management:west")), []client.Object{logs(), offered(), accepted()}, "organizations are"},
		"a group too few":              {asked(t, grouped(shared)), []client.Object{logs(), offered(), accepted()}, "organizations are"},
		"no certificate request":       {asked(t, func(a *ask) { a.Spec.Request = []byte("x") }), []client.Object{logs(), offered(), accepted()}, "no PEM block"},
		"a denied cluster":             {asked(t), []client.Object{logs(), offered(), denied}, "cluster east is not accepted"},
		"no cluster":                   {asked(t), []client.Object{logs(), offered()}, "cluster east is not accepted"},
		"an add-on that goes":          {asked(t), []client.Object{going, offered(), accepted()}, "is being deleted"},
		"not installed":                {asked(t), []client.Object{offered(), accepted()}, ""},
		"run by its own controller":    {asked(t), []client.Object{plain, offered(), accepted()}, ""},
		"driven by itself":             {asked(t), []client.Object{logs(), self, accepted()}, ""},
		"another signer":               {asked(t, func(a *ask) { a.Spec.SignerName = "example.com/x" }), []client.Object{logs(), offered(), accepted()}, ""},
		"the request of a cluster":     {asked(t, func(a *ask) { delete(a.Labels, "open-cluster-management.io/addon-name") }), []client.Object{logs(), offered(), accepted()}, ""},
		"somebody has decided about it": {asked(t, func(a *ask) {
			a.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: "Denied", Reason: "no"}}
		}), []client.Object{logs(), offered(), accepted()}, "Denied no"},
	} {
		t.Run(title, func(t *testing.T) {
			h := newHub(t, interceptor.Funcs{}, append(tc.others, tc.request)...)
			got, err := h.round(t)
			if err != nil || !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") {
				t.Errorf("%q, %v, want %q", got, err, tc.want)
			}
			if _, err := h.round(t); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatCannotBeReadIsNotApproved(t *testing.T) {
	h := newHub(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, ok := o.(*clusterv1.ManagedCluster); ok {
			return errors.New("timeout")
		}
		return c.Get(ctx, key, o, opts...)
	}}, logs(), offered(), asked(t))
	if _, err := h.round(t); err == nil {
		t.Error("the failure is lost")
	}
}

func TestAnInstallationWakesWhatWaitsForIt(t *testing.T) {
	decided := asked(t, func(a *ask) {
		a.Name = "decided"
		a.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: "Approved"}}
	})
	other := asked(t, func(a *ask) { a.Name, a.Labels[clusterv1.ClusterNameLabelKey] = "other", "west" })
	h := newHub(t, interceptor.Funcs{}, asked(t), decided, other)
	got := (&Steps{Hub: h}).requestsOf(t.Context(), logs())
	if len(got) != 1 || got[0].Name != "addon-east-logs-1" {
		t.Errorf("%v", got)
	}
}
