package federateddeployment

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

func madeFor(labels map[string]string, namespace, name string) *workv1.ManifestWork {
	return &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
}

func unitedLabels(name, subset string) map[string]string {
	return map[string]string{v1alpha1.LabelUnitedDeployment: name, v1alpha1.LabelUnitedDeploymentNamespace: "shop", v1alpha1.LabelUnitedDeploymentUID: "u", v1alpha1.LabelSubset: subset}
}

// Who waits for a name that another has is woken once it is free, whatever kind the other is of.
func TestAWorkThatGoesWakesWhoWaitedForItsName(t *testing.T) {
	placed := web(func(o *v1alpha1.FederatedDeployment) {
		o.Name, o.UID = "placed", "placed-uid"
		o.Spec.Topology = v1alpha1.Topology{PlacementRef: &v1alpha1.PlacementRef{Name: "p"}}
	})
	h := newHub(t, web(), placed)
	handler := workHandler{users{h.Cached, gvk}}
	for name, tc := range map[string]struct {
		work *workv1.ManifestWork
		want []string
	}{
		"of another kind":                        {madeFor(unitedLabels("web", "a"), "east", "shop.web.a"), []string{"web"}},
		"of nobody":                              {madeFor(nil, "east", "shop.web.b"), []string{"web"}},
		"whose workload has the name":            {madeFor(unitedLabels("web-a", "x"), "east", "shop.web-a.x"), nil},
		"whose workload has the name of another": {madeFor(unitedLabels("we", "b"), "east", "shop.we.b"), nil},
		"which a cluster of a Placement needs":   {madeFor(nil, "east", "shop.placed.east"), []string{"placed"}},
		"in a cluster that has another name":     {madeFor(nil, "east", "shop.placed.west"), nil},
		"that is our own":                        {madeFor(origins[0].labels(web(), "a"), "east", "shop.web.a"), []string{"web"}},
		"that nobody needs":                      {madeFor(nil, "east", "shop.web.z"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue()
			handler.Delete(context.Background(), event.DeleteEvent{Object: tc.work}, q)
			if d := cmp.Diff(tc.want, drain(q)); d != "" {
				t.Error(d)
			}
		})
	}
	t.Run("labels that name another", func(t *testing.T) {
		q := newQueue()
		was, is := madeFor(origins[0].labels(web(), "z"), "east", "free"), madeFor(nil, "east", "free")
		handler.Update(context.Background(), event.UpdateEvent{ObjectOld: was, ObjectNew: is}, q)
		if d := cmp.Diff([]string{"web"}, drain(q)); d != "" {
			t.Error(d)
		}
		handler.Update(context.Background(), event.UpdateEvent{ObjectOld: is, ObjectNew: is}, q)
		if got := drain(q); got != nil {
			t.Errorf("woke %v", got)
		}
	})
	t.Run("a workload's name that is spelled in another way", func(t *testing.T) {
		other := web(func(o *v1alpha1.FederatedDeployment) {
			o.Name, o.UID = "web-x", "x-uid"
			o.Spec.Topology.Subsets = []v1alpha1.Subset{{Name: "y", Cluster: "east"}}
		})
		q := newQueue()
		workHandler{users{newHub(t, other).Cached, gvk}}.Delete(context.Background(), event.DeleteEvent{Object: madeFor(origins[0].labels(web(), "x-y"), "east", "shop.web.x-y")}, q)
		if d := cmp.Diff([]string{"web", "web-x"}, drain(q)); d != "" {
			t.Error(d)
		}
	})
}
