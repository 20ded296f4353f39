package order

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

type hub struct {
	client.WithWatch
	did    []string
	refuse error
}

func newHub(t *testing.T, objects ...client.Object) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := workv1.Install(scheme); err != nil {
		t.Fatal(err)
	}
	h := &hub{}
	h.WithWatch = interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			h.did = append(h.did, "patch")
			return errors.Join(h.refuse, c.Patch(ctx, o, p, opts...))
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			h.did = append(h.did, "delete")
			return c.Delete(ctx, o, opts...)
		},
	})
	return h
}

func (h *hub) read(t *testing.T) *workv1.ManifestWork {
	t.Helper()
	w := web()
	if err := h.Get(t.Context(), client.ObjectKeyFromObject(w), w); err != nil {
		t.Fatal(err)
	}
	return w
}

// web has a finalizer, so that it can be looked at after it was deleted.
func web() *workv1.ManifestWork {
	return &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "web", UID: "1", Annotations: map[string]string{"a": "b"},
		Finalizers: []string{workv1.ManifestWorkFinalizer}}}
}

func TestTheOrderTravelsWithTheWork(t *testing.T) {
	h := newHub(t, web())
	if err := Delete(t.Context(), h, h.read(t), true); err != nil {
		t.Fatal(err)
	}
	w := h.read(t)
	if w.DeletionTimestamp.IsZero() || !Confirmed(w) || w.Annotations["a"] != "b" {
		t.Errorf("%+v", w.ObjectMeta)
	}
	if err := Delete(t.Context(), h, w, true); err != nil || !slices.Equal(h.did, []string{"patch", "delete"}) {
		t.Errorf("once more: %v, %v", h.did, err)
	}
}

func TestWithoutAnOrderNothingIsConfirmed(t *testing.T) {
	h := newHub(t, web())
	if err := Delete(t.Context(), h, h.read(t), false); err != nil {
		t.Fatal(err)
	}
	if w := h.read(t); w.DeletionTimestamp.IsZero() || Confirmed(w) {
		t.Errorf("%+v", w.ObjectMeta)
	}
}

func TestAWorkOnItsWayOutIsConfirmedToo(t *testing.T) {
	going := web()
	going.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	h := newHub(t, going)
	if err := Delete(t.Context(), h, h.read(t), true); err != nil || !Confirmed(h.read(t)) || !slices.Equal(h.did, []string{"patch"}) {
		t.Errorf("%v, %v", h.did, err)
	}
}

func TestOnlyWhatWasSeenIsDeleted(t *testing.T) {
	for name, confirmed := range map[string]bool{"confirmed": true, "unconfirmed": false} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, web())
			old := h.read(t)
			changed := old.DeepCopy()
			changed.Labels = map[string]string{"new": "content"}
			if err := h.Update(t.Context(), changed); err != nil {
				t.Fatal(err)
			}
			if err := Delete(t.Context(), h, old, confirmed); !apierrors.IsConflict(err) {
				t.Errorf("%v", err)
			}
			if w := h.read(t); !w.DeletionTimestamp.IsZero() || Confirmed(w) {
				t.Errorf("%+v", w.ObjectMeta)
			}
		})
	}
}

func TestAnOrderThatCannotBeWrittenDeletesNothing(t *testing.T) {
	h := newHub(t, web())
	h.refuse = errors.New("no right")
	if err := Delete(t.Context(), h, h.read(t), true); err == nil || slices.Contains(h.did, "delete") {
		t.Errorf("%v, %v", h.did, err)
	}
	if err := Delete(t.Context(), newHub(t), web(), true); err != nil {
		t.Errorf("a work that is gone: %v", err)
	}
}

func TestAnOrderNamesItsWork(t *testing.T) {
	for value, want := range map[string]bool{"web": true, "web2": false, "": false} {
		w := web()
		w.Annotations = map[string]string{"flotilla.dev/confirm-removal": value}
		if Confirmed(w) != want {
			t.Errorf("%q: %v", value, !want)
		}
	}
	if Confirmed(&workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"flotilla.dev/confirm-removal": ""}}}) {
		t.Error("no name, no order")
	}
}
