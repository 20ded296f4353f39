package work

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/agent/link/feedback"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func web(ordinal int32) workv1.ManifestResourceMeta {
	return workv1.ManifestResourceMeta{Ordinal: ordinal, Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", Namespace: "a", Name: "web"}
}

var replicas = config{feedback: []workv1.FeedbackRule{{Type: workv1.JSONPathsType, JsonPaths: []workv1.JsonPath{{Name: "r", Path: ".status.replicas"}}}}}

func deployment(t *testing.T, n string) *manifest {
	return &manifest{meta: web(0), config: replicas, applied: true,
		live: object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, status: {replicas: "+n+"}}")}
}

func told(t *testing.T, all []metav1.Condition) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, c := range all {
		out[c.Type] = string(c.Status) + " " + c.Reason
		if c.ObservedGeneration != 7 {
			t.Errorf("%s observed generation %d", c.Type, c.ObservedGeneration)
		}
	}
	return out
}

func newWork() *workv1.ManifestWork {
	return &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "web", UID: "w1", Generation: 7, Finalizers: []string{workv1.ManifestWorkFinalizer}}}
}

func TestReport(t *testing.T) { // OCM-12.1, OCM-12.2
	for name, tc := range map[string]struct {
		m    *manifest
		want map[string]string
		sum  map[string]string
	}{
		"applied and there": {deployment(t, "2"),
			map[string]string{"Applied": "True AppliedManifestComplete", "Available": "True ResourceAvailable", "StatusFeedbackSynced": "True StatusFeedbackSynced"},
			map[string]string{"Applied": "True AppliedManifestWorkComplete", "Available": "True ResourcesAvailable"}},
		"without rules": {&manifest{meta: web(0), applied: true, live: object(t, "{apiVersion: apps/v1, kind: Deployment}")},
			map[string]string{"Applied": "True AppliedManifestComplete", "Available": "True ResourceAvailable", "StatusFeedbackSynced": "True NoStatusFeedbackSynced"},
			map[string]string{"Applied": "True AppliedManifestWorkComplete", "Available": "True ResourcesAvailable"}},
		"failed, and not there": {&manifest{meta: web(0), applied: true, failed: errors.New("no")},
			map[string]string{"Applied": "False AppliedManifestFailed", "Available": "False ResourceNotAvailable"},
			map[string]string{"Applied": "False AppliedManifestWorkFailed", "Available": "False ResourcesNotAvailable"}},
		"not readable": {&manifest{meta: web(0), applied: true, failed: errors.New("no"), unread: errors.New("no")},
			map[string]string{"Applied": "False AppliedManifestFailed", "Available": "Unknown FetchingResourceFailed"},
			map[string]string{"Applied": "False AppliedManifestWorkFailed", "Available": "Unknown ResourcesStatusUnknown"}},
		"of an unknown kind": {&manifest{meta: workv1.ManifestResourceMeta{Kind: "Gadget", Name: "g"}, applied: true, failed: errors.New("no")},
			map[string]string{"Applied": "False AppliedManifestFailed", "Available": "Unknown IncompleteResourceMeta"},
			map[string]string{"Applied": "False AppliedManifestWorkFailed", "Available": "Unknown ResourcesStatusUnknown"}},
		"with fields to ignore": {&manifest{meta: web(0), applied: true, failed: errIgnoreFields, live: object(t, "{apiVersion: apps/v1, kind: Deployment}")},
			map[string]string{"Applied": "False AppliedManifestSSAIgnoreFieldError", "Available": "True ResourceAvailable", "StatusFeedbackSynced": "True NoStatusFeedbackSynced"},
			map[string]string{"Applied": "False AppliedManifestWorkFailed", "Available": "True ResourcesAvailable"}},
	} {
		t.Run(name, func(t *testing.T) {
			work := newWork()
			report(work, []*manifest{tc.m}, feedback.Limits{}, noon)
			if d := cmp.Diff(tc.want, told(t, work.Status.ResourceStatus.Manifests[0].Conditions)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.sum, told(t, work.Status.Conditions)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAnUnreadableObjectKeepsItsOldValues(t *testing.T) { // OCM-12.4
	work := newWork()
	report(work, []*manifest{deployment(t, "2")}, feedback.Limits{}, noon)
	before := work.DeepCopy()
	report(work, []*manifest{{meta: web(0), config: replicas, unread: errors.New("away")}}, feedback.Limits{}, noon.Add(time.Minute))
	was, is := before.Status.ResourceStatus.Manifests[0], work.Status.ResourceStatus.Manifests[0]
	if d := cmp.Diff(was.StatusFeedbacks, is.StatusFeedbacks); d != "" {
		t.Error(d)
	}
	for _, kept := range []string{"Applied", "StatusFeedbackSynced"} {
		if d := cmp.Diff(meta.FindStatusCondition(was.Conditions, kept), meta.FindStatusCondition(is.Conditions, kept)); d != "" {
			t.Error(d)
		}
	}
	if c := meta.FindStatusCondition(is.Conditions, "Available"); c.Status != metav1.ConditionUnknown {
		t.Error(c)
	}
}

func TestFreshValuesMoveTheTime(t *testing.T) { // OCM-12, trap
	work := newWork()
	at := func() time.Time {
		return meta.FindStatusCondition(work.Status.ResourceStatus.Manifests[0].Conditions, "StatusFeedbackSynced").LastTransitionTime.Time
	}
	report(work, []*manifest{deployment(t, "2")}, feedback.Limits{}, noon)
	report(work, []*manifest{deployment(t, "2")}, feedback.Limits{}, noon.Add(time.Minute))
	if !at().Equal(noon) {
		t.Error("the time moved without a new value", at())
	}
	report(work, []*manifest{deployment(t, "3")}, feedback.Limits{}, noon.Add(time.Minute))
	if !at().Equal(noon.Add(time.Minute)) {
		t.Error("the time did not move with a new value", at())
	}
}

func TestEntriesFollowTheirManifests(t *testing.T) { // OCM-12.3
	work := newWork()
	report(work, []*manifest{{meta: workv1.ManifestResourceMeta{Kind: "Old", Resource: "olds"}, applied: true}, func() *manifest { m := deployment(t, "2"); m.meta.Ordinal = 1; return m }()}, feedback.Limits{}, noon)
	moved := &manifest{meta: web(0), config: replicas, unread: errors.New("away")} // now the first, and only, one
	report(work, []*manifest{moved}, feedback.Limits{}, noon)
	got := work.Status.ResourceStatus.Manifests
	if len(got) != 1 || got[0].ResourceMeta.Ordinal != 0 || len(got[0].StatusFeedbacks.Values) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAvailableSumsUp(t *testing.T) { // OCM-12, trap: False outranks Unknown, Unknown outranks True
	entry := func(s metav1.ConditionStatus) workv1.ManifestCondition {
		return workv1.ManifestCondition{Conditions: []metav1.Condition{{Type: "Available", Status: s}}}
	}
	yes, no, unknown := entry("True"), entry("False"), entry("Unknown")
	for name, tc := range map[string]struct {
		entries []workv1.ManifestCondition
		status  metav1.ConditionStatus
		message string
	}{
		"all":                {[]workv1.ManifestCondition{yes, yes}, "True", "All resources are available"},
		"none there":         {[]workv1.ManifestCondition{yes, unknown, no}, "False", "1 of 3 resources are not available"},
		"one unknown":        {[]workv1.ManifestCondition{yes, unknown}, "Unknown", "1 of 2 resources have unknown status"},
		"none could be read": {[]workv1.ManifestCondition{unknown, {}}, "Unknown", "No resource could be read"},
		"no manifest":        {nil, "Unknown", "No resource could be read"},
	} {
		if c := sumAvailable(tc.entries); c.Status != tc.status || c.Message != tc.message {
			t.Errorf("%s: %s %q", name, c.Status, c.Message)
		}
	}
}

func TestAppliedCountsOnlyWhoHasTheCondition(t *testing.T) { // OCM-12, trap
	if _, ok := sumApplied([]workv1.ManifestCondition{{}}); ok {
		t.Error("an empty list changes the old value")
	}
	entries := []workv1.ManifestCondition{{}, {Conditions: []metav1.Condition{{Type: "Applied", Status: "True"}}}}
	if c, ok := sumApplied(entries); !ok || c.Status != metav1.ConditionTrue {
		t.Error(c, ok)
	}
}
