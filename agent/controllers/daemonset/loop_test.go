package daemonset

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apitypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
)

func TestEveryNodeGetsAPod(t *testing.T) {
	w := newWorld(t, 2, daemonSet(), node("master", taint("control-plane", corev1.TaintEffectNoSchedule)))
	writes := w.Settle()
	if c, p := acttest.Count(writes, "create pod "), acttest.Count(writes, "patch pod"); c != 2 || p != 0 {
		t.Errorf("%d creates and %d patches for 2 pods: %v", c, p, writes)
	}
	if d := cmp.Diff([]string{"n0=logs:1", "n1=logs:1"}, w.images()); d != "" {
		t.Error(d)
	}
	hash := w.Revisions()[0].Labels["controller-revision-hash"]
	want := kruise.DaemonSetStatus{ // WL-3.10: no conditions
		ObservedGeneration: 1, DesiredNumberScheduled: 2, CurrentNumberScheduled: 2, NumberReady: 2, NumberAvailable: 2,
		UpdatedNumberScheduled: 2, DaemonSetHash: hash,
	}
	if d := cmp.Diff(want, w.daemonSet().Status); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"SuccessfulCreate"}, w.Heard()); d != "" { // WL-3.11
		t.Error(d)
	}
	if _, err := w.Round(); err != nil || len(w.Server.Writes()) != 0 {
		t.Errorf("a settled set is written again (%v)", err)
	}
}

func TestPodCarriesItsMarks(t *testing.T) { // WL-3.6
	generation := annotated("deprecated.daemonset.template.generation", "7")
	w := newWorld(t, 1, daemonSet(inPlaceIfPossible, generation, func(ds *kruise.DaemonSet) { ds.Spec.Template.Spec.HostNetwork = true }))
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	pod, r := w.Pods()[0], w.Revisions()[0]
	hash := r.Labels["controller-revision-hash"]
	if r.Name != "logs-"+hash || r.Revision != 1 || r.Labels["app"] != "logs" || r.Annotations["deprecated.daemonset.template.generation"] != "7" { // WL-3.2
		t.Errorf("revision %+v", r)
	}
	want := metav1.ObjectMeta{
		Name: pod.Name, GenerateName: "logs-", Namespace: "shop", UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		Labels:      map[string]string{"app": "logs", "controller-revision-hash": hash, "pod-template-generation": "7"},
		Annotations: map[string]string{"team": "a"},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "apps.kruise.io/v1alpha1", Kind: "DaemonSet", Name: "logs", UID: "owner", Controller: new(true), BlockOwnerDeletion: new(true),
		}},
	}
	if d := cmp.Diff(want, pod.ObjectMeta); d != "" {
		t.Error(d)
	}
	terms := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	pinned := []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"n0"}}}}}
	if d := cmp.Diff(pinned, terms); d != "" {
		t.Error(d)
	}
	if len(pod.Spec.Tolerations) != 7 || len(pod.Spec.ReadinessGates) != 1 || pod.Spec.ReadinessGates[0].ConditionType != pub.InPlaceUpdateReady {
		t.Errorf("tolerations %v, gates %v", pod.Spec.Tolerations, pod.Spec.ReadinessGates)
	}
	if suffix, ok := strings.CutPrefix(pod.Name, "logs-"); !ok || len(suffix) != suffixLength {
		t.Errorf("name %q", pod.Name)
	}
}

func TestATemplateNeedsNoLabels(t *testing.T) {
	w := newWorld(t, 1, daemonSet(func(ds *kruise.DaemonSet) {
		ds.Spec.Template.Labels = nil
		ds.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "foreign", Operator: metav1.LabelSelectorOpDoesNotExist}}}
	}))
	w.Settle()
	if pod := w.Pods()[0]; pod.Labels[hashLabel] != w.daemonSet().Status.DaemonSetHash {
		t.Errorf("labels %v", pod.Labels)
	}
}

func TestPodsCanBeBoundAtOnce(t *testing.T) { // WL-3.6: --assign-pods-by-scheduler=false
	w := newWorld(t, 1, daemonSet())
	w.restart(Options{BindPods: true})
	w.Settle()
	spec := w.Pods()[0].Spec
	if spec.NodeName != "n0" || spec.SchedulerName != "kubernetes.io/daemonset-controller" || spec.Affinity != nil || len(spec.ReadinessGates) != 0 {
		t.Errorf("%+v", spec)
	}
}

func TestRollingUpdateRecreates(t *testing.T) { // WL-3.7
	w := newWorld(t, 3, daemonSet())
	w.Settle()
	before := w.Pods()
	w.change(toImage("logs:2"))
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"n0=logs:1", "n1=logs:1"}, w.images()); d != "" { // one, from the highest name // WL-3.12.3
		t.Error(d)
	}
	w.Settle()
	if d := cmp.Diff([]string{"n0=logs:2", "n1=logs:2", "n2=logs:2"}, w.images()); d != "" {
		t.Error(d)
	}
	for _, pod := range w.Pods() {
		if slices.ContainsFunc(before, func(b corev1.Pod) bool { return b.UID == pod.UID || b.Name == pod.Name }) {
			t.Errorf("pod %s was not made anew", pod.Name)
		}
	}
	if s := w.daemonSet().Status; s.UpdatedNumberScheduled != 3 || s.ObservedGeneration != 2 {
		t.Errorf("status %+v", s)
	}
}

func TestSurgeMakesBeforeItBreaks(t *testing.T) { // WL-3.7, WL-3.12.1
	surging := rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.Type = kruise.DeprecatedSurgingRollingUpdateType })
	w := newWorld(t, 2, daemonSet(surging))
	w.Settle()
	w.change(toImage("logs:2"))
	w.good = func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image == "logs:1" }
	w.Settle()
	if d := cmp.Diff([]string{"n0=logs:1", "n1=logs:1", "n1=logs:2"}, w.images()); d != "" {
		t.Error(d)
	}
	w.good = func(*corev1.Pod) bool { return true }
	w.Settle()
	if d := cmp.Diff([]string{"n0=logs:2", "n1=logs:2"}, w.images()); d != "" {
		t.Error(d)
	}
}

func TestInPlaceUpdate(t *testing.T) { // WL-3.8
	w := newWorld(t, 3, daemonSet(inPlaceIfPossible, maxUnavailable("100%")))
	w.Settle()
	before := w.Pods()
	w.Heard()
	w.change(toImage("logs:2"))
	writes := w.Settle()
	if s, p := acttest.Count(writes, "patch pod/status "), acttest.Count(writes, "patch pod "); s != 6 || p != 3 || acttest.Count(writes, "create pod")+acttest.Count(writes, "delete pod") > 0 {
		t.Errorf("%d status patches and %d patches for 3 pods: %v", s, p, writes)
	}
	hash := w.daemonSet().Status.DaemonSetHash
	for i, pod := range w.Pods() {
		if pod.UID != before[i].UID || pod.Spec.Containers[0].Image != "logs:2" || pod.Labels["controller-revision-hash"] != hash {
			t.Errorf("pod %s: %v", pod.Name, pod.Labels)
		}
		if _, has := pod.Labels["lifecycle.apps.kruise.io/state"]; has {
			t.Error("the pod got a lifecycle state")
		}
		if !strings.Contains(pod.Annotations["apps.kruise.io/inplace-update-state"], `"revision":"`+hash+`"`) { // WL-3.12.10
			t.Errorf("state %s", pod.Annotations["apps.kruise.io/inplace-update-state"])
		}
	}
	if d := cmp.Diff([]string{"SuccessfulUpdatePodInPlace"}, w.Heard()); d != "" {
		t.Error(d)
	}
}

func TestPodsWithoutTheGateAreRecreated(t *testing.T) { // WL-3.8, WL-3.12.7
	w := newWorld(t, 1, daemonSet())
	w.Settle()
	before := w.Pods()[0]
	w.change(inPlaceIfPossible, toImage("logs:2"))
	w.Settle()
	after := w.Pods()[0]
	if after.UID == before.UID || len(before.Spec.ReadinessGates) != 0 || len(after.Spec.ReadinessGates) != 1 {
		t.Errorf("gates %v, then %v", before.Spec.ReadinessGates, after.Spec.ReadinessGates)
	}
}

func TestWhatDoesNotFitInPlaceIsRecreated(t *testing.T) { // WL-3.8
	w := newWorld(t, 2, daemonSet(inPlaceIfPossible))
	w.Settle()
	before := w.Pods()
	w.change(func(ds *kruise.DaemonSet) { ds.Spec.Template.Spec.Containers[0].Args = []string{"-v"} })
	w.Settle()
	for _, pod := range w.Pods() {
		if len(pod.Spec.Containers[0].Args) != 1 || slices.ContainsFunc(before, func(b corev1.Pod) bool { return b.UID == pod.UID }) {
			t.Errorf("pod %s was not made anew", pod.Name)
		}
	}
}

func TestPausedAndPartitionedSetsMakeNewPods(t *testing.T) { // WL-3.3, WL-3.12.5
	for name, hold := range map[string]func(*kruise.DaemonSet){
		"paused":    rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.Paused = new(true) }),
		"partition": partition(2),
		"on delete": func(ds *kruise.DaemonSet) { ds.Spec.UpdateStrategy.Type = kruise.OnDeleteDaemonSetStrategyType },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, daemonSet())
			w.Settle()
			w.change(hold, toImage("logs:2"))
			w.Settle()
			lost := w.on("n0")
			w.Must(w.Server.Plain.Delete(t.Context(), lost))
			w.Settle()
			if d := cmp.Diff([]string{"n0=logs:2", "n1=logs:1"}, w.images()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestProgressiveCreation(t *testing.T) { // WL-3.5
	w := newWorld(t, 4, daemonSet(partition(3), annotated("daemonset.kruise.io/progressive-create-pod", "true")))
	w.Settle()
	if d := cmp.Diff([]string{"n0=logs:1"}, w.images()); d != "" {
		t.Error(d)
	}
	w.change(partition(0))
	w.Settle()
	if n := len(w.Pods()); n != 4 {
		t.Errorf("%d pods", n)
	}
}

func TestBurstInPercentWaitsForTheFirstStatus(t *testing.T) { // WL-3.12.6
	w := newWorld(t, 4, daemonSet(func(ds *kruise.DaemonSet) { ds.Spec.BurstReplicas = new(intstr.FromString("50%")) }))
	for i, want := range []int{0, 2, 4} {
		if _, err := w.Round(); err != nil {
			t.Fatal(err)
		}
		if n := len(w.Pods()); n != want {
			t.Errorf("%d pods after round %d, want %d", n, i+1, want)
		}
	}
}

func TestObservedGenerationIsOfRoundsThatRanToTheEnd(t *testing.T) { // WL-3.12.9
	w := newWorld(t, 1, daemonSet())
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	if s := w.daemonSet().Status; s.ObservedGeneration != 0 || s.DesiredNumberScheduled != 1 {
		t.Errorf("after a round that made a pod: %+v", s)
	}
	w.Settle()
	if s := w.daemonSet().Status; s.ObservedGeneration != 1 {
		t.Errorf("in the end: %+v", s)
	}
}

func TestFailedPodsAreReplacedMoreAndMoreSlowly(t *testing.T) { // WL-3.5
	w := newWorld(t, 1, daemonSet())
	w.Settle()
	var waits []time.Duration
	for range 4 {
		failed := w.Pods()[0]
		failed.Status.Phase = corev1.PodFailed
		w.Must(w.Server.Plain.Status().Update(t.Context(), &failed))
		result, err := w.Round()
		if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, result.RequeueAfter)
		if result.RequeueAfter > 0 { // it rests
			if n := len(w.Pods()); n != 1 {
				t.Fatalf("%d pods while the node rests", n)
			}
			w.Clock.SetTime(w.Clock.Now().Add(result.RequeueAfter))
		}
		w.Settle()
	}
	if d := cmp.Diff([]time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second}, waits); d != "" {
		t.Error(d)
	}
	if got := w.Heard(); !slices.Contains(got, "FailedDaemonPod") || !slices.Contains(got, "SuccessfulDelete") {
		t.Errorf("events %v", got)
	}
}

func TestPreDeleteHook(t *testing.T) { // WL-3.6
	hook := &pub.Lifecycle{PreDelete: &pub.LifecycleHook{LabelsHandler: map[string]string{"drain": "yes"}, MarkPodNotReady: true}}
	w := newWorld(t, 2, daemonSet(func(ds *kruise.DaemonSet) {
		ds.Spec.Lifecycle = hook
		ds.Spec.Template.Labels["drain"] = "yes"
		ds.Spec.Template.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: pub.KruisePodReadyConditionType}}
	}))
	w.good = func(p *corev1.Pod) bool {
		if p.Labels["lifecycle.apps.kruise.io/state"] == "" { // the gate's own controller
			p.Status.Conditions = append(slices.DeleteFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == pub.KruisePodReadyConditionType }),
				corev1.PodCondition{Type: pub.KruisePodReadyConditionType, Status: corev1.ConditionTrue})
		}
		return true
	}
	w.Settle()
	w.change(toImage("logs:2"))
	w.Settle()
	if d := cmp.Diff([]string{"n0=logs:1", "n1=logs:1"}, w.images()); d != "" {
		t.Error(d)
	}
	pod := w.on("n1")
	if pod.Labels["lifecycle.apps.kruise.io/state"] != "PreparingDelete" || pod.Annotations["lifecycle.apps.kruise.io/timestamp"] == "" {
		t.Errorf("labels %v", pod.Labels)
	}
	if s := w.daemonSet().Status; s.NumberReady != 1 {
		t.Errorf("a pod that prepares to go is ready: %+v", s)
	}
	pod.Labels["drain"] = "done"
	w.Must(w.Server.Plain.Update(t.Context(), pod))
	w.Settle()
	if d := cmp.Diff([]string{"n0=logs:1", "n1=logs:2"}, w.images()); d != "" {
		t.Error(d)
	}
}

func TestNodesComeAndGo(t *testing.T) { // WL-3.4, WL-3.5
	w := newWorld(t, 2, daemonSet())
	w.Settle()
	w.Must(w.Server.Plain.Create(t.Context(), node("n2")))
	w.Settle()
	if n := len(w.Pods()); n != 3 {
		t.Errorf("%d pods on 3 nodes", n)
	}
	for _, step := range []struct {
		taints                 []corev1.Taint
		pods, wanted, misplace int
	}{
		{[]corev1.Taint{{Key: "broken", Effect: corev1.TaintEffectNoSchedule}}, 3, 2, 1},
		{[]corev1.Taint{{Key: "broken", Effect: corev1.TaintEffectNoExecute}}, 2, 2, 0},
		{nil, 3, 3, 0},
	} {
		var n corev1.Node
		w.Must(w.Server.Plain.Get(t.Context(), client.ObjectKey{Name: "n2"}, &n))
		n.Spec.Taints = step.taints
		w.Must(w.Server.Plain.Update(t.Context(), &n))
		w.Settle()
		if s, n := w.daemonSet().Status, len(w.Pods()); n != step.pods || int(s.NumberMisscheduled) != step.misplace || int(s.DesiredNumberScheduled) != step.wanted {
			t.Errorf("%v: %d pods, status %+v", step.taints, n, s)
		}
	}
}

func TestOpenKruisePodsAreTakenOver(t *testing.T) {
	ds := daemonSet(inPlaceIfPossible)
	ds.Status = kruise.DaemonSetStatus{ObservedGeneration: 1, DaemonSetHash: "6b4f8d7c9", DesiredNumberScheduled: 1, CurrentNumberScheduled: 1,
		NumberReady: 1, NumberAvailable: 1, UpdatedNumberScheduled: 1}
	old := stored(ds, "5c7d9", 1)
	old.Data.Raw = []byte(strings.ReplaceAll(string(old.Data.Raw), "logs:1", "logs:0"))
	w := newWorld(t, 1, ds, old, stored(ds, "6b4f8d7c9", 2), running(ds, "logs-x7kq2", "n0", "6b4f8d7c9"))
	if writes := w.Settle(); len(writes) != 0 {
		t.Errorf("a set that OpenKruise left settled is written to: %v", writes)
	}
	w.change(toImage("logs:2")) // and it goes on in place
	w.Settle()
	if pod := w.Pods()[0]; pod.Name != "logs-x7kq2" || pod.Spec.Containers[0].Image != "logs:2" || len(w.Revisions()) != 3 {
		t.Errorf("pod %s of %s", pod.Name, pod.Spec.Containers[0].Image)
	}
	w.change(toImage("logs:0")) // back to a revision it made
	w.Settle()
	if hash := w.daemonSet().Status.DaemonSetHash; hash != "5c7d9" || w.Revisions()[2].Revision != 4 {
		t.Errorf("hash %s, revisions %v", hash, w.Revisions())
	}
}

// stored is a revision as OpenKruise writes it, with the bytes of Kubernetes 1.30.
func stored(ds *kruise.DaemonSet, hash string, number int64) *appsv1.ControllerRevision {
	data := `{"spec":{"template":{"$patch":"replace","metadata":{"annotations":{"team":"a"},"creationTimestamp":null,"labels":{"app":"logs"}},` +
		`"spec":{"containers":[{"image":"logs:1","name":"main","resources":{}}]}}}}`
	r := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Name: "logs-" + hash, Namespace: "shop", UID: "r-" + apitypes.UID(hash), OwnerReferences: []metav1.OwnerReference{ownerRef(ds)},
			Labels: map[string]string{"app": "logs", "controller-revision-hash": hash}},
		Revision: number,
	}
	r.Data.Raw = []byte(data)
	return r
}

// running is a pod as OpenKruise makes it, and a kubelet runs it.
func running(ds *kruise.DaemonSet, name, node, hash string) *corev1.Pod {
	ready := metav1.NewTime(noon.Add(-time.Hour))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, GenerateName: "logs-", Namespace: "shop", UID: "p-" + apitypes.UID(name), OwnerReferences: []metav1.OwnerReference{ownerRef(ds)},
			Labels: map[string]string{"app": "logs", "controller-revision-hash": hash}, Annotations: map[string]string{"team": "a"}},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Image: "logs:1"}},
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: pub.InPlaceUpdateReady}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning,
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", Image: "logs:1", ImageID: "sha256:logs:1", Ready: true}}},
	}
	for _, t := range []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady, pub.InPlaceUpdateReady} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: ready})
	}
	return pod
}

func TestOrphansAreAdopted(t *testing.T) { // WL-0.6
	ds := daemonSet(inPlaceIfPossible)
	r, pod := stored(ds, "6b4f8d7c9", 1), running(ds, "logs-x7kq2", "n0", "6b4f8d7c9")
	other := running(ds, "logs-other", "n0", "6b4f8d7c9")
	other.Labels["app"] = "metrics"
	r.OwnerReferences, pod.OwnerReferences, other.OwnerReferences = nil, nil, nil
	w := newWorld(t, 1, ds, r, pod, other)
	w.Settle()
	owners := map[string]int{}
	for _, p := range w.Pods() {
		owners[p.Name] = len(p.OwnerReferences)
	}
	if want := map[string]int{"logs-x7kq2": 1, "logs-other": 0}; !maps.Equal(owners, want) || len(w.Revisions()) != 1 || len(w.Revisions()[0].OwnerReferences) != 1 {
		t.Errorf("owners %v, revisions %v", owners, w.Revisions())
	}
}

func TestNothingIsAdoptedForASetThatIsGone(t *testing.T) { // WL-0.6
	ds := daemonSet()
	pod := running(ds, "logs-x7kq2", "n0", "6b4f8d7c9")
	pod.OwnerReferences = nil
	w := newWorld(t, 1, ds, pod)
	another := daemonSet()
	another.UID = "another"
	plain := w.Server.Plain
	w.loop.Steps.(*steps).live = liveView{plain, another}
	if _, err := w.Round(); err == nil {
		t.Error("no error")
	}
	if refs := w.Pods()[0].OwnerReferences; len(refs) != 0 || len(w.Pods()) != 1 {
		t.Errorf("owners %v", refs)
	}
}

// liveView knows another DaemonSet by the name than the cache does.
type liveView struct {
	client.Reader
	ds *kruise.DaemonSet
}

func (l liveView) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if ds, ok := obj.(*kruise.DaemonSet); ok {
		l.ds.DeepCopyInto(ds)
		return nil
	}
	return l.Reader.Get(ctx, key, obj, opts...)
}

func TestPodThatNoLongerMatchesIsReleased(t *testing.T) { // WL-0.6
	w := newWorld(t, 1, daemonSet())
	w.Settle()
	pod := w.Pods()[0]
	pod.Labels["app"] = "debug"
	w.Must(w.Server.Plain.Update(t.Context(), &pod))
	w.Settle()
	for _, p := range w.Pods() {
		if p.Name == pod.Name && len(p.OwnerReferences) != 0 {
			t.Errorf("owners of the released pod: %v", p.OwnerReferences)
		}
	}
	if n := len(w.Pods()); n != 2 {
		t.Errorf("%d pods, want the released one and another", n)
	}
}

func TestASpecThatCannotBeRightTouchesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*kruise.DaemonSet)
		reason string
	}{
		"empty selector":      {func(ds *kruise.DaemonSet) { ds.Spec.Selector = &metav1.LabelSelector{} }, "SelectingAll"}, // WL-3.3
		"other labels":        {func(ds *kruise.DaemonSet) { ds.Spec.Template.Labels = map[string]string{"app": "other"} }, "InvalidSpec"},
		"malformed budget":    {maxUnavailable("many"), "InvalidSpec"},
		"malformed surge":     {maxSurge("many"), "InvalidSpec"},
		"malformed burst":     {func(ds *kruise.DaemonSet) { ds.Spec.BurstReplicas = new(intstr.FromString("many")) }, "InvalidSpec"},
		"unreadable affinity": {func(ds *kruise.DaemonSet) { ds.Spec.Template.Spec.Affinity = required("size", "Above", "1") }, "InvalidSpec"},
		"unreadable selection": {rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) {
			r.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "x", Operator: "Like"}}}
		}), "InvalidSpec"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, daemonSet())
			w.Settle()
			before := w.daemonSet().Status
			w.Heard()
			w.change(tc.change)
			if writes := w.Settle(); len(writes) != 0 {
				t.Errorf("it wrote %v", writes)
			}
			if d := cmp.Diff(before, w.daemonSet().Status); d != "" {
				t.Error(d)
			}
			if got := w.Heard(); !slices.Equal(got, []string{tc.reason}) {
				t.Errorf("events %v, want %s", got, tc.reason)
			}
		})
	}
}

func TestASetOnItsWayOutIsLeftAlone(t *testing.T) { // WL-3.3
	w := newWorld(t, 1, daemonSet(func(ds *kruise.DaemonSet) { ds.Finalizers = []string{"shop/hold"} }))
	w.Must(w.Server.Plain.Delete(t.Context(), w.daemonSet()))
	if writes := w.Settle(); len(writes) != 0 {
		t.Errorf("it wrote %v", writes)
	}
}
