package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	discoveryfake "k8s.io/client-go/discovery/fake"
	clienttesting "k8s.io/client-go/testing"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func node(zone, cpu string, cordoned bool) corev1.Node {
	amounts := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	n := corev1.Node{Spec: corev1.NodeSpec{Unschedulable: cordoned}, Status: corev1.NodeStatus{Capacity: amounts, Allocatable: amounts}}
	n.Labels = map[string]string{corev1.LabelTopologyZone: zone, corev1.LabelTopologyRegion: "r"}
	return n
}

func text(l clusterv1.ResourceList) map[string]string {
	out := map[string]string{}
	for k, v := range l {
		out[string(k)] = v.String()
	}
	return out
}

func TestResourcesAreSummedUp(t *testing.T) { // OCM-5.1
	nodes := []corev1.Node{node("a", "2", false), node("b", "500m", false), node("b", "4", true)}
	before := clusterv1.ResourceList{"example.com/licences": resource.MustParse("7"), "cpu": resource.MustParse("1")}
	if d := cmp.Diff(map[string]string{"cpu": "6500m", "example.com/licences": "7"}, text(Capacity(before, nodes))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"cpu": "2500m"}, text(Allocatable(nil, nodes))); d != "" {
		t.Error(d)
	}
	same := clusterv1.ResourceList{"cpu": resource.MustParse("2.5")}
	if got := Allocatable(same, nodes); text(got)["cpu"] != text(same)["cpu"] {
		t.Errorf("the same amount in other words is a change: %v", text(got))
	}
}

func TestClaimsOfOurs(t *testing.T) {
	known := Known{ClusterID: "uid", Version: "v1.37.2", Nodes: []corev1.Node{node("b", "1", false), node("a", "1", false), node("b", "1", false), {}}}
	want := map[string]string{"id.k8s.io": "uid", "kubeversion.open-cluster-management.io": "v1.37.2", "zones.flotilla.dev": "a,b", "regions.flotilla.dev": "r"}
	if d := cmp.Diff(want, known.Claims()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"id.k8s.io": "uid"}, Known{ClusterID: "uid"}.Claims()); d != "" {
		t.Errorf("what is not known is not claimed: %s", d)
	}
	var many []corev1.Node
	for i := range 200 {
		many = append(many, node(fmt.Sprintf("zone-%05d", i), "1", false))
	}
	zones := Known{Nodes: many}.Claims()[appsv1alpha1.ClaimZones]
	if len(zones) > 1024 || !strings.HasSuffix(zones, ",zone-00092") {
		t.Errorf("%d characters, ends in %q", len(zones), zones[len(zones)-11:])
	}
}

func claim(name string, labels ...string) clusterv1alpha1.ClusterClaim {
	c := clusterv1alpha1.ClusterClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: clusterv1alpha1.ClusterClaimSpec{Value: "v"}}
	for _, l := range labels {
		c.Labels = map[string]string{l: ""}
	}
	return c
}

func TestClaimsAreReportedReservedFirstAndCutByName(t *testing.T) { // OCM-5.2
	claims := []clusterv1alpha1.ClusterClaim{
		claim("c"), claim("product.open-cluster-management.io"), claim("a"), claim("hidden", "open-cluster-management.io/spoke-only"),
		claim("b"), claim("id.k8s.io"), claim("zones.flotilla.dev"), claim("x.corp.io"),
	}
	got, dropped := Reported(claims, []string{".corp.io"}, 2)
	var names []string
	for _, c := range got {
		names = append(names, c.Name)
	}
	want := []string{"id.k8s.io", "product.open-cluster-management.io", "x.corp.io", "zones.flotilla.dev", "a", "b"}
	if d := cmp.Diff(want, names); d != "" || !slices.Equal(dropped, []string{"c"}) {
		t.Errorf("dropped %v: %s", dropped, d)
	}
	want = []string{"5 custom ClusterClaims are not reported (a, b, c, ...)", "the hub takes 2 of them"}
	for _, part := range want {
		if got := Dropped([]string{"a", "b", "c", "d", "e"}, 2).Message; !strings.Contains(got, part) {
			t.Errorf("%q is missing in %q", part, got)
		}
	}
}

func property(name, value string, labels ...string) unstructured.Unstructured {
	p := unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"value": value}}}
	p.SetGroupVersionKind(ClusterProperty)
	p.SetName(name)
	if len(labels) > 0 {
		p.SetLabels(map[string]string{labels[0]: ""})
	}
	return p
}

func TestAPropertyWinsOverTheClaimOfItsName(t *testing.T) { // OCM-5.2
	broken := property("broken", "x")
	broken.Object["spec"] = "x"
	properties := []unstructured.Unstructured{
		property("both", "property"), property("more", "property"), broken, property("hidden", "property", "open-cluster-management.io/spoke-only"),
	}
	got, _ := Reported(merged([]clusterv1alpha1.ClusterClaim{claim("both"), claim("broken"), claim("hidden")}, properties), nil, 20)
	want := []clusterv1.ManagedClusterClaim{{Name: "both", Value: "property"}, {Name: "broken", Value: "v"}, {Name: "more", Value: "property"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestPropertiesAreReadOnlyWhenAskedForAndServed(t *testing.T) { // OCM-5.2
	s := runtime.NewScheme()
	if err := clusterv1alpha1.Install(s); err != nil {
		t.Fatal(err)
	}
	theirs, asked := claim("theirs"), 0
	var answer error
	reader := fake.NewClientBuilder().WithScheme(s).WithObjects(&theirs).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			list, ours := l.(*unstructured.UnstructuredList)
			if !ours {
				return c.List(ctx, l, opts...)
			}
			asked++
			list.Items = []unstructured.Unstructured{property("more", "property")}
			return answer
		},
	}).Build()
	missing := &meta.NoKindMatchError{GroupKind: ClusterProperty.GroupKind()}
	for name, tc := range map[string]struct {
		on     bool
		answer error
		want   int
		fails  bool
	}{"off": {false, nil, 1, false}, "on": {true, nil, 2, false}, "not served": {true, missing, 1, false}, "unread": {true, errors.New("timeout"), 0, true}} {
		answer, asked = tc.answer, 0
		got, err := Local{Reader: reader}.claims(t.Context(), tc.on)
		if len(got) != tc.want || (err != nil) != tc.fails || (asked > 0) != tc.on {
			t.Errorf("%s: %d claims, asked %d times, %v", name, len(got), asked, err)
		}
	}
}

func TestManagedNamespacesAreToldUnlessTheRoundFails(t *testing.T) { // OCM-5.3
	kept := []clusterv1.ClusterSetManagedNamespaceConfig{{ClusterSet: "prod", Conditions: []metav1.Condition{{Type: "NamespaceAvailable"}}}}
	for _, healthy := range []bool{true, false} {
		c := accepted()
		c.Status.ManagedNamespaces = []clusterv1.ClusterSetManagedNamespaceConfig{{ClusterSet: "prod"}}
		Report(c, Facts{Healthy: healthy, Namespaces: &kept})
		if told := len(c.Status.ManagedNamespaces[0].Conditions) == 1; told != healthy {
			t.Errorf("healthy %v: told %v", healthy, told)
		}
	}
}

func TestOnlyFailureThatLastsIsTold(t *testing.T) { // OCM-4.2
	h, now := Health{}, noon
	bad, good := Probe{Message: "The kube-apiserver is not ok, status code: 500"}, Probe{OK: true}
	for _, step := range []struct {
		after  time.Duration
		probe  Probe
		status metav1.ConditionStatus
		next   time.Duration
	}{
		{0, good, metav1.ConditionTrue, 0},
		{time.Minute, bad, "", 5 * time.Second},
		{5 * time.Second, bad, "", 5 * time.Second},
		{5 * time.Second, good, metav1.ConditionTrue, 0}, // forgotten
		{time.Minute, bad, "", 5 * time.Second},
		{19 * time.Second, bad, "", 5 * time.Second},
		{time.Second, bad, metav1.ConditionFalse, 5 * time.Second},
	} {
		now = now.Add(step.after)
		c, next := h.Judge(step.probe, now, 3)
		if (c == nil) != (step.status == "") || c != nil && (c.Status != step.status || c.ObservedGeneration != 3) || next != step.next {
			t.Errorf("%+v: got %v, %s", step, c, next)
		}
	}
}

func accepted(more ...metav1.Condition) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}}
	c.Status.Conditions = append([]metav1.Condition{{Type: "HubAcceptedManagedCluster", Status: metav1.ConditionTrue, Reason: "HubClusterAdminAccepted"}}, more...)
	return c
}

func TestSilence(t *testing.T) { // OCM-3.2, OCM-4.3
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		want    bool
	}{
		"never accepted": {&clusterv1.ManagedCluster{}, true},
		"accepted":       {accepted(), false},
		"clock wrong":    {accepted(metav1.Condition{Type: "ManagedClusterConditionClockSynced", Status: metav1.ConditionFalse}), true},
	} {
		if got := Silent(tc.cluster); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAReadThatFailedChangesNothing(t *testing.T) {
	c := accepted()
	c.Status.Capacity = clusterv1.ResourceList{"cpu": resource.MustParse("3")}
	c.Status.ClusterClaims = []clusterv1.ManagedClusterClaim{{Name: "id.k8s.io", Value: "x"}}
	c.Status.Version.Kubernetes = "v1"
	before := c.DeepCopy()
	Report(c, Facts{Healthy: true})
	if d := cmp.Diff(before.Status.Capacity, c.Status.Capacity); d != "" || len(c.Status.ClusterClaims) != 1 || c.Status.Version.Kubernetes != "v1" {
		t.Errorf("status %+v", c.Status)
	}
	if !meta.IsStatusConditionTrue(c.Status.Conditions, "ManagedClusterJoined") {
		t.Error("not joined")
	}
}

func TestATroubledAPIServerStopsTheLaterSteps(t *testing.T) { // OCM-4.2
	c := accepted()
	nodes := []corev1.Node{node("a", "1", false)}
	Report(c, Facts{Healthy: false, Nodes: &nodes, Version: "v1"})
	if c.Status.Capacity != nil || c.Status.Version.Kubernetes != "" {
		t.Errorf("told %+v", c.Status)
	}
}

func TestOwnClaimsAreWrittenOnceAndOthersNever(t *testing.T) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, clusterv1alpha1.Install} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	n := node("a", "1", false)
	n.Name = "n1"
	theirs, stale := claim("theirs"), claim("zones.flotilla.dev")
	stale.Spec.Value = "old"
	base := fake.NewClientBuilder().WithScheme(s).WithObjects(&n, &theirs, &stale, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "uid"}}).Build()
	writes := 0
	local := interceptor.NewClient(base, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			writes++
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			writes++
			if o.GetName() == "theirs" {
				t.Error("wrote somebody else's claim")
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
	asks := &discoveryfake.FakeDiscovery{Fake: &clienttesting.Fake{}, FakedServerVersion: &version.Info{GitVersion: "v1.37.2"}}
	l := Local{Client: local, Reader: local, Discovery: asks}
	for range 2 {
		if err := l.writeClaims(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if writes != 4 {
		t.Errorf("%d writes for four claims in two rounds", writes)
	}
	var zones clusterv1alpha1.ClusterClaim
	if err := local.Get(t.Context(), client.ObjectKey{Name: "zones.flotilla.dev"}, &zones); err != nil || zones.Spec.Value != "a" {
		t.Errorf("zones %q, %v", zones.Spec.Value, err)
	}
}

func TestTurned(t *testing.T) { // OCM-4.2
	is := func(s metav1.ConditionStatus) []metav1.Condition {
		return []metav1.Condition{{Type: "ManagedClusterConditionAvailable", Status: s, Message: "m"}}
	}
	for _, tc := range []struct {
		before, after []metav1.Condition
		reason        string
	}{
		{nil, nil, ""}, {nil, is("True"), "Available"}, {is("True"), is("True"), ""}, {is("True"), is("False"), "Unavailable"}, {is("Unknown"), is("True"), "Available"},
	} {
		e, turned := Turned(tc.before, tc.after)
		if e.Reason != tc.reason || turned != (tc.reason != "") {
			t.Errorf("%v to %v: %v", tc.before, tc.after, e)
		}
	}
}
