package statefulset

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/agent/podset/defaults"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

func TestScaleOutInOrder(t *testing.T) { // WL-2.6.1, WL-2.14
	w := newWorld(t, standard, statefulSet())
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"0 web:1"}, w.running()); d != "" {
		t.Error(d)
	}
	if _, err := w.Round(); err != nil || len(w.Pods()) != 1 {
		t.Errorf("the second pod does not wait for the first (%v)", err)
	}
	w.Settle()
	revisions := w.Revisions()
	if len(revisions) != 1 || revisions[0].Labels["app"] != "web" || len(revisions[0].Annotations) != 0 {
		t.Fatalf("revisions %v", revisions)
	}
	name := revisions[0].Name
	want := kruise.StatefulSetStatus{
		ObservedGeneration: 1, Replicas: 3, ReadyReplicas: 3, AvailableReplicas: 3, CurrentReplicas: 3, UpdatedReplicas: 3,
		UpdatedReadyReplicas: 3, UpdatedAvailableReplicas: 3, UpdateRevision: name, CurrentRevision: name,
		CollisionCount: new(int32(0)), LabelSelector: "app=web",
	}
	got := w.set().Status
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

func TestPodCarriesItsIdentity(t *testing.T) { // WL-2.4
	w := newWorld(t, standard, statefulSet(withClaims, func(set *kruise.StatefulSet) {
		set.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data"}, {Name: "tmp"}}
	}))
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	pod := w.pod("web-0")
	want := metav1.ObjectMeta{
		Name: "web-0", GenerateName: "web-", Namespace: "shop", UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		Labels: map[string]string{
			"app": "web", "controller-revision-hash": w.Revisions()[0].Name, "statefulset.kubernetes.io/pod-name": "web-0",
			"apps.kubernetes.io/pod-index": "0", "lifecycle.apps.kruise.io/state": "Normal",
		},
		Annotations: map[string]string{"team": "a", "lifecycle.apps.kruise.io/timestamp": "2026-01-02T12:00:00Z"},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "apps.kruise.io/v1beta1", Kind: "StatefulSet", Name: "web", UID: "owner",
			Controller: new(true), BlockOwnerDeletion: new(true),
		}},
	}
	if d := cmp.Diff(want, pod.ObjectMeta); d != "" {
		t.Error(d)
	}
	if pod.Spec.Hostname != "web-0" || pod.Spec.Subdomain != "webs" || len(pod.Spec.ReadinessGates) != 0 {
		t.Errorf("host %s.%s, gates %v", pod.Spec.Hostname, pod.Spec.Subdomain, pod.Spec.ReadinessGates)
	}
	if v := pod.Spec.Volumes; len(v) != 2 || v[0].PersistentVolumeClaim == nil || v[0].PersistentVolumeClaim.ClaimName != "data-web-0" || v[1].Name != "tmp" {
		t.Errorf("volumes %+v", v)
	}
	claim := w.claim("data-web-0") // WL-2.16.8
	if d := cmp.Diff(map[string]string{"app": "web"}, claim.Labels); d != "" || len(claim.OwnerReferences) != 0 || claim.Annotations["note"] != "kept" {
		t.Errorf("claim %+v", claim.ObjectMeta)
	}
}

func TestGatesOfIdentity(t *testing.T) { // WL-0.3
	w := newWorld(t, Options{StartOrdinal: true}, statefulSet(parallel, func(set *kruise.StatefulSet) {
		set.Spec.Ordinals = &kruise.StatefulSetOrdinals{Start: 5}
		set.Spec.ReserveOrdinals = []intstr.IntOrString{intstr.FromInt32(6), intstr.FromString("8-9")}
	}))
	w.Settle()
	if d := cmp.Diff([]string{"10 web:1", "5 web:1", "7 web:1"}, w.running()); d != "" {
		t.Error(d)
	}
	if _, labelled := w.pod("web-5").Labels[podIndexLabel]; labelled {
		t.Error("PodIndexLabel is off and there is a label")
	}
	w = newWorld(t, Options{}, statefulSet(replicas(1), func(set *kruise.StatefulSet) { set.Spec.Ordinals = &kruise.StatefulSetOrdinals{Start: 5} }))
	w.Settle()
	if d := cmp.Diff([]string{"0 web:1"}, w.running()); d != "" {
		t.Errorf("StatefulSetStartOrdinal is off: %s", d)
	}
}

func TestReservingAnOrdinalMovesItsPod(t *testing.T) { // WL-2.16.2
	w := newWorld(t, standard, statefulSet())
	w.Settle()
	w.change(func(set *kruise.StatefulSet) { set.Spec.ReserveOrdinals = []intstr.IntOrString{intstr.FromInt32(1)} })
	w.Settle()
	if d := cmp.Diff([]string{"0 web:1", "2 web:1", "3 web:1"}, w.running()); d != "" {
		t.Error(d)
	}
}

func TestRecreateKeepsNameAndClaim(t *testing.T) { // WL-2.10
	w := newWorld(t, standard, statefulSet(withClaims))
	w.Settle()
	before, claim := w.pod("web-2").UID, w.claim("data-web-2").UID
	w.change(toImage("web:2"))
	writes := w.Settle()
	if d := cmp.Diff([]string{"0 web:2", "1 web:2", "2 web:2"}, w.running()); d != "" {
		t.Error(d)
	}
	if w.pod("web-2").UID == before || w.claim("data-web-2").UID != claim {
		t.Error("the pod was not made anew, or its claim was")
	}
	if n := acttest.Count(writes, "create persistentvolumeclaim"); n != 0 {
		t.Errorf("%d claims were made", n)
	}
	if status := w.set().Status; status.CurrentRevision != status.UpdateRevision || status.CurrentReplicas != 3 {
		t.Errorf("status %+v", status)
	}
	if !w.told("SuccessfulDelete") {
		t.Error("nobody was told")
	}
}

func TestInPlaceUpdate(t *testing.T) { // WL-2.12
	w := newWorld(t, standard, statefulSet(inPlaceIfPossible))
	w.Settle()
	before := w.Pods()
	w.change(toImage("web:2"))
	writes := w.Settle()
	if s, p := acttest.Count(writes, "patch pod/status "), acttest.Count(writes, "patch pod "); s != 6 || p != 3 || acttest.Count(writes, "create pod")+acttest.Count(writes, "delete pod") > 0 {
		t.Errorf("%d status patches and %d patches for 3 pods: %v", s, p, writes)
	}
	full := w.set().Status.UpdateRevision
	for i, after := range w.Pods() {
		if before[i].UID != after.UID || after.Spec.Containers[0].Image != "web:2" || after.Labels["controller-revision-hash"] != full ||
			after.Status.ContainerStatuses[0].RestartCount != 1 || after.Labels["lifecycle.apps.kruise.io/state"] != "Normal" {
			t.Errorf("pod %s: %+v", after.Name, after)
		}
	}
	if !w.told("SuccessfulUpdatePodInPlace") {
		t.Error("nobody was told")
	}
}

func TestGracePeriod(t *testing.T) { // WL-2.12, WL-4.12.1
	w := newWorld(t, standard, statefulSet(replicas(1), inPlaceIfPossible, rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) {
		r.InPlaceUpdateStrategy = &pub.InPlaceUpdateStrategy{GracePeriodSeconds: 30}
	})))
	w.Settle()
	w.change(toImage("web:2"))
	w.Settle()
	pod := w.pod("web-0")
	if pod.Spec.Containers[0].Image != "web:1" || pod.Labels["controller-revision-hash"] != w.set().Status.UpdateRevision {
		t.Errorf("in its grace period it runs %s as %s", pod.Spec.Containers[0].Image, pod.Labels["controller-revision-hash"])
	}
	result, err := w.Round()
	if err != nil || result.RequeueAfter != 30*time.Second {
		t.Errorf("looks again after %s (%v)", result.RequeueAfter, err)
	}
	w.Clock.SetTime(noon.Add(30 * time.Second))
	w.Settle()
	if image := w.pod("web-0").Spec.Containers[0].Image; image != "web:2" {
		t.Errorf("after it, it runs %s", image)
	}
}

func TestPartitionAndWhoComesBack(t *testing.T) { // WL-2.7, WL-2.16.1
	w := newWorld(t, standard, statefulSet(parallel, maxUnavailable("100%")))
	w.Settle()
	w.change(toImage("web:2"), partition(2))
	w.Settle()
	want := []string{"0 web:1", "1 web:1", "2 web:2"}
	if d := cmp.Diff(want, w.running()); d != "" {
		t.Error(d)
	}
	for _, lost := range w.Pods() {
		if err := w.Server.Plain.Delete(t.Context(), &lost); err != nil {
			t.Fatal(err)
		}
	}
	w.Settle()
	if d := cmp.Diff(want, w.running()); d != "" {
		t.Errorf("after all pods were lost: %s", d)
	}
	w.conditionIs(condition.Ready, "True", "partition keeps 2")
}

func TestBrokenImageStopsAtTheBudget(t *testing.T) { // WL-2.10
	w := newWorld(t, standard, statefulSet(parallel, replicas(4), maxUnavailable("50%")))
	w.Settle()
	w.change(toImage("web:bad"))
	w.Settle()
	if d := cmp.Diff([]string{"0 web:1", "1 web:1", "2 web:bad", "3 web:bad"}, w.running()); d != "" {
		t.Error(d)
	}
	w.conditionIs(condition.Reconciling, "True", "2 of 4 updated")
	w.change(toImage("web:1"))
	w.Settle()
	w.conditionIs(condition.Ready, "True", "")
	if n := len(w.Revisions()); n != 2 {
		t.Errorf("%d revisions after going back", n)
	}
}

func TestPausedAndSpecifiedDelete(t *testing.T) { // WL-2.16.6
	w := newWorld(t, standard, statefulSet(rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) { r.Paused = true })))
	w.Settle()
	pod := w.pod("web-1")
	pod.Labels["apps.kruise.io/specified-delete"] = "yes"
	w.save(pod)
	w.Settle()
	if w.pod("web-1").UID != pod.UID {
		t.Error("a paused set deleted a pod")
	}
	w.change(rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) { r.Paused = false }))
	w.Settle()
	if w.pod("web-1").UID == pod.UID {
		t.Error("the marked pod is still there")
	}
}

func TestOnDelete(t *testing.T) { // WL-2.7
	w := newWorld(t, standard, statefulSet(func(set *kruise.StatefulSet) {
		set.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
	}))
	w.Settle()
	w.change(toImage("web:2"))
	w.Settle()
	if err := w.Server.Plain.Delete(t.Context(), w.pod("web-0")); err != nil {
		t.Fatal(err)
	}
	w.Settle()
	if d := cmp.Diff([]string{"0 web:2", "1 web:1", "2 web:1"}, w.running()); d != "" {
		t.Error(d)
	}
}

func TestHooks(t *testing.T) { // WL-2.11, WL-2.12
	hook := &pub.LifecycleHook{LabelsHandler: map[string]string{"drain": "yes"}}
	w := newWorld(t, standard, statefulSet(replicas(1), inPlaceIfPossible, func(set *kruise.StatefulSet) {
		set.Spec.Lifecycle = &pub.Lifecycle{InPlaceUpdate: hook, PreDelete: hook, PreNormal: &pub.LifecycleHook{LabelsHandler: map[string]string{"warm": "yes"}}}
		set.Spec.Template.Labels["drain"] = "yes"
	}))
	state := func(want string) {
		t.Helper()
		if got := w.pod("web-0").Labels[pub.LifecycleStateKey]; got != want {
			t.Errorf("state is %s, want %s", got, want)
		}
	}
	label := func(key, value string) {
		t.Helper()
		pod := w.pod("web-0")
		pod.Labels[key] = value
		w.save(pod)
		w.Settle()
	}
	w.Settle()
	state("PreparingNormal")
	label("warm", "yes")
	state("Normal")
	w.change(toImage("web:2"))
	w.Settle()
	state("PreparingUpdate")
	w.conditionIs(condition.Reconciling, "True", "hook")
	label("drain", "no")
	state("Updated")
	label("drain", "yes")
	state("Normal")
	w.change(replicas(0))
	w.Settle()
	state("PreparingDelete")
	pod := w.pod("web-0")
	pod.Labels["drain"] = "no"
	w.save(pod)
	w.Settle()
	if n := len(w.Pods()); n != 0 {
		t.Errorf("%d pods are left", n)
	}
}

func TestFailedPodIsMadeAnew(t *testing.T) { // WL-2.6.1
	w := newWorld(t, standard, statefulSet())
	w.Settle()
	pod := w.pod("web-1")
	pod.Status.Phase = corev1.PodFailed
	if err := w.Server.Plain.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := w.Round(); err != nil {
			t.Fatal(err)
		}
	}
	if w.pod("web-1").UID == pod.UID {
		t.Error("the failed pod is still there")
	}
}

func TestIdentityIsRepaired(t *testing.T) { // WL-2.4
	w := newWorld(t, standard, statefulSet())
	w.Settle()
	pod := w.pod("web-0")
	delete(pod.Labels, podNameLabel)
	w.save(pod)
	w.Settle()
	if got := w.pod("web-0").Labels[podNameLabel]; got != "web-0" || w.pod("web-0").UID != pod.UID {
		t.Errorf("label is %q", got)
	}
	if !w.told("SuccessfulUpdate") {
		t.Error("nobody was told")
	}
}

func TestQuotaIsToldAndTriedAgain(t *testing.T) { // WL-2.14
	w := newWorld(t, standard, statefulSet())
	w.Server.Before = func(write string) error {
		if strings.HasPrefix(write, "create pod") {
			return apierrors.NewForbidden(corev1.Resource("pods"), "web", errors.New("exceeded quota: small"))
		}
		return nil
	}
	if _, err := w.Round(); err == nil {
		t.Error("a failure is not tried again")
	}
	w.conditionIs("FailedCreatePod", "True", "exceeded quota: small")
	w.conditionIs(condition.Stalled, "True", "exceeded quota: small")
	if !w.told("FailedCreate") {
		t.Error("nobody was told")
	}
	w.Server.Before = nil
	w.Settle()
	w.conditionIs("FailedCreatePod", "", "")
}

func TestChangeThatDoesNotFitIsTold(t *testing.T) { // WL-2.12
	w := newWorld(t, standard, statefulSet(inPlaceIfPossible, rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) {
		r.PodUpdatePolicy = kruise.InPlaceOnlyPodUpdateStrategyType
	})))
	w.Settle()
	w.change(func(set *kruise.StatefulSet) { set.Spec.Template.Spec.HostNetwork = true })
	w.Settle() // no error
	for _, kind := range []string{"FailedUpdatePod", condition.Stalled} {
		w.conditionIs(kind, "True", "template.spec.hostNetwork cannot change in place")
	}
}

func TestWhatMatchesIsAdoptedAndTheRestReleased(t *testing.T) { // WL-0.6
	orphan := statefulSet().Spec.Template
	pod := &corev1.Pod{ObjectMeta: orphan.ObjectMeta, Spec: orphan.Spec}
	pod.Labels = with(pod.Labels, map[string]string{appsv1.ControllerRevisionHashLabelKey: revisionOf(t, statefulSet())})
	pod.Name, pod.Namespace, pod.UID = "web-0", "shop", "orphan"
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "note", UID: "note"}}
	stranger := pod.DeepCopy()
	stranger.Name, stranger.UID = "other-0", "stranger"
	w := newWorld(t, standard, statefulSet(), pod, stranger)
	w.Settle()
	if refs := w.pod("web-0").OwnerReferences; len(refs) != 2 || refs[1].UID != "owner" || !*refs[1].Controller {
		t.Errorf("owners of the orphan: %v", refs)
	}
	if got := w.pod("other-0"); metav1.GetControllerOf(got) != nil {
		t.Error("a pod of another name was adopted")
	}
	lost := w.pod("web-1")
	lost.Labels["app"] = "debug"
	w.save(lost)
	if _, err := w.Round(); err == nil {
		t.Error("the name of the released pod is free")
	}
	if got := w.pod("web-1"); got.UID != lost.UID || len(got.OwnerReferences) != 0 {
		t.Errorf("owners of the released pod: %v", got.OwnerReferences)
	}
}

func TestNobodyIsAdoptedForASetThatIsGone(t *testing.T) { // WL-0.6
	orphan := statefulSet().Spec.Template
	pod := &corev1.Pod{ObjectMeta: orphan.ObjectMeta, Spec: orphan.Spec}
	pod.Name, pod.Namespace = "web-0", "shop"
	w := newWorld(t, standard, statefulSet(), pod)
	set := w.set()
	if err := w.Server.Plain.Delete(t.Context(), set); err != nil { // and the cache does not know yet
		t.Fatal(err)
	}
	if _, err := w.loop.ReconcileObject(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	if refs := w.pod("web-0").OwnerReferences; len(refs) != 0 {
		t.Errorf("owners %v", refs)
	}
}

func TestHistoryIsTrimmed(t *testing.T) { // WL-0.5
	w := newWorld(t, standard, statefulSet(replicas(1), func(set *kruise.StatefulSet) { set.Spec.RevisionHistoryLimit = new(int32(1)) }))
	w.Settle()
	for _, image := range []string{"web:2", "web:3", "web:4"} {
		w.change(toImage(image))
		w.Settle()
	}
	if n := len(w.Revisions()); n != 2 {
		t.Errorf("%d revisions are kept", n)
	}
}

func TestSetThatIsLeavingTouchesNothing(t *testing.T) { // WL-2.6 F
	w := newWorld(t, standard, statefulSet(func(set *kruise.StatefulSet) { set.Finalizers = []string{"shop/hold"} }))
	if err := w.Server.Plain.Delete(t.Context(), w.set()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	if len(w.Pods()) != 0 || slices.ContainsFunc(w.Server.Writes(), func(s string) bool { return !strings.HasPrefix(s, "patch statefulset/status") }) {
		t.Error("it wrote")
	}
}

// storedData is a revision of OpenKruise 1.8: the template with the webhook's defaults, as libraries of Kubernetes 1.30 write it.
const storedData = `{"spec":{"template":{"$patch":"replace","metadata":{"annotations":{"team":"a"},"creationTimestamp":null,` +
	`"labels":{"app":"web"}},"spec":{"containers":[{"image":"web:1","imagePullPolicy":"Always","name":"main","resources":{},` +
	`"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst",` +
	`"readinessGates":[{"conditionType":"InPlaceUpdateReady"}],"restartPolicy":"Always","schedulerName":"default-scheduler",` +
	`"securityContext":{},"terminationGracePeriodSeconds":30}}}}`

// What OpenKruise 1.8 stored is taken over: no new revision, no write on a pod, no restart. // WL-0.5
func TestTakeOver(t *testing.T) {
	set := statefulSet(withClaims, replicas(1), inPlaceIfPossible, func(s *kruise.StatefulSet) {
		s.Annotations = map[string]string{"note": "n"}
		defaults.Template(&s.Spec.Template)
	})
	data := []byte(storedData)
	owners := []metav1.OwnerReference{ownerRef(set)}
	stored := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{
		Name: "web-6f98bdb684", Namespace: "shop", OwnerReferences: owners,
		Labels: map[string]string{"app": "web", "controller.kubernetes.io/hash": "6f98bdb684"}, Annotations: map[string]string{"note": "n"},
	}, Revision: 1}
	stored.Data.Raw = data
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "web-0", Namespace: "shop", UID: "old", OwnerReferences: owners, GenerateName: "web-",
		Labels: map[string]string{"app": "web", "controller-revision-hash": "web-6f98bdb684", "statefulset.kubernetes.io/pod-name": "web-0"},
	}, Spec: set.Spec.Template.Spec}
	pod.Status.Conditions = []corev1.PodCondition{{Type: pub.InPlaceUpdateReady, Status: corev1.ConditionTrue}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data-web-0", Namespace: "shop"}, Spec: set.Spec.VolumeClaimTemplates[0].Spec}
	set.Status = kruise.StatefulSetStatus{CurrentRevision: stored.Name, UpdateRevision: stored.Name, Replicas: 1}
	w := newWorld(t, standard, set, stored, pod, claim)
	w.RunPods()
	writes := w.Settle()
	if slices.ContainsFunc(writes, func(s string) bool { return !strings.HasPrefix(s, "patch statefulset/status") }) {
		t.Errorf("writes %v", writes)
	}
	w.conditionIs(condition.Ready, "True", "1 of 1 available")
	w.change(toImage("web:2"))
	w.Settle()
	if got := w.pod("web-0"); got.UID != "old" || got.Spec.Containers[0].Image != "web:2" || len(w.Revisions()) != 2 {
		t.Errorf("the pod is %s and runs %s, there are %d revisions", got.UID, got.Spec.Containers[0].Image, len(w.Revisions()))
	}
	if _, labelled := w.pod("web-0").Labels[pub.LifecycleStateKey]; labelled { // WL-2.16.9
		t.Error("it got a lifecycle state")
	}
}

// revisionOf is the name that the set's first revision gets.
func revisionOf(t *testing.T, set *kruise.StatefulSet) string {
	t.Helper()
	r, err := revision.Resolve(revision.Owner{Name: set.Name, Template: &set.Spec.Template}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.Update.Name
}
