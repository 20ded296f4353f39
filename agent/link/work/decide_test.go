package work

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	workv1 "open-cluster-management.io/api/work/v1"
)

func TestDecide(t *testing.T) { // OCM-10.1, OCM-10.3
	applied := metav1.Condition{Type: "Applied", Status: "True"}
	base := func() facts {
		work := newWork()
		work.ResourceVersion = "100"
		work.Status.Conditions = []metav1.Condition{applied}
		return facts{work: work, online: true, state: &state{
			applied: true, generation: 7, nextApply: noon.Add(4 * time.Minute), nextStatus: noon.Add(15 * time.Second), wrote: noon.Add(-time.Minute),
		}}
	}
	gone := metav1.NewTime(noon)
	for name, tc := range map[string]struct {
		change func(*facts)
		want   round
		wait   time.Duration
	}{
		"nothing is due":                      {func(*facts) {}, nothing, 15 * time.Second},
		"not seen before":                     {func(f *facts) { f.state = &state{} }, applyRound, 0},
		"a new generation":                    {func(f *facts) { f.work.Generation = 8 }, applyRound, 0},
		"new labels":                          {func(f *facts) { f.work.Labels = map[string]string{"a": "b"} }, applyRound, 0},
		"time to apply again":                 {func(f *facts) { f.state.nextApply = noon }, applyRound, 0},
		"also while the hub is away":          {func(f *facts) { f.state.nextApply, f.online = noon, false }, applyRound, 0},
		"time to look":                        {func(f *facts) { f.state.nextStatus = noon }, statusRound, 0},
		"nobody to tell":                      {func(f *facts) { f.state.nextStatus, f.online = noon, false }, nothing, time.Second},
		"an object changed":                   {func(f *facts) { f.touched = true }, statusRound, 0},
		"an object changed again within 1s":   {func(f *facts) { f.touched, f.state.wrote = true, noon.Add(-400*time.Millisecond) }, nothing, 600 * time.Millisecond},
		"never applied, so not looked at":     {func(f *facts) { f.work.Status.Conditions, f.touched = nil, true }, nothing, 4 * time.Minute},
		"the finalizer comes before the rest": {func(f *facts) { f.work.Finalizers, f.state = nil, &state{} }, finalize, 0},
		"which needs the hub":                 {func(f *facts) { f.work.Finalizers, f.online = nil, false }, nothing, time.Second},
		"complete is frozen": {func(f *facts) {
			f.work.Generation = 8
			f.work.Status.Conditions = append(f.work.Status.Conditions, metav1.Condition{Type: "Complete", Status: "True"})
		}, nothing, 15 * time.Second},
		"deleted":                              {func(f *facts) { f.work.DeletionTimestamp = &gone }, removeRound, 0},
		"deleted, and the finalizer is gone":   {func(f *facts) { f.work.DeletionTimestamp, f.work.Finalizers = &gone, nil }, removeRound, 0},
		"our own write has not come round":     {func(f *facts) { f.state.version, f.state.wrote, f.work.Generation = "101", noon, 8 }, nothing, time.Second},
		"which is not waited for without end":  {func(f *facts) { f.state.version, f.work.Generation = "101", 8 }, applyRound, 0},
		"a version of the cache that is newer": {func(f *facts) { f.state.version, f.state.wrote, f.work.Generation = "99", noon, 8 }, applyRound, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := base()
			tc.change(&f)
			got, wait := decide(f, noon)
			if got != tc.want || wait != tc.wait {
				t.Errorf("%s in %s, want %s in %s", got, wait, tc.want, tc.wait)
			}
		})
	}
}

func TestWhenToApplyAgain(t *testing.T) { // OCM-10.3, OCM-10.4
	resource := schema.GroupResource{Resource: "x"}
	appliers := apierrors.NewApplyConflict([]metav1.StatusCause{{Type: metav1.CauseTypeFieldManagerConflict}}, "owned by another")
	conflict, no := apierrors.NewConflict(resource, "x", nil), apierrors.NewForbidden(resource, "x", nil)
	for name, tc := range map[string]struct {
		err      error
		executor bool
		failures int
		from, to time.Duration
	}{
		"success":                   {nil, false, 3, 4 * time.Minute, 6 * time.Minute},
		"a conflict of appliers":    {appliers, false, 0, 4 * time.Minute, 6 * time.Minute},
		"outrun by another writer":  {conflict, false, 0, 500 * time.Millisecond, 600 * time.Millisecond},
		"an executor may not":       {nil, true, 0, time.Minute, time.Minute},
		"and something else failed": {no, true, 0, 500 * time.Millisecond, 600 * time.Millisecond},
		"the agent may not":         {no, false, 0, 500 * time.Millisecond, 600 * time.Millisecond},
		"failed the third time":     {errors.New("x"), false, 2, 2 * time.Second, 2400 * time.Millisecond},
		"failed the hundredth time": {errors.New("x"), false, 99, 5 * time.Minute, 6 * time.Minute},
	} {
		s := &state{failures: tc.failures}
		s.after(tc.err, tc.executor, noon)
		if wait := s.nextApply.Sub(noon); wait < tc.from || wait > tc.to {
			t.Errorf("%s: %s", name, wait)
		}
		if tc.err == nil && s.failures != 0 {
			t.Errorf("%s: failures are still counted", name)
		}
	}
}

func listed(name, uid string) workv1.AppliedManifestResourceMeta {
	return workv1.AppliedManifestResourceMeta{ResourceIdentifier: workv1.ResourceIdentifier{Group: "apps", Resource: "deployments", Namespace: "a", Name: name}, Version: "v1", UID: uid}
}

func aRecord(resources ...workv1.AppliedManifestResourceMeta) *workv1.AppliedManifestWork {
	return &workv1.AppliedManifestWork{
		ObjectMeta: metav1.ObjectMeta{Name: "h-web", UID: "u1", Finalizers: []string{workv1.AppliedManifestWorkFinalizer}},
		Status:     workv1.AppliedManifestWorkStatus{AppliedResources: resources},
	}
}

func TestObsolete(t *testing.T) { // OCM-15.4
	record := aRecord(listed("web", "1"), listed("old", "2"))
	newer := web(0)
	newer.Version = "v2"
	gone, sure := obsolete(record, []*manifest{{meta: newer}})
	if d := cmp.Diff([]workv1.AppliedManifestResourceMeta{listed("old", "2")}, gone); d != "" || !sure {
		t.Errorf("another version of the same object is the same: %v %s", sure, d)
	}
	for name, manifests := range map[string][]*manifest{
		"one manifest cannot be told apart": {{meta: web(0)}, {broken: errors.New("x")}},
		"one object could not be read":      {{meta: web(0), unread: errors.New("x")}},
		"no manifests at all":               nil,
	} {
		if gone, sure := obsolete(record, manifests); sure || len(gone) > 0 {
			t.Errorf("%s: %v", name, gone)
		}
	}
	readOnly := &manifest{meta: web(0), config: config{strategy: workv1.UpdateStrategy{Type: "ReadOnly"}}}
	if gone, _ := obsolete(record, []*manifest{readOnly}); len(gone) != 2 {
		t.Errorf("a manifest that became ReadOnly still owns: %v", gone)
	}
}

func TestNothingIsLostFromTheRecord(t *testing.T) {
	record := aRecord(listed("web", "1"), listed("failing", "2"), listed("leaving", "3"), listed("left", "4"))
	failing := web(1)
	failing.Name = "failing"
	live := object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, uid: '9'}}")
	manifests := []*manifest{{meta: web(0), live: live}, {meta: failing, failed: errors.New("x")}}
	got := held(record, manifests, []workv1.AppliedManifestResourceMeta{listed("leaving", "3")}, true)
	want := []workv1.AppliedManifestResourceMeta{listed("web", "9"), listed("failing", "2"), listed("leaving", "3")}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := held(record, manifests, nil, false); len(got) != 4 {
		t.Errorf("an unsure round forgot something: %v", got)
	}
}

func TestJudge(t *testing.T) { // OCM-15.4
	const head = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, uid: x"
	const mine = "{apiVersion: work.open-cluster-management.io/v1, kind: AppliedManifestWork, name: h-web, uid: u1}"
	const theirs = "{apiVersion: work.open-cluster-management.io/v1, kind: AppliedManifestWork, name: h-more, uid: u2}"
	const stale = "{apiVersion: work.open-cluster-management.io/v1, kind: AppliedManifestWork, name: h-web, uid: u0}"
	const pod = "{apiVersion: v1, kind: Pod, name: p, uid: p}"
	for name, tc := range map[string]struct {
		live   string
		uid    string
		orphan bool
		want   fate
	}{
		"gone":                             {want: forget, uid: "x"},
		"another object of that name":      {live: head + ", ownerReferences: [" + mine + "]}}", uid: "y", want: forget},
		"not ours":                         {live: head + "}}", uid: "x", want: forget},
		"of an earlier record of the name": {live: head + ", ownerReferences: [" + stale + "]}}", uid: "x", want: forget},
		"ours alone":                       {live: head + ", ownerReferences: [" + mine + "]}}", uid: "x", want: destroy},
		"ours and a pod's":                 {live: head + ", ownerReferences: [" + mine + ", " + pod + "]}}", uid: "x", want: destroy},
		"another work's too":               {live: head + ", ownerReferences: [" + mine + ", " + theirs + "]}}", uid: "x", want: release},
		"ours, and to stay":                {live: head + ", ownerReferences: [" + mine + "]}}", uid: "x", orphan: true, want: release},
		"already going":                    {live: head + `, deletionTimestamp: "2026-01-01T00:00:00Z", ownerReferences: [` + mine + "]}}", uid: "x", want: leaving},
	} {
		t.Run(name, func(t *testing.T) {
			var live *unstructured.Unstructured
			if tc.live != "" {
				live = object(t, tc.live)
			}
			if got := judge(live, tc.uid, aRecord(), tc.orphan); got != tc.want {
				t.Errorf("%d, want %d", got, tc.want)
			}
		})
	}
}
