package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// shop is a FederatedDeployment whose image went from v1 to v2 to v3.
func shop(change func(*appsv1alpha1.FederatedDeployment)) []client.Object {
	d := &appsv1alpha1.FederatedDeployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u"}}
	d.Spec.UpdateStrategy.Type = appsv1alpha1.UpdateProgressive
	d.Status.UpdateRevision, d.Status.CurrentRevision = "web-c", "web-b"
	change(d)
	all := []client.Object{d}
	for i, name := range []string{"a", "b", "c"} {
		image := "web:v" + string(rune('1'+i))
		all = append(all, &appsv1.ControllerRevision{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: "web-" + name, CreationTimestamp: metav1.NewTime(noon.Add(time.Duration(i-3) * time.Hour)),
				OwnerReferences: []metav1.OwnerReference{{Kind: "FederatedDeployment", Name: "web", UID: "u", Controller: new(true)}},
			},
			Revision: int64(i + 1),
			Data: runtime.RawExtension{Raw: []byte(`{"spec":{"template":{"$patch":"replace","cloneSetTemplate":{"spec":{"template":{"spec":{"containers":[{"image":"` +
				image + `"}]}}}}}}}`)},
		})
	}
	foreign := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "other-z"}, Revision: 9}
	return append(all, foreign)
}

func unchanged(*appsv1alpha1.FederatedDeployment) {}

func rollingOf(t *testing.T, objects []client.Object) (rolling, *bytes.Buffer, func() *appsv1alpha1.FederatedDeployment) {
	t.Helper()
	out := &bytes.Buffer{}
	hub := fakeHub(t, objects...)
	r := rolling{hub: hub, key: client.ObjectKey{Namespace: "shop", Name: "web"}, out: out, now: func() time.Time { return noon }}
	return r, out, func() *appsv1alpha1.FederatedDeployment {
		d, err := fdep(t.Context(), hub, r.key)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

func TestHistoryShowsItsOwnRevisionsAndWhatTheyAreNow(t *testing.T) {
	r, out, _ := rollingOf(t, shop(unchanged))
	if err := r.history(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "REVISION   NAME    AGE    USE         IMAGES\n" +
		"1          web-a   3h     -           web:v1\n" +
		"2          web-b   120m   current     web:v2\n" +
		"3          web-c   60m    going out   web:v3\n"
	if got := out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestARevisionThatFailedIsCalledSo(t *testing.T) {
	d := shop(func(d *appsv1alpha1.FederatedDeployment) {
		d.Status.Rollout = &appsv1alpha1.RolloutStatus{Revision: "web-c", Phase: appsv1alpha1.RolloutRolledBack}
	})[0].(*appsv1alpha1.FederatedDeployment)
	if got := role(d, "web-c"); got != "failed, rolled back" {
		t.Errorf("%q", got)
	}
}

func TestUndo(t *testing.T) {
	for name, tc := range map[string]struct {
		number  int64
		image   string
		problem string
		stable  string // of an update that has not gone out
	}{
		"what ran before, over one that never went out":     {image: "web:v1", stable: "web-a"},
		"the one of the number, whatever ran before":        {number: 2, image: "web:v2", stable: "web-a"},
		"the one before, if what ran is in history no more": {image: "web:v2", stable: "web-0"},
		"the one before":        {image: "web:v2"},
		"the one of the number": {number: 1, image: "web:v1"},
		"the present one":       {number: 3, problem: "wanted now"},
		"none of that number":   {number: 7, problem: "no revision 7; see: kubectl flotilla history web"},
	} {
		t.Run(name, func(t *testing.T) {
			r, out, now := rollingOf(t, shop(func(d *appsv1alpha1.FederatedDeployment) {
				if tc.stable != "" {
					d.Status.Rollout = &appsv1alpha1.RolloutStatus{Revision: "web-c", StableRevision: tc.stable}
				}
			}))
			err := r.undo(t.Context(), tc.number)
			if tc.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tc.problem) {
					t.Errorf("%v, want %q", err, tc.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			set := now().Spec.Template.CloneSetTemplate
			if set == nil || set.Spec.Template.Spec.Containers[0].Image != tc.image {
				t.Errorf("%+v, want %s", set, tc.image)
			}
			if !strings.Contains(out.String(), "is wanted again") {
				t.Error(out.String())
			}
		})
	}
}

func TestPauseAndResume(t *testing.T) {
	r, _, now := rollingOf(t, shop(unchanged))
	if err := r.pause(t.Context()); err != nil || !now().Spec.UpdateStrategy.Paused {
		t.Fatalf("paused %v, %v", now().Spec.UpdateStrategy.Paused, err)
	}
	if err := r.resume(t.Context()); err != nil || now().Spec.UpdateStrategy.Paused {
		t.Fatalf("paused %v, %v", now().Spec.UpdateStrategy.Paused, err)
	}
	if err := r.resume(t.Context()); err == nil || !strings.Contains(err.Error(), "does not wait for anybody") {
		t.Errorf("%v", err)
	}
}

func TestResumeAfterAWaveNamesRevisionAndWave(t *testing.T) {
	r, out, now := rollingOf(t, shop(func(d *appsv1alpha1.FederatedDeployment) {
		d.Status.Rollout = &appsv1alpha1.RolloutStatus{Revision: "web-c", Phase: appsv1alpha1.RolloutPaused, Wave: 1, Waves: 3}
	}))
	if err := r.resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := now().Annotations[appsv1alpha1.AnnotationResume]; got != "web-c/1" {
		t.Errorf("%q", got)
	}
	if !strings.Contains(out.String(), "after wave 1 of 3") {
		t.Error(out.String())
	}
}

// The condition of an update that failed and was told to wait names this very command.
func TestResumeTriesAgainWhatFailed(t *testing.T) {
	r, out, now := rollingOf(t, shop(func(d *appsv1alpha1.FederatedDeployment) {
		d.Status.Rollout = &appsv1alpha1.RolloutStatus{Revision: "web-c", Phase: appsv1alpha1.RolloutFailed, Wave: 2, Waves: 3}
	}))
	if err := r.resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := now().Annotations[appsv1alpha1.AnnotationResume]; got != "web-c/2" || !strings.Contains(out.String(), "tries wave 2 of 3 again") {
		t.Errorf("%q, %s", got, out.String())
	}
}

func TestManualUpdatesArePausedToo(t *testing.T) {
	r, _, now := rollingOf(t, shop(func(d *appsv1alpha1.FederatedDeployment) { d.Spec.UpdateStrategy.Type = appsv1alpha1.UpdateManual }))
	if err := r.pause(t.Context()); err != nil || !now().Spec.UpdateStrategy.Paused {
		t.Errorf("%v, %+v", err, now().Spec.UpdateStrategy)
	}
	if err := r.resume(t.Context()); err != nil || now().Spec.UpdateStrategy.Paused {
		t.Errorf("%v, %+v", err, now().Spec.UpdateStrategy)
	}
}
