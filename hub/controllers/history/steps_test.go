package history

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/history"
)

const annotation = "flotilla.dev/hub-history"

func member(name, id string) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "1"}}
	if id != "" {
		c.Annotations = map[string]string{annotation: id}
	}
	return c
}

func TestDecide(t *testing.T) {
	leaving := member("east", "")
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		seen    facts
		want    plan
	}{
		"a hub without history gets one":                {member("east", ""), facts{fresh: "new"}, plan{keep: "new"}},
		"a lost ConfigMap is no new history":            {member("east", "a"), facts{fresh: "new", told: []string{"a"}}, plan{keep: "a"}},
		"when clusters disagree no id is to be trusted": {member("east", "a"), facts{fresh: "new", told: []string{"a", "b"}}, plan{keep: "new"}},
		"a cluster is told":                             {member("east", ""), facts{id: "a"}, plan{mark: "a"}},
		"and told again when it changed":                {member("east", "b"), facts{id: "a"}, plan{mark: "a"}},
		"who knows is left alone":                       {member("east", "a"), facts{id: "a"}, plan{}},
		"who leaves is left alone":                      {leaving, facts{id: "a"}, plan{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (&Steps{}).Decide(tc.cluster, tc.seen, time.Time{}); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

type hub struct {
	client.Client
	writes int
	create func() error
	// restored is the ConfigMap that the cache has not heard of yet.
	restored client.Client
}

func (h *hub) live() client.Reader {
	if h.restored != nil {
		return h.restored
	}
	return h
}

func newHub(t *testing.T, objects ...client.Object) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, clusterv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	h := &hub{create: func() error { return nil }}
	h.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := h.create(); err != nil {
				return err
			}
			h.writes++
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			h.writes++
			return c.Patch(ctx, o, p, opts...)
		},
	}).Build()
	return h
}

func (h *hub) rounds(n int) error {
	l := newLoop(&Steps{Hub: h, IDs: h, Live: h.live()})
	for range n {
		if _, err := l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "east"}}); err != nil {
			return err
		}
	}
	return nil
}

func (h *hub) ids(t *testing.T) (kept, told string) {
	t.Helper()
	var m corev1.ConfigMap
	var c clusterv1.ManagedCluster
	if err := errors.Join(h.Get(context.Background(), client.ObjectKey{Namespace: history.Namespace, Name: history.Name}, &m),
		h.Get(context.Background(), client.ObjectKey{Name: "east"}, &c)); err != nil {
		t.Fatal(err)
	}
	return m.Data[history.Key], c.Annotations[annotation]
}

func TestAnIDIsMadeOnceAndTold(t *testing.T) {
	h := newHub(t, member("east", ""))
	if err := h.rounds(5); err != nil {
		t.Fatal(err)
	}
	if kept, told := h.ids(t); kept == "" || kept != told || h.writes != 2 {
		t.Errorf("kept %q, told %q, %d writes", kept, told, h.writes)
	}
}

func TestARestoredIDIsTold(t *testing.T) {
	h := newHub(t, member("east", "old"), history.ConfigMap("new"))
	if err := h.rounds(2); err != nil {
		t.Fatal(err)
	}
	if _, told := h.ids(t); told != "new" || h.writes != 1 {
		t.Errorf("told %q, %d writes", told, h.writes)
	}
}

func TestACacheThatIsBehindDoesNotUndoARestore(t *testing.T) {
	h := newHub(t, member("east", "new"), history.ConfigMap("old"))
	h.restored = newHub(t, history.ConfigMap("new"))
	if err := h.rounds(2); err != nil {
		t.Fatal(err)
	}
	if _, told := h.ids(t); told != "new" || h.writes != 0 {
		t.Errorf("told %q, %d writes", told, h.writes)
	}
}

func TestALostConfigMapComesBackAsItWas(t *testing.T) {
	h := newHub(t, member("east", "a"), member("west", "a"), member("new", ""))
	if err := h.rounds(2); err != nil {
		t.Fatal(err)
	}
	if kept, _ := h.ids(t); kept != "a" {
		t.Errorf("kept %q", kept)
	}
}

func TestWithoutTheNamespaceNothingIsMadeAndNothingFails(t *testing.T) {
	h := newHub(t, member("east", ""))
	h.create = func() error { return apierrors.NewNotFound(corev1.Resource("namespaces"), history.Namespace) }
	if err := h.rounds(1); err != nil || h.writes != 0 {
		t.Errorf("%v, %d writes", err, h.writes)
	}
	h.create = func() error { return apierrors.NewForbidden(corev1.Resource("configmaps"), history.Name, nil) }
	if err := h.rounds(1); err == nil {
		t.Error("a missing right is silent")
	}
}

func TestAnEmptyConfigMapIsNoID(t *testing.T) {
	if err := newHub(t, member("east", "a"), history.ConfigMap("")).rounds(1); err == nil {
		t.Error("an emptied ConfigMap is passed over in silence")
	}
}

func TestHeartbeatsAreNotLookedAt(t *testing.T) {
	before, after := member("east", "a"), member("east", "a")
	after.ResourceVersion = "8"
	if unmarked().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}) {
		t.Error("a heartbeat is looked at")
	}
	if !unmarked().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: member("east", "b")}) {
		t.Error("a changed id is not looked at")
	}
}
