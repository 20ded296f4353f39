package uniteddeployment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisev1beta1 "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

type edit = func(*kruisev1alpha1.UnitedDeployment)

// web has 5 replicas in zone a of east and 5 in zone b of west.
func web(edits ...edit) *kruisev1alpha1.UnitedDeployment {
	labels := map[string]string{"app": "web"}
	ud := &kruisev1alpha1.UnitedDeployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps.kruise.io/v1alpha1", Kind: "UnitedDeployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "web-uid", Generation: 1},
		Spec: kruisev1alpha1.UnitedDeploymentSpec{
			Replicas: new(int32(10)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: kruisev1alpha1.SubsetTemplate{CloneSetTemplate: &kruisev1alpha1.CloneSetTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: kruisev1alpha1.CloneSetSpec{Template: pod(labels)},
			}},
			Topology: kruisev1alpha1.Topology{Subsets: []kruisev1alpha1.Subset{inZone("a"), inZone("b")}},
		},
	}
	for _, e := range edits {
		e(ud)
	}
	return ud
}

func pod(labels map[string]string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:v1"}}}}
}

func inZone(zone string) kruisev1alpha1.Subset {
	return kruisev1alpha1.Subset{Name: zone, NodeSelectorTerm: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
		{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{zone}},
	}}}
}

// hub is an API server in memory.
type hub struct {
	t *testing.T
	client.Client
	reconcile.Reconciler
	recorder *record.FakeRecorder
	clock    *clocktesting.FakePassiveClock
	writes   []string
	fail     error
}

var key = client.ObjectKey{Namespace: "shop", Name: "web"}

func newHub(t *testing.T, objects ...client.Object) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, kruisev1alpha1.AddToScheme, clusterv1.Install, workv1.Install, appsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	h := &hub{t: t, recorder: record.NewFakeRecorder(100), clock: clocktesting.NewFakePassiveClock(noon)}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&kruisev1alpha1.UnitedDeployment{}, &workv1.ManifestWork{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				h.writes = append(h.writes, "create "+o.GetName())
				if _, work := o.(*workv1.ManifestWork); work && h.fail != nil {
					return h.fail
				}
				return c.Create(ctx, o, opts...)
			},
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				h.writes = append(h.writes, "patch "+o.GetName())
				return c.Patch(ctx, o, p, opts...)
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				h.writes = append(h.writes, sub+" "+o.GetName())
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		})
	for _, i := range front().Indexes() {
		builder = builder.WithIndex(i.Of, i.Key, i.Extract)
	}
	h.Client = builder.Build()
	h.Reconciler = federateddeployment.Serve(front(), federateddeployment.Tools{Cached: h.Client, Hub: h.Client, Live: h.Client, Events: h.recorder, Clock: h.clock})
	return h
}

func (h *hub) rounds(n int) error {
	h.t.Helper()
	var err error
	for range n {
		h.writes = nil
		_, err = h.Reconcile(context.Background(), reconcile.Request{NamespacedName: key})
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *hub) web() *kruisev1alpha1.UnitedDeployment {
	h.t.Helper()
	ud := &kruisev1alpha1.UnitedDeployment{}
	if err := h.Get(context.Background(), key, ud); err != nil {
		h.t.Fatal(err)
	}
	return ud
}

func (h *hub) change(edits ...edit) {
	h.t.Helper()
	ud := h.web()
	for _, e := range edits {
		e(ud)
	}
	ud.Generation++
	if err := h.Update(context.Background(), ud); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hub) works() map[string]*workv1.ManifestWork {
	h.t.Helper()
	var all workv1.ManifestWorkList
	if err := h.List(context.Background(), &all); err != nil {
		h.t.Fatal(err)
	}
	works := map[string]*workv1.ManifestWork{}
	for i, w := range all.Items {
		works[w.Namespace+"/"+w.Name] = &all.Items[i]
	}
	return works
}

// object is the workload in a work.
func (h *hub) object(work string) map[string]any {
	h.t.Helper()
	w := h.works()[work]
	if w == nil {
		h.t.Fatalf("no work %s", work)
	}
	var o map[string]any
	if err := json.Unmarshal(w.Spec.Workload.Manifests[len(w.Spec.Workload.Manifests)-1].Raw, &o); err != nil {
		h.t.Fatal(err)
	}
	return o
}

// report answers for a cluster: all there and ready, or what the values say instead.
func (h *hub) report(work string, values map[string]int64) {
	h.t.Helper()
	o, w := h.object(work), h.works()[work]
	n := int64(o["spec"].(map[string]any)["replicas"].(float64))
	metadata := o["metadata"].(map[string]any)
	all := map[string]int64{"generation": 1, "observedGeneration": 1, "replicas": n, "readyReplicas": n, "availableReplicas": n, "updatedReplicas": n, "updatedReadyReplicas": n}
	for k, v := range values {
		all[k] = v
	}
	list := []workv1.FeedbackValue{{Name: "content", Value: workv1.FieldValue{Type: workv1.String, String: new(metadata["annotations"].(map[string]any)[v1alpha1.AnnotationContent].(string))}}}
	for k, v := range all {
		list = append(list, workv1.FeedbackValue{Name: k, Value: workv1.FieldValue{Type: workv1.Integer, Integer: &v}})
	}
	group, _, _ := strings.Cut(o["apiVersion"].(string), "/")
	w.Status.ResourceStatus.Manifests = []workv1.ManifestCondition{{
		ResourceMeta: workv1.ManifestResourceMeta{Group: group, Kind: o["kind"].(string), Name: metadata["name"].(string)}, StatusFeedbacks: workv1.StatusFeedbackResult{Values: list},
	}}
	if err := h.Status().Update(context.Background(), w); err != nil {
		h.t.Fatal(err)
	}
}

func member(name, zones string) *clusterv1.ManagedCluster {
	return &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true},
		Status: clusterv1.ManagedClusterStatus{
			ClusterClaims: []clusterv1.ManagedClusterClaim{{Name: v1alpha1.ClaimZones, Value: zones}},
			Conditions:    []metav1.Condition{{Type: clusterv1.ManagedClusterConditionAvailable, Status: metav1.ConditionTrue}},
		},
	}
}

// said are the conditions in words.
func said(status kruisev1alpha1.UnitedDeploymentStatus) []string {
	var all []string
	for _, c := range status.Conditions {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.Type, c.Status, c.Reason, c.Message)))
	}
	slices.Sort(all)
	return all
}

// WL-5.10: every field, from nothing to all there.
func TestStatus(t *testing.T) {
	h := newHub(t, web(), member("east", "a"), member("west", "b"))
	if err := h.rounds(1); err != nil {
		t.Fatal(err)
	}
	if err := h.rounds(1); err != nil || len(h.writes) > 0 {
		t.Errorf("a second round wrote %v, %v", h.writes, err)
	}
	h.report("east/shop.web.a", map[string]int64{"readyReplicas": 4, "updatedReadyReplicas": 4})
	h.report("west/shop.web.b", nil)
	if err := h.rounds(1); err != nil {
		t.Fatal(err)
	}
	got := h.web().Status
	conditions := said(got)
	got.Conditions = nil
	revision := got.CurrentRevision
	want := kruisev1alpha1.UnitedDeploymentStatus{
		ObservedGeneration: 1, Replicas: 10, ReadyReplicas: 9, UpdatedReplicas: 10, UpdatedReadyReplicas: 9, CurrentRevision: revision,
		SubsetReplicas: map[string]int32{"a": 5, "b": 5}, LabelSelector: "app=web",
		SubsetStatuses: []kruisev1alpha1.UnitedDeploymentSubsetStatus{{Name: "a"}, {Name: "b"}},
		UpdateStatus:   &kruisev1alpha1.UpdateStatus{UpdatedRevision: revision, CurrentPartitions: map[string]int32{"a": 0, "b": 0}},
	}
	if d := cmp.Diff(want, got); d != "" || revision == "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"Ready False Progressing subset a on east has 4 of 5 replicas ready", "Reconciling True Progressing subset a on east has 4 of 5 replicas ready",
		"Stalled False Settled", "SubsetProvisioned True", "SubsetUpdated True"}, conditions); d != "" {
		t.Error(d)
	}
}

// WL-5.8, WL-5.10: partitions, and the current revision that moves when all is updated and ready.
func TestAnUpdateWithPartitions(t *testing.T) {
	h := newHub(t, web(), member("east", "a"), member("west", "b"))
	_ = h.rounds(1)
	h.report("east/shop.web.a", nil)
	h.report("west/shop.web.b", nil)
	_ = h.rounds(1)
	first := h.web().Status.CurrentRevision
	h.change(func(ud *kruisev1alpha1.UnitedDeployment) {
		ud.Spec.Template.CloneSetTemplate.Spec.Template.Spec.Containers[0].Image = "web:v2"
		ud.Spec.UpdateStrategy.ManualUpdate = &kruisev1alpha1.ManualUpdate{Partitions: map[string]int32{"a": 9}}
	})
	if err := h.rounds(1); err != nil {
		t.Fatal(err)
	}
	s := h.web().Status
	if s.CurrentRevision != first || s.UpdateStatus.UpdatedRevision == first || s.UpdateStatus.CurrentPartitions["a"] != 5 || s.UpdatedReplicas != 0 || s.Replicas != 10 {
		t.Errorf("status %+v %+v", s, s.UpdateStatus)
	}
	if p := h.object("east/shop.web.a")["spec"].(map[string]any)["updateStrategy"].(map[string]any)["partition"]; p != float64(5) {
		t.Errorf("partition %v", p)
	}
	h.change(func(ud *kruisev1alpha1.UnitedDeployment) { ud.Spec.UpdateStrategy.ManualUpdate = nil })
	_ = h.rounds(1)
	h.report("east/shop.web.a", nil)
	h.report("west/shop.web.b", nil)
	_ = h.rounds(1)
	if s := h.web().Status; s.CurrentRevision == first || s.CurrentRevision != s.UpdateStatus.UpdatedRevision {
		t.Errorf("current revision is %s", s.CurrentRevision)
	}
}

// WL-5.1: every template kind.
func TestTemplateKinds(t *testing.T) {
	labels := map[string]string{"app": "web"}
	for want, template := range map[string]kruisev1alpha1.SubsetTemplate{
		"apps/v1 StatefulSet": {StatefulSetTemplate: &kruisev1alpha1.StatefulSetTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: appsv1.StatefulSetSpec{ServiceName: "web", Template: pod(labels)}}},
		"apps.kruise.io/v1beta1 StatefulSet": {AdvancedStatefulSetTemplate: &kruisev1alpha1.AdvancedStatefulSetTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: kruisev1beta1.StatefulSetSpec{ServiceName: "web", Template: pod(labels)}}},
		"apps.kruise.io/v1alpha1 CloneSet": web().Spec.Template,
		"apps/v1 Deployment": {DeploymentTemplate: &kruisev1alpha1.DeploymentTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: appsv1.DeploymentSpec{Template: pod(labels)}}},
	} {
		t.Run(want, func(t *testing.T) {
			h := newHub(t, web(func(ud *kruisev1alpha1.UnitedDeployment) { ud.Spec.Template = template }), member("east", "a"), member("west", "b"))
			if err := h.rounds(1); err != nil {
				t.Fatal(err)
			}
			o := h.object("east/shop.web.a")
			if got := fmt.Sprint(o["apiVersion"], " ", o["kind"]); got != want {
				t.Errorf("got %s", got)
			}
			h.report("east/shop.web.a", nil)
			h.report("west/shop.web.b", nil)
			_ = h.rounds(1)
			if s := h.web().Status; s.Replicas != 10 || s.UpdatedReadyReplicas != 10 {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// Works of a UnitedDeployment and of a FederatedDeployment of the same name stay apart.
func TestANamesakeIsNotFoughtWith(t *testing.T) {
	theirs := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "shop.web.a", UID: "theirs", Labels: map[string]string{
		v1alpha1.LabelFederatedDeployment: "web", v1alpha1.LabelFederatedDeploymentNamespace: "shop", v1alpha1.LabelFederatedDeploymentUID: "another", v1alpha1.LabelSubset: "a",
	}}}
	h := newHub(t, web(), member("east", "a"), member("west", "b"), theirs.DeepCopy())
	_ = h.rounds(2)
	if got := h.works()["east/shop.web.a"]; got.UID != "theirs" || len(got.Spec.Workload.Manifests) > 0 {
		t.Errorf("it was taken over: %+v", got)
	}
	if l := h.works()["west/shop.web.b"].Labels; l[v1alpha1.LabelUnitedDeploymentUID] != "web-uid" || l[v1alpha1.LabelFederatedDeployment] != "" {
		t.Errorf("labels %v", l)
	}
	want := `Stalled True WorkRefused ManifestWork east/shop.web.a is there for FederatedDeployment web and was not made for this UnitedDeployment, so it is left alone and subset "a" waits; delete it, or rename the subset`
	if got := said(h.web().Status); !slices.Contains(got, want) {
		t.Errorf("%q lacks %q", got, want)
	}
}

// kubectl describe says why, which cluster, which number.
func TestWhatCannotBeSatisfied(t *testing.T) {
	for name, tc := range map[string]struct {
		ud    *kruisev1alpha1.UnitedDeployment
		want  string
		event string
	}{
		"no cluster has the zone": {
			web(func(ud *kruisev1alpha1.UnitedDeployment) { ud.Spec.Topology.Subsets[1] = inZone("c") }),
			`Stalled True ClusterUnresolved spec.topology.subsets[1]: no accepted cluster has zone c, which subset "c" asks for (accepted: east, west); wait for its agent to report such nodes, or set annotation cluster.apps.flotilla.dev/c`, "Warning ClusterUnresolved",
		},
		"a cluster that is not there": {
			web(func(ud *kruisev1alpha1.UnitedDeployment) {
				ud.Annotations = map[string]string{v1alpha1.AnnotationSubsetCluster + "a": "atlantis"}
			}),
			`Stalled True ClusterUnresolved metadata.annotations[cluster.apps.flotilla.dev/a]: "atlantis" is no ManagedCluster; register it, or name another cluster for subset "a"`, "Warning ClusterUnresolved",
		},
		"numbers that contradict each other": { // WL-5.5
			web(func(ud *kruisev1alpha1.UnitedDeployment) {
				ud.Spec.Topology.Subsets[0].Replicas = new(intstr.FromInt32(12))
			}),
			"Stalled True AllocationFailed spec.topology.subsets[0].replicas: 12 is more than spec.replicas 10; lower it, or raise spec.replicas", "Warning Failed SpecifySubsetReplicas",
		},
		"a cluster that is named": {web(func(ud *kruisev1alpha1.UnitedDeployment) {
			ud.Spec.Topology.Subsets[0].NodeSelectorTerm = corev1.NodeSelectorTerm{}
			ud.Annotations = map[string]string{v1alpha1.AnnotationSubsetCluster + "a": "east"}
		}), "Stalled False Settled", "Normal SuccessfulUpdateSubset"}, // WL-5.11
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, tc.ud, member("east", "a"), member("west", "b"))
			_ = h.rounds(1)
			if got := said(h.web().Status); !slices.Contains(got, tc.want) {
				t.Errorf("%q lacks %q", got, tc.want)
			}
			var events []string
			for len(h.recorder.Events) > 0 {
				events = append(events, <-h.recorder.Events)
			}
			if !slices.ContainsFunc(events, func(e string) bool { return strings.HasPrefix(e, tc.event+" ") }) {
				t.Errorf("%q lacks %q", events, tc.event)
			}
		})
	}
}

func TestAWriteThatFails(t *testing.T) {
	h := newHub(t, web(), member("east", "a"), member("west", "b"))
	h.fail = errors.New("no route")
	if err := h.rounds(1); err == nil {
		t.Error("it must be tried again")
	}
	got := strings.Join(said(h.web().Status), "\n")
	if !strings.Contains(got, "SubsetUpdated False Error") || !strings.Contains(got, "SubsetProvisioned False Error") || !strings.Contains(got, "no route") {
		t.Error(got)
	}
	h.fail = nil
	_ = h.rounds(1)
	if got := strings.Join(said(h.web().Status), "\n"); !strings.Contains(got, "SubsetUpdated True") || !strings.Contains(got, "SubsetProvisioned True") {
		t.Error(got)
	}
}

// WL-5.7: the conditions of subsets are remembered between rounds, and those of subsets that are gone stay.
func TestAdaptive(t *testing.T) {
	ud := web(func(ud *kruisev1alpha1.UnitedDeployment) {
		ud.Spec.Topology.ScheduleStrategy.Type = kruisev1alpha1.AdaptiveUnitedDeploymentScheduleStrategyType
		ud.Spec.Topology.Subsets[0].MaxReplicas = new(intstr.FromInt32(5))
		ud.Status.SubsetStatuses = []kruisev1alpha1.UnitedDeploymentSubsetStatus{{Name: "gone"}}
	})
	h := newHub(t, ud, member("east", "a"), member("west", "b"))
	_ = h.rounds(1)
	h.report("east/shop.web.a", map[string]int64{"readyReplicas": 3, "unschedulableReplicas": 2})
	h.report("west/shop.web.b", nil)
	for _, step := range []struct {
		at   time.Duration
		want string
		a, b int32
	}{{time.Minute, "False reschedule", 3, 7}, {5 * time.Minute, "False reschedule", 3, 7}, {6 * time.Minute, "True recover", 3, 7}} {
		h.clock.SetTime(noon.Add(step.at))
		if err := h.rounds(1); err != nil {
			t.Fatal(err)
		}
		h.report("east/shop.web.a", nil)
		h.report("west/shop.web.b", nil)
		s := h.web().Status
		c := s.GetSubsetStatus("a").GetCondition("Schedulable")
		if c == nil || fmt.Sprint(c.Status, " ", c.Reason) != step.want || s.SubsetReplicas["a"] != step.a || s.SubsetReplicas["b"] != step.b {
			t.Errorf("after %s: %+v, %v", step.at, c, s.SubsetReplicas)
		}
		if s.GetSubsetStatus("gone") == nil || s.GetSubsetStatus("b").GetCondition("Schedulable") != nil {
			t.Errorf("subset statuses %+v", s.SubsetStatuses)
		}
	}
}

func TestDeletionGoesThroughTheWorks(t *testing.T) {
	h := newHub(t, web(), member("east", "a"), member("west", "b"))
	_ = h.rounds(1)
	if err := h.Delete(context.Background(), h.web()); err != nil {
		t.Fatal(err)
	}
	if err := h.rounds(2); err != nil || len(h.works()) > 0 {
		t.Errorf("works %v, %v", h.works(), err)
	}
	if err := h.Get(context.Background(), key, &kruisev1alpha1.UnitedDeployment{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("it is still there: %v", err)
	}
}

// A round trip loses nothing that a UnitedDeployment can say.
func TestIn(t *testing.T) {
	ud := web(func(ud *kruisev1alpha1.UnitedDeployment) {
		ud.Spec.RevisionHistoryLimit = new(int32(3))
		ud.Spec.Topology.Subsets[0].Patch = runtime.RawExtension{Raw: []byte(`{}`)}
		ud.Spec.Topology.Subsets[0].Tolerations = []corev1.Toleration{{Key: "x", Operator: corev1.TolerationOpExists}}
		ud.Spec.Topology.Subsets[1].NodeSelectorTerm = corev1.NodeSelectorTerm{}
		ud.Spec.Topology.ScheduleStrategy = kruisev1alpha1.UnitedDeploymentScheduleStrategy{Type: "Adaptive",
			Adaptive: &kruisev1alpha1.AdaptiveUnitedDeploymentStrategy{RescheduleCriticalSeconds: new(int32(7)), UnschedulableLastSeconds: new(int32(8))}}
		ud.Status.Conditions = []kruisev1alpha1.UnitedDeploymentCondition{{Type: "SubsetUpdated", Status: "True"}, {Type: "Stalled", Status: "True", Reason: "x"}}
	})
	fed := in(ud)
	first, second := fed.Spec.Topology.Subsets[0], fed.Spec.Topology.Subsets[1]
	if fed.Kind != "UnitedDeployment" || *fed.Spec.RevisionHistoryLimit != 3 || string(first.Patch.Raw) != "{}" || len(first.Tolerations) != 1 || first.NodeSelectorTerm == nil ||
		second.NodeSelectorTerm != nil || second.Patch != nil {
		t.Errorf("got %+v", fed)
	}
	if a := fed.Spec.Topology.ScheduleStrategy.Adaptive; *a.RescheduleCriticalSeconds != 7 || *a.UnschedulableLastSeconds != 8 {
		t.Errorf("got %+v", a)
	}
	if len(fed.Status.Conditions) != 1 || fed.Status.Conditions[0].Type != "Stalled" {
		t.Errorf("conditions %+v", fed.Status.Conditions)
	}
	if in(&kruisev1alpha1.UnitedDeployment{}).Spec.Template.CloneSetTemplate != nil {
		t.Error("an empty one is not empty")
	}
}
