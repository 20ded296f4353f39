package namespaces

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var (
	hash  = strings.Repeat("0123456789abcdef", 4)
	label = "clusterset.open-cluster-management.io/" + hash[:63]
)

func namespace(name, value string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid", Labels: map[string]string{"theirs": "x"}}}
	if value != "" {
		n.Labels[label] = value
	}
	return n
}

func entries(names ...string) (list []clusterv1.ClusterSetManagedNamespaceConfig) {
	for _, n := range names {
		set, name, _ := strings.Cut(n, "/")
		e := clusterv1.ClusterSetManagedNamespaceConfig{ClusterSet: set, Conditions: []metav1.Condition{{Type: "Other", Status: "True"}}}
		e.Name = name
		list = append(list, e)
	}
	return list
}

type world struct {
	*Keeper
	reads, writes, lists int
	fail                 error
}

func keeper(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	s := runtime.NewScheme()
	if err := corev1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	w := &world{}
	local := fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			w.reads++
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			w.lists++
			if w.fail != nil {
				return w.fail
			}
			return c.List(ctx, l, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			w.writes++
			if w.fail != nil {
				return w.fail
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			w.writes++
			return c.Patch(ctx, o, p, opts...)
		},
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			t.Error("a namespace was deleted")
			return nil
		},
	}).Build()
	w.Keeper = &Keeper{Local: local, HubHash: hash}
	return w
}

// labels are the values of our label, by namespace.
func (w *world) labels(t *testing.T) map[string]string {
	t.Helper()
	var all corev1.NamespaceList
	fail := w.fail
	w.fail = nil
	defer func() { w.fail = fail; w.lists-- }()
	if err := w.Local.List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, n := range all.Items {
		out[n.Name] = n.Labels[label]
	}
	return out
}

func said(list []clusterv1.ClusterSetManagedNamespaceConfig) (out []string) {
	for _, e := range list {
		for _, c := range e.Conditions {
			if c.Type != "Other" {
				out = append(out, fmt.Sprintf("%s/%s %s %s %s", e.ClusterSet, e.Name, c.Type, c.Status, c.Reason))
			}
		}
		if len(e.Conditions) != 2 {
			out = append(out, "a condition of somebody else is gone")
		}
	}
	return out
}

// OCM-5.3
func TestNamespacesAreMadeLabelledAndLetGo(t *testing.T) {
	w := keeper(t, namespace("web", ""), namespace("old", "true"), namespace("theirs", ""), namespace("before", "false"))
	list := entries("prod/web", "prod/db", "test/web")
	got := w.Keep(t.Context(), list)
	want := []string{
		"prod/web NamespaceAvailable True NamespaceApplied", "prod/db NamespaceAvailable True NamespaceApplied",
		"test/web NamespaceAvailable True NamespaceApplied",
	}
	if d := cmp.Diff(want, said(got)); d != "" {
		t.Error(d)
	}
	labels := map[string]string{"web": "true", "db": "true", "old": "false", "theirs": "", "before": "false"}
	if d := cmp.Diff(labels, w.labels(t)); d != "" {
		t.Error(d)
	}
	if len(list[0].Conditions) != 1 {
		t.Error("the list that was read, which the cache shares, was changed")
	}

	writes, lists := w.writes, w.lists
	again := w.Keep(t.Context(), got)
	if d := cmp.Diff(got, again); d != "" || w.writes != writes || w.lists != lists {
		t.Errorf("a second round wrote %d and listed %d times: %s", w.writes-writes, w.lists-lists, d)
	}

	w.Keep(t.Context(), entries("prod/db"))
	labels["web"] = "false"
	if d := cmp.Diff(labels, w.labels(t)); d != "" {
		t.Error(d)
	}
	if w.Keep(t.Context(), entries("prod/web", "prod/db")); w.labels(t)["web"] != "true" {
		t.Error("a namespace that came back is not managed")
	}
}

func TestWithoutManagedNamespacesNothingIsRead(t *testing.T) {
	w := keeper(t)
	for range 3 {
		if got := w.Keep(t.Context(), nil); len(got) != 0 {
			t.Errorf("%v", got)
		}
	}
	if w.reads != 0 || w.writes != 0 || w.lists != 1 {
		t.Errorf("%d reads, %d writes, %d lists", w.reads, w.writes, w.lists)
	}
}

func TestAFailureIsSaidAndStopsNobodyElse(t *testing.T) {
	leaving := namespace("leaving", "")
	leaving.DeletionTimestamp, leaving.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"kubernetes"}
	w := keeper(t, namespace("web", ""), leaving, namespace("old", "true"))
	w.fail = errors.New("no right")
	got := w.Keep(t.Context(), entries("prod/db", "prod/leaving", "prod/web"))
	want := []string{
		"prod/db NamespaceAvailable False NamespaceApplyFailed", "prod/leaving NamespaceAvailable False NamespaceApplyFailed",
		"prod/web NamespaceAvailable True NamespaceApplied",
	}
	if d := cmp.Diff(want, said(got)); d != "" {
		t.Error(d)
	}
	if m := got[0].Conditions[1].Message; m != "create namespace db: no right" {
		t.Error(m)
	}
	if m := got[1].Conditions[1].Message; !strings.Contains(m, "is being deleted") {
		t.Error(m)
	}
	if w.labels(t)["old"] != "true" {
		t.Error("a list that failed let a namespace go")
	}
	w.fail = nil
	w.Keep(t.Context(), got)
	if l := w.labels(t); l["old"] != "false" || l["db"] != "true" {
		t.Errorf("what failed was not tried again: %v", l)
	}
}
