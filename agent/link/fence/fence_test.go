package fence

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

func deployment(name string, replicas int64, owner string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": replicas}}}
	u.SetAPIVersion("apps/v1")
	u.SetKind("Deployment")
	u.SetNamespace("shop")
	u.SetName(name)
	u.SetUID("uid-of-" + typed(name))
	u.SetOwnerReferences([]metav1.OwnerReference{{UID: typed(owner)}})
	return u
}

func record(name, after string) *workv1.AppliedManifestWork {
	r := &workv1.AppliedManifestWork{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: typed(name), Annotations: map[string]string{}},
		Spec:       workv1.AppliedManifestWorkSpec{AgentID: "me", ManifestWorkName: name},
		Status: workv1.AppliedManifestWorkStatus{AppliedResources: []workv1.AppliedManifestResourceMeta{
			{ResourceIdentifier: workv1.ResourceIdentifier{Resource: "configmaps", Namespace: "shop", Name: "c"}, Version: "v1"},
			{ResourceIdentifier: workv1.ResourceIdentifier{Group: "apps", Resource: "deployments", Namespace: "shop", Name: name}, Version: "v1", UID: "uid-of-" + name},
		}},
	}
	if after != "" {
		r.Annotations["apps.flotilla.dev/step-down-after"] = after
	}
	return r
}

// world is a member with one work that steps down after five minutes and one that never does.
type world struct {
	*testing.T
	local  client.Client
	member *dynamicfake.FakeDynamicClient
	backs  atomic.Int32
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{workv1.Install, eventsv1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	foreign := record("foreign", "1s")
	foreign.Spec.AgentID = "somebody"
	return &world{
		T:     t,
		local: fake.NewClientBuilder().WithScheme(s).WithObjects(record("web", "5m0s"), record("plain", ""), foreign).Build(),
		member: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{deployments: "DeploymentList"},
			deployment("web", 3, "web"), deployment("plain", 4, "plain"), deployment("foreign", 5, "foreign")),
	}
}

// start runs a fence, as a process would, until the returned function is called.
func (w *world) start() (*Fence, func()) {
	f := New(Options{
		Local: w.local, Records: w.local, Namespace: "agent", Ours: func(r *workv1.AppliedManifestWork) bool { return r.Spec.AgentID == "me" },
		Acting: func(*workv1.AppliedManifestWork) (dynamic.Interface, error) { return w.member, nil },
	})
	f.OnReturn(func() { w.backs.Add(1) })
	ctx, cancel := context.WithCancel(w.Context())
	go f.Run(ctx)
	return f, func() { cancel(); synctest.Wait() }
}

// pass lets time pass; hub tells what renewing the lease comes to.
func pass(f *Fence, d time.Duration, hub error) {
	const period = 20 * time.Second
	for ; d > 0; d -= period {
		f.Tried(time.Now(), hub)
		<-time.After(min(d, period))
		synctest.Wait()
	}
}

func (w *world) replicas(name string) int64 {
	w.Helper()
	live, err := w.member.Resource(deployments).Namespace("shop").Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	n, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
	return n
}

func (w *world) record() *workv1.AppliedManifestWork {
	w.Helper()
	r := &workv1.AppliedManifestWork{}
	if err := w.local.Get(w.Context(), client.ObjectKey{Name: "web"}, r); err != nil {
		w.Fatal(err)
	}
	return r
}

var errAway = errors.New("hub is away")

func TestAWorkStepsDownOnceItsHubIsSilentForLongerThanAgreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, end := w.start()
		defer end()
		pass(f, time.Hour, nil)
		if f.Pace() != 100*time.Second {
			t.Errorf("pace %s", f.Pace())
		}
		pass(f, 4*time.Minute+30*time.Second, errAway)
		if w.replicas("web") != 3 || f.Away("web") {
			t.Fatal("stepped down early")
		}
		pass(f, 40*time.Second, errAway)
		if w.replicas("web") != 0 || !f.Away("web") || !f.Down("web") {
			t.Fatal("did not step down")
		}
		if w.replicas("plain") != 4 || w.replicas("foreign") != 5 {
			t.Error("stopped what nobody asked to stop")
		}
		if s := StoppedOf(w.record()); s == nil || s.Replicas[Key("apps", "deployments", "shop", "web")] != 3 {
			t.Errorf("remembers %+v", s)
		}
		var events eventsv1.EventList
		if err := w.local.List(t.Context(), &events); err != nil || len(events.Items) != 1 || events.Items[0].Reason != "SteppedDown" {
			t.Errorf("%+v, %v", events.Items, err)
		}
		live, _ := w.member.Resource(deployments).Namespace("shop").Get(t.Context(), "web", metav1.GetOptions{})
		_ = unstructured.SetNestedField(live.Object, int64(2), "spec", "replicas") // somebody starts it again
		_, _ = w.member.Resource(deployments).Namespace("shop").Update(t.Context(), live, metav1.UpdateOptions{})
		pass(f, 20*time.Second, errAway)
		if w.replicas("web") != 0 || StoppedOf(w.record()).Replicas[Key("apps", "deployments", "shop", "web")] != 3 {
			t.Error("what is stopped does not stay so")
		}
		f.Tried(time.Now(), nil)
		synctest.Wait()
		if f.Away("web") || !f.Down("web") || w.backs.Load() != 1 {
			t.Errorf("heard again: away %v, down %v, told %d times", f.Away("web"), f.Down("web"), w.backs.Load())
		}
		f.Up("web")
		if f.Down("web") {
			t.Error("restored, and still down")
		}
	})
}

func TestARestartStepsDownNoLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, end := w.start()
		pass(f, time.Hour, nil)
		pass(f, 2*time.Minute, errAway)
		end()
		<-time.After(time.Minute)
		f, end = w.start()
		defer end()
		pass(f, 10*time.Second, errAway)
		if w.replicas("web") != 3 {
			t.Fatal("the restart counted as silence")
		}
		pass(f, 2*time.Minute+10*time.Second, errAway)
		if w.replicas("web") != 0 {
			t.Error("the restart began the time anew")
		}
	})
}

func TestAStoppedWorkStaysSoThroughARestartWithoutAHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, end := w.start()
		pass(f, time.Minute, nil)
		pass(f, 6*time.Minute, errAway)
		end()
		f, end = w.start()
		defer end()
		pass(f, 15*time.Second, errAway)
		if !f.Away("web") || w.replicas("web") != 0 {
			t.Errorf("away %v, %d replicas", f.Away("web"), w.replicas("web"))
		}
	})
}

func TestAnAgentThatWasOffForLongLetsItsHubAnswerFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, end := w.start()
		pass(f, time.Minute, nil)
		end()
		<-time.After(time.Hour)
		f, end = w.start()
		defer end()
		<-time.After(5 * time.Second)
		pass(f, time.Minute, nil)
		if w.replicas("web") != 3 {
			t.Error("stepped down though the hub is there")
		}
	})
}

func TestWithoutAnybodyWhoStepsDownNothingIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := w.local.Delete(t.Context(), record("web", "")); err != nil {
			t.Fatal(err)
		}
		f, end := w.start()
		defer end()
		pass(f, time.Minute, nil)
		var leases coordinationv1.LeaseList
		if err := w.local.List(t.Context(), &leases); err != nil || len(leases.Items) != 0 || f.Pace() != 0 {
			t.Errorf("%d leases, pace %s, %v", len(leases.Items), f.Pace(), err)
		}
	})
}
