package podset_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
)

// revisionOf is what a set with this image asks for, among those that exist.
func revisionOf(t *testing.T, image string, existing ...appsv1.ControllerRevision) revision.Resolution {
	t.Helper()
	set := &kruise.CloneSet{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "owner"}}
	r, err := revision.Resolve(revision.Owner{
		Name: "web", Namespace: "shop", Ref: *metav1.NewControllerRef(set, kruise.SchemeGroupVersion.WithKind("CloneSet")), NoClaimHash: true,
		Template: &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}}},
	}, existing)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *stage) revisions() (all []appsv1.ControllerRevision) {
	s.Helper()
	var list appsv1.ControllerRevisionList
	if err := s.server.Plain.List(s.Context(), &list); err != nil {
		s.Fatal(err)
	}
	return list.Items
}

func (s *stage) write(r revision.Resolution) (revision.Resolution, error) {
	return s.hands.WriteRevision(s.Context(), r)
}

// WL-0.5
func TestANewRevisionIsWrittenOnce(t *testing.T) {
	s := newStage(t)
	r := revisionOf(t, "web:1")
	got, err := s.write(r)
	if err != nil || got.Update.Name != r.Update.Name {
		t.Fatalf("%s, %v", got.Update.Name, err)
	}
	s.wrote("create controllerrevision " + r.Update.Name)
	if _, err := s.write(revisionOf(t, "web:1", s.revisions()...)); err != nil {
		t.Fatal(err)
	}
	s.wrote()
}

// WL-0.5: the same revision made by an agent whose write we have not seen.
func TestARevisionThatIsThereServes(t *testing.T) {
	s := newStage(t)
	r := revisionOf(t, "web:1")
	if err := s.server.Plain.Create(t.Context(), r.Update.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	got, err := s.write(r)
	if err != nil || got.Write != revision.Keep || got.Update.Name != r.Update.Name || got.Collisions != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	s.wrote("create controllerrevision " + r.Update.Name)
}

// WL-0.5: another one by that name.
func TestATakenNameGivesAnother(t *testing.T) {
	s := newStage(t)
	r := revisionOf(t, "web:1")
	other := r.Update.DeepCopy()
	other.Data = runtime.RawExtension{Raw: []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"other"}]}}}}`)}
	if err := s.server.Plain.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	got, err := s.write(r)
	if err != nil || got.Collisions != 1 || got.Update.Name == r.Update.Name {
		t.Fatalf("%+v, %v", got, err)
	}
	s.wrote(slices.Sorted(slices.Values([]string{"create controllerrevision " + r.Update.Name, "create controllerrevision " + got.Update.Name}))...)
	if len(s.revisions()) != 2 {
		t.Errorf("%d revisions", len(s.revisions()))
	}
}

// WL-0.5: a rollback makes no revision but numbers the old one anew.
func TestAnOldRevisionBecomesTheNewest(t *testing.T) {
	s := newStage(t)
	for _, image := range []string{"web:1", "web:2"} {
		if _, err := s.write(revisionOf(t, image, s.revisions()...)); err != nil {
			t.Fatal(err)
		}
	}
	s.server.Writes()
	back := revisionOf(t, "web:1", s.revisions()...)
	if _, err := s.write(back); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch controllerrevision " + back.Update.Name)
	if all := s.revisions(); len(all) != 2 || back.Update.Revision != 3 {
		t.Errorf("%d revisions, the newest is %d", len(all), back.Update.Revision)
	}
}

func TestRevisionsThatCannotBeWritten(t *testing.T) {
	for name, refuse := range map[string]func(s *stage){
		"a new one": func(*stage) {},
		"one that gets a number": func(s *stage) {
			for _, image := range []string{"web:1", "web:2"} {
				if _, err := s.write(revisionOf(s.T, image, s.revisions()...)); err != nil {
					s.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			refuse(s)
			s.server.Before = func(string) error { return errors.New("no quota") }
			if _, err := s.write(revisionOf(t, "web:1", s.revisions()...)); err == nil || !strings.Contains(err.Error(), "no quota") {
				t.Error(err)
			}
		})
	}
}

// WL-0.5: the name is taken, and then it is gone: the next round tries again.
func TestATakenNameThatIsGoneIsTriedAgain(t *testing.T) {
	s := newStage(t)
	s.server.Before = func(string) error { return apierrors.NewAlreadyExists(corev1.Resource("controllerrevisions"), "web-1") }
	if _, err := s.write(revisionOf(t, "web:1")); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

func TestOldRevisionsGo(t *testing.T) {
	s := newStage(t)
	if _, err := s.write(revisionOf(t, "web:1")); err != nil {
		t.Fatal(err)
	}
	old := s.revisions()[0]
	s.server.Writes()
	another := old.DeepCopy()
	another.UID = "another"
	if err := s.hands.DropRevision(t.Context(), another); err == nil {
		t.Error("one that was not looked at goes")
	}
	s.hands.TrimRevisions(t.Context(), []appsv1.ControllerRevision{*another, old})
	if len(s.revisions()) != 0 {
		t.Error("it is still there")
	}
	if err := s.hands.DropRevision(t.Context(), &old); client.IgnoreNotFound(err) != nil {
		t.Error(err)
	}
}

// WL-4.2: a step that changes spec and status is two writes, and both are made or the first failure is told.
func TestARefreshOfSpecAndStatus(t *testing.T) {
	graced := func(p *corev1.Pod) {
		p.Annotations = map[string]string{
			"apps.kruise.io/inplace-update-grace": `{"revision":"web-a","containerImages":{"main":"web:2"},"graceSeconds":1}`,
			"apps.kruise.io/inplace-update-state": `{"revision":"web-a","updateTimestamp":"2026-01-02T08:00:00Z"}`,
		}
		p.Spec.ReadinessGates = append(p.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: "KruisePodReady"})
	}
	plan := podset.Plan{Refresh: []podset.Refresh{{Pod: "web-x", Step: podset.ApplyNow}}}
	s := newStage(t, apiPod("web-x", graced))
	if err := s.act(plan); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch pod web-x", "patch pod/status web-x")
	if pod := s.pod("web-x"); pod.Spec.Containers[0].Image != "web:2" || condition(pod, "KruisePodReady") != "True" {
		t.Errorf("image %s, conditions %v", pod.Spec.Containers[0].Image, pod.Status.Conditions)
	}

	s = newStage(t, apiPod("web-x", graced))
	s.server.Before = func(write string) error {
		if write == "patch pod web-x" {
			return errors.New("no answer")
		}
		return nil
	}
	if err := s.act(plan); err == nil {
		t.Error("a failure is not told")
	}
	s.wrote("patch pod web-x")
}
