package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const (
	isAvailable = clusterv1.ManagedClusterConditionAvailable + "=True"
	isSilent    = clusterv1.ManagedClusterConditionAvailable + "=Unknown"
)

func work(name string, policy workv1.DeletePropagationPolicyType, manifests ...string) *workv1.ManifestWork {
	w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: name}}
	w.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: policy}
	for _, m := range manifests {
		w.Spec.Workload.Manifests = append(w.Spec.Workload.Manifests, workv1.Manifest{RawExtension: runtime.RawExtension{Raw: []byte(m)}})
	}
	return w
}

// asked answers who is asking, and says the hub's part as soon as there is an order.
func answering(t *testing.T, base client.WithWatch) client.Client {
	t.Helper()
	return interceptor.NewClient(base, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if review, ok := o.(*authenticationv1.SelfSubjectReview); ok {
				review.Status.UserInfo.Username = "alice"
				return nil
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if err := c.Patch(ctx, o, p, opts...); err != nil {
				return err
			}
			one, ok := o.(*clusterv1.ManagedCluster)
			if !ok || one.Annotations["flotilla.dev/detach"] == "" {
				return nil
			}
			meta.SetStatusCondition(&one.Status.Conditions, metav1.Condition{Type: "Released", Status: "True", Message: "the agent let go"})
			return c.Status().Update(ctx, one)
		},
	})
}

func TestDetachOrdersWaitsAndDeletes(t *testing.T) {
	base := fakeHub(t, cluster("east", hasJoined, isAvailable), work("web", ""))
	hub := answering(t, base)
	ordered := ""
	watched := interceptor.NewClient(base, interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			ordered = o.GetAnnotations()["flotilla.dev/detach"]
			return c.Delete(ctx, o, opts...)
		},
	})
	var out bytes.Buffer
	d := detaching{hub: hub, leaving: leaving{hub: watched, name: "east", out: &out}, why: "moved  out", now: func() time.Time { return noon }}
	if err := d.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ordered != "alice 2026-01-01T12:00:00Z moved out" {
		t.Errorf("ordered %q when it was deleted", ordered)
	}
	for _, want := range []string{"cluster east: ordered by alice\n", "the agent let go", "detached; what runs there goes on running"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %q", want, out.String())
		}
	}
	if err := base.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "web"}, &workv1.ManifestWork{}); err != nil {
		t.Errorf("the tool removes no work, the hub does when it may: %v", err)
	}
}

func TestDetachWithoutAHubSaysHowToGoOn(t *testing.T) {
	ordered := cluster("east", hasJoined)
	ordered.Annotations = map[string]string{"flotilla.dev/detach": "bob 2026-01-01T11:00:00Z"}
	hub := fakeHub(t, ordered)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	err := detaching{hub: hub, leaving: leaving{hub: hub, name: "east", out: &out}, now: time.Now}.run(ctx)
	if err == nil || !strings.Contains(err.Error(), "does the hub process run?") || !strings.Contains(err.Error(), "flotilla.dev/detach-") {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "ordered before: bob") {
		t.Error(out.String())
	}
	c, err := get(t.Context(), hub, "east")
	if err != nil || c.Annotations["flotilla.dev/detach"] != "bob 2026-01-01T11:00:00Z" {
		t.Errorf("another's order was written over: %v, %v", c, err)
	}
}

func TestRemoveSaysWhatGoesAndAsks(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		yes    bool
		goes   bool
	}{"no answer": {"", false, false}, "yes is not the name": {"yes\n", false, false}, "the name": {"east\n", false, true}, "not asked": {"", true, true}} {
		t.Run(name, func(t *testing.T) {
			hub := fakeHub(t, cluster("east", hasJoined, isAvailable), work("web", "", `{"kind":"CloneSet","metadata":{"name":"web","namespace":"shop"}}`),
				work("kept", "Orphan", `{"kind":"Namespace","metadata":{"name":"shop"}}`))
			var out bytes.Buffer
			r := removing{hub: hub, leaving: leaving{hub: hub, name: "east", out: &out}, in: strings.NewReader(tc.answer), yes: tc.yes, now: time.Now}
			err := r.run(t.Context(), time.Minute)
			if (err == nil) != tc.goes {
				t.Fatal(err)
			}
			want := "WORK   FATE         OBJECTS\nkept   stays        Namespace shop\nweb    is deleted   CloneSet shop/web\n"
			if !strings.Contains(out.String(), want) {
				t.Error(out.String())
			}
			_, err = get(t.Context(), hub, "east")
			var works workv1.ManifestWorkList
			if listed := hub.List(t.Context(), &works); listed != nil || (err != nil) != tc.goes || (len(works.Items) == 0) != tc.goes {
				t.Errorf("%v, %d works, %v", err, len(works.Items), listed)
			}
		})
	}
}

func TestRemovalIsConfirmedForTheBrakesBeforeItBegins(t *testing.T) {
	c := cluster("east", hasJoined, isAvailable)
	c.Finalizers = []string{"x"}
	w := work("web", "")
	w.Finalizers = []string{"x"}
	w.Status.Conditions = []metav1.Condition{{Type: "Deleting", Status: "False", Message: "so many at once"}}
	hub := fakeHub(t, c, w)
	var out bytes.Buffer
	r := removing{hub: hub, leaving: leaving{hub: hub, name: "east", out: &out}, yes: true, now: time.Now}
	if err := r.run(t.Context(), 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "web is held: so many at once") {
		t.Error(err)
	}
	got, err := get(t.Context(), hub, "east")
	if err != nil || got.Annotations["flotilla.dev/confirm-mass-removal"] != "east" || got.DeletionTimestamp.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	if err := hub.Get(t.Context(), client.ObjectKeyFromObject(w), w); err != nil || w.Annotations["flotilla.dev/confirm-removal"] != "web" || w.DeletionTimestamp.IsZero() {
		t.Errorf("%+v, %v", w, err)
	}
}

func TestNobodyIsRemovedWhoCannotRemove(t *testing.T) {
	ordered := cluster("east", hasJoined, isAvailable)
	ordered.Annotations = map[string]string{"flotilla.dev/detach": "bob"}
	silent := cluster("east", hasJoined, isSilent)
	silent.Status.Conditions[1].LastTransitionTime = metav1.NewTime(noon.Add(-3 * time.Hour))
	for want, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		works   int
	}{
		"it has been silent for 3h, so nobody would remove what its 2 works hold": {silent, 2},
		"no agent of it has reported": {cluster("east"), 2},
		"it is being detached (bob)":  {ordered, 2},
		"":                            {silent, 0},
	} {
		got := removing{now: func() time.Time { return noon }}.refuse(tc.cluster, tc.works)
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestObjectsAreNamedAndCounted(t *testing.T) {
	one := `{"kind":"ConfigMap","metadata":{"name":"a","namespace":"b"}}`
	if got := objects(work("w", "", one, `{`, one, one, one, one).Spec.Workload.Manifests); got != "ConfigMap b/a, ?, ConfigMap b/a, ConfigMap b/a, and 2 more" {
		t.Error(got)
	}
	if got := fate(&workv1.DeleteOption{PropagationPolicy: "SelectivelyOrphan", SelectivelyOrphan: &workv1.SelectivelyOrphan{}}); got != "is deleted in part" {
		t.Error(got)
	}
}
