package label

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const prefix = "feature.open-cluster-management.io/addon-"

func east(labels ...string) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east", Labels: map[string]string{"mine": "yes"}}}
	for i := 0; i+1 < len(labels); i += 2 {
		c.Labels[labels[i]] = labels[i+1]
	}
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: clusterv1.ManagedClusterConditionAvailable, Status: metav1.ConditionUnknown, Reason: "x"})
	return c
}

func addon(name string, status metav1.ConditionStatus) *addonv1alpha1.ManagedClusterAddOn {
	a := &addonv1alpha1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: name}}
	if status != "" {
		a.Status.Conditions = []metav1.Condition{{Type: "Available", Status: status, Reason: "x"}}
	}
	return a
}

func leaving(a *addonv1alpha1.ManagedClusterAddOn) *addonv1alpha1.ManagedClusterAddOn {
	a.DeletionTimestamp, a.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"some/one"}
	return a
}

// OCM-19.7
func TestDecide(t *testing.T) {
	unjudged, going := east(prefix+"gone", "available"), east(prefix+"gone", "available")
	unjudged.Status.Conditions = nil
	going.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		addons  []*addonv1alpha1.ManagedClusterAddOn
		want    map[string]string
	}{
		"one of each": {east(), []*addonv1alpha1.ManagedClusterAddOn{addon("a", metav1.ConditionTrue), addon("b", metav1.ConditionFalse), addon("c", metav1.ConditionUnknown), addon("d", "")},
			map[string]string{prefix + "a": "available", prefix + "b": "unhealthy", prefix + "c": "unreachable", prefix + "d": "unreachable"}},
		"what is right is left alone":    {east(prefix+"a", "available"), []*addonv1alpha1.ManagedClusterAddOn{addon("a", metav1.ConditionTrue)}, nil},
		"a deleted add-on takes its own": {east(prefix+"a", "available"), nil, map[string]string{prefix + "a": "-"}},
		"so does one on its way out":     {east(prefix+"a", "available"), []*addonv1alpha1.ManagedClusterAddOn{leaving(addon("a", metav1.ConditionTrue))}, map[string]string{prefix + "a": "-"}},
		"nothing before the first word":  {unjudged, []*addonv1alpha1.ManagedClusterAddOn{addon("a", metav1.ConditionTrue)}, nil},
		"nothing on a leaving cluster":   {going, []*addonv1alpha1.ManagedClusterAddOn{addon("a", metav1.ConditionTrue)}, nil},
		"a name too long is left out":    {east(), []*addonv1alpha1.ManagedClusterAddOn{addon(strings.Repeat("a", 58), metav1.ConditionTrue)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var seen facts
			for _, a := range tc.addons {
				seen = append(seen, *a)
			}
			got := map[string]string{}
			for key, value := range (&Steps{}).Decide(tc.cluster, seen, time.Time{}).labels {
				got[key] = "-"
				if value != nil {
					got[key] = *value
				}
			}
			if len(got)+len(tc.want) > 0 && cmp.Diff(tc.want, got) != "" {
				t.Error(cmp.Diff(tc.want, got))
			}
		})
	}
}

func TestLabelsFollowAndOthersStay(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clusterv1.Install, addonv1alpha1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	writes := 0
	hub := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&clusterv1.ManagedCluster{}).
		WithObjects(east(prefix+"gone", "available"), addon("logs", metav1.ConditionTrue)).
		WithInterceptorFuncs(interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			writes++
			raw, err := p.Data(o)
			if err != nil || !strings.Contains(string(raw), "resourceVersion") || strings.Contains(string(raw), "mine") {
				t.Errorf("%s, %v", raw, err)
			}
			return c.Patch(ctx, o, p, opts...)
		}}).Build()
	for range 3 {
		if _, err := newLoop(hub).Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "east"}}); err != nil {
			t.Fatal(err)
		}
	}
	var c clusterv1.ManagedCluster
	if err := hub.Get(t.Context(), client.ObjectKey{Name: "east"}, &c); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"mine": "yes", prefix + "logs": "available"}, c.Labels); d != "" || writes != 1 {
		t.Errorf("%s, %d writes", d, writes)
	}
}

func TestOnlyWhatMattersWakesACluster(t *testing.T) {
	same, labelled, unjudged := east(), east(prefix+"x", "available"), east()
	same.Status.Capacity = clusterv1.ResourceList{}
	unjudged.Status.Conditions = nil
	for name, tc := range map[string]struct {
		to   *clusterv1.ManagedCluster
		want bool
	}{"capacity": {same, false}, "a label": {labelled, true}, "the first word": {unjudged, true}} {
		if got := clusterChanged().Update(event.UpdateEvent{ObjectOld: east(), ObjectNew: tc.to}); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	was := addon("a", metav1.ConditionTrue)
	for name, tc := range map[string]struct {
		to   *addonv1alpha1.ManagedClusterAddOn
		want bool
	}{"nothing": {addon("a", metav1.ConditionTrue), false}, "health": {addon("a", metav1.ConditionFalse), true}, "leaving": {leaving(addon("a", metav1.ConditionTrue)), true}} {
		if got := addOnChanged().Update(event.UpdateEvent{ObjectOld: was, ObjectNew: tc.to}); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
