package workttl

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testclock "k8s.io/utils/clock/testing"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// job is a work that completed at noon and may stay for so many seconds.
func job(ttl int64, change ...func(*workv1.ManifestWork)) *workv1.ManifestWork {
	w := &workv1.ManifestWork{
		ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "job", UID: "1"},
		Spec:       workv1.ManifestWorkSpec{DeleteOption: &workv1.DeleteOption{TTLSecondsAfterFinished: &ttl}},
		Status: workv1.ManifestWorkStatus{Conditions: []metav1.Condition{{Type: "Complete", Status: metav1.ConditionTrue, Reason: "ConditionRulesAggregated",
			LastTransitionTime: metav1.NewTime(noon)}}},
	}
	for _, c := range change {
		c(w)
	}
	return w
}

// OCM-13.4
func TestDecide(t *testing.T) {
	for name, tc := range map[string]struct {
		work  *workv1.ManifestWork
		after time.Duration
		want  plan
	}{
		"before its second":       {job(60), 59 * time.Second, plan{left: time.Second}},
		"at its second":           {job(60), 60 * time.Second, plan{remove: true}},
		"0 is at once":            {job(0), 0, plan{remove: true}},
		"no time is given":        {job(0, func(w *workv1.ManifestWork) { w.Spec.DeleteOption.TTLSecondsAfterFinished = nil }), time.Hour, plan{}},
		"no delete option":        {job(0, func(w *workv1.ManifestWork) { w.Spec.DeleteOption = nil }), time.Hour, plan{}},
		"not complete":            {job(0, func(w *workv1.ManifestWork) { w.Status.Conditions = nil }), time.Hour, plan{}},
		"no longer complete":      {job(0, func(w *workv1.ManifestWork) { w.Status.Conditions[0].Status = metav1.ConditionFalse }), time.Hour, plan{}},
		"on its way out":          {job(0, func(w *workv1.ManifestWork) { w.DeletionTimestamp = &metav1.Time{Time: noon} }), time.Hour, plan{}},
		"made by a replica set":   {job(0, label("work.open-cluster-management.io/manifestworkreplicaset", "team.web")), time.Hour, plan{}},
		"another's label is none": {job(0, label("app", "web")), time.Hour, plan{remove: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decide(tc.work, noon.Add(tc.after)); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
			if got := concerned(tc.work); got != (tc.want != plan{}) {
				t.Errorf("concerned: %v", got)
			}
		})
	}
}

func label(key, value string) func(*workv1.ManifestWork) {
	return func(w *workv1.ManifestWork) { w.Labels = map[string]string{key: value} }
}

func TestAWorkIsDeletedAtItsSecondAndNotBefore(t *testing.T) {
	hub, now := newHub(t, nil, job(60)), testclock.NewFakePassiveClock(noon.Add(59*time.Second))
	if result, err := round(hub, now); err != nil || result.RequeueAfter != time.Second || !there(t, hub) {
		t.Errorf("%v %v", result, err)
	}
	now.SetTime(noon.Add(time.Minute))
	if _, err := round(hub, now); err != nil || there(t, hub) {
		t.Errorf("%v, and the work is there", err)
	}
}

func TestOnlyTheWorkThatWasSeenIsDeleted(t *testing.T) {
	var asked client.DeleteOptions
	hub := newHub(t, func(_ context.Context, _ client.WithWatch, _ client.Object, opts ...client.DeleteOption) error {
		asked.ApplyOptions(opts)
		return apierrors.NewConflict(workv1.Resource("manifestworks"), "job", errors.New("newer"))
	}, job(0))
	if _, err := round(hub, testclock.NewFakePassiveClock(noon)); err == nil {
		t.Error("the failure is lost")
	}
	if p := asked.Preconditions; p == nil || *p.UID != "1" || p.ResourceVersion == nil || *p.ResourceVersion == "" {
		t.Errorf("%+v", p)
	}
}

func newHub(t *testing.T, remove func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := workv1.Install(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{Delete: remove}).Build()
}

func round(hub client.Client, now *testclock.FakePassiveClock) (reconcile.Result, error) {
	return newLoop(hub, now).Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "east", Name: "job"}})
}

func there(t *testing.T, hub client.Client) bool {
	t.Helper()
	err := hub.Get(context.Background(), client.ObjectKey{Namespace: "east", Name: "job"}, &workv1.ManifestWork{})
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return err == nil
}
