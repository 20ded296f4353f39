package predownload

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
)

// rev is a revision of a template with the containers "name=image".
func rev(t *testing.T, name string, containers ...string) *appsv1.ControllerRevision {
	t.Helper()
	template := &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"team": "a"}}}
	template.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "robot"}}
	for _, c := range containers {
		name, image, _ := strings.Cut(c, "=")
		template.Spec.Containers = append(template.Spec.Containers, corev1.Container{Name: name, Image: image})
	}
	data, err := revision.Data(template)
	if err != nil {
		t.Fatal(err)
	}
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-" + name, Labels: map[string]string{"app": "web", revision.HashLabel: name}},
		Data:       runtime.RawExtension{Raw: data},
	}
}

func set(annotations ...string) *kruise.CloneSet {
	cs := &kruise.CloneSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "owner", Annotations: map[string]string{}}}
	for _, a := range annotations {
		key, value, _ := strings.Cut(a, "=")
		cs.Annotations["apps.kruise.io/image-predownload-"+key] = value
	}
	return cs
}

func labelled(r *appsv1.ControllerRevision, label string) *appsv1.ControllerRevision {
	r.Labels[label] = "true"
	return r
}

func TestDecide(t *testing.T) { // WL-1.14, WL-2.13, WL-3.9
	old := func(r ...*appsv1.ControllerRevision) []*appsv1.ControllerRevision { return r }
	mine := kruise.ImagePullJob{ObjectMeta: metav1.ObjectMeta{Name: "web-a-main"}}
	leaving := *mine.DeepCopy()
	leaving.DeletionTimestamp = &metav1.Time{}
	for name, tc := range map[string]struct {
		ask    Ask
		set    *kruise.CloneSet
		create string // images
		delete int
		label  string
	}{
		"no update":                   {ask: Ask{Update: rev(t, "b"), Done: true}, delete: 1},
		"one image changes":           {ask: Ask{Update: rev(t, "b", "main=web:2", "log=log:1"), Old: old(rev(t, "a", "main=web:1", "log=log:1"))}, create: "web:2", label: CreatedLabel},
		"a container is new":          {ask: Ask{Update: rev(t, "b", "main=web:1", "log=log:1"), Old: old(rev(t, "a", "main=web:1"))}, create: "log:1", label: CreatedLabel},
		"no image changes":            {ask: Ask{Update: rev(t, "b", "main=web:1"), Old: old(rev(t, "a", "main=web:1"))}, label: CreatedLabel},
		"one of several old differs":  {ask: Ask{Update: rev(t, "c", "main=web:1"), Old: old(rev(t, "a", "main=web:1"), rev(t, "b", "main=web:2"))}, create: "web:1", label: CreatedLabel},
		"an old one lacks it":         {ask: Ask{Update: rev(t, "c", "main=web:1"), Old: old(rev(t, "a"), rev(t, "b", "main=web:1"))}, label: CreatedLabel},
		"the update gains nothing":    {ask: Ask{Update: rev(t, "b", "main=web:2"), Old: old(rev(t, "a", "main=web:1")), Needless: "few"}, label: IgnoredLabel},
		"it was dealt with":           {ask: Ask{Update: labelled(rev(t, "b", "main=web:2"), CreatedLabel), Old: old(rev(t, "a", "main=web:1"))}},
		"it was left":                 {ask: Ask{Update: labelled(rev(t, "b", "main=web:2"), IgnoredLabel), Old: old(rev(t, "a", "main=web:1"))}},
		"too few are updated":         {ask: Ask{Update: rev(t, "b", "main=web:2"), Old: old(rev(t, "a", "main=web:1")), Replicas: 10, Ready: 1}, set: set("min-updated-ready-pods=11%")},
		"too few, and it is needless": {ask: Ask{Update: rev(t, "b", "main=web:2"), Replicas: 10, Ready: 1, Needless: "few"}, set: set("min-updated-ready-pods=2")},
		"enough are updated":          {ask: Ask{Update: rev(t, "b", "main=web:2"), Old: old(rev(t, "a", "main=web:1")), Replicas: 10, Ready: 2}, set: set("min-updated-ready-pods=11%"), create: "web:2", label: CreatedLabel},
		"a threshold in words is 0":   {ask: Ask{Update: rev(t, "b", "main=web:2"), Old: old(rev(t, "a", "main=web:1"))}, set: set("min-updated-ready-pods=some"), create: "web:2", label: CreatedLabel},
	} {
		t.Run(name, func(t *testing.T) {
			tc.ask.Set = set()
			if tc.set != nil {
				tc.ask.Set = tc.set
			}
			plan := Decide(tc.ask, []kruise.ImagePullJob{mine, leaving})
			var images []string
			for _, j := range plan.Create {
				images = append(images, j.Spec.Image)
			}
			if got := strings.Join(images, " "); got != tc.create || len(plan.Delete) != tc.delete || plan.Label != tc.label {
				t.Errorf("creates %q, deletes %d, label %q", got, len(plan.Delete), plan.Label)
			}
		})
	}
}

func TestTheJobIsTheOneOfTheContract(t *testing.T) { // WL-1.14, IP-18
	ask := Ask{
		Set: set(), Ref: metav1.OwnerReference{Kind: "CloneSet", Name: "web", UID: "owner"}, Update: rev(t, "b", "main=web:2"), Old: []*appsv1.ControllerRevision{rev(t, "a", "main=web:1")},
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
	}
	labels := map[string]string{"app": "web", "controller.kubernetes.io/hash": "b"}
	want := &kruise.ImagePullJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-b-main", Labels: labels, OwnerReferences: []metav1.OwnerReference{ask.Ref}},
		Spec: kruise.ImagePullJobSpec{Image: "web:2", ImagePullJobTemplate: kruise.ImagePullJobTemplate{
			PullSecrets: []string{"robot"},
			PodSelector: &kruise.ImagePullJobPodSelector{LabelSelector: metav1.LabelSelector{
				MatchLabels:      map[string]string{"app": "web"},
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "controller-revision-hash", Operator: "NotIn", Values: []string{"web-b", "b"}}},
			}},
			Parallelism:      new(intstr.FromInt32(1)),
			PullPolicy:       &kruise.PullPolicy{TimeoutSeconds: new(int32(300)), BackoffLimit: new(int32(1))},
			CompletionPolicy: kruise.CompletionPolicy{Type: kruise.Always, TTLSecondsAfterFinished: new(int32(600))},
			SandboxConfig:    &kruise.SandboxConfig{Labels: labels, Annotations: map[string]string{"team": "a"}},
		}},
	}
	if d := cmp.Diff([]*kruise.ImagePullJob{want}, Decide(ask, nil).Create); d != "" {
		t.Error(d)
	}
	if len(ask.Selector.MatchExpressions) != 0 {
		t.Error("the set's own selector was changed")
	}
	ask.Set = set("parallelism=7", "timeout-seconds=60")
	spec := Decide(ask, nil).Create[0].Spec
	if spec.Parallelism.IntValue() != 7 || *spec.PullPolicy.TimeoutSeconds != 60 {
		t.Errorf("annotations are not followed: %v, %d s", spec.Parallelism, *spec.PullPolicy.TimeoutSeconds)
	}
	ask.Set = set("parallelism=10%", "timeout-seconds=1m")
	spec = Decide(ask, nil).Create[0].Spec
	if spec.Parallelism.IntValue() != 1 || *spec.PullPolicy.TimeoutSeconds != 300 {
		t.Errorf("annotations that cannot be read are not ignored: %v, %d s", spec.Parallelism, *spec.PullPolicy.TimeoutSeconds)
	}
}

// stage is a set, its update revision and what would be done.
func stage(t *testing.T) (*acttest.Server, *Hands, *record.FakeRecorder, Ask) {
	t.Helper()
	ask := Ask{Set: set(), Ref: metav1.OwnerReference{APIVersion: "apps.kruise.io/v1alpha1", Kind: "CloneSet", Name: "web", UID: "owner", Controller: new(true)},
		Update: rev(t, "b", "main=web:2", "log=log:2"), Old: []*appsv1.ControllerRevision{rev(t, "a", "main=web:1", "log=log:1")}}
	server, err := acttest.New(ask.Update.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	events := record.NewFakeRecorder(10)
	return server, &Hands{Local: server, Events: events}, events, ask
}

func TestJobsComeBeforeTheLabelAndGoWithTheUpdate(t *testing.T) { // WL-1.14
	server, hands, events, ask := stage(t)
	plan := Decide(ask, nil)
	hands.Act(t.Context(), set(), plan)
	writes := []string{"create imagepulljob web-b-log", "create imagepulljob web-b-main", "patch controllerrevision web-b"}
	if d := cmp.Diff(writes, server.Writes()); d != "" {
		t.Error(d)
	}
	if e := <-events.Events; !strings.HasPrefix(e, "Normal CreatedImagePullJob") { // WL-1.18
		t.Error(e)
	}
	hands.Act(t.Context(), set(), plan) // a crash before the label was seen
	jobs, err := hands.Jobs(t.Context(), set())
	if err != nil || len(jobs) != 2 {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	server.Writes()
	ask.Done = true
	hands.Act(t.Context(), set(), Decide(ask, jobs))
	if d := cmp.Diff([]string{"delete imagepulljob web-b-log", "delete imagepulljob web-b-main"}, server.Writes()); d != "" {
		t.Error(d)
	}
}

func TestAJobThatIsRefusedIsTriedAgain(t *testing.T) { // WL-1.14
	server, hands, events, ask := stage(t)
	server.Before = func(write string) error {
		if write == "create imagepulljob web-b-main" {
			return errors.New("quota")
		}
		return nil
	}
	hands.Act(t.Context(), set(), Decide(ask, nil))
	if writes := server.Writes(); slices.Contains(writes, "patch controllerrevision web-b") {
		t.Errorf("labelled although a job is missing: %q", writes)
	}
	<-events.Events // the job that was made
	if e := <-events.Events; !strings.HasPrefix(e, "Normal FailedCreateImagePullJob create ImagePullJob web-b-main for image web:2: quota") {
		t.Error(e)
	}
}

func TestWithoutTheGateNothingIsSeenOrDone(t *testing.T) {
	var off *Hands
	if jobs, err := off.Jobs(t.Context(), set()); jobs != nil || err != nil {
		t.Errorf("%v, %v", jobs, err)
	}
	off.Act(t.Context(), set(), Plan{Label: CreatedLabel})
}
