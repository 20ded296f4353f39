package brake

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	base := Facts{Work: "web", Namespace: "east", Objects: 3}
	with := func(f func(*Facts)) Facts { x := base; f(&x); return x }
	for name, tc := range map[string]struct {
		facts Facts
		goes  bool
		held  bool
	}{
		"nothing to lose needs no question":          {facts: Facts{Work: "web"}, goes: true},
		"no answer removes nothing":                  {facts: base},
		"one good answer is not enough":              {facts: with(func(f *Facts) { f.Answer = Alive })},
		"nor are two in one moment":                  {facts: with(func(f *Facts) { f.Answer, f.AliveSince = Alive, noon.Add(-time.Millisecond) })},
		"two good answers apart let it go":           {facts: with(func(f *Facts) { f.Answer, f.AliveSince = Alive, noon.Add(-time.Second) }), goes: true},
		"a namespace that is going holds it":         {facts: with(func(f *Facts) { f.Answer, f.AliveSince = Terminating, noon.Add(-time.Hour) }), held: true},
		"a confirmation lets it go":                  {facts: with(func(f *Facts) { f.Confirmed = true }), goes: true},
		"also when the namespace is going":           {facts: with(func(f *Facts) { f.Confirmed, f.Answer = true, Terminating }), goes: true},
		"no answer after a good one removes nothing": {facts: with(func(f *Facts) { f.AliveSince = noon.Add(-time.Hour) })},
	} {
		t.Run(name, func(t *testing.T) {
			v := Decide(tc.facts, noon)
			if v.Go != tc.goes || (v.Held != "") != tc.held || !v.Go && v.After <= 0 {
				t.Errorf("%+v", v)
			}
		})
	}
	want := "namespace east is being deleted on the hub; 3 objects left running; to remove them annotate this work flotilla.dev/confirm-removal=web"
	if v := Decide(with(func(f *Facts) { f.Answer = Terminating }), noon); v.Held != want {
		t.Errorf("says %q", v.Held)
	}
}

func TestAConfirmationNamesItsWork(t *testing.T) {
	marked := func(value string) client.Object {
		return &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{Confirm: value}}}
	}
	for _, no := range []client.Object{marked("true"), marked("we"), marked(""), &workv1.AppliedManifestWork{}} {
		if Confirmed("web", no) {
			t.Errorf("%v counts", no.GetAnnotations())
		}
	}
	if !Confirmed("web", &workv1.AppliedManifestWork{}, marked("web")) {
		t.Error("the second object's confirmation does not count")
	}
}

func TestAsk(t *testing.T) {
	terminating := apierrors.NewForbidden(corev1.Resource("events"), "x", errors.New("because it is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, tc := range map[string]struct {
		refusal error
		want    Answer
	}{
		"created":               {nil, Alive},
		"namespace terminating": {terminating, Terminating},
		"no right to":           {apierrors.NewForbidden(corev1.Resource("events"), "x", errors.New("no")), ""},
		"namespace gone":        {apierrors.NewNotFound(corev1.Resource("namespaces"), "east"), ""},
		"hub away":              {errors.New("connection refused"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := runtime.NewScheme()
			if err := eventsv1.AddToScheme(s); err != nil {
				t.Fatal(err)
			}
			hub := interceptor.NewClient(fake.NewClientBuilder().WithScheme(s).Build(), interceptor.Funcs{
				Create: func(_ context.Context, _ client.WithWatch, o client.Object, opts ...client.CreateOption) error {
					co := &client.CreateOptions{}
					co.ApplyOptions(opts)
					if strings.Join(co.DryRun, "") != "All" || o.GetNamespace() != "east" {
						t.Errorf("asked with %v in %s", co.DryRun, o.GetNamespace())
					}
					return tc.refusal
				},
			})
			got, err := Ask(t.Context(), hub, "east")
			if got != tc.want || (err != nil) != (tc.want == "") {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
