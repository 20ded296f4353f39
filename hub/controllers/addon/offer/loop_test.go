package offer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	testclock "k8s.io/utils/clock/testing"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
)

// hub is a fake API server with the controller on it, at noon.
type hub struct {
	client.Client
	t      *testing.T
	steps  *Steps
	clock  *testclock.FakePassiveClock
	writes []string
	refuse func(verb string, o client.Object) error
}

func newHub(t *testing.T, objects ...client.Object) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clusterv1.Install, clusterv1beta1.Install, addonv1alpha1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	h := &hub{t: t, clock: testclock.NewFakePassiveClock(noon), refuse: func(string, client.Object) error { return nil }}
	b := fake.NewClientBuilder().WithScheme(scheme).WithIndex(catalog.IndexOf()).
		WithStatusSubresource(&offer{}, &installation{}, &clusterv1beta1.Placement{}, &clusterv1beta1.PlacementDecision{})
	for _, i := range indexes {
		b = b.WithIndex(i.of, i.key, i.extract)
	}
	h.Client = b.WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if err := h.refuse("get", o); err != nil {
				return err
			}
			return c.Get(ctx, key, o, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			h.writes = append(h.writes, "create "+o.GetNamespace())
			if err := h.refuse("create", o); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			h.writes = append(h.writes, "patch "+o.GetNamespace())
			if err := h.refuse("patch", o); err != nil {
				return err
			}
			return c.Patch(ctx, o, p, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			h.writes = append(h.writes, "delete "+o.GetNamespace())
			return c.Delete(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			h.writes = append(h.writes, sub+" "+o.GetNamespace())
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	h.steps = newSteps(h, h, Options{Clock: h.clock, Placements: true, Configs: []config.Kind{config.DeploymentConfigs}})
	return h
}

func (h *hub) round() (reconcile.Result, error) {
	return newLoop(h.steps).Reconcile(h.t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "logs"}})
}

func (h *hub) rounds() {
	h.t.Helper()
	for range 3 {
		if _, err := h.round(); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *hub) installed() (all []string) {
	h.t.Helper()
	found, err := catalog.Installations(h.t.Context(), h, "logs")
	if err != nil {
		h.t.Fatal(err)
	}
	for i := range found {
		all = append(all, strings.TrimSpace(found[i].Namespace+" "+refs(&found[i])))
	}
	slices.Sort(all)
	return all
}

func decided(clusters ...string) *clusterv1beta1.PlacementDecision {
	d := &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "p-decision-1", Labels: map[string]string{clusterv1beta1.PlacementLabel: "p"}}}
	for _, c := range clusters {
		d.Status.Decisions = append(d.Status.Decisions, clusterv1beta1.ClusterDecision{ClusterName: c})
	}
	return d
}

func (h *hub) redecide(clusters ...string) {
	h.t.Helper()
	var d clusterv1beta1.PlacementDecision
	if err := h.Get(h.t.Context(), client.ObjectKey{Namespace: "team", Name: "p-decision-1"}, &d); err != nil {
		h.t.Fatal(err)
	}
	d.Status = decided(clusters...).Status
	if err := h.Status().Update(h.t.Context(), &d); err != nil {
		h.t.Fatal(err)
	}
}

func placementP() *clusterv1beta1.Placement {
	return &clusterv1beta1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "p"}}
}

func settings(name, value string) *addonv1alpha1.AddOnDeploymentConfig {
	return &addonv1alpha1.AddOnDeploymentConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name},
		Spec: addonv1alpha1.AddOnDeploymentConfigSpec{AgentInstallNamespace: value}}
}

// OCM-19.2, OCM-19.3
func TestAnAddOnFollowsItsPlacement(t *testing.T) {
	h := newHub(t, logs(placedBy("p"), configured(0, "x")), placementP(), decided("east", "west"), cluster("east"), cluster("west"), cluster("north"), settings("x", "a"))
	h.rounds()
	hash := sum(`{"agentInstallNamespace":"a","proxyConfig":{}}`)
	if d := cmp.Diff([]string{"east x:" + hash, "west x:" + hash}, h.installed()); d != "" {
		t.Error(d)
	}
	h.writes = nil
	h.rounds()
	if len(h.writes) != 0 {
		t.Errorf("%v although nothing changed", h.writes)
	}

	h.redecide("east", "north")
	if result, err := h.round(); err != nil || result.RequeueAfter > time.Minute || result.RequeueAfter == 0 {
		t.Errorf("%v, %v", result, err)
	}
	h.clock.SetTime(noon.Add(2 * time.Second))
	h.rounds()
	if d := cmp.Diff([]string{"east x:" + hash, "north x:" + hash}, h.installed()); d != "" {
		t.Error(d)
	}

	var obj offer
	if err := h.Get(t.Context(), client.ObjectKey{Name: "logs"}, &obj); err != nil {
		t.Fatal(err)
	}
	if p := obj.Status.InstallProgressions; len(p) != 1 || p[0].ConfigReferences[0].DesiredConfig.SpecHash != hash || !meta.IsStatusConditionTrue(p[0].Conditions, "Progressing") {
		t.Errorf("%+v", p)
	}
}

// sum of a spec as anyone would write it, so that the hash is not compared with itself.
func sum(spec string) string {
	var o map[string]any
	if err := utiljson.Unmarshal([]byte(spec), &o); err != nil {
		return err.Error()
	}
	hash, err := config.Hash(map[string]any{"spec": o})
	if err != nil {
		return err.Error()
	}
	return hash
}

func TestChangedContentReachesItsInstallations(t *testing.T) {
	h := newHub(t, logs(byDefault("x")), on("east"), settings("x", "a"))
	h.rounds()
	before := h.installed()
	var c addonv1alpha1.AddOnDeploymentConfig
	if err := h.Get(t.Context(), client.ObjectKey{Namespace: "team", Name: "x"}, &c); err != nil {
		t.Fatal(err)
	}
	c.Spec.AgentInstallNamespace = "b"
	if err := h.Update(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	h.rounds()
	if after := h.installed(); slices.Equal(before, after) || len(after) != 1 {
		t.Errorf("%v, before %v", after, before)
	}
}

func TestAClusterWithoutANamespaceStopsNoOther(t *testing.T) {
	h := newHub(t, logs(placedBy("p")), placementP(), decided("east", "west"), cluster("east"), cluster("west"))
	h.refuse = func(verb string, o client.Object) error {
		if verb == "create" && o.GetNamespace() == "east" {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "east")
		}
		return nil
	}
	result, err := h.round()
	if err != nil || result.RequeueAfter != time.Minute {
		t.Errorf("%v, %v", result, err)
	}
	if d := cmp.Diff([]string{"west"}, h.installed()); d != "" {
		t.Error(d)
	}
}

func TestALostRaceIsNoError(t *testing.T) {
	h := newHub(t, logs(), on("east", orphan))
	h.refuse = func(verb string, o client.Object) error {
		if verb == "patch" {
			return apierrors.NewConflict(schema.GroupResource{Resource: "managedclusteraddons"}, "logs", errors.New("newer"))
		}
		return nil
	}
	if _, err := h.round(); err != nil {
		t.Error(err)
	}
}

// Absence is never an order.
func TestAFailedReadChangesNothing(t *testing.T) {
	for name, what := range map[string]func(client.Object) bool{
		"of the placement": func(o client.Object) bool { _, is := o.(*clusterv1beta1.Placement); return is },
		"of a cluster":     func(o client.Object) bool { _, is := o.(*clusterv1.ManagedCluster); return is },
		"of a configuration": func(o client.Object) bool {
			return o.GetObjectKind().GroupVersionKind().Kind == "AddOnDeploymentConfig"
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, logs(placedBy("p"), configured(0, "x")), placementP(), decided("west"), cluster("west"), on("east", marked), settings("x", "a"))
			h.clock.SetTime(noon.Add(time.Hour))
			h.refuse = func(verb string, o client.Object) error {
				if verb == "get" && what(o) {
					return errors.New("timeout")
				}
				return nil
			}
			if _, err := h.round(); err == nil || len(h.writes) != 0 {
				t.Errorf("%v, wrote %v", err, h.writes)
			}
		})
	}
}

func TestOnlyOffersThatAreConcernedAreWoken(t *testing.T) {
	other := logs()
	other.Name = "mesh"
	h := newHub(t, logs(placedBy("p"), configured(0, "x")), other, on("east", choosing("y")))
	w := wake{h}
	names := func(requests []reconcile.Request) (all string) {
		for _, r := range requests {
			all += r.Name + " "
		}
		return all
	}
	if got := names(w.offers(t.Context(), nil, client.MatchingFields{byPlacement: "team/p"})); got != "logs " {
		t.Error(got)
	}
	if got := names(w.offers(t.Context(), func(a *offer) bool { return slices.Contains(layers(a), deployment("x")) })); got != "logs " {
		t.Error(got)
	}
	var found addonv1alpha1.ManagedClusterAddOnList
	if err := h.List(t.Context(), &found, client.MatchingFields{byConfig: "addon.open-cluster-management.io addondeploymentconfigs team/y"}); err != nil || len(found.Items) != 1 {
		t.Errorf("%v, %v", found.Items, err)
	}
	quiet := cluster("east")
	meta.SetStatusCondition(&quiet.Status.Conditions, metav1.Condition{Type: clusterv1.ManagedClusterConditionAvailable, Status: metav1.ConditionUnknown, Reason: "x"})
	if !clusterChanged().Update(event.UpdateEvent{ObjectOld: cluster("east"), ObjectNew: quiet}) || clusterChanged().Update(event.UpdateEvent{ObjectOld: quiet, ObjectNew: quiet}) {
		t.Error("silence is news, and nothing else")
	}
}
