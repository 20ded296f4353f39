package cloneset

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
	"github.com/flotilla-project/flotilla/pkg/condition"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// cloneSet is one without a single default, as a user writes it where no webhook runs.
func cloneSet(change ...func(*kruise.CloneSet)) *kruise.CloneSet {
	cs := &kruise.CloneSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "owner", Generation: 1},
		Spec: kruise.CloneSetSpec{
			Replicas: new(int32(3)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"team": "a"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web:1"}}},
			},
		},
	}
	for _, c := range change {
		c(cs)
	}
	return cs
}

func inPlaceIfPossible(cs *kruise.CloneSet) {
	cs.Spec.UpdateStrategy.Type = kruise.InPlaceIfPossibleCloneSetUpdateStrategyType
}

func allAtOnce(cs *kruise.CloneSet) {
	cs.Spec.UpdateStrategy.MaxUnavailable = new(intstr.FromString("100%"))
}

func withClaims(cs *kruise.CloneSet) {
	cs.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data", Labels: map[string]string{"tier": "disk"}}}}
}

// world is one CloneSet, an API server in memory and a kubelet.
type world struct {
	*testing.T
	server *acttest.Server
	clock  *clocktesting.FakePassiveClock
	loop   *loop.Loop[*kruise.CloneSet, seen, *plan]
	events *record.FakeRecorder
}

func newWorld(t *testing.T, o Options, objects ...client.Object) *world {
	t.Helper()
	server, err := acttest.New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, server: server, clock: clocktesting.NewFakePassiveClock(noon), events: record.NewFakeRecorder(1000)}
	w.loop = &loop.Loop[*kruise.CloneSet, seen, *plan]{
		Steps: newSteps(server, server.Plain, w.events, w.clock, o), Client: server, Events: w.events, Clock: w.clock,
		New: func() *kruise.CloneSet { return &kruise.CloneSet{} },
	}
	return w
}

// round reconciles once.
func (w *world) round() (reconcile.Result, error) {
	return w.loop.Reconcile(w.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}})
}

// settle reconciles, with the kubelet at work, until nothing is written any more.
func (w *world) settle() []string {
	w.Helper()
	var writes []string
	for range 60 {
		if _, err := w.round(); err != nil {
			w.Fatal(err)
		}
		ran := w.runPods()
		new := w.server.Writes()
		writes = append(writes, new...)
		if len(new) == 0 && !ran {
			return writes
		}
	}
	w.Fatalf("still writing after 60 rounds: %v", writes[len(writes)-5:])
	return nil
}

func (w *world) runPods() bool {
	w.Helper()
	ran := false
	for _, pod := range w.pods() {
		if acttest.Run(&pod, w.clock.Now()) {
			ran = true
			if err := w.server.Plain.Status().Update(context.Background(), &pod); err != nil {
				w.Fatal(err)
			}
		}
	}
	return ran
}

func (w *world) pods() []corev1.Pod {
	w.Helper()
	var pods corev1.PodList
	if err := w.server.Plain.List(context.Background(), &pods); err != nil {
		w.Fatal(err)
	}
	return pods.Items
}

func (w *world) claims() []string {
	w.Helper()
	var claims corev1.PersistentVolumeClaimList
	if err := w.server.Plain.List(context.Background(), &claims); err != nil {
		w.Fatal(err)
	}
	var names []string
	for _, c := range claims.Items {
		names = append(names, c.Name)
	}
	return names
}

func (w *world) revisions() []appsv1.ControllerRevision {
	w.Helper()
	var revisions appsv1.ControllerRevisionList
	if err := w.server.Plain.List(context.Background(), &revisions); err != nil {
		w.Fatal(err)
	}
	return revision.Sorted(revisions.Items)
}

func (w *world) cloneSet() *kruise.CloneSet {
	w.Helper()
	var cs kruise.CloneSet
	if err := w.server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "web"}, &cs); err != nil {
		w.Fatal(err)
	}
	return &cs
}

func (w *world) change(f func(*kruise.CloneSet)) {
	w.Helper()
	cs := w.cloneSet()
	f(cs)
	cs.Generation++
	if err := w.server.Plain.Update(context.Background(), cs); err != nil {
		w.Fatal(err)
	}
}

func toImage(image string) func(*kruise.CloneSet) {
	return func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.Containers[0].Image = image }
}

func (w *world) conditionIs(kind string, want corev1.ConditionStatus, part string) {
	w.Helper()
	for _, c := range w.cloneSet().Status.Conditions {
		if string(c.Type) == kind {
			if c.Status != want || !strings.Contains(c.Message, part) {
				w.Errorf("%s is %s (%s), want %s with %q", kind, c.Status, c.Message, want, part)
			}
			return
		}
	}
	if want != "" {
		w.Errorf("there is no condition %s", kind)
	}
}

func count(writes []string, prefix string) int {
	n := 0
	for _, w := range writes {
		if strings.HasPrefix(w, prefix) {
			n++
		}
	}
	return n
}

func TestScaleOut(t *testing.T) {
	w := newWorld(t, Options{}, cloneSet())
	writes := w.settle()
	if c, s := count(writes, "create pod "), count(writes, "patch pod"); c != 3 || s != 3 {
		t.Errorf("%d creates and %d patches for 3 pods: %v", c, s, writes)
	}
	revisions := w.revisions()
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
	if _, err := w.round(); err != nil || len(w.server.Writes()) != 0 {
		t.Errorf("a settled set is written again (%v)", err)
	}
}

func TestPodCarriesItsMarks(t *testing.T) { // WL-1.5
	for name, short := range map[string]bool{"full name": false, "short hash": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{ShortHash: short}, cloneSet())
			if _, err := w.round(); err != nil {
				t.Fatal(err)
			}
			pod, full := w.pods()[0], w.revisions()[0].Name
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
	w.settle()
	before := w.pods()
	w.change(toImage("web:2"))
	writes := w.settle()
	if s, p := count(writes, "patch pod/status "), count(writes, "patch pod "); s != 6 || p != 3 || count(writes, "create pod")+count(writes, "delete pod") > 0 {
		t.Errorf("%d status patches and %d patches for 3 pods: %v", s, p, writes)
	}
	after := w.pods()
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
	w.settle()
	w.change(toImage("web:bad"))
	for range 5 { // and nobody runs the new image
		if _, err := w.round(); err != nil {
			t.Fatal(err)
		}
	}
	changed := 0
	for _, pod := range w.pods() {
		if pod.Spec.Containers[0].Image == "web:bad" {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d pods were changed, maxUnavailable allows 1", changed)
	}
	w.conditionIs(condition.Reconciling, "True", "1 of 3 updated")
	w.change(toImage("web:1"))
	w.settle()
	w.conditionIs(condition.Ready, "True", "")
	if n := len(w.revisions()); n != 2 {
		t.Errorf("%d revisions after going back", n)
	}
}

func TestRecreate(t *testing.T) { // WL-1.13, WL-1.4
	w := newWorld(t, Options{}, cloneSet(withClaims, allAtOnce))
	w.settle()
	before, claims := w.pods(), w.claims()
	w.change(toImage("web:2"))
	w.settle()
	for _, pod := range w.pods() {
		if pod.Spec.Containers[0].Image != "web:2" || slices.ContainsFunc(before, func(b corev1.Pod) bool { return b.Name == pod.Name }) {
			t.Errorf("pod %s was not made anew", pod.Name)
		}
	}
	for _, name := range w.claims() {
		if slices.Contains(claims, name) {
			t.Errorf("claim %s outlived its pod", name)
		}
	}
	if len(w.pods()) != 3 || len(w.claims()) != 3 {
		t.Errorf("%d pods, claims %v", len(w.pods()), w.claims())
	}
}

func TestScaleInAndChosenPods(t *testing.T) { // WL-1.9, WL-1.3 step 13
	w := newWorld(t, Options{}, cloneSet(allAtOnce))
	w.settle()
	chosen := w.pods()[1].Name
	w.change(func(cs *kruise.CloneSet) {
		cs.Spec.Replicas = new(int32(2))
		cs.Spec.ScaleStrategy.PodsToDelete = []string{chosen, "web-gone"}
	})
	w.settle()
	pods := w.pods()
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
			w.settle()
			lost := w.pods()[0]
			var claim corev1.PersistentVolumeClaim
			if err := w.server.Plain.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "data-" + lost.Name}, &claim); err != nil {
				t.Fatal(err)
			}
			if claim.Labels["tier"] != "disk" || claim.Labels["app"] != "web" || claim.Labels[kruise.CloneSetInstanceID] != lost.Labels[kruise.CloneSetInstanceID] {
				t.Errorf("labels of the claim: %v", claim.Labels)
			}
			if err := w.server.Plain.Delete(t.Context(), &lost); err != nil {
				t.Fatal(err)
			}
			w.settle()
			back := slices.ContainsFunc(w.pods(), func(p corev1.Pod) bool { return p.Name == lost.Name })
			if len(w.pods()) != 3 || len(w.claims()) != 3 || back == disable {
				t.Errorf("%d pods, claims %v, the lost one is back: %v", len(w.pods()), w.claims(), back)
			}
		})
	}
}

func TestClaimFollowsThePodThatLeaves(t *testing.T) { // WL-1.4
	w := newWorld(t, Options{}, cloneSet(withClaims, func(cs *kruise.CloneSet) { cs.Spec.ScaleStrategy.DisablePVCReuse = true }))
	w.settle()
	leaving := w.pods()[0]
	leaving.Finalizers = []string{"shop/hold"}
	if err := w.server.Plain.Update(t.Context(), &leaving); err != nil {
		t.Fatal(err)
	}
	if err := w.server.Plain.Delete(t.Context(), &leaving); err != nil {
		t.Fatal(err)
	}
	w.settle()
	var claim corev1.PersistentVolumeClaim
	if err := w.server.Plain.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "data-" + leaving.Name}, &claim); err != nil {
		t.Fatal(err)
	}
	if refs := claim.OwnerReferences; len(refs) != 1 || refs[0].UID != leaving.UID || refs[0].Kind != "Pod" {
		t.Errorf("owners of the claim: %v", refs)
	}
}

func TestPodThatNoLongerMatchesIsReleased(t *testing.T) { // WL-0.6
	w := newWorld(t, Options{}, cloneSet())
	w.settle()
	pod := w.pods()[0]
	pod.Labels["app"] = "debug"
	if err := w.server.Plain.Update(t.Context(), &pod); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if n := len(w.pods()); n != 4 {
		t.Errorf("%d pods, want the released one and three others", n)
	}
	for _, p := range w.pods() {
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
	taken := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: revision.Name("web", revision.Hash(first, 0)), Namespace: "shop"}}
	w := newWorld(t, Options{}, cloneSet(), taken)
	w.settle()
	want := revision.Name("web", revision.Hash(first, 1))
	status := w.cloneSet().Status
	if status.UpdateRevision != want || *status.CollisionCount != 1 || w.pods()[0].Labels["controller-revision-hash"] != want {
		t.Errorf("status %+v, labels %v", status, w.pods()[0].Labels)
	}
}

func TestHistoryIsTrimmed(t *testing.T) { // WL-1.3 step 14
	w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible, allAtOnce, func(cs *kruise.CloneSet) { cs.Spec.RevisionHistoryLimit = new(int32(1)) }))
	w.settle()
	for _, image := range []string{"web:2", "web:3", "web:4"} {
		w.change(toImage(image))
		w.settle()
	}
	if n := len(w.revisions()); n != 2 {
		t.Errorf("%d revisions are kept", n)
	}
}

func TestChangeThatDoesNotFitIsToldAndNotTriedAgain(t *testing.T) { // WL-1.13
	w := newWorld(t, Options{}, cloneSet(func(cs *kruise.CloneSet) {
		cs.Spec.UpdateStrategy.Type = kruise.InPlaceOnlyCloneSetUpdateStrategyType
	}))
	w.settle()
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.HostNetwork = true })
	w.settle() // no error
	for _, kind := range []string{"FailedUpdate", condition.Stalled} {
		w.conditionIs(kind, "True", "template.spec.hostNetwork cannot change in place")
	}
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.HostNetwork = false })
	w.settle()
	w.conditionIs("FailedUpdate", "", "")
	w.conditionIs(condition.Ready, "True", "")
}

func TestChangeThatDoesNotFitFallsBackToRecreate(t *testing.T) { // WL-1.13
	w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible))
	w.settle()
	before := w.pods()
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.HostNetwork = true })
	w.settle()
	for _, pod := range w.pods() {
		if !pod.Spec.HostNetwork || slices.ContainsFunc(before, func(b corev1.Pod) bool { return b.Name == pod.Name }) {
			t.Errorf("pod %s was not made anew", pod.Name)
		}
	}
}

func TestClaimsOfTheUpdateRevision(t *testing.T) { // WL-1.6
	for name, recreate := range map[string]bool{"in place by default": false, "recreated with the gate": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{RecreateOnClaimChange: recreate}, cloneSet(inPlaceIfPossible, withClaims, allAtOnce))
			w.settle()
			before := w.pods()
			w.change(func(cs *kruise.CloneSet) {
				toImage("web:2")(cs)
				cs.Spec.VolumeClaimTemplates[0].Spec.StorageClassName = new("fast")
			})
			w.settle()
			if kept := w.pods()[0].Name == before[0].Name; kept == recreate {
				t.Errorf("pods were kept: %v", kept)
			}
		})
	}
}

func TestPartition(t *testing.T) { // WL-1.8
	w := newWorld(t, Options{PartitionRollback: true}, cloneSet(inPlaceIfPossible))
	w.settle()
	w.change(func(cs *kruise.CloneSet) {
		toImage("web:2")(cs)
		cs.Spec.UpdateStrategy.Partition = new(intstr.FromInt32(2))
	})
	w.settle()
	if status := w.cloneSet().Status; status.UpdatedReplicas != 1 || status.ExpectedUpdatedReplicas != 1 || status.CurrentRevision == status.UpdateRevision {
		t.Errorf("status %+v", status)
	}
	w.conditionIs(condition.Ready, "True", "partition keeps 2")
	w.change(func(cs *kruise.CloneSet) { cs.Spec.UpdateStrategy.Partition = new(intstr.FromInt32(3)) })
	w.settle()
	for _, pod := range w.pods() {
		if pod.Spec.Containers[0].Image != "web:1" {
			t.Errorf("pod %s runs %s", pod.Name, pod.Spec.Containers[0].Image)
		}
	}
}

func TestHooks(t *testing.T) { // WL-1.12, WL-1.13
	hook := &pub.LifecycleHook{LabelsHandler: map[string]string{"drain": "yes"}}
	w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible, func(cs *kruise.CloneSet) {
		cs.Spec.Replicas = new(int32(1))
		cs.Spec.Lifecycle = &pub.Lifecycle{InPlaceUpdate: hook, PreDelete: hook}
		cs.Spec.Template.Labels["drain"] = "yes"
	}))
	state := func(want string) {
		t.Helper()
		if got := w.pods()[0].Labels[pub.LifecycleStateKey]; got != want {
			t.Errorf("state is %s, want %s", got, want)
		}
	}
	drain := func(value string) {
		t.Helper()
		pod := w.pods()[0]
		pod.Labels["drain"] = value
		if err := w.server.Plain.Update(t.Context(), &pod); err != nil {
			t.Fatal(err)
		}
	}
	w.settle()
	state("Normal")
	w.change(toImage("web:2"))
	w.settle()
	state("PreparingUpdate")
	w.conditionIs(condition.Reconciling, "True", "hook")
	drain("no")
	w.settle()
	state("Updated")
	drain("yes")
	w.settle()
	state("Normal")
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Replicas = new(int32(0)) })
	w.settle()
	state("PreparingDelete")
	drain("no")
	w.settle()
	if n := len(w.pods()); n != 0 {
		t.Errorf("%d pods are left", n)
	}
}

func TestQuotaIsToldAndTriedAgain(t *testing.T) { // WL-1.15
	w := newWorld(t, Options{}, cloneSet())
	w.server.Before = func(write string) error {
		if strings.HasPrefix(write, "create pod") {
			return apierrors.NewForbidden(corev1.Resource("pods"), "web", errors.New("exceeded quota: small"))
		}
		return nil
	}
	if _, err := w.round(); err == nil {
		t.Error("a failure is not tried again")
	}
	w.conditionIs("FailedScale", "True", "exceeded quota: small")
	w.conditionIs(condition.Stalled, "True", "exceeded quota: small")
	w.server.Writes()
	if _, err := w.round(); err == nil {
		t.Error("a failure is not tried again")
	}
	if n := count(w.server.Writes(), "patch cloneset"); n != 0 {
		t.Error("the same failure is written again")
	}
	w.server.Before = nil
	w.settle()
	w.conditionIs("FailedScale", "", "")
	w.conditionIs(condition.Ready, "True", "")
}

func TestKilledAtEveryWrite(t *testing.T) { // no pod is updated twice, none is made twice
	run := func(t *testing.T, dieAt int) int {
		w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible, withClaims, func(cs *kruise.CloneSet) { cs.Spec.Replicas = new(int32(2)) }))
		writes, dead := 0, false
		w.server.Before = func(string) error {
			writes++
			if writes == dieAt {
				dead = true
			}
			if dead {
				return errors.New("killed")
			}
			return nil
		}
		survive := func() {
			for range 60 {
				_, err := w.round()
				if err != nil && !dead {
					t.Fatal(err)
				}
				dead = false // another agent starts
				if ran := w.runPods(); !ran && err == nil && len(w.server.Writes()) == 0 {
					return
				}
			}
			t.Fatal("it never settles")
		}
		survive()
		w.change(toImage("web:2"))
		survive()
		if pods := w.pods(); len(pods) != 2 || len(w.claims()) != 2 {
			t.Errorf("%d pods, claims %v", len(pods), w.claims())
		}
		for _, pod := range w.pods() {
			if s := pod.Status.ContainerStatuses[0]; s.RestartCount != 1 || s.Image != "web:2" {
				t.Errorf("pod %s restarted %d times and runs %s", pod.Name, s.RestartCount, s.Image)
			}
		}
		return writes
	}
	total := run(t, -1)
	for dieAt := 1; dieAt <= total; dieAt++ {
		run(t, dieAt)
		if t.Failed() {
			t.Fatalf("when killed at write %d of %d", dieAt, total)
		}
	}
}

func TestDeletingCloneSetWritesNothing(t *testing.T) {
	w := newWorld(t, Options{}, cloneSet(func(cs *kruise.CloneSet) {
		cs.DeletionTimestamp, cs.Finalizers = &metav1.Time{Time: noon}, []string{"foregroundDeletion"}
	}))
	if _, err := w.round(); err != nil {
		t.Fatal(err)
	}
	if writes := w.server.Writes(); len(writes) != 1 || writes[0] != "patch cloneset/status web" { // WL-1.3: its status is kept up
		t.Errorf("writes %v", writes)
	}
}
