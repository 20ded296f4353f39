package fence

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	workv1 "open-cluster-management.io/api/work/v1"
)

func typed(s string) types.UID { return types.UID(s) }

func TestAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{"5m0s": 5 * time.Minute, "": 0, "5": 0, "never": 0, "-1s": 0, "0s": 0} {
		if got := After(record("web", text)); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestDue(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, tc := range map[string]struct {
		contact Contact
		after   time.Duration
		due     bool
	}{
		"heard lately":                       {Contact{Last: ago(time.Minute), Began: ago(time.Hour)}, 5 * time.Minute, false},
		"silent as long as agreed":           {Contact{Last: ago(5 * time.Minute), Began: ago(time.Hour)}, 5 * time.Minute, true},
		"just started":                       {Contact{Last: ago(time.Hour), Began: ago(9 * time.Second)}, 5 * time.Minute, false},
		"started a while ago":                {Contact{Last: ago(time.Hour), Began: ago(10 * time.Second)}, 5 * time.Minute, true},
		"a short time, just started":         {Contact{Last: ago(time.Hour), Began: ago(2 * time.Second)}, 2 * time.Second, true},
		"a clock that was set stops nothing": {Contact{Last: ago(time.Minute), Wall: ago(time.Hour).Round(0), Began: ago(time.Hour)}, 5 * time.Minute, false},
		"unless the hub is in trouble":       {Contact{Last: ago(time.Minute), Wall: ago(time.Hour).Round(0), Began: ago(time.Hour), Trouble: true}, 5 * time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			if due, wait := Due(tc.after, tc.contact, now); due != tc.due || due != (wait <= 0) {
				t.Errorf("due %v in %s", due, wait)
			}
		})
	}
}

func TestStop(t *testing.T) {
	owner := record("web", "5m")
	build := func(change func(*unstructured.Unstructured)) *unstructured.Unstructured {
		u := deployment("web", 3, "web")
		change(u)
		return u
	}
	claims := func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{}}, "spec", "volumeClaimTemplates")
	}
	for name, tc := range map[string]struct {
		live   *unstructured.Unstructured
		had    int64
		reason string
		keeps  bool // says to keep volumes
	}{
		"a deployment":       {live: deployment("web", 3, "web"), had: 3},
		"nothing runs":       {live: deployment("web", 0, "web")},
		"no replicas at all": {live: build(func(u *unstructured.Unstructured) { delete(u.Object, "spec") })},
		"somebody else's":    {live: deployment("web", 3, "other")},
		"another one by now": {live: build(func(u *unstructured.Unstructured) { u.SetUID("new") })},
		"a CloneSet":         {live: build(func(u *unstructured.Unstructured) { u.SetKind("CloneSet") }), had: 3},
		"one with volumes":   {live: build(func(u *unstructured.Unstructured) { u.SetKind("CloneSet"); claims(u) }), reason: "volumes would be deleted"},
		"volumes that stay":  {live: build(func(u *unstructured.Unstructured) { u.SetKind("StatefulSet"); claims(u) }), had: 3},
		"volumes that may not": {live: build(func(u *unstructured.Unstructured) {
			u.SetKind("StatefulSet")
			claims(u)
			_ = unstructured.SetNestedField(u.Object, "Delete", "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled")
		}), had: 3, keeps: true},
	} {
		t.Run(name, func(t *testing.T) {
			patch, had, reason := stop(tc.live, owner, "uid-of-web")
			if had != tc.had || (patch != nil) != (tc.had > 0) || !strings.Contains(reason, tc.reason) || (reason != "") != (tc.reason != "") {
				t.Errorf("%v %d %q", patch, had, reason)
			}
			kept, _, _ := unstructured.NestedString(patch, "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled")
			if (kept == "Retain") != tc.keeps {
				t.Errorf("volumes: %q", kept)
			}
		})
	}
}

func TestStoppedOf(t *testing.T) {
	r := &workv1.AppliedManifestWork{}
	if StoppedOf(r) != nil {
		t.Error("stopped without having been")
	}
	at := metav1.NewTime(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	s := &Stopped{At: at, Replicas: map[string]int64{"k": 3}}
	if err := s.mark(r); err != nil {
		t.Fatal(err)
	}
	if got := StoppedOf(r); got == nil || got.Replicas["k"] != 3 || !got.At.Equal(&at) {
		t.Errorf("%+v", got)
	}
	r.Annotations[AnnotationStopped] = "{"
	if StoppedOf(r) == nil {
		t.Error("a mark that cannot be read is a mark")
	}
}
