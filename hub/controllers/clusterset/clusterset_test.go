package clusterset

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

func gone() *metav1.Time { return &metav1.Time{Time: time.Unix(1, 0)} }

func cluster(name, set string) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if set != "" {
		c.Labels = map[string]string{"cluster.open-cluster-management.io/clusterset": set}
	}
	return c
}

func set(name string, managed ...string) *clusterv1beta2.ManagedClusterSet {
	s := &clusterv1beta2.ManagedClusterSet{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 3}}
	for _, n := range managed {
		s.Spec.ManagedNamespaces = append(s.Spec.ManagedNamespaces, clusterv1.ManagedNamespaceConfig{Name: n})
	}
	return s
}

func broken(s *clusterv1beta2.ManagedClusterSet) *clusterv1beta2.ManagedClusterSet {
	s.Spec.ClusterSelector.SelectorType = clusterv1beta2.LabelSelector
	s.Spec.ClusterSelector.LabelSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}
	return s
}

func hub(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clusterv1.Install, clusterv1beta2.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).
		WithStatusSubresource(&clusterv1.ManagedCluster{}, &clusterv1beta2.ManagedClusterSet{}, &clusterv1beta2.ManagedClusterSetBinding{}).Build()
}

// counting counts writes.
func counting(writes *int) interceptor.Funcs {
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			*writes++
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			*writes++
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			*writes++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}
}

func roundSet(t *testing.T, c client.Client, name string) {
	t.Helper()
	l := &loop.Loop[*clusterv1beta2.ManagedClusterSet, members, verdict]{Steps: &setSteps{Hub: c}, Client: c,
		New: func() *clusterv1beta2.ManagedClusterSet { return &clusterv1beta2.ManagedClusterSet{} }}
	if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: name}}); err != nil {
		t.Fatal(err)
	}
}

func said(conditions []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason + ": " + c.Message
}

// OCM-8.1, OCM-8.4
func TestASetSaysHowManyClustersItHolds(t *testing.T) {
	leaving := cluster("leaving", "prod")
	leaving.DeletionTimestamp, leaving.Finalizers = gone(), []string{"x"}
	strange := set("strange")
	strange.Spec.ClusterSelector.SelectorType = "Everything"
	all := set("all")
	all.Spec.ClusterSelector = stockSelectors[GlobalSet]
	writes := 0
	c := hub(t, counting(&writes), cluster("a", "prod"), cluster("b", "prod"), cluster("c", ""), leaving,
		set("prod"), set("test"), strange, all, broken(set("broken")))
	for name, want := range map[string]string{
		"prod":    "False ClustersSelected: 2 ManagedClusters selected",
		"test":    "True NoClusterMatched: No ManagedCluster selected",
		"strange": "True NoClusterMatched: No ManagedCluster selected",
		"all":     "False ClustersSelected: 3 ManagedClusters selected",
		"broken":  "True NoClusterMatched: No ManagedCluster selected: spec.clusterSelector.labelSelector of ManagedClusterSet broken",
	} {
		roundSet(t, c, name)
		roundSet(t, c, name)
		got := set(name)
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(got), got); err != nil {
			t.Fatal(err)
		}
		if s := said(got.Status.Conditions, "ClusterSetEmpty"); !strings.HasPrefix(s, want) {
			t.Errorf("%s: %s", name, s)
		}
	}
	if writes != 5 {
		t.Errorf("%d writes for 5 sets in two rounds", writes)
	}
}

// OCM-8.4
func TestABindingSaysWhetherItsSetIsThere(t *testing.T) {
	leaving := &clusterv1beta2.ManagedClusterSetBinding{}
	leaving.DeletionTimestamp = gone()
	writes := 0
	c := hub(t, counting(&writes), set("prod"))
	for name, tc := range map[string]struct {
		set, want string
	}{
		"there": {"prod", "True ClusterSetBound: Placements in this namespace can choose from ManagedClusterSet prod"},
		"not":   {"test", "False ClusterSetNotFound: There is no ManagedClusterSet test; create it, or delete this binding"},
	} {
		b := &clusterv1beta2.ManagedClusterSetBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: tc.set}}
		b.Spec.ClusterSet = tc.set
		if err := c.Create(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		l := &loop.Loop[*clusterv1beta2.ManagedClusterSetBinding, found, verdict]{Steps: &bindingSteps{Hub: c}, Client: c,
			New: func() *clusterv1beta2.ManagedClusterSetBinding { return &clusterv1beta2.ManagedClusterSetBinding{} }}
		for range 2 {
			if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
			t.Fatal(err)
		}
		if s := said(b.Status.Conditions, "Bound"); s != tc.want {
			t.Errorf("%s: %s", name, s)
		}
	}
	if writes != 4 { // two by the test
		t.Errorf("%d writes", writes)
	}
	if v := (*bindingSteps)(nil).Decide(leaving, false, time.Time{}); v.condition != nil {
		t.Error("a verdict about a binding on its way out")
	}
}

// Absence is never an order: a set that could not be read is not a set that is not there.
func TestAReadThatFailsUnbindsNobody(t *testing.T) {
	c := hub(t, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errors.New("timeout")
	}})
	if _, err := (&bindingSteps{Hub: c}).Observe(t.Context(), &clusterv1beta2.ManagedClusterSetBinding{}); err == nil {
		t.Error("the failure is lost")
	}
}

// OCM-8.2
func TestStockSets(t *testing.T) {
	edit := func(s *clusterv1beta2.ManagedClusterSet, annotation string) *clusterv1beta2.ManagedClusterSet {
		s.Spec.ClusterSelector = clusterv1beta2.ManagedClusterSelector{SelectorType: "LabelSelector", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}
		s.Annotations = map[string]string{AutoUpdateAnnotation: annotation}
		return s
	}
	right := set("default", "kept")
	right.Spec.ClusterSelector = stockSelectors[DefaultSet]
	leaving := edit(set("default"), "")
	leaving.DeletionTimestamp, leaving.Finalizers = gone(), []string{"x"}
	for name, tc := range map[string]struct {
		have   *clusterv1beta2.ManagedClusterSet
		ask    string
		want   clusterv1beta2.ManagedClusterSelector
		writes int
	}{
		"default is made":               {nil, "default", clusterv1beta2.ManagedClusterSelector{SelectorType: "ExclusiveClusterSetLabel"}, 1},
		"global is made":                {nil, "global", clusterv1beta2.ManagedClusterSelector{SelectorType: "LabelSelector", LabelSelector: &metav1.LabelSelector{}}, 1},
		"one as it should be":           {right, "default", right.Spec.ClusterSelector, 0},
		"an edited one is restored":     {edit(set("default"), "true"), "default", stockSelectors[DefaultSet], 1},
		"unless its user keeps it":      {edit(set("default"), "false"), "default", edit(set(""), "").Spec.ClusterSelector, 0},
		"one on its way out":            {leaving, "default", leaving.Spec.ClusterSelector, 0},
		"another set is nobody's stock": {edit(set("prod"), ""), "prod", edit(set(""), "").Spec.ClusterSelector, 0},
	} {
		t.Run(name, func(t *testing.T) {
			writes := 0
			var have []client.Object
			if tc.have != nil {
				have = append(have, tc.have.DeepCopy())
			}
			c := hub(t, counting(&writes), have...)
			for range 2 {
				if _, err := (&stock{Hub: c}).Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: tc.ask}}); err != nil {
					t.Fatal(err)
				}
			}
			got := set(tc.ask)
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(got), got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got.Spec.ClusterSelector); d != "" || writes != tc.writes {
				t.Errorf("%d writes: %s", writes, d)
			}
			if tc.have != nil && len(got.Spec.ManagedNamespaces) != len(tc.have.Spec.ManagedNamespaces) {
				t.Error("managed namespaces were touched")
			}
		})
	}
}

func entry(set, name string, applied bool) clusterv1.ClusterSetManagedNamespaceConfig {
	e := clusterv1.ClusterSetManagedNamespaceConfig{ClusterSet: set}
	e.Name = name
	if applied {
		e.Conditions = []metav1.Condition{{Type: "NamespaceAvailable", Status: "True", Reason: "NamespaceApplied"}}
	}
	return e
}

// OCM-5.3
func TestManagedNamespacesAreCopiedAndKeepTheirConditions(t *testing.T) {
	leavingSet := set("prod", "web")
	leavingSet.DeletionTimestamp = gone()
	leaving := cluster("east", "prod")
	leaving.DeletionTimestamp = gone()
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		have    entries
		sets    []clusterv1beta2.ManagedClusterSet
		want    entries
	}{
		"new ones by name":                       {cluster("east", "prod"), nil, []clusterv1beta2.ManagedClusterSet{*set("prod", "web", "db"), *set("test", "web")}, entries{entry("prod", "db", false), entry("prod", "web", false)}},
		"what the agent said stays":              {cluster("east", "prod"), entries{entry("prod", "web", true)}, []clusterv1beta2.ManagedClusterSet{*set("prod", "db", "web")}, entries{entry("prod", "web", true), entry("prod", "db", false)}},
		"one that left the list":                 {cluster("east", "prod"), entries{entry("prod", "db", true), entry("prod", "web", true)}, []clusterv1beta2.ManagedClusterSet{*set("prod", "web")}, entries{entry("prod", "web", true)}},
		"a cluster that left the set":            {cluster("east", "test"), entries{entry("prod", "web", true)}, []clusterv1beta2.ManagedClusterSet{*set("prod", "web")}, nil},
		"a set on its way out":                   {cluster("east", "prod"), entries{entry("prod", "web", true)}, []clusterv1beta2.ManagedClusterSet{*leavingSet}, nil},
		"a set that cannot be understood":        {cluster("east", "prod"), entries{entry("prod", "web", true)}, []clusterv1beta2.ManagedClusterSet{*broken(set("prod", "web"))}, entries{entry("prod", "web", true)}},
		"a cluster on its way out keeps its own": {leaving, entries{entry("prod", "web", true)}, nil, entries{entry("prod", "web", true)}},
	} {
		tc.cluster.Status.ManagedNamespaces = tc.have
		got := (*namespaceSteps)(nil).Decide(tc.cluster, wantedOf(tc.cluster, tc.sets), time.Time{})
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestManagedNamespacesAreWrittenOnce(t *testing.T) {
	writes := 0
	c := hub(t, counting(&writes), cluster("east", "prod"), set("prod", "web"))
	l := &loop.Loop[*clusterv1.ManagedCluster, wanted, entries]{Steps: &namespaceSteps{Hub: c}, Client: c,
		New: func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} }}
	for range 2 {
		if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "east"}}); err != nil {
			t.Fatal(err)
		}
	}
	got := cluster("east", "")
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(got), got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]clusterv1.ClusterSetManagedNamespaceConfig{entry("prod", "web", false)}, got.Status.ManagedNamespaces); d != "" || writes != 1 {
		t.Errorf("%d writes: %s", writes, d)
	}
}

func TestOnlyWhatMattersWakes(t *testing.T) {
	moved, told := cluster("east", "test"), cluster("east", "prod")
	told.Status.Conditions = []metav1.Condition{{Type: "x"}}
	for name, tc := range map[string]struct {
		to   client.Object
		want bool
	}{"another set": {moved, true}, "a condition": {told, false}} {
		if got := moves().Update(event.UpdateEvent{ObjectOld: cluster("east", "prod"), ObjectNew: tc.to}); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	changed, relabelled := set("prod", "web"), set("prod", "web")
	changed.Generation++
	for name, tc := range map[string]struct {
		from, to client.Object
		want     bool
	}{
		"nothing managed":  {set("prod"), func() client.Object { s := set("prod"); s.Generation++; return s }(), false},
		"the last one":     {changed, set("prod"), true},
		"a status":         {set("prod", "web"), relabelled, false},
		"another selector": {set("prod", "web"), changed, true},
	} {
		if got := manages().Update(event.UpdateEvent{ObjectOld: tc.from, ObjectNew: tc.to}); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	c := hub(t, interceptor.Funcs{}, cluster("a", ""), cluster("b", ""), set("prod"))
	if got := allOf(c, &clusterv1.ManagedClusterList{})(t.Context(), set("prod")); len(got) != 2 {
		t.Errorf("%v", got)
	}
}
