package cleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/brake/order"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

func cluster(change ...func(*clusterv1.ManagedCluster)) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}}
	for _, change := range change {
		change(c)
	}
	return c
}

func held(c *clusterv1.ManagedCluster)   { c.Finalizers = append(c.Finalizers, Finalizer) }
func leaves(c *clusterv1.ManagedCluster) { c.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }
func detached(c *clusterv1.ManagedCluster) {
	c.Annotations = map[string]string{"flotilla.dev/detach": "not even a proper order"}
}
func said(c *clusterv1.ManagedCluster) {
	meta.SetStatusCondition(&c.Status.Conditions, *verdict(metav1.ConditionTrue, "NoResource", ""))
}

// object has a priority unless that is empty; "-" before its name says that it is going.
func object(name, priority string) metav1.PartialObjectMetadata {
	name, going := strings.CutPrefix(name, "-")
	o := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if priority != "" {
		o.Annotations = map[string]string{clusterv1.CleanupPriorityAnnotationKey: priority}
	}
	if going {
		o.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	}
	return o
}

// OCM-7.2, item 1
func TestDecide(t *testing.T) {
	type did struct {
		Add, Drop, Wait bool
		Remove          string
		Verdict         string
	}
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		seen    facts
		off     bool
		want    did
	}{
		"a live cluster is held":              {cluster: cluster(), want: did{Add: true}},
		"and then left alone":                 {cluster: cluster(held)},
		"a leaving one that nobody held":      {cluster: cluster(leaves)},
		"add-ons go before works":             {cluster: cluster(held, leaves), seen: facts{{"AddOn", []metav1.PartialObjectMetadata{object("logs", "100")}}, {"Work", []metav1.PartialObjectMetadata{object("web", "")}}}, want: did{Remove: "logs", Verdict: "False ResourceRemaining", Wait: true}},
		"the lowest priority goes first":      {cluster: cluster(held, leaves), seen: facts{{"Work", []metav1.PartialObjectMetadata{object("b", "10"), object("a", "5"), object("c", "5")}}}, want: did{Remove: "a c", Verdict: "False ResourceRemaining", Wait: true}},
		"nonsense counts as 0":                {cluster: cluster(held, leaves), seen: facts{{"Work", []metav1.PartialObjectMetadata{object("b", "1"), object("a", "101"), object("c", "soon"), object("d", "")}}}, want: did{Remove: "a c d", Verdict: "False ResourceRemaining", Wait: true}},
		"the next waits for those that go":    {cluster: cluster(held, leaves), seen: facts{{"Work", []metav1.PartialObjectMetadata{object("-a", "1"), object("b", "2")}}}, want: did{Verdict: "False ResourceRemaining", Wait: true}},
		"nothing left: said, and then let go": {cluster: cluster(held, leaves), seen: facts{{"Work", nil}}, want: did{Verdict: "True NoResource"}},
		"let go":                              {cluster: cluster(held, leaves, said), want: did{Drop: true}},
		"a detached one keeps its works":      {cluster: cluster(held, leaves, detached), seen: facts{{"Work", []metav1.PartialObjectMetadata{object("a", "")}}}, want: did{Drop: true}},
		"a live one under that order is held": {cluster: cluster(detached), want: did{Add: true}},
		"off: nobody is held":                 {cluster: cluster(), off: true},
		"off: who was held is let go":         {cluster: cluster(held, leaves), off: true, want: did{Drop: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := decide(tc.cluster, tc.seen, !tc.off)
			got := did{Add: p.add, Drop: p.drop, Wait: p.Recheck() == 5*time.Second}
			var names []string
			for _, o := range p.remove {
				names = append(names, o.Name)
			}
			got.Remove = strings.Join(names, " ")
			if p.verdict != nil {
				got.Verdict = string(p.verdict.Status) + " " + p.verdict.Reason
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTheMessageCountsAndNames(t *testing.T) {
	got := remaining(left{"ManifestWork", []metav1.PartialObjectMetadata{object("a", ""), object("b", ""), object("c", ""), object("d", "")}}).Message
	if want := "4 of kind ManifestWork are left (a, b, c, ...); each goes when the cluster's agent has removed it."; got != want {
		t.Error(got)
	}
}

func hub(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clusterv1.Install, workv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).
		WithStatusSubresource(&clusterv1.ManagedCluster{}).Build()
}

func round(t *testing.T, c client.Client, on bool) error {
	t.Helper()
	l := &loop.Loop[*clusterv1.ManagedCluster, facts, plan]{Steps: &Steps{Hub: c, Live: c, On: on}, Client: c,
		New: func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} }}
	_, err := l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "east"}})
	return err
}

func works(t *testing.T, c client.Client) (names []string) {
	t.Helper()
	var all workv1.ManifestWorkList
	if err := c.List(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	for _, w := range all.Items {
		names = append(names, w.Namespace+"/"+w.Name)
	}
	return names
}

func work(namespace, name string) *workv1.ManifestWork {
	return &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func TestALeavingClusterTakesItsWorksAndNoOthers(t *testing.T) {
	c := hub(t, interceptor.Funcs{}, cluster(), work("east", "web"), work("west", "web"))
	for range 2 {
		if err := round(t, c, true); err != nil {
			t.Fatal(err)
		}
	}
	if got := works(t, c); len(got) != 2 {
		t.Fatalf("a cluster that stays lost a work: %v", got)
	}
	if err := c.Delete(context.Background(), cluster()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := round(t, c, true); err != nil {
			t.Fatal(err)
		}
	}
	if got := works(t, c); !slices.Equal(got, []string{"west/web"}) {
		t.Errorf("%v", got)
	}
	if err := c.Get(context.Background(), client.ObjectKey{Name: "east"}, cluster()); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the cluster stays: %v", err)
	}
}

// Absence is never an order.
func TestAListThatFailsRemovesNothingAndLetsNobodyGo(t *testing.T) {
	c := hub(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return errors.New("timeout")
	}}, cluster(held, leaves))
	if err := round(t, c, true); err == nil {
		t.Error("the failure is lost, nothing would try again")
	}
	if err := c.Get(context.Background(), client.ObjectKey{Name: "east"}, cluster()); err != nil {
		t.Errorf("the cluster was let go: %v", err)
	}
}

func TestADeletionThatFailsIsSaid(t *testing.T) {
	c := hub(t, interceptor.Funcs{Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
		return errors.New("no right")
	}}, cluster(held, leaves), work("east", "web"))
	if err := round(t, c, true); err == nil {
		t.Error("the failure is lost, nothing would try again")
	}
	got := cluster()
	if err := c.Get(context.Background(), client.ObjectKey{Name: "east"}, got); err != nil {
		t.Fatal(err)
	}
	said := meta.FindStatusCondition(got.Status.Conditions, "Deleting")
	if said == nil || said.Reason != "DeletingError" || !strings.Contains(said.Message, "delete ManifestWork web: no right") {
		t.Errorf("%+v", said)
	}
}

// Somebody ordered the cluster away, so neither brake asks for another word; also where a work went already.
func TestWorksOfADeletedClusterCarryTheOrder(t *testing.T) {
	objects := []client.Object{cluster(held, leaves)}
	for i := range 10 {
		w := work("east", fmt.Sprint("web-", i))
		w.Finalizers = []string{workv1.ManifestWorkFinalizer}
		if i == 0 {
			w.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		}
		objects = append(objects, w)
	}
	writes := 0
	count := interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		writes++
		return c.Patch(ctx, o, p, opts...)
	}}
	c := hub(t, count, append(objects, work("west", "web-0"))...)
	for range 3 {
		if err := round(t, c, true); err != nil {
			t.Fatal(err)
		}
	}
	var all workv1.ManifestWorkList
	if err := c.List(context.Background(), &all); err != nil || len(all.Items) != 11 || writes != 10 {
		t.Fatalf("%d works, %d patches, %v", len(all.Items), writes, err)
	}
	for i := range all.Items {
		w := &all.Items[i]
		if there := w.Namespace == "east"; order.Confirmed(w) != there || w.DeletionTimestamp.IsZero() == there {
			t.Errorf("%s/%s: %+v", w.Namespace, w.Name, w.Annotations)
		}
	}
}
