package federateddeployment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// hub is an API server in memory that counts writes and fails on request.
type hub struct {
	t *testing.T
	*reconciler[*v1alpha1.FederatedDeployment]
	recorder *record.FakeRecorder

	mu     sync.Mutex
	writes []string
	fail   func(verb string, o runtime.Object) error
}

var webKey = client.ObjectKey{Namespace: "shop", Name: "web"}

func newHub(t *testing.T, objects ...client.Object) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, clusterv1.Install, clusterv1beta1.Install, corev1.AddToScheme, workv1.Install, appsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	h := &hub{t: t, recorder: record.NewFakeRecorder(100)}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.FederatedDeployment{}, &workv1.ManifestWork{}).WithInterceptorFuncs(h.counting())
	for _, i := range itself().Indexes() {
		builder = builder.WithIndex(i.Of, i.Key, i.Extract)
	}
	c := builder.Build()
	h.reconciler = &reconciler[*v1alpha1.FederatedDeployment]{Front: itself(), shelf: &shelf{cached: c, live: c}, Tools: Tools{
		Cached: c, Hub: c, Live: c, Events: h.recorder, Clock: clocktesting.NewFakePassiveClock(noon)}}
	return h
}

func (h *hub) counting() interceptor.Funcs {
	note := func(verb string, o client.Object) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.fail != nil {
			if err := h.fail(verb, o); err != nil {
				return err
			}
		}
		h.writes = append(h.writes, strings.TrimSuffix(verb+" "+o.GetNamespace()+"/"+o.GetName(), "/"))
		return nil
	}
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := note("create", o); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if err := note("patch", o); err != nil {
				return err
			}
			return c.Patch(ctx, o, p, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if err := note("delete", o); err != nil {
				return err
			}
			return c.Delete(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if err := note(sub, o); err != nil {
				return err
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if h.fail != nil {
				if err := h.fail("list", l); err != nil {
					return err
				}
			}
			return c.List(ctx, l, opts...)
		},
	}
}

// round reconciles once and says what was written.
func (h *hub) round() ([]string, error) {
	h.writes = nil
	_, err := h.Reconcile(context.Background(), reconcile.Request{NamespacedName: webKey})
	slices.Sort(h.writes)
	return h.writes, err
}

func (h *hub) rounds(n int) {
	h.t.Helper()
	for range n {
		if _, err := h.round(); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *hub) web() *v1alpha1.FederatedDeployment {
	h.t.Helper()
	obj := &v1alpha1.FederatedDeployment{}
	if err := h.Hub.Get(context.Background(), webKey, obj); err != nil {
		h.t.Fatal(err)
	}
	return obj
}

func (h *hub) change(edits ...edit) {
	h.t.Helper()
	obj := h.web()
	for _, e := range edits {
		e(obj)
	}
	obj.Generation++
	if err := h.Hub.Update(context.Background(), obj); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hub) works() []string {
	h.t.Helper()
	var all workv1.ManifestWorkList
	if err := h.Hub.List(context.Background(), &all); err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for _, w := range all.Items {
		names = append(names, w.Namespace+"/"+w.Name)
	}
	slices.Sort(names)
	return names
}

func member(name, zones string) *clusterv1.ManagedCluster {
	return &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       clusterv1.ManagedClusterSpec{HubAcceptsClient: true},
		Status: clusterv1.ManagedClusterStatus{
			ClusterClaims: []clusterv1.ManagedClusterClaim{{Name: v1alpha1.ClaimZones, Value: zones}},
			Conditions:    []metav1.Condition{{Type: clusterv1.ManagedClusterConditionAvailable, Status: metav1.ConditionTrue}},
		},
	}
}

var allWorks = []string{"east/shop.web.a", "east/shop.web.b", "west/shop.web.c"}

func started(t *testing.T, edits ...edit) *hub {
	t.Helper()
	h := newHub(t, web(edits...), member("east", "a,b"), member("west", "c"))
	h.rounds(2)
	return h
}

func TestApplyWritesOnceAndThenNothing(t *testing.T) {
	h := newHub(t, web(), member("east", "a,b"), member("west", "c"))
	first, err := h.round()
	if err != nil {
		t.Fatal(err)
	}
	revision := h.web().Status.UpdateRevision
	want := []string{"create east/shop.web.a", "create east/shop.web.b", "create shop/" + revision, "create west/shop.web.c", "patch shop/web", "status shop/web"}
	if d := cmp.Diff(want, first); d != "" {
		t.Error(d)
	}
	if again, err := h.round(); err != nil || len(again) > 0 {
		t.Errorf("a second round wrote %v, %v", again, err)
	}
}

func TestAChangeIsOneWritePerWork(t *testing.T) {
	h := started(t)
	h.change(image("web:v2"))
	writes, err := h.round()
	revision := h.web().Status.UpdateRevision
	want := []string{"create shop/" + revision, "patch east/shop.web.a", "patch east/shop.web.b", "patch west/shop.web.c", "status shop/web"}
	if d := cmp.Diff(want, writes); d != "" || err != nil {
		t.Error(d, err)
	}
	h.change(replicas(11))
	if writes, _ = h.round(); !slices.Contains(writes, "patch west/shop.web.c") || slices.Contains(writes, "patch east/shop.web.a") {
		t.Errorf("scaling wrote %v", writes)
	}
}

func TestHalfTheWorksFail(t *testing.T) {
	h := newHub(t, web(), member("east", "a,b"), member("west", "c"))
	h.fail = failing("create", "west", errors.New("no route to west"))
	if _, err := h.round(); err == nil || !strings.Contains(err.Error(), "create work west/shop.web.c: no route to west") {
		t.Fatalf("got %v", err)
	}
	if d := cmp.Diff(allWorks[:2], h.works()); d != "" {
		t.Error(d)
	}
	if ready := condition.Find(h.web().Status.Conditions, condition.Ready); ready == nil || !strings.Contains(ready.Message, "no route to west") {
		t.Errorf("the status does not tell: %+v", ready)
	}
	h.fail = nil
	writes, err := h.round()
	if d := cmp.Diff([]string{"create west/shop.web.c", "status shop/web"}, writes); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestARefusedWorkIsToldAsSuch(t *testing.T) {
	h := newHub(t, web(), member("east", "a,b"), member("west", "c"))
	h.fail = failing("create", "west", apierrors.NewBadRequest("the size of manifests is 512001 bytes which exceeds the 512000 limit"))
	if _, err := h.round(); err == nil {
		t.Error("what is refused today may be accepted tomorrow: it must be tried again")
	}
	stalled := condition.Find(h.web().Status.Conditions, condition.Stalled)
	if stalled == nil || stalled.Reason != v1alpha1.ReasonWorkRefused || !strings.Contains(stalled.Message, "512000 limit") {
		t.Errorf("got %+v", stalled)
	}
}

// The brake of the hub refuses to delete, and its words reach the user.
func TestARemovalThatIsRefusedIsToldAsSuch(t *testing.T) {
	h := started(t)
	if err := h.Hub.Delete(context.Background(), h.web()); err != nil {
		t.Fatal(err)
	}
	h.fail = failing("delete", "west", apierrors.NewForbidden(schema.GroupResource{Resource: "manifestworks"}, "shop.web.c", errors.New("annotate it")))
	if _, err := h.round(); err == nil {
		t.Error("it must be tried again")
	}
	stalled := condition.Find(h.web().Status.Conditions, condition.Stalled)
	if stalled == nil || stalled.Reason != v1alpha1.ReasonRemovalHeld || !strings.Contains(stalled.Message, "annotate it") {
		t.Errorf("got %+v", stalled)
	}
}

func TestAConflictOverwritesNothing(t *testing.T) {
	h := started(t)
	h.change(image("web:v2"))
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "manifestworks"}, "shop.web.c", errors.New("changed meanwhile"))
	h.fail = failing("patch", "west", conflict)
	if _, err := h.round(); !apierrors.IsConflict(err) {
		t.Fatalf("got %v", err)
	}
	h.fail = nil
	if writes, err := h.round(); err != nil || !slices.Contains(writes, "patch west/shop.web.c") {
		t.Errorf("wrote %v, %v", writes, err)
	}
}

// A work that changed between looking and writing is not what the plan was made for.
func TestWritesSayWhatTheySaw(t *testing.T) {
	h := started(t)
	obj := h.web()
	works, err := worksOf(context.Background(), h.Hub, obj)
	if err != nil {
		t.Fatal(err)
	}
	touched := works[0].live.DeepCopy()
	touched.Annotations["touched"] = "yes"
	if err := h.Hub.Update(context.Background(), touched); err != nil {
		t.Fatal(err)
	}
	s := &steps{hub: h.Hub, live: h.Live, events: h.recorder}
	want := works[0].live.DeepCopy()
	want.Spec.Workload.Manifests = nil
	if err := s.writeWork(context.Background(), obj, change{live: works[0].live, want: want}); !apierrors.IsConflict(err) {
		t.Errorf("a stale change was written: %v", err)
	}
	if err := s.removeWork(context.Background(), obj, removal{work: works[0]}); !apierrors.IsConflict(err) {
		t.Errorf("a stale removal was carried out: %v", err)
	}
}

// Absence is never an order.
func TestAListThatFailsDeletesNothing(t *testing.T) {
	for _, kind := range []string{"ManifestWorkList", "ManagedClusterList", "ControllerRevisionList"} {
		for name, edits := range map[string][]edit{"subset removed": {without(0)}, "changed": {image("web:v2")}} {
			t.Run(kind+" "+name, func(t *testing.T) {
				h := started(t)
				h.change(edits...)
				h.change(subset(0, func(s *v1alpha1.Subset) { s.ClusterSelector = labelled("no", "where") })) // so that clusters are listed
				h.fail = func(verb string, o runtime.Object) error {
					if verb == "list" && fmt.Sprintf("%T", o) == "*v1."+kind {
						return errors.New("cannot list")
					}
					return nil
				}
				writes, err := h.round()
				if err == nil || len(writes) > 0 {
					t.Errorf("wrote %v, error %v", writes, err)
				}
				h.fail = nil
				if d := cmp.Diff(allWorks, h.works()); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

func TestDeletionGoesThroughTheWorks(t *testing.T) {
	h := started(t)
	stranger := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "theirs", Labels: map[string]string{
		v1alpha1.LabelFederatedDeployment: "web", v1alpha1.LabelFederatedDeploymentNamespace: "shop",
		v1alpha1.LabelFederatedDeploymentUID: "an-earlier-one", v1alpha1.LabelSubset: "a",
	}}}
	if err := h.Hub.Create(context.Background(), stranger); err != nil {
		t.Fatal(err)
	}
	h.hold("west/shop.web.c")
	if err := h.Hub.Delete(context.Background(), h.web()); err != nil {
		t.Fatal(err)
	}
	h.rounds(2)
	if d := cmp.Diff([]string{"east/theirs", "west/shop.web.c"}, h.works()); d != "" {
		t.Error(d)
	}
	obj := h.web() // still there, and says for whom it waits
	check(t, obj, condition.Ready, "False Removing: waiting for west to remove subset c")
	h.release("west/shop.web.c")
	h.rounds(1)
	if err := h.Hub.Get(context.Background(), webKey, &v1alpha1.FederatedDeployment{}); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
	if d := cmp.Diff([]string{"east/theirs"}, h.works()); d != "" {
		t.Error(d)
	}
	var events []string
	for len(h.recorder.Events) > 0 {
		events = append(events, <-h.recorder.Events)
	}
	if want := "Normal RemovingReplicas removing 5 replicas of subset c from cluster west: the FederatedDeployment is being deleted"; !slices.Contains(events, want) {
		t.Errorf("events %q lack %q", events, want)
	}
}

// A cache may not know what the leader before us wrote last.
func TestTheLastLookIsNotAtTheCache(t *testing.T) {
	h := started(t)
	h.Cached = h.Hub
	blind := interceptor.NewClient(h.Hub.(client.WithWatch), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if _, works := l.(*workv1.ManifestWorkList); works {
				return nil // a cold cache
			}
			return c.List(ctx, l, opts...)
		},
	})
	h.Hub = blind
	if err := h.Hub.Delete(context.Background(), h.web()); err != nil {
		t.Fatal(err)
	}
	h.fail = func(verb string, _ runtime.Object) error {
		if verb == "list" {
			return errors.New("cannot list")
		}
		return nil
	}
	if _, err := h.round(); err == nil {
		t.Error("the object may be let go only after a list that succeeded")
	}
	h.web()
	h.fail = nil
	h.rounds(1)
	h.web()
	h.rounds(1)
	if err := h.Hub.Get(context.Background(), webKey, &v1alpha1.FederatedDeployment{}); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// WL-0.5
func TestARevisionNameThatIsTakenByAnother(t *testing.T) {
	obj := web()
	plan := decide(obj, blank(obj))
	taken := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: plan.update.Name}}
	h := newHub(t, obj, member("east", "a,b"), member("west", "c"), taken)
	if _, err := h.round(); !errors.Is(err, errNameTaken) {
		t.Fatalf("got %v", err)
	}
	if len(h.works()) > 0 {
		t.Error("works were made without their revision")
	}
	h.rounds(1)
	if d := cmp.Diff(allWorks, h.works()); d != "" {
		t.Error(d)
	}
	if h.web().Status.UpdateRevision == taken.Name {
		t.Error("somebody else's revision is used")
	}
}

func TestOnlyChangesThatMatterWake(t *testing.T) {
	east := member("east", "a,b")
	named := web(onCluster(0, "east"), onCluster(1, "east"), onCluster(2, "east"), func(o *v1alpha1.FederatedDeployment) { o.Name, o.UID = "named", "named-uid" })
	h := newHub(t, web(), named, east, member("west", "c"))
	for name, tc := range map[string]struct {
		change func(*clusterv1.ManagedCluster)
		want   []string
	}{
		"capacity wakes nobody": {change: func(c *clusterv1.ManagedCluster) {
			c.Status.Capacity = clusterv1.ResourceList{}
			c.Annotations = map[string]string{"seen": "now"}
			c.Status.Conditions[0].Message = "still here"
		}},
		"silence wakes who uses it":     {change: func(c *clusterv1.ManagedCluster) { c.Status.Conditions[0].Status = metav1.ConditionUnknown }, want: []string{"named"}},
		"claims wake who looks for one": {change: func(c *clusterv1.ManagedCluster) { c.Status.ClusterClaims[0].Value = "a" }, want: []string{"named", "web"}},
		"labels too":                    {change: func(c *clusterv1.ManagedCluster) { c.Labels = map[string]string{"x": "y"} }, want: []string{"named", "web"}},
		"acceptance too":                {change: func(c *clusterv1.ManagedCluster) { c.Spec.HubAcceptsClient = false }, want: []string{"named", "web"}},
	} {
		t.Run(name, func(t *testing.T) {
			after := east.DeepCopy()
			tc.change(after)
			q := newQueue()
			clusterHandler{users{h.Cached, gvk}}.Update(context.Background(), event.UpdateEvent{ObjectOld: east, ObjectNew: after}, q)
			if d := cmp.Diff(tc.want, drain(q)); d != "" {
				t.Error(d)
			}
		})
	}
	t.Run("a cluster's works wake their makers", func(t *testing.T) {
		h.rounds(1)
		q := newQueue()
		after := east.DeepCopy()
		after.Status.Conditions[0].Status = metav1.ConditionUnknown
		clusterHandler{users{h.Cached, gvk}}.Update(context.Background(), event.UpdateEvent{ObjectOld: east, ObjectNew: after}, q)
		if d := cmp.Diff([]string{"named", "web"}, drain(q)); d != "" {
			t.Error(d)
		}
	})
	t.Run("what is there at the start wakes nobody twice", func(t *testing.T) {
		q := newQueue()
		clusterHandler{users{h.Cached, gvk}}.Create(context.Background(), event.CreateEvent{Object: east, IsInInitialList: true}, q)
		if got := drain(q); got != nil {
			t.Errorf("woke %v", got)
		}
		clusterHandler{users{h.Cached, gvk}}.Delete(context.Background(), event.DeleteEvent{Object: east}, q)
		if d := cmp.Diff([]string{"named", "web"}, drain(q)); d != "" {
			t.Error(d)
		}
	})
}

func newQueue() queue {
	return workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
}

func drain(q queue) []string {
	var names []string
	for q.Len() > 0 {
		r, _ := q.Get()
		q.Done(r)
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return names
}

func names(requests []reconcile.Request) (all []string) {
	for _, r := range requests {
		all = append(all, r.Name)
	}
	return all
}

func failing(verb, namespace string, err error) func(string, runtime.Object) error {
	return func(v string, o runtime.Object) error {
		if o, ok := o.(client.Object); ok && v == verb && o.GetNamespace() == namespace {
			return err
		}
		return nil
	}
}

// hold keeps a work as an agent does until it has removed what the work brought.
func (h *hub) hold(work string) {
	h.finalizers(work, []string{"cluster.open-cluster-management.io/manifest-work-cleanup"})
}

func (h *hub) release(work string) { h.finalizers(work, nil) }

func (h *hub) finalizers(work string, finalizers []string) {
	h.t.Helper()
	namespace, name, _ := strings.Cut(work, "/")
	w := &workv1.ManifestWork{}
	if err := h.Hub.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: name}, w); err != nil {
		h.t.Fatal(err)
	}
	w.Finalizers = finalizers
	if err := h.Hub.Update(context.Background(), w); err != nil {
		h.t.Fatal(err)
	}
}

// An object that cannot be decoded says so in its status, whose write must not fail on the answer.
func TestAMalformedObjectIsTold(t *testing.T) {
	h := newHub(t, member("east", "a,b"), member("west", "c"))
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(web())
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(gvk)
	if err := unstructured.SetNestedField(u.Object, "x", "spec", "template", "cloneSetTemplate", "spec", "replicas"); err != nil {
		t.Fatal(err)
	}
	obj, malformed := decode(u, empty)
	s := &steps{hub: h.Hub, live: h.Live, malformed: malformed}
	seen, err := s.Observe(context.Background(), obj)
	if err != nil {
		t.Fatal(err)
	}
	plan := s.Decide(obj, seen, noon)
	if err := s.Act(context.Background(), obj, plan); err != nil || len(h.writes) > 0 {
		t.Errorf("wrote %v, %v", h.writes, err)
	}
	s.Report(obj, seen, plan, nil)
	stalled := condition.Find(obj.Status.Conditions, condition.Stalled)
	if stalled == nil || stalled.Reason != v1alpha1.ReasonInvalidSpec || !strings.Contains(stalled.Message, "spec.template.cloneSetTemplate.spec.replicas") {
		t.Errorf("got %+v", stalled)
	}
}

// A revision that a round before us made, and that the cache does not show yet, serves as well.
func TestARevisionThatIsThereAlreadyServes(t *testing.T) {
	h := newHub(t)
	obj := web()
	plan := decide(obj, blank(obj))
	s := &steps{hub: h.Hub, live: h.Live}
	for range 2 {
		if err := s.keepRevision(context.Background(), plan); err != nil {
			t.Fatal(err)
		}
	}
	var all appsv1.ControllerRevisionList
	if err := h.Hub.List(context.Background(), &all); err != nil || len(all.Items) != 1 {
		t.Errorf("%d revisions, %v", len(all.Items), err)
	}
}

// WL-5.6: rolling back renumbers, and what is over the limit goes.
func TestHistoryOnTheHub(t *testing.T) {
	h := started(t, func(o *v1alpha1.FederatedDeployment) { o.Spec.RevisionHistoryLimit = new(int32(1)) })
	first := h.web().Status.UpdateRevision
	h.change(image("web:v2"))
	h.rounds(1)
	second := h.web().Status.UpdateRevision
	h.change(image("web:v1"))
	writes, err := h.round()
	if err != nil || !slices.Contains(writes, "patch shop/"+first) {
		t.Errorf("wrote %v, %v", writes, err)
	}
	again := &appsv1.ControllerRevision{}
	if err := h.Hub.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: first}, again); err != nil || again.Revision != 3 {
		t.Errorf("revision %s has number %d, %v", first, again.Revision, err)
	}
	h.rounds(2) // works and status speak of the first again, so nobody needs the second
	err = h.Hub.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: second}, again)
	if !apierrors.IsNotFound(err) {
		t.Errorf("revision %s is still there: %v", second, err)
	}
}
