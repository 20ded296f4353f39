package work

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/flotilla-project/flotilla/agent/link/brake"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

func members(t *testing.T, objects ...*unstructured.Unstructured) *dynamicfake.FakeDynamicClient {
	t.Helper()
	var all []runtime.Object
	for _, o := range objects {
		all = append(all, o)
	}
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{configMaps: "ConfigMapList"}, all...)
}

func verbs(c *dynamicfake.FakeDynamicClient) []string {
	var out []string
	for _, a := range c.Actions() {
		out = append(out, a.GetVerb())
	}
	c.ClearActions()
	return out
}

func configMap(t *testing.T, value string) *unstructured.Unstructured {
	return object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: c}, data: {k: "+value+"}}")
}

func asManifest(t *testing.T, o *unstructured.Unstructured, strategy workv1.UpdateStrategyType, hash string) *manifest {
	t.Helper()
	return &manifest{
		meta: workv1.ManifestResourceMeta{Version: "v1", Kind: "ConfigMap", Resource: "configmaps", Namespace: "a", Name: "c"},
		want: required(o), hash: hash, config: config{strategy: workv1.UpdateStrategy{Type: strategy}},
	}
}

func TestAnUnchangedManifestIsNotWrittenAgain(t *testing.T) { // OCM-11.1
	c := members(t)
	a := &applier{client: c, owner: ours(), hashes: map[objectKey]applied{}}
	apply := func(value, hash string) []string {
		m := asManifest(t, configMap(t, value), workv1.UpdateStrategyTypeUpdate, hash)
		a.applyAll(t.Context(), []*manifest{m})
		if m.failed != nil {
			t.Fatal(m.failed)
		}
		return verbs(c)
	}
	for _, step := range []struct {
		value, hash string
		want        []string
	}{
		{"one", "h1", []string{"get", "create"}},
		{"one", "h1", []string{"get"}},
		{"two", "h2", []string{"get", "update"}},
		{"two", "h2", []string{"get"}},
	} {
		if d := cmp.Diff(step.want, apply(step.value, step.hash)); d != "" {
			t.Errorf("%s: %s", step.value, d)
		}
	}
	drifted := configMap(t, "edited")
	drifted.SetResourceVersion("77")
	if err := c.Tracker().Update(configMaps, drifted, "a"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"get", "update"}, apply("two", "h2")); d != "" {
		t.Errorf("drift: %s", d)
	}
	a.hashes = map[objectKey]applied{} // a restarted agent remembers nothing, but sees that all is well
	if d := cmp.Diff([]string{"get"}, apply("two", "h2")); d != "" {
		t.Errorf("after a restart: %s", d)
	}
}

func TestCreateOnlyAndReadOnly(t *testing.T) { // OCM-11
	c := members(t, configMap(t, "theirs"))
	a := &applier{client: c, owner: ours(), hashes: map[objectKey]applied{}}
	createOnly := asManifest(t, configMap(t, "mine"), workv1.UpdateStrategyTypeCreateOnly, "h")
	a.applyAll(t.Context(), []*manifest{createOnly})
	if d := cmp.Diff([]string{"get", "patch"}, verbs(c)); d != "" || createOnly.failed != nil {
		t.Errorf("the owner alone is maintained: %v %s", createOnly.failed, d)
	}
	live, err := c.Resource(configMaps).Namespace("a").Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil || len(live.GetOwnerReferences()) != 1 || live.Object["data"].(map[string]any)["k"] != "theirs" {
		t.Error(live, err)
	}
	c.ClearActions()
	a.applyAll(t.Context(), []*manifest{createOnly})
	if d := cmp.Diff([]string{"get"}, verbs(c)); d != "" {
		t.Errorf("the second time: %s", d)
	}
	empty := members(t)
	readOnly := asManifest(t, configMap(t, "x"), workv1.UpdateStrategyTypeReadOnly, "h")
	(&applier{client: empty, owner: ours()}).applyAll(t.Context(), []*manifest{readOnly})
	if d := cmp.Diff([]string{"get"}, verbs(empty)); d != "" || readOnly.failed != nil || !readOnly.applied || readOnly.live != nil {
		t.Errorf("read only: %v %s", readOnly.failed, d)
	}
}

func TestAConflictIsTriedAgainInsideTheRound(t *testing.T) { // OCM-10.2
	c := members(t, configMap(t, "old"))
	left := 2
	c.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		if left--; left >= 0 {
			return true, nil, apierrors.NewConflict(configMaps.GroupResource(), "c", errors.New("busy"))
		}
		return false, nil, nil
	})
	m := asManifest(t, configMap(t, "new"), workv1.UpdateStrategyTypeUpdate, "h")
	bad := &manifest{broken: errors.New("unreadable")}
	(&applier{client: c, owner: ours(), hashes: map[objectKey]applied{}}).applyAll(t.Context(), []*manifest{bad, m})
	if m.failed != nil || m.live.Object["data"].(map[string]any)["k"] != "new" {
		t.Errorf("%v %v", m.failed, m.live)
	}
	if bad.failed == nil {
		t.Error("the unreadable manifest did not fail")
	}
}

// fakeWorks reads works from the fake hub, as the cache would.
type fakeWorks struct {
	cache.Cache
	client.Reader
}

func (f fakeWorks) Get(ctx context.Context, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return f.Reader.Get(ctx, k, o, opts...)
}

func (f fakeWorks) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	return f.Reader.List(ctx, l, opts...)
}

// bench is an agent with fakes on every side, and a work whose one object is applied.
type bench struct {
	*Agent
	hub, local client.Client
	member     *dynamicfake.FakeDynamicClient
	online     bool
	answers    []brake.Answer
	asked      int
}

func newBench(t *testing.T, work *workv1.ManifestWork) *bench {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{workv1.Install, clusterv1.Install, corev1.AddToScheme, eventsv1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	hash := HubHash("https://hub")
	record := aRecord(workv1.AppliedManifestResourceMeta{ResourceIdentifier: workv1.ResourceIdentifier{Resource: "configmaps", Namespace: "a", Name: "c"}, Version: "v1", UID: "x"})
	record.Name = hash + "-web"
	owner := reference(record)
	live := configMap(t, "v")
	live.SetUID("x")
	live.SetOwnerReferences([]metav1.OwnerReference{*owner})
	hub := fake.NewClientBuilder().WithScheme(s).WithStatusSubresource(&workv1.ManifestWork{})
	if work != nil {
		hub = hub.WithObjects(work)
	}
	b := &bench{
		hub:    hub.Build(),
		local:  fake.NewClientBuilder().WithScheme(s).WithStatusSubresource(&workv1.AppliedManifestWork{}).WithObjects(record).Build(),
		member: members(t, live), online: true,
	}
	b.Agent = newAgent(Deps{
		Hub: b.hub, Works: fakeWorks{Reader: b.hub}, Online: func() bool { return b.online }, Cluster: "east", HubServer: "https://hub", Local: b.local,
	}, Options{StatusInterval: time.Second, EvictionGrace: time.Hour, MassRemovalShare: 25})
	b.deps.Records = fakeWorks{Reader: b.local}
	b.objects = &objects{clients: map[string]dynamic.Interface{"": b.member}, mapper: kinds()}
	b.watcher = newWatcher(nil, 0, b.touched)
	b.ask = func(context.Context) (brake.Answer, error) {
		answer := b.answers[min(b.asked, len(b.answers)-1)]
		b.asked++
		if answer == "" {
			return "", errors.New("no answer")
		}
		return answer, nil
	}
	return b
}

func deleted() *workv1.ManifestWork {
	work := newWork()
	work.DeletionTimestamp = &metav1.Time{Time: noon}
	return work
}

func (b *bench) there(t *testing.T) bool {
	t.Helper()
	_, err := b.member.Resource(configMaps).Namespace("a").Get(t.Context(), "c", metav1.GetOptions{})
	return err == nil
}

func (b *bench) rounds(t *testing.T, n int) {
	t.Helper()
	for range n {
		_, _ = b.reconcile(t.Context(), "web")
	}
}

func (b *bench) workThere(t *testing.T) *workv1.ManifestWork {
	t.Helper()
	var work workv1.ManifestWork
	if err := b.hub.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "web"}, &work); err != nil {
		return nil
	}
	return &work
}

// age makes the first good answer old enough.
func (b *bench) age() {
	s := b.memory.of("web", "w1")
	s.aliveSince = s.aliveSince.Add(-time.Minute)
	s.wrote = s.wrote.Add(-time.Minute)
}

func TestADeletedWorkTakesItsObjectsWithIt(t *testing.T) { // OCM-15.5
	b := newBench(t, deleted())
	b.answers = []brake.Answer{brake.Alive}
	b.rounds(t, 2)
	if !b.there(t) {
		t.Fatal("removed on one answer alone")
	}
	b.age()
	b.rounds(t, 1)
	if work := b.workThere(t); b.there(t) || work == nil || !meta.IsStatusConditionTrue(work.Status.Conditions, "Deleting") {
		t.Fatalf("object there %v, work %v", b.there(t), work)
	}
	b.age()
	b.rounds(t, 2)
	var records workv1.AppliedManifestWorkList
	if err := b.local.List(t.Context(), &records); err != nil || len(records.Items) != 0 || b.workThere(t) != nil {
		t.Errorf("%d records, work %v, %v", len(records.Items), b.workThere(t), err)
	}
}

func TestTheBrakeHoldsUntilConfirmed(t *testing.T) {
	b := newBench(t, deleted())
	b.answers = []brake.Answer{brake.Alive, brake.Terminating}
	for range 4 {
		b.rounds(t, 1)
		b.age()
	}
	held := meta.FindStatusCondition(b.workThere(t).Status.Conditions, "Deleting")
	if !b.there(t) || held == nil || held.Status != metav1.ConditionFalse || held.Reason != "HeldByBrake" {
		t.Fatalf("there %v, %v", b.there(t), held)
	}
	var events eventsv1.EventList
	if err := b.local.List(t.Context(), &events); err != nil || len(events.Items) != 1 {
		t.Errorf("%d events, %v", len(events.Items), err)
	}
	work := b.workThere(t)
	version := work.ResourceVersion
	b.rounds(t, 1)
	if now := b.workThere(t).ResourceVersion; now != version {
		t.Error("being held is written again and again")
	}
	work.Annotations = map[string]string{brake.Confirm: "web"}
	if err := b.hub.Update(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b.rounds(t, 1)
		b.age()
	}
	if b.there(t) || b.workThere(t) != nil {
		t.Errorf("confirmed, but there %v", b.there(t))
	}
}

func TestAQuestionWithoutAnswerRemovesNothing(t *testing.T) {
	b := newBench(t, deleted())
	b.answers = []brake.Answer{brake.Alive, ""}
	for range 3 {
		b.rounds(t, 1)
		b.age()
	}
	if !b.there(t) || b.asked != 3 {
		t.Errorf("there %v, asked %d times", b.there(t), b.asked)
	}
	b.online = false
	b.rounds(t, 1)
	if b.asked != 3 || !b.there(t) {
		t.Error("asked a hub that is away")
	}
}

func TestOrphansOutliveTheirWorkAskedOrNot(t *testing.T) { // OCM-15.3
	work := deleted()
	work.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: workv1.DeletePropagationPolicyTypeOrphan} // set in the last moment
	b := newBench(t, work)
	b.answers = []brake.Answer{brake.Terminating}
	for range 3 {
		b.rounds(t, 1)
		b.age()
	}
	live, err := b.member.Resource(configMaps).Namespace("a").Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil || len(live.GetOwnerReferences()) != 0 || b.workThere(t) != nil || b.asked != 0 {
		t.Errorf("%v %v, asked %d", live, err, b.asked)
	}
}

func TestAWorkThatIsNotSeenRemovesNothing(t *testing.T) { // absence is never an order
	b := newBench(t, nil)
	b.rounds(t, 3)
	if got := verbs(b.member); slices.Contains(got, "delete") || slices.Contains(got, "patch") {
		t.Errorf("did %v", got)
	}
	if !b.there(t) {
		t.Error("the object is gone")
	}
}

func TestARecordDeletedOnTheMemberIsCarriedThrough(t *testing.T) { // OCM-15.4
	b := newBench(t, nil)
	record := &workv1.AppliedManifestWork{ObjectMeta: metav1.ObjectMeta{Name: b.records.name("web")}}
	if err := b.local.Delete(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	b.rounds(t, 3)
	if err := b.local.Get(t.Context(), client.ObjectKeyFromObject(record), record); !apierrors.IsNotFound(err) || b.there(t) {
		t.Errorf("%v, there %v", err, b.there(t))
	}
}

func TestTheFinalizerIsStoredBeforeAnythingIsApplied(t *testing.T) { // OCM-10.1
	work := newWork()
	work.Finalizers = nil
	b := newBench(t, work)
	b.rounds(t, 1)
	if got := verbs(b.member); len(got) != 0 {
		t.Errorf("before the finalizer: %v", got)
	}
	if !slices.Contains(b.workThere(t).Finalizers, "cluster.open-cluster-management.io/manifest-work-cleanup") {
		t.Error("no finalizer")
	}
}

func TestAConflictOfStatusIsNoFailure(t *testing.T) { // OCM-20.1
	work := newWork()
	work.Status.Conditions = []metav1.Condition{{Type: "Applied", Status: "True"}}
	b := newBench(t, work)
	b.deps.Hub = interceptor.NewClient(b.hub.(client.WithWatch), interceptor.Funcs{
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return apierrors.NewConflict(schema.GroupResource{Resource: "manifestworks"}, "web", errors.New("changed"))
		},
	})
	s := b.memory.of("web", "w1")
	s.applied, s.generation, s.nextApply = true, 7, time.Now().Add(time.Hour)
	again, err := b.reconcile(t.Context(), "web")
	if err != nil || again <= 0 || again > time.Second {
		t.Errorf("%s, %v", again, err)
	}
	if !b.memory.isTouched(s) {
		t.Error("the news is forgotten")
	}
}

// OCM-14
func TestAnExecutorThatNamesNobodyIsNotUs(t *testing.T) {
	o := &objects{clients: map[string]dynamic.Interface{"": members(t)}}
	for _, executor := range []*workv1.ManifestWorkExecutor{
		{},
		{Subject: workv1.ManifestWorkExecutorSubject{Type: "ServiceAccount"}},
		{Subject: workv1.ManifestWorkExecutorSubject{Type: "ServiceAccount", ServiceAccount: &workv1.ManifestWorkSubjectServiceAccount{Name: "x"}}},
		{Subject: workv1.ManifestWorkExecutorSubject{Type: "User", ServiceAccount: &workv1.ManifestWorkSubjectServiceAccount{Name: "x", Namespace: "y"}}},
	} {
		if c, err := o.as(executor); err == nil || c != nil {
			t.Errorf("%+v acts", executor.Subject)
		}
	}
	if c, err := o.as(nil); err != nil || c == nil {
		t.Error(err)
	}
}

// steady is a mapper that always knows the same kinds.
type steady struct{ meta.RESTMapper }

func (steady) Reset() {}

func kinds() steady {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, meta.RESTScopeNamespace)
	return steady{m}
}
