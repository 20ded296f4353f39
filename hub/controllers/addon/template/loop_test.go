package template

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
)

// hub is a fake API server with the controller on it.
type hub struct {
	client.Client
	t      *testing.T
	c      *controller
	writes []string
	refuse func(client.Object) error
}

func newHub(t *testing.T, objects ...client.Object) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, clusterv1.Install, addonv1alpha1.Install, workv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	h := &hub{t: t, refuse: func(client.Object) error { return nil }}
	h.Client = fake.NewClientBuilder().WithScheme(scheme).WithIndex(catalog.IndexOf()).WithObjects(objects...).
		WithStatusSubresource(&installation{}, &workv1.ManifestWork{}).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			h.writes = append(h.writes, "create "+o.GetName())
			if err := h.refuse(o); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			h.writes = append(h.writes, "patch "+o.GetName())
			return c.Patch(ctx, o, p, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			h.writes = append(h.writes, "delete "+o.GetName())
			return c.Delete(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			h.writes = append(h.writes, sub+" "+o.GetName())
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	s := &Steps{Hub: h, Live: h, Configs: h, Options: Options{Kinds: map[config.Kind]schema.GroupVersionKind{
		config.Templates: catalog.GroupVersion.WithKind("AddOnTemplate"), config.DeploymentConfigs: catalog.GroupVersion.WithKind("AddOnDeploymentConfig")}}}
	h.c = &controller{s, newLoop(s, nil)}
	return h
}

func (h *hub) round() error {
	_, err := h.c.Reconcile(h.t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "east", Name: "logs"}})
	return err
}

func (h *hub) rounds() {
	h.t.Helper()
	for range 4 {
		if err := h.round(); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *hub) addon() *installation {
	h.t.Helper()
	var a installation
	if err := h.Get(h.t.Context(), client.ObjectKey{Namespace: "east", Name: "logs"}, &a); err != nil {
		h.t.Fatal(err)
	}
	return &a
}

func (h *hub) says(kind string) string {
	h.t.Helper()
	c := meta.FindStatusCondition(h.addon().Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason + " " + c.Message
}

func (h *hub) works() (names []string) {
	h.t.Helper()
	var found workv1.ManifestWorkList
	if err := h.List(h.t.Context(), &found); err != nil {
		h.t.Fatal(err)
	}
	for _, w := range found.Items {
		names = append(names, w.Name)
	}
	return names
}

func (h *hub) rights() (all []string) {
	h.t.Helper()
	var found rbacv1.RoleBindingList
	if err := h.List(h.t.Context(), &found); err != nil {
		h.t.Fatal(err)
	}
	for _, b := range found.Items {
		line := b.Namespace + " " + b.RoleRef.Kind + " " + b.RoleRef.Name
		for _, s := range b.Subjects {
			line += " " + s.Kind + " " + s.Name
		}
		all = append(all, line)
	}
	return all
}

func (h *hub) change(change func(*installation)) {
	h.t.Helper()
	a := h.addon()
	change(a)
	if err := h.Status().Update(h.t.Context(), a); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hub) answer(name string, conditions ...metav1.Condition) {
	h.t.Helper()
	var w workv1.ManifestWork
	if err := h.Get(h.t.Context(), client.ObjectKey{Namespace: "east", Name: name}, &w); err != nil {
		h.t.Fatal(err)
	}
	w.Status.Conditions = conditions
	if err := h.Status().Update(h.t.Context(), &w); err != nil {
		h.t.Fatal(err)
	}
}

func accepted(is bool) *clusterv1.ManagedCluster {
	return &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: is}}
}

const (
	ownGroup = "Group system:open-cluster-management:cluster:east:addon:logs"
	onEast   = "east ClusterRole logs-reader " + ownGroup
	inHub    = "logs-hub Role writer " + ownGroup
)

// OCM-19.4, OCM-19.5: works, registrations, rights for this cluster's agents alone, and then silence.
func TestAnAddOnIsRunByItsTemplate(t *testing.T) {
	of := registered(tmpl(agent))
	h := newHub(t, logs(hashOf(t, of)), offered(), accepted(true), of)
	h.rounds()
	if got := h.works(); !slices.Equal(got, []string{"addon-logs-deploy-0"}) {
		t.Errorf("%v", got)
	}
	if d := cmp.Diff([]string{onEast, inHub}, h.rights()); d != "" {
		t.Error(d)
	}
	a := h.addon()
	if a.Status.Namespace != "home" || a.Status.HealthCheck.Mode != "Customized" ||
		len(a.Status.Registrations) != 1 || a.Status.Registrations[0].SignerName != "kubernetes.io/kube-apiserver-client" || a.Status.Registrations[0].Subject.User != "" {
		t.Errorf("%+v", a.Status)
	}
	if got := h.says("RegistrationApplied"); !strings.HasPrefix(got, "True SetPermissionApplied") {
		t.Error(got)
	}
	if got := h.says("ManifestApplied"); got != "" {
		t.Errorf("nobody has answered: %s", got)
	}
	h.answer("addon-logs-deploy-0", metav1.Condition{Type: "Applied", Status: metav1.ConditionTrue, Reason: "x"})
	h.rounds()
	if got := h.says("ManifestApplied"); !strings.HasPrefix(got, "True AddonManifestApplied") {
		t.Error(got)
	}
	h.answer("addon-logs-deploy-0", metav1.Condition{Type: "Applied", Status: metav1.ConditionFalse, Reason: "x", Message: "no such kind"})
	h.rounds()
	if got := h.says("ManifestApplied"); !strings.HasPrefix(got, "False AddonManifestAppliedFailed") || !strings.Contains(got, "no such kind") {
		t.Error(got)
	}
	h.writes = nil
	h.rounds()
	if len(h.writes) != 0 {
		t.Errorf("%v although nothing changed", h.writes)
	}
}

func TestAnAgentWithATokenHasTheSameRights(t *testing.T) {
	of := registered(tmpl(agent))
	h := newHub(t, logs(hashOf(t, of)), offered(), accepted(true), of)
	h.rounds()
	h.change(func(a *installation) {
		a.Status.KubeClientDriver = "token"
		a.Status.Registrations[0].Subject.User = "system:serviceaccount:east:logs-agent"
	})
	h.rounds()
	if d := cmp.Diff([]string{onEast + " ServiceAccount logs-agent", inHub + " ServiceAccount logs-agent"}, h.rights()); d != "" {
		t.Error(d)
	}
	if got := h.addon().Status.Registrations[0].Subject.User; got != "system:serviceaccount:east:logs-agent" {
		t.Errorf("what the agent said is lost: %s", got)
	}
}

func TestRightsAreWithdrawn(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(h *hub)
		want []string
	}{
		"with the cluster's acceptance": {func(h *hub) {
			var c clusterv1.ManagedCluster
			if err := h.Get(h.t.Context(), client.ObjectKey{Name: "east"}, &c); err != nil {
				h.t.Fatal(err)
			}
			c.Spec.HubAcceptsClient = false
			if err := h.Update(h.t.Context(), &c); err != nil {
				h.t.Fatal(err)
			}
		}, nil},
		"with the installation": {func(h *hub) {
			if err := h.Client.Delete(h.t.Context(), h.addon()); err != nil {
				h.t.Fatal(err)
			}
		}, nil},
		"not with the offer, which may come back": {func(h *hub) {
			if err := h.Client.Delete(h.t.Context(), offered()); err != nil {
				h.t.Fatal(err)
			}
		}, []string{onEast, inHub}},
		"not with the template": {func(h *hub) {
			if err := h.Client.Delete(h.t.Context(), tmpl()); err != nil {
				h.t.Fatal(err)
			}
		}, []string{onEast, inHub}},
	} {
		t.Run(name, func(t *testing.T) {
			of := registered(tmpl(agent))
			h := newHub(t, logs(hashOf(t, of)), offered(), accepted(true), of)
			h.rounds()
			tc.do(h)
			h.rounds()
			if d := cmp.Diff(tc.want, h.rights()); d != "" {
				t.Error(d)
			}
		})
	}
}

// A hub that cannot hand a right on says so; the add-on runs all the same.
func TestARightThatTheHubHasNotIsSaid(t *testing.T) {
	of := registered(tmpl(agent))
	h := newHub(t, logs(hashOf(t, of)), offered(), of)
	h.refuse = func(o client.Object) error {
		if _, ok := o.(*rbacv1.RoleBinding); ok {
			return apierrors.NewForbidden(rbacv1.Resource("rolebindings"), o.GetName(), errors.New("attempting to grant RBAC permissions not currently held"))
		}
		return nil
	}
	if err := h.round(); err == nil {
		t.Error("the failure is lost, nothing would try again")
	}
	if got := h.says("RegistrationApplied"); !strings.HasPrefix(got, "False SetPermissionFailed") || !strings.Contains(got, "logs-reader") {
		t.Error(got)
	}
	if len(h.works()) != 1 {
		t.Error("the add-on is not deployed")
	}
}

// Status can be written by the cluster's agent: it must not choose a template, and with it rights.
func TestNothingIsRunThatTheSpecsDoNotName(t *testing.T) {
	of := registered(tmpl(agent))
	hash := hashOf(t, of)
	other := registered(tmpl(agent))
	other.Spec.AddonName = "mesh"
	for name, tc := range map[string]struct {
		addon *installation
		offer *addonv1alpha1.ClusterManagementAddOn
		of    *addonv1alpha1.AddOnTemplate
	}{
		"named by status alone": {logs(hash), offered(func(o *addonv1alpha1.ClusterManagementAddOn) { o.Spec.SupportedConfigs[0].DefaultConfig = nil }), of},
		"of another add-on":     {logs(hashOf(t, other)), offered(), other},
		"of another content":    {logs("else"), offered(), of},
		"driven by itself": {logs(hash), offered(func(o *addonv1alpha1.ClusterManagementAddOn) {
			o.Annotations = map[string]string{"addon.open-cluster-management.io/lifecycle": "self"}
		}), of},
		"not configured": {logs(hash, func(a *installation) { a.Status.Conditions = nil }), offered(), of},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, tc.addon, tc.offer, accepted(true), tc.of)
			h.rounds()
			if len(h.works())+len(h.rights()) != 0 {
				t.Errorf("%v, %v", h.works(), h.rights())
			}
		})
	}
}

func TestATemplateThatShrinksTakesItsWorksAway(t *testing.T) {
	big := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"x":"` + strings.Repeat("x", 300*1024) + `"}}`
	of := tmpl(big, big)
	h := newHub(t, logs(hashOf(t, of)), offered(), of)
	h.rounds()
	if got := h.works(); len(got) != 2 {
		t.Fatalf("%v", got)
	}
	small := tmpl(crd)
	if err := h.Get(t.Context(), client.ObjectKey{Name: "t"}, of); err != nil {
		t.Fatal(err)
	}
	of.Spec = small.Spec
	if err := h.Update(t.Context(), of); err != nil {
		t.Fatal(err)
	}
	h.rounds()
	if got := h.works(); len(got) != 2 {
		t.Errorf("the turn of this cluster has not come, and yet: %v", got)
	}
	h.change(func(a *installation) { a.Status.ConfigReferences[0].DesiredConfig.SpecHash = hashOf(t, small) })
	h.rounds()
	if got := h.works(); !slices.Equal(got, []string{"addon-logs-deploy-0"}) {
		t.Errorf("%v", got)
	}
}

// OCM-19.5: the hook runs first, to its end; then everything goes.
func TestAnAddOnWithAHookGoesAfterIt(t *testing.T) {
	of := tmpl(crd, bye)
	h := newHub(t, logs(hashOf(t, of)), offered(), of)
	h.rounds()
	if got := h.addon().Finalizers; !slices.Equal(got, []string{"addon.open-cluster-management.io/addon-pre-delete"}) {
		t.Fatalf("%v", got)
	}
	if err := h.Client.Delete(t.Context(), h.addon()); err != nil {
		t.Fatal(err)
	}
	h.rounds()
	if got := h.works(); !slices.Equal(got, []string{"addon-logs-deploy-0", "addon-logs-pre-delete"}) {
		t.Fatalf("%v", got)
	}
	if got := h.says("HookManifestCompleted"); !strings.HasPrefix(got, "False") || !strings.Contains(got, "addon-logs-pre-delete") {
		t.Error(got)
	}
	var w workv1.ManifestWork
	if err := h.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "addon-logs-pre-delete"}, &w); err != nil {
		t.Fatal(err)
	}
	w.Status.ResourceStatus.Manifests = []workv1.ManifestCondition{{ResourceMeta: workv1.ManifestResourceMeta{Kind: "Job", Namespace: "n", Name: "bye"}}}
	if err := h.Status().Update(t.Context(), &w); err != nil {
		t.Fatal(err)
	}
	h.rounds()
	if got := h.says("HookManifestCompleted"); !strings.Contains(got, "Job n/bye has not completed") {
		t.Error(got)
	}
	w.Status.ResourceStatus.Manifests[0].StatusFeedbacks.Values = []workv1.FeedbackValue{{Name: "JobComplete", Value: workv1.FieldValue{Type: workv1.String, String: new("True")}}}
	if err := h.Status().Update(t.Context(), &w); err != nil {
		t.Fatal(err)
	}
	if err := h.round(); err != nil {
		t.Fatal(err)
	}
	if got := h.says("HookManifestCompleted"); !strings.HasPrefix(got, "True") {
		t.Error(got)
	}
	h.rounds()
	if err := h.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "logs"}, &installation{}); !apierrors.IsNotFound(err) {
		t.Errorf("the add-on stays: %v", err)
	}
	if got := h.works(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestAHookThatCannotBeMadeSaysHowToGoWithout(t *testing.T) {
	of := tmpl(bye)
	h := newHub(t, logs(hashOf(t, of)), offered(), of)
	h.rounds()
	if err := errors.Join(h.Client.Delete(t.Context(), h.addon()), h.Client.Delete(t.Context(), of)); err != nil {
		t.Fatal(err)
	}
	h.rounds()
	if got := h.says("HookManifestCompleted"); !strings.Contains(got, "does not exist") || !strings.Contains(got, "remove the finalizer") {
		t.Error(got)
	}
}

func TestNotKnowingWhetherAnInstallationIsGoneTakesNothing(t *testing.T) {
	b := binding(logs("h"), "logs-hub", rbacv1.RoleRef{Kind: "Role", Name: "writer"})
	h := newHub(t, b)
	if d := cmp.Diff(labelled, b.Labels); d != "" {
		t.Error(d)
	}
	h.c.steps.Live = failing{h}
	if err := h.round(); err == nil || len(h.rights()) != 1 {
		t.Errorf("%v, %v", err, h.rights())
	}
	h.c.steps.Live = h
	if err := h.round(); err != nil || len(h.rights()) != 0 {
		t.Errorf("%v, %v", err, h.rights())
	}
}

type failing struct{ client.Reader }

func (failing) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("timeout")
}

// Detach means that everything runs on: nothing is sent, and the hook that would take things down is not run.
func TestADetachedClusterIsLeftAsItIs(t *testing.T) {
	of := tmpl(crd, bye)
	c := accepted(true)
	c.Annotations = map[string]string{"flotilla.dev/detach": "me 2026-01-01T12:00:00Z it moves"}
	h := newHub(t, logs(hashOf(t, of), func(a *installation) { a.Finalizers = []string{"addon.open-cluster-management.io/addon-pre-delete"} }), offered(), c, of)
	h.rounds()
	if got := h.works(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if err := h.Client.Delete(t.Context(), h.addon()); err != nil {
		t.Fatal(err)
	}
	h.rounds()
	if err := h.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "logs"}, &installation{}); !apierrors.IsNotFound(err) || len(h.works()) != 0 {
		t.Errorf("%v, %v", err, h.works())
	}
}

// OCM-19.6: a template is not for another cluster; it says so, and runs when it is asked to run at home.
func TestAHostedAddOnIsToldThatItCannot(t *testing.T) {
	of := tmpl(crd)
	h := newHub(t, logs(hashOf(t, of), func(a *installation) {
		a.Annotations = map[string]string{"addon.open-cluster-management.io/hosting-cluster-name": "west"}
	}), offered(), of)
	h.rounds()
	if got := h.says("HostingClusterValidity"); !strings.HasPrefix(got, "False HostingClusterInvalid") || !strings.Contains(got, `"west"`) || len(h.works()) != 0 {
		t.Errorf("%s, %v", got, h.works())
	}
	a := h.addon()
	a.Annotations = nil
	if err := h.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	h.rounds()
	if got := h.says("HostingClusterValidity"); got != "" || len(h.works()) != 1 {
		t.Errorf("%s, %v", got, h.works())
	}
}
