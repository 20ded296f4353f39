package token

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func logs(driver string) *installation {
	a := &installation{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "logs", UID: "addon-1"}}
	a.Status.KubeClientDriver = driver
	a.Status.Registrations = []addonv1alpha1.RegistrationConfig{{SignerName: "kubernetes.io/kube-apiserver-client"}}
	return a
}

type hub struct {
	client.Client
	writes int
	refuse error
}

func newHub(t *testing.T, objects ...client.Object) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, addonv1alpha1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	h := &hub{}
	h.Client = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&installation{}).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if h.writes++; h.refuse != nil {
				return h.refuse
			}
			o.SetUID(types.UID("uid-" + o.GetName()))
			return c.Create(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			h.writes++
			return c.Delete(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			h.writes++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	return h
}

func (h *hub) round(t *testing.T) error {
	t.Helper()
	_, err := newLoop(h).Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "east", Name: "logs"}})
	return err
}

func (h *hub) rounds(t *testing.T) {
	t.Helper()
	for range 3 {
		if err := h.round(t); err != nil {
			t.Fatal(err)
		}
	}
}

func (h *hub) ready(t *testing.T) string {
	t.Helper()
	var a installation
	if err := h.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "logs"}, &a); err != nil {
		t.Fatal(err)
	}
	c := meta.FindStatusCondition(a.Status.Conditions, "TokenInfrastructureReady")
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Message
}

// OCM-19.4: the account, the right to its tokens and no others, and the word that the agent waits for.
func TestAnAddOnWithATokenGetsAnAccount(t *testing.T) {
	h := newHub(t, logs("token"))
	h.rounds(t)
	if got := h.ready(t); !strings.HasPrefix(got, "True") || !strings.Contains(got, "(UID: uid-logs-agent)") {
		t.Error(got)
	}
	var role rbacv1.Role
	var binding rbacv1.RoleBinding
	for name, o := range map[string]client.Object{"logs-agent": &corev1.ServiceAccount{}, "logs-token-role": &role} {
		if err := h.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: name}, o); err != nil {
			t.Fatal(err)
		}
		if o.GetLabels()["addon.open-cluster-management.io/name"] != "logs" || o.GetLabels()["addon.open-cluster-management.io/token-infrastructure"] != "true" {
			t.Errorf("%v", o.GetLabels())
		}
	}
	if err := h.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "logs-token-role"}, &binding); err != nil {
		t.Fatal(err)
	}
	if r := role.Rules; len(r) != 1 || len(r[0].ResourceNames) != 1 || r[0].ResourceNames[0] != "logs-agent" || r[0].Verbs[0] != "create" {
		t.Errorf("%+v", r)
	}
	if s := binding.Subjects; len(s) != 2 || s[0].Name != "system:open-cluster-management:east" || s[1].Name != "open-cluster-management:east" {
		t.Errorf("%+v", s)
	}
	before := h.writes
	h.rounds(t)
	if h.writes != before {
		t.Errorf("%d writes although nothing changed", h.writes-before)
	}
}

func TestWhatWasChangedIsMadeAgain(t *testing.T) {
	h := newHub(t, logs("token"))
	h.rounds(t)
	var role rbacv1.Role
	if err := h.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "logs-token-role"}, &role); err != nil {
		t.Fatal(err)
	}
	role.Rules[0].ResourceNames = nil
	if err := h.Update(t.Context(), &role); err != nil {
		t.Fatal(err)
	}
	h.rounds(t)
	if err := h.Get(t.Context(), client.ObjectKeyFromObject(&role), &role); err != nil || len(role.Rules[0].ResourceNames) != 1 {
		t.Errorf("%v, %v", role.Rules, err)
	}
}

func TestAnAddOnWithACertificateHasNone(t *testing.T) {
	h := newHub(t, logs("token"))
	h.rounds(t)
	a := &installation{}
	if err := h.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "logs"}, a); err != nil {
		t.Fatal(err)
	}
	a.Status.KubeClientDriver = "csr"
	if err := h.Status().Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	h.rounds(t)
	if got := h.ready(t); got != "" {
		t.Error(got)
	}
	for _, o := range objects(a) {
		if err := h.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			t.Errorf("%T is still there: %v", o, err)
		}
	}
}

func TestAHubWithoutTheRightSaysHowToGiveIt(t *testing.T) {
	h := newHub(t, logs("token"))
	h.refuse = apierrors.NewForbidden(rbacv1.Resource("roles"), "logs-token-role", errors.New("attempting to grant"))
	if err := h.round(t); err == nil {
		t.Error("the failure is lost, nothing would try again")
	}
	if got := h.ready(t); !strings.HasPrefix(got, "False") || !strings.Contains(got, "bind the ClusterRole flotilla:hub:addon-tokens") {
		t.Error(got)
	}
}

// Objects of the same names that are another's, or an earlier installation's, are not handed to this one's agent.
func TestAnAccountOfAnEarlierInstallationIsReplaced(t *testing.T) {
	old := logs("token")
	old.UID = "addon-0"
	stale := objects(old)[0]
	h := newHub(t, logs("token"), stale)
	h.rounds(t)
	if got := h.ready(t); !strings.Contains(got, "(UID: uid-logs-agent)") {
		t.Error(got)
	}
}
