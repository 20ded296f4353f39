package work

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	toolscache "k8s.io/client-go/tools/cache"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// shelf is a cache of works that shares what it holds, as the real one does.
type shelf struct {
	cache.Cache
	works map[string]*workv1.ManifestWork
}

func (s shelf) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	work, ok := s.works[key.Name]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "manifestworks"}, key.Name)
	}
	*into.(*workv1.ManifestWork) = *work
	return nil
}

// crowded is an agent whose works are all applied, and every call it makes is counted.
type crowded struct {
	*Agent
	works  shelf
	store  toolscache.Store
	member *dynamicfake.FakeDynamicClient

	hubCalls, localReads, localWrites atomic.Int64
}

func newCrowded(tb testing.TB, works, each int) *crowded {
	tb.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{workv1.Install, corev1.AddToScheme} {
		if err := add(s); err != nil {
			tb.Fatal(err)
		}
	}
	c := &crowded{works: shelf{works: map[string]*workv1.ManifestWork{}}, store: toolscache.NewStore(toolscache.MetaNamespaceKeyFunc)}
	hub := fake.NewClientBuilder().WithScheme(s).WithStatusSubresource(&workv1.ManifestWork{})
	for i := range works {
		work := crowdedWork(i, each)
		c.works.works[work.Name] = work
		hub = hub.WithObjects(work.DeepCopy())
	}
	local := fake.NewClientBuilder().WithScheme(s).WithStatusSubresource(&workv1.AppliedManifestWork{}).Build()
	c.member = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{configMaps: "ConfigMapList"})
	c.member.PrependReactor("create", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		made, _ := a.(clienttesting.CreateAction).GetObject().(*unstructured.Unstructured)
		made.SetResourceVersion("5")
		made.SetUID(types.UID(made.GetName()))
		return false, nil, nil
	})
	c.Agent = newAgent(Deps{
		Hub: interceptor.NewClient(hub.Build(), interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, on client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				c.hubCalls.Add(1)
				return on.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}),
		Works: c.works, Online: func() bool { return true }, Cluster: "east", HubServer: "https://hub",
		Local: interceptor.NewClient(local, interceptor.Funcs{
			Get: func(ctx context.Context, on client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				c.localReads.Add(1)
				return on.Get(ctx, k, o, opts...)
			},
			Create: func(ctx context.Context, on client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				c.localWrites.Add(1)
				return on.Create(ctx, o, opts...)
			},
			Patch: func(ctx context.Context, on client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				c.localWrites.Add(1)
				return on.Patch(ctx, o, p, opts...)
			},
			SubResourcePatch: func(ctx context.Context, on client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				c.localWrites.Add(1)
				return on.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}),
	}, Options{StatusInterval: time.Second})
	c.objects = &objects{clients: map[string]dynamic.Interface{"": c.member}, mapper: kinds()}
	c.watcher = newWatcher(nil, 0, c.touched)
	return c
}

func crowdedWork(i, objects int) *workv1.ManifestWork {
	work := newWork()
	work.Name, work.UID = fmt.Sprintf("work-%d", i), types.UID(fmt.Sprintf("w%d", i))
	for j := range objects {
		raw := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"a","name":"c-%d-%d"},"data":{"k":"v"}}`, i, j)
		work.Spec.Workload.Manifests = append(work.Spec.Workload.Manifests, workv1.Manifest{RawExtension: runtime.RawExtension{Raw: []byte(raw)}})
	}
	return work
}

// settle applies everything, and lets caches and watches see what came of it.
func (c *crowded) settle(tb testing.TB) {
	tb.Helper()
	c.round(tb, nil)
	for name, work := range c.works.works {
		fresh := &workv1.ManifestWork{}
		if err := c.deps.Hub.Get(tb.Context(), client.ObjectKeyFromObject(work), fresh); err != nil {
			tb.Fatal(err)
		}
		fresh.Spec = work.Spec // the fake writes manifests in its own way
		c.works.works[name] = fresh
		for _, m := range fresh.Status.ResourceStatus.Manifests {
			stub := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: m.ResourceMeta.Name, ResourceVersion: "5"}}
			if err := c.store.Add(stub); err != nil {
				tb.Fatal(err)
			}
		}
	}
	c.watcher.running[configMaps] = &watch{stop: func() {}, synced: func() bool { return true }, store: c.store}
	c.reset()
}

func (c *crowded) reset() {
	c.member.ClearActions()
	for _, n := range []*atomic.Int64{&c.hubCalls, &c.localReads, &c.localWrites} {
		n.Store(0)
	}
}

// round has every work looked at once; due makes something due for it.
func (c *crowded) round(tb testing.TB, due func(*state)) {
	tb.Helper()
	for name, work := range c.works.works {
		if due != nil {
			due(c.memory.of(name, work.UID))
		}
		if _, err := c.reconcile(tb.Context(), name); err != nil {
			tb.Fatal(err)
		}
	}
}

func look(s *state)  { s.nextStatus = time.Time{} }
func again(s *state) { s.nextApply = time.Time{} }

func TestAnIdleAgentAsksAndWritesNothing(t *testing.T) { // OCM-20.1, OCM-20.2
	for name, size := range map[string]struct{ works, objects int }{"many works": {300, 1}, "one large work": {1, 200}} {
		t.Run(name, func(t *testing.T) {
			c := newCrowded(t, size.works, size.objects)
			c.settle(t)
			type calls struct{ member, hub, localReads, localWrites int }
			count := func() calls {
				defer c.reset()
				return calls{len(c.member.Actions()), int(c.hubCalls.Load()), int(c.localReads.Load()), int(c.localWrites.Load())}
			}
			c.round(t, look)
			if d := cmp.Diff(calls{}, count(), cmp.AllowUnexported(calls{})); d != "" {
				t.Errorf("a look: %s", d)
			}
			c.round(t, again)
			if d := cmp.Diff(calls{localReads: size.works}, count(), cmp.AllowUnexported(calls{})); d != "" {
				t.Errorf("applied again, which takes the record alone: %s", d)
			}
			one := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "c-0-0", ResourceVersion: "6"}}
			if err := c.store.Update(one); err != nil {
				t.Fatal(err)
			}
			c.round(t, look)
			if d := cmp.Diff(calls{member: 1}, count(), cmp.AllowUnexported(calls{})); d != "" {
				t.Errorf("one object changed: %s", d)
			}
			c.round(t, func(s *state) { look(s); s.looked = time.Now().Add(-longestSparing - time.Minute) })
			if d := cmp.Diff(calls{member: size.works * size.objects}, count(), cmp.AllowUnexported(calls{})); d != "" {
				t.Errorf("the watch is trusted for ever: %s", d)
			}
		})
	}
}

// An idle round is what an agent does every 10 to 19 seconds for each of its works.
func BenchmarkIdleRoundOver2000Works(b *testing.B) {
	c := newCrowded(b, 2000, 1)
	c.settle(b)
	b.ReportAllocs()
	for b.Loop() {
		c.round(b, look)
	}
	if n := len(c.member.Actions()); n > 0 {
		b.Errorf("%d calls", n)
	}
}

func BenchmarkIdleRoundOfAWorkWith200Objects(b *testing.B) {
	c := newCrowded(b, 1, 200)
	c.settle(b)
	b.ReportAllocs()
	for b.Loop() {
		c.round(b, look)
	}
}

func BenchmarkApplyRoundOfAWorkWith200Objects(b *testing.B) {
	c := newCrowded(b, 1, 200)
	c.settle(b)
	b.ReportAllocs()
	for b.Loop() {
		c.round(b, again)
	}
}
