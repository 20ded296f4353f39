package podset_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
)

// stage is a set whose plans are carried out against an API server in memory.
type stage struct {
	*testing.T
	server *acttest.Server
	hands  podset.Hands
	set    podset.Set
	mutex  sync.Mutex
	told   []podset.Deed
}

func newStage(t *testing.T, objects ...client.Object) *stage {
	t.Helper()
	server, err := acttest.New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	owner := &kruise.CloneSet{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "owner"}}
	s := &stage{T: t, server: server}
	s.hands = podset.Hands{Local: server, Live: server.Plain, Clock: clocktesting.NewFakePassiveClock(breakfast.Add(time.Hour))}
	s.set = podset.Set{
		Owner: owner,
		New: func(slot, revision string) (*corev1.Pod, []*corev1.PersistentVolumeClaim, error) {
			pod := apiPod("web-"+slot, func(p *corev1.Pod) {
				p.UID, p.Status, p.CreationTimestamp = "", corev1.PodStatus{}, metav1.Time{}
				p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, kruise.SchemeGroupVersion.WithKind("CloneSet"))}
			})
			claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data-web-" + slot}}
			return pod, []*corev1.PersistentVolumeClaim{claim}, nil
		},
		Change: func(*corev1.Pod, string) (inplace.Spec, error) {
			return inplace.Spec{Revision: "web-b", ContainerImages: map[string]string{"main": "web:2"}}, nil
		},
		Labels: func(revision string) map[string]string {
			return map[string]string{"controller-revision-hash": revision, "pod-template-hash": "b"}
		},
		Tell: func(d podset.Deed) {
			s.mutex.Lock()
			defer s.mutex.Unlock()
			s.told = append(s.told, d)
		},
	}
	s.look()
	return s
}

// look reads the pods that the next plan is made from.
func (s *stage) look() {
	s.Helper()
	var pods corev1.PodList
	if err := s.server.Plain.List(s.Context(), &pods); err != nil {
		s.Fatal(err)
	}
	s.set.Pods = map[string]*corev1.Pod{}
	for i := range pods.Items {
		s.set.Pods[pods.Items[i].Name] = &pods.Items[i]
	}
}

func (s *stage) act(plan podset.Plan) error {
	s.Helper()
	before := map[string]*corev1.Pod{}
	for name, pod := range s.set.Pods {
		before[name] = pod.DeepCopy()
	}
	err := s.hands.Act(s.Context(), s.set, plan)
	if d := cmp.Diff(before, s.set.Pods); d != "" {
		s.Errorf("facts were changed: %s", d)
	}
	return err
}

func (s *stage) pod(name string) *corev1.Pod {
	s.Helper()
	var pod corev1.Pod
	if err := s.server.Plain.Get(s.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &pod); err != nil {
		s.Fatal(err)
	}
	return &pod
}

func (s *stage) wrote(want ...string) {
	s.Helper()
	if d := cmp.Diff(want, s.server.Writes()); d != "" {
		s.Errorf("writes: %s", d)
	}
}

// touch changes the pod the way a kubelet does.
func (s *stage) touch(name string) {
	s.Helper()
	pod := s.pod(name)
	pod.Status.PodIP = "10.0.0.1"
	if err := s.server.Plain.Status().Update(context.Background(), pod); err != nil {
		s.Fatal(err)
	}
}

func condition(pod *corev1.Pod, t corev1.PodConditionType) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == t {
			return strings.TrimSpace(fmt.Sprintf("%s %s", c.Status, c.Reason))
		}
	}
	return ""
}

func toB(pods ...string) podset.Plan {
	var plan podset.Plan
	for _, p := range pods {
		plan.Update = append(plan.Update, podset.Update{Pod: p, To: "web-b", How: podset.InPlaceNow, Why: "within maxUnavailable"})
	}
	return plan
}

func TestInPlaceUpdateIsTwoWritesAndOneMoreWhenDone(t *testing.T) { // WL-4.2, WL-4.12.2
	s := newStage(t, apiPod("web-x"))
	if err := s.act(toB("web-x")); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch pod web-x", "patch pod/status web-x")
	pod := s.pod("web-x")
	if pod.Spec.Containers[0].Image != "web:2" || pod.Labels["controller-revision-hash"] != "web-b" || pod.Labels[pub.LifecycleStateKey] != "Updating" {
		t.Errorf("image %s, labels %v", pod.Spec.Containers[0].Image, pod.Labels)
	}
	if got := condition(pod, pub.InPlaceUpdateReady); got != "False StartInPlaceUpdate" {
		t.Errorf("gate: %s", got)
	}
	if got := condition(pod, corev1.PodReady); got != "False ReadinessGatesNotReady" {
		t.Errorf("ready: %s", got)
	}
	if len(s.told) != 1 || s.told[0] != (podset.Deed{Do: podset.UpdatedInPlace, Pod: "web-x", Why: "within maxUnavailable"}) {
		t.Errorf("told %v", s.told)
	}

	s.look()
	if err := s.act(podset.Plan{Refresh: []podset.Refresh{{Pod: "web-x", Step: podset.OpenGate, State: podset.Normal}}}); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch pod/status web-x")
	pod = s.pod("web-x")
	if condition(pod, pub.InPlaceUpdateReady) != "True" || pod.Labels[pub.LifecycleStateKey] != "Normal" {
		t.Errorf("gate %s, labels %v", condition(pod, pub.InPlaceUpdateReady), pod.Labels)
	}
	if condition(pod, corev1.ContainersReady) != "True" {
		t.Error("a condition of the kubelet was lost")
	}
}

func TestBothGatesOpenInOneWrite(t *testing.T) { // WL-4.8
	s := newStage(t, apiPod("web-x", func(p *corev1.Pod) {
		p.Spec.ReadinessGates = append(p.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: pub.KruisePodReadyConditionType})
		p.Status.Conditions = nil
	}))
	if err := s.act(podset.Plan{Refresh: []podset.Refresh{{Pod: "web-x", Step: podset.OpenGate, State: podset.Normal}}}); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch pod/status web-x")
	if pod := s.pod("web-x"); condition(pod, pub.InPlaceUpdateReady) != "True" || condition(pod, pub.KruisePodReadyConditionType) != "True" {
		t.Errorf("%+v", pod.Status.Conditions)
	}
}

func TestKubeletThatAnswersTheClosedGateCostsOneWrite(t *testing.T) { // never over four writes, conflicts included
	s := newStage(t, apiPod("web-x"))
	raced := false
	s.server.Before = func(write string) error {
		if write == "patch pod web-x" && !raced {
			raced = true
			s.touch("web-x")
		}
		return nil
	}
	if err := s.act(toB("web-x")); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch pod web-x", "patch pod web-x", "patch pod/status web-x")
	if pod := s.pod("web-x"); pod.Spec.Containers[0].Image != "web:2" || pod.Status.PodIP == "" {
		t.Errorf("image %s, IP %q", pod.Spec.Containers[0].Image, pod.Status.PodIP)
	}
}

func TestPodThatChangedHandsIsDecidedAnew(t *testing.T) {
	for name, change := range map[string]func(*corev1.Pod){
		"another revision": func(p *corev1.Pod) { p.Labels["controller-revision-hash"] = "web-c" },
		"another image":    func(p *corev1.Pod) { p.Spec.Containers[0].Image = "web:9" },
		"a hook":           func(p *corev1.Pod) { p.Finalizers = []string{"shop/drain"} },
		"another UID":      func(p *corev1.Pod) { p.UID = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, apiPod("web-x"))
			pod := s.pod("web-x")
			change(pod)
			if err := s.server.Plain.Update(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
			if err := s.act(toB("web-x")); err != nil {
				t.Fatal(err)
			}
			s.wrote("patch pod/status web-x")
			if got := s.pod("web-x"); got.Spec.Containers[0].Image != pod.Spec.Containers[0].Image || len(s.told) != 0 {
				t.Errorf("image %s, told %v", got.Spec.Containers[0].Image, s.told)
			}
		})
	}
}

func TestKilledBetweenTwoWrites(t *testing.T) {
	s := newStage(t, apiPod("web-x"))
	s.server.Before = func(write string) error {
		if write == "patch pod web-x" {
			return errors.New("killed")
		}
		return nil
	}
	if err := s.act(toB("web-x")); err == nil {
		t.Fatal("a write that failed is no error")
	}
	s.server.Before = nil
	s.look()
	facts := podset.Lens{}.Facts(s.set.Pods["web-x"])
	if facts.Revision != "web-a" || facts.State != podset.Normal || facts.InPlace.Due != podset.OpenGate || !facts.InPlace.Done {
		t.Errorf("what the next one finds: %+v", facts)
	}
	if err := s.act(toB("web-x")); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch pod web-x", "patch pod web-x", "patch pod/status web-x")
}

func TestPodThatIsGoneIsNoFailure(t *testing.T) {
	s := newStage(t, apiPod("web-x"), apiPod("web-y"))
	for _, name := range []string{"web-x", "web-y"} {
		if err := s.server.Plain.Delete(t.Context(), s.pod(name)); err != nil {
			t.Fatal(err)
		}
	}
	plan := toB("web-x")
	plan.Delete = []podset.Delete{{Pod: "web-y", Slot: "y"}}
	plan.Refresh = []podset.Refresh{{Pod: "web-x", Step: podset.OpenGate, Hash: true, State: podset.Normal}, {Pod: "never-seen", Hash: true}}
	if err := s.act(plan); err != nil {
		t.Error(err)
	}
}

func TestRefresh(t *testing.T) {
	hooks := &pub.Lifecycle{InPlaceUpdate: &pub.LifecycleHook{LabelsHandler: map[string]string{"drain": "yes"}}}
	for name, tc := range map[string]struct {
		pod     func(*corev1.Pod)
		refresh podset.Refresh
		writes  []string
		labels  map[string]string
	}{
		"a new pod becomes normal in one write": { // WL-1.12
			func(p *corev1.Pod) { p.Status.Conditions = nil },
			podset.Refresh{Step: podset.OpenGate, State: podset.Normal},
			[]string{"patch pod/status web-x"}, map[string]string{pub.LifecycleStateKey: "Normal"},
		},
		"a pod of before gets its hash": { // WL-1.5
			func(p *corev1.Pod) { delete(p.Labels, "pod-template-hash") },
			podset.Refresh{Hash: true}, []string{"patch pod web-x"}, map[string]string{"pod-template-hash": "a"},
		},
		"the hook comes back": { // WL-4.9
			func(p *corev1.Pod) { p.Labels[pub.LifecycleStateKey] = "Updated" },
			podset.Refresh{State: podset.PreparingUpdate, Rearm: true},
			[]string{"patch pod web-x"}, map[string]string{pub.LifecycleStateKey: "PreparingUpdate", "drain": "yes"},
		},
		"nothing to change": {func(*corev1.Pod) {}, podset.Refresh{Step: podset.OpenGate, State: podset.Normal}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, apiPod("web-x", tc.pod))
			s.set.Hooks = hooks
			tc.refresh.Pod = "web-x"
			if err := s.act(podset.Plan{Refresh: []podset.Refresh{tc.refresh}}); err != nil {
				t.Fatal(err)
			}
			s.wrote(tc.writes...)
			for k, v := range tc.labels {
				if got := s.pod("web-x").Labels[k]; got != v {
					t.Errorf("label %s is %q, want %q", k, got, v)
				}
			}
		})
	}
}

func TestRecreateMarksOnly(t *testing.T) { // WL-1.13
	s := newStage(t, apiPod("web-x"))
	plan := podset.Plan{Update: []podset.Update{{Pod: "web-x", To: "web-b", How: podset.MarkForRecreate}}}
	if err := s.act(plan); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch pod web-x")
	if s.pod("web-x").Labels[kruise.SpecifiedDeleteKey] != "true" || s.told[0].Do != podset.MarkedForRecreate {
		t.Errorf("told %v", s.told)
	}
	if s.pod("web-x").Labels["slot"] != "web-x" {
		t.Errorf("labels %v", s.pod("web-x").Labels)
	}
}

func TestDeleteTakesWhatWasSeen(t *testing.T) { // WL-0.7
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data-web-x", UID: "claim"}}
	s := newStage(t, apiPod("web-x"), apiPod("web-y", func(p *corev1.Pod) { p.UID = "y" }), claim)
	s.set.Claims = func(slot string) []*corev1.PersistentVolumeClaim {
		if slot == "x" {
			return []*corev1.PersistentVolumeClaim{claim}
		}
		t.Errorf("asked for the claims of %s, whose pod stays", slot)
		return nil
	}
	s.touch("web-y")
	err := s.act(podset.Plan{Delete: []podset.Delete{{Pod: "web-x", Slot: "x"}, {Pod: "web-y", Slot: "y"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.wrote("delete persistentvolumeclaim data-web-x", "delete pod web-x", "delete pod web-y")
	s.look()
	if _, there := s.set.Pods["web-y"]; !there || len(s.set.Pods) != 1 {
		t.Errorf("pods left: %v", s.set.Pods)
	}
	if len(s.told) != 1 || s.told[0].Do != podset.Deleted || s.told[0].Pod != "web-x" {
		t.Errorf("told %v", s.told)
	}
}

func creates(slots ...string) podset.Plan {
	var plan podset.Plan
	for _, slot := range slots {
		plan.Create = append(plan.Create, podset.Create{Slot: slot, Revision: "web-a"})
	}
	return plan
}

func TestCreateMakesClaimsFirst(t *testing.T) { // WL-1.9
	s := newStage(t, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data-web-x"}})
	var order []string
	s.server.Before = func(write string) error {
		order = append(order, write)
		return nil
	}
	if err := s.act(creates("x")); err != nil { // the claim is there: it is used
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"create persistentvolumeclaim data-web-x", "create pod web-x"}, order); d != "" {
		t.Error(d)
	}
}

func TestCreateTwiceMakesOne(t *testing.T) { // WL-0.7
	s := newStage(t)
	if err := s.act(creates("x", "y")); err != nil {
		t.Fatal(err)
	}
	if err := s.act(creates("x", "y")); err != nil {
		t.Errorf("a stale plan is an error: %v", err)
	}
	s.look()
	if len(s.set.Pods) != 2 || len(s.told) != 2 {
		t.Errorf("%d pods, told %v", len(s.set.Pods), s.told)
	}
}

func TestNameOfAnotherOwnerIsAFailure(t *testing.T) {
	s := newStage(t, apiPod("web-x"))
	var failure *podset.Failure
	if err := s.act(creates("x")); !errors.As(err, &failure) || failure.Scale == nil || !apierrors.IsAlreadyExists(err) {
		t.Errorf("got %v", err)
	}
}

func TestQuotaCostsOneCall(t *testing.T) { // WL-0.8
	s := newStage(t)
	s.server.Before = func(write string) error {
		if strings.HasPrefix(write, "create pod") {
			return apierrors.NewForbidden(corev1.Resource("pods"), "web", errors.New("exceeded quota"))
		}
		return nil
	}
	err := s.act(creates("a", "b", "c", "d", "e", "f", "g"))
	var failure *podset.Failure
	if !errors.As(err, &failure) || failure.Update != nil || !strings.Contains(err.Error(), "exceeded quota") {
		t.Errorf("got %v", err)
	}
	s.wrote("create persistentvolumeclaim data-web-a", "create pod web-a")
}

func TestHalfABatchFails(t *testing.T) { // WL-0.8
	s := newStage(t)
	s.server.Before = func(write string) error {
		if write == "create pod web-d" || write == "create pod web-e" {
			return errors.New("no such luck")
		}
		return nil
	}
	err := s.act(creates("a", "b", "c", "d", "e", "f", "g", "h", "i"))
	if err == nil || !strings.HasSuffix(err.Error(), "(and 1 more)") {
		t.Errorf("got %v", err)
	}
	s.look()
	if len(s.set.Pods) != 5 { // 1, 2 and half of 4; the rest waits
		t.Errorf("%d pods were made", len(s.set.Pods))
	}
}

func TestOneBadPodStopsNobody(t *testing.T) {
	s := newStage(t, apiPod("web-x"), apiPod("web-y"), apiPod("web-z"))
	s.server.Before = func(write string) error {
		if strings.HasSuffix(write, "web-y") {
			return errors.New("no such luck")
		}
		return nil
	}
	err := s.act(toB("web-x", "web-y", "web-z"))
	var failure *podset.Failure
	if !errors.As(err, &failure) || failure.Scale != nil {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "update web-y to web-b: no such luck") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"web-x", "web-z"} {
		if s.pod(name).Spec.Containers[0].Image != "web:2" {
			t.Errorf("%s was not updated", name)
		}
	}
}

func TestReleasePod(t *testing.T) { // WL-0.6
	pod := apiPod("web-x", func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{
			{APIVersion: "apps.kruise.io/v1alpha1", Kind: "CloneSet", Name: "web", UID: "owner"},
			{APIVersion: "v1", Kind: "ConfigMap", Name: "other", UID: types.UID("other")},
		}
	})
	s := newStage(t, pod)
	if err := podset.ReleasePod(t.Context(), s.server, s.set.Owner, s.set.Pods["web-x"]); err != nil {
		t.Fatal(err)
	}
	if refs := s.pod("web-x").OwnerReferences; len(refs) != 1 || refs[0].UID != "other" {
		t.Errorf("owners left: %v", refs)
	}
}
