package cloneset

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
	"github.com/flotilla-project/flotilla/pkg/condition"
	shared "github.com/flotilla-project/flotilla/pkg/revision"
)

func TestScaleOut(t *testing.T) {
	w := newWorld(t, Options{}, cloneSet())
	writes := w.Settle()
	if c, s := acttest.Count(writes, "create pod "), acttest.Count(writes, "patch pod"); c != 3 || s != 3 {
		t.Errorf("%d creates and %d patches for 3 pods: %v", c, s, writes)
	}
	revisions := w.Revisions()
	if len(revisions) != 1 || revisions[0].Labels["app"] != "web" {
		t.Fatalf("revisions %v", revisions)
	}
	name := revisions[0].Name
	want := kruise.CloneSetStatus{
		ObservedGeneration: 1, Replicas: 3, ReadyReplicas: 3, AvailableReplicas: 3, UpdatedReplicas: 3, UpdatedReadyReplicas: 3,
		UpdatedAvailableReplicas: 3, ExpectedUpdatedReplicas: 3, UpdateRevision: name, CurrentRevision: name,
		CollisionCount: new(int32(0)), LabelSelector: "app=web",
	}
	got := w.cloneSet().Status
	got.Conditions = nil
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	w.conditionIs(condition.Ready, "True", "3 of 3 available")
	w.conditionIs(condition.Reconciling, "False", "")
	w.conditionIs(condition.Stalled, "False", "")
	if _, err := w.Round(); err != nil || len(w.Server.Writes()) != 0 {
		t.Errorf("a settled set is written again (%v)", err)
	}
}

func TestPodCarriesItsMarks(t *testing.T) { // WL-1.5
	for name, short := range map[string]bool{"full name": false, "short hash": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{ShortHash: short}, cloneSet())
			if _, err := w.Round(); err != nil {
				t.Fatal(err)
			}
			pod, full := w.Pods()[0], w.Revisions()[0].Name
			hash := full
			if short {
				hash = revision.Short(full)
			}
			id := pod.Labels[kruise.CloneSetInstanceID]
			want := metav1.ObjectMeta{
				Name: "web-" + id, GenerateName: "web-", Namespace: "shop", UID: pod.UID, ResourceVersion: pod.ResourceVersion,
				Labels: map[string]string{
					"app": "web", "controller-revision-hash": hash, "pod-template-hash": revision.Short(full),
					"apps.kruise.io/cloneset-instance-id": id, "lifecycle.apps.kruise.io/state": "PreparingNormal",
				},
				Annotations: map[string]string{"team": "a", "lifecycle.apps.kruise.io/timestamp": "2026-01-02T12:00:00Z"},
				OwnerReferences: []metav1.OwnerReference{{
					APIVersion: "apps.kruise.io/v1alpha1", Kind: "CloneSet", Name: "web", UID: "owner",
					Controller: new(true), BlockOwnerDeletion: new(true),
				}},
			}
			if d := cmp.Diff(want, pod.ObjectMeta); d != "" {
				t.Error(d)
			}
			if len(id) != 5 || len(pod.Spec.ReadinessGates) != 1 || pod.Spec.ReadinessGates[0].ConditionType != pub.InPlaceUpdateReady {
				t.Errorf("id %q, gates %v", id, pod.Spec.ReadinessGates)
			}
		})
	}
}

func TestInPlaceUpdate(t *testing.T) {
	w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible))
	w.Settle()
	before := w.Pods()
	w.change(toImage("web:2"))
	writes := w.Settle()
	if s, p := acttest.Count(writes, "patch pod/status "), acttest.Count(writes, "patch pod "); s != 6 || p != 3 || acttest.Count(writes, "create pod")+acttest.Count(writes, "delete pod") > 0 {
		t.Errorf("%d status patches and %d patches for 3 pods: %v", s, p, writes)
	}
	after := w.Pods()
	for i := range before {
		if before[i].UID != after[i].UID || before[i].Name != after[i].Name || after[i].Spec.Containers[0].Image != "web:2" ||
			after[i].Status.ContainerStatuses[0].RestartCount != 1 || after[i].Labels["lifecycle.apps.kruise.io/state"] != "Normal" {
			t.Errorf("pod %s: %+v", after[i].Name, after[i])
		}
	}
	status := w.cloneSet().Status
	if status.UpdatedReadyReplicas != 3 || status.CurrentRevision != status.UpdateRevision {
		t.Errorf("status %+v", status)
	}
}

func TestInPlaceUpdateIsBounded(t *testing.T) { // WL-1.10
	w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible))
	w.Settle()
	w.change(toImage("web:bad"))
	for range 5 { // and nobody runs the new image
		if _, err := w.Round(); err != nil {
			t.Fatal(err)
		}
	}
	changed := 0
	for _, pod := range w.Pods() {
		if pod.Spec.Containers[0].Image == "web:bad" {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d pods were changed, maxUnavailable allows 1", changed)
	}
	w.conditionIs(condition.Reconciling, "True", "1 of 3 updated")
	w.change(toImage("web:1"))
	w.Settle()
	w.conditionIs(condition.Ready, "True", "")
	if n := len(w.Revisions()); n != 2 {
		t.Errorf("%d revisions after going back", n)
	}
}

func TestRecreate(t *testing.T) { // WL-1.13, WL-1.4
	w := newWorld(t, Options{}, cloneSet(withClaims, allAtOnce))
	w.Settle()
	before, claims := w.Pods(), w.claims()
	w.change(toImage("web:2"))
	w.Settle()
	for _, pod := range w.Pods() {
		if pod.Spec.Containers[0].Image != "web:2" || slices.ContainsFunc(before, func(b corev1.Pod) bool { return b.Name == pod.Name }) {
			t.Errorf("pod %s was not made anew", pod.Name)
		}
	}
	for _, name := range w.claims() {
		if slices.Contains(claims, name) {
			t.Errorf("claim %s outlived its pod", name)
		}
	}
	if len(w.Pods()) != 3 || len(w.claims()) != 3 {
		t.Errorf("%d pods, claims %v", len(w.Pods()), w.claims())
	}
}

func TestScaleInAndChosenPods(t *testing.T) { // WL-1.9, WL-1.3 step 13
	w := newWorld(t, Options{}, cloneSet(allAtOnce))
	w.Settle()
	chosen := w.Pods()[1].Name
	w.change(func(cs *kruise.CloneSet) {
		cs.Spec.Replicas = new(int32(2))
		cs.Spec.ScaleStrategy.PodsToDelete = []string{chosen, "web-gone"}
	})
	w.Settle()
	pods := w.Pods()
	if len(pods) != 2 || slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Name == chosen }) {
		t.Errorf("%d pods are left, with the chosen one among them or not", len(pods))
	}
	if names := w.cloneSet().Spec.ScaleStrategy.PodsToDelete; len(names) != 0 {
		t.Errorf("podsToDelete still holds %v", names)
	}
}

func TestClaimsOfLostPodsAreReused(t *testing.T) { // WL-1.4
	for name, disable := range map[string]bool{"reused": false, "not wanted": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{}, cloneSet(withClaims, func(cs *kruise.CloneSet) { cs.Spec.ScaleStrategy.DisablePVCReuse = disable }))
			w.Settle()
			lost := w.Pods()[0]
			var claim corev1.PersistentVolumeClaim
			if err := w.Server.Plain.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "data-" + lost.Name}, &claim); err != nil {
				t.Fatal(err)
			}
			if claim.Labels["tier"] != "disk" || claim.Labels["app"] != "web" || claim.Labels[kruise.CloneSetInstanceID] != lost.Labels[kruise.CloneSetInstanceID] {
				t.Errorf("labels of the claim: %v", claim.Labels)
			}
			if err := w.Server.Plain.Delete(t.Context(), &lost); err != nil {
				t.Fatal(err)
			}
			w.Settle()
			back := slices.ContainsFunc(w.Pods(), func(p corev1.Pod) bool { return p.Name == lost.Name })
			if len(w.Pods()) != 3 || len(w.claims()) != 3 || back == disable {
				t.Errorf("%d pods, claims %v, the lost one is back: %v", len(w.Pods()), w.claims(), back)
			}
		})
	}
}

func TestClaimFollowsThePodThatLeaves(t *testing.T) { // WL-1.4
	w := newWorld(t, Options{}, cloneSet(withClaims, func(cs *kruise.CloneSet) { cs.Spec.ScaleStrategy.DisablePVCReuse = true }))
	w.Settle()
	leaving := w.Pods()[0]
	leaving.Finalizers = []string{"shop/hold"}
	if err := w.Server.Plain.Update(t.Context(), &leaving); err != nil {
		t.Fatal(err)
	}
	if err := w.Server.Plain.Delete(t.Context(), &leaving); err != nil {
		t.Fatal(err)
	}
	w.Settle()
	var claim corev1.PersistentVolumeClaim
	if err := w.Server.Plain.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "data-" + leaving.Name}, &claim); err != nil {
		t.Fatal(err)
	}
	if refs := claim.OwnerReferences; len(refs) != 1 || refs[0].UID != leaving.UID || refs[0].Kind != "Pod" {
		t.Errorf("owners of the claim: %v", refs)
	}
}

func TestPodThatNoLongerMatchesIsReleased(t *testing.T) { // WL-0.6
	w := newWorld(t, Options{}, cloneSet())
	w.Settle()
	pod := w.Pods()[0]
	pod.Labels["app"] = "debug"
	if err := w.Server.Plain.Update(t.Context(), &pod); err != nil {
		t.Fatal(err)
	}
	w.Settle()
	if n := len(w.Pods()); n != 4 {
		t.Errorf("%d pods, want the released one and three others", n)
	}
	for _, p := range w.Pods() {
		if p.Name == pod.Name && len(p.OwnerReferences) != 0 {
			t.Errorf("owners of the released pod: %v", p.OwnerReferences)
		}
	}
}

func TestRevisionNameThatIsTaken(t *testing.T) { // WL-0.5
	first, err := revision.Data(&cloneSet().Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	taken := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: shared.Name("web", shared.Hash(first, 0)), Namespace: "shop"}}
	w := newWorld(t, Options{}, cloneSet(), taken)
	w.Settle()
	want := shared.Name("web", shared.Hash(first, 1))
	status := w.cloneSet().Status
	if status.UpdateRevision != want || *status.CollisionCount != 1 || w.Pods()[0].Labels["controller-revision-hash"] != want {
		t.Errorf("status %+v, labels %v", status, w.Pods()[0].Labels)
	}
}

func TestHistoryIsTrimmed(t *testing.T) { // WL-1.3 step 14
	w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible, allAtOnce, func(cs *kruise.CloneSet) { cs.Spec.RevisionHistoryLimit = new(int32(1)) }))
	w.Settle()
	for _, image := range []string{"web:2", "web:3", "web:4"} {
		w.change(toImage(image))
		w.Settle()
	}
	if n := len(w.Revisions()); n != 2 {
		t.Errorf("%d revisions are kept", n)
	}
}

func TestChangeThatDoesNotFitIsToldAndNotTriedAgain(t *testing.T) { // WL-1.13
	w := newWorld(t, Options{}, cloneSet(func(cs *kruise.CloneSet) {
		cs.Spec.UpdateStrategy.Type = kruise.InPlaceOnlyCloneSetUpdateStrategyType
	}))
	w.Settle()
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.HostNetwork = true })
	w.Settle() // no error
	for _, kind := range []string{"FailedUpdate", condition.Stalled} {
		w.conditionIs(kind, "True", "template.spec.hostNetwork cannot change in place")
	}
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.HostNetwork = false })
	w.Settle()
	w.conditionIs("FailedUpdate", "", "")
	w.conditionIs(condition.Ready, "True", "")
}

func TestChangeThatDoesNotFitFallsBackToRecreate(t *testing.T) { // WL-1.13
	w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible))
	w.Settle()
	before := w.Pods()
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.HostNetwork = true })
	w.Settle()
	for _, pod := range w.Pods() {
		if !pod.Spec.HostNetwork || slices.ContainsFunc(before, func(b corev1.Pod) bool { return b.Name == pod.Name }) {
			t.Errorf("pod %s was not made anew", pod.Name)
		}
	}
}

func TestClaimsOfTheUpdateRevision(t *testing.T) { // WL-1.6
	for name, recreate := range map[string]bool{"in place by default": false, "recreated with the gate": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{RecreateOnClaimChange: recreate}, cloneSet(inPlaceIfPossible, withClaims, allAtOnce))
			w.Settle()
			before := w.Pods()
			w.change(func(cs *kruise.CloneSet) {
				toImage("web:2")(cs)
				cs.Spec.VolumeClaimTemplates[0].Spec.StorageClassName = new("fast")
			})
			w.Settle()
			if kept := w.Pods()[0].Name == before[0].Name; kept == recreate {
				t.Errorf("pods were kept: %v", kept)
			}
		})
	}
}

func TestPartition(t *testing.T) { // WL-1.8
	w := newWorld(t, Options{PartitionRollback: true}, cloneSet(inPlaceIfPossible))
	w.Settle()
	w.change(func(cs *kruise.CloneSet) {
		toImage("web:2")(cs)
		cs.Spec.UpdateStrategy.Partition = new(intstr.FromInt32(2))
	})
	w.Settle()
	if status := w.cloneSet().Status; status.UpdatedReplicas != 1 || status.ExpectedUpdatedReplicas != 1 || status.CurrentRevision == status.UpdateRevision {
		t.Errorf("status %+v", status)
	}
	w.conditionIs(condition.Ready, "True", "partition keeps 2")
	w.change(func(cs *kruise.CloneSet) { cs.Spec.UpdateStrategy.Partition = new(intstr.FromInt32(3)) })
	w.Settle()
	for _, pod := range w.Pods() {
		if pod.Spec.Containers[0].Image != "web:1" {
			t.Errorf("pod %s runs %s", pod.Name, pod.Spec.Containers[0].Image)
		}
	}
}
