package podset_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
)

func TestPodsInOrderStopAtTheFirstThatCannotBeMade(t *testing.T) { // WL-2.6
	s := newStage(t)
	s.set.InOrder = true
	s.server.Before = func(write string) error {
		if write == "create pod web-1" {
			return errors.New("no quota")
		}
		return nil
	}
	if err := s.act(creates("0", "1", "2", "3")); err == nil {
		t.Error("a failure is not told")
	}
	s.wrote("create persistentvolumeclaim data-web-0", "create persistentvolumeclaim data-web-1", "create pod web-0", "create pod web-1")
}

func TestPodWithoutStateKeepsNone(t *testing.T) { // WL-2.12, WL-2.16.9
	for name, state := range map[string]string{"none": "", "normal": "Normal"} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, apiPod("web-0", func(p *corev1.Pod) {
				delete(p.Labels, pub.LifecycleStateKey)
				if state != "" {
					p.Labels[pub.LifecycleStateKey] = state
				}
			}))
			s.set.KeepStateless = true
			if err := s.act(toB("web-0")); err != nil {
				t.Fatal(err)
			}
			got, labelled := s.pod("web-0").Labels[pub.LifecycleStateKey]
			if labelled != (state != "") || labelled && got != "Updating" {
				t.Errorf("state %q", got)
			}
		})
	}
}

func TestNameThatTheServerChoseIsTold(t *testing.T) {
	s := newStage(t)
	named := s.set.New
	s.set.New = func(slot, revision string) (*corev1.Pod, []*corev1.PersistentVolumeClaim, error) {
		pod, _, err := named(slot, revision)
		pod.GenerateName, pod.Name = pod.Name+"-", ""
		return pod, nil, err
	}
	if err := s.act(creates("0")); err != nil {
		t.Fatal(err)
	}
	if len(s.told) != 1 || !strings.HasPrefix(s.told[0].Pod, "web-0-") {
		t.Errorf("told %+v", s.told)
	}
}

func TestTheShortestWaitWins(t *testing.T) { // WL-0.8
	var plan podset.Plan
	for _, wait := range []time.Duration{time.Minute, 0, time.Second, time.Hour, 0} {
		plan.Wake(wait)
	}
	if plan.Recheck() != time.Second {
		t.Errorf("wakes after %s", plan.Recheck())
	}
}

func TestClaimsThatWereMadeAreToldWhereAsked(t *testing.T) { // WL-2.15
	for _, asked := range []bool{false, true} {
		s := newStage(t)
		s.set.TellClaims = asked
		if err := s.act(creates("0")); err != nil {
			t.Fatal(err)
		}
		if got := len(s.told) == 2 && s.told[0].Pod == "data-web-0" && s.told[0].Err == nil; got != asked {
			t.Errorf("asked %v, told %+v", asked, s.told)
		}
	}
}

func cpu(amount string) corev1.ResourceRequirements {
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(amount)}
	return corev1.ResourceRequirements{Limits: list, Requests: list}
}

// resizing is a set whose update changes the image of nobody and the cpu of main.
func resizing(t *testing.T) *stage {
	s := newStage(t, apiPod("web-x", func(p *corev1.Pod) { p.Spec.Containers[0].Resources = cpu("1") }))
	s.set.Change = func(*corev1.Pod, string) (inplace.Spec, error) {
		return inplace.Spec{Revision: "web-b", ContainerResources: map[string]corev1.ResourceRequirements{"main": cpu("2")}}, nil
	}
	return s
}

func (s *stage) hasResized() {
	s.Helper()
	pod := s.pod("web-x")
	if got := pod.Spec.Containers[0].Resources.Limits.Cpu(); got.String() != "2" || pod.Labels["controller-revision-hash"] != "web-b" ||
		!strings.Contains(pod.Annotations[pub.InPlaceUpdateStateKey], `"updateResources":true`) {
		s.Errorf("cpu %s, labels %v, annotations %v", got, pod.Labels, pod.Annotations)
	}
}

// WL-4.6: by the endpoint that Kubernetes has for it, before what says so; the gate stays open.
func TestResourcesAreWrittenByThemselves(t *testing.T) {
	s := resizing(t)
	if err := s.act(toB("web-x")); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch pod web-x", "patch pod/resize web-x")
	s.hasResized()
	if got := condition(s.pod("web-x"), pub.InPlaceUpdateReady); got == "False StartInPlaceUpdate" {
		t.Error("the pod was taken down for nothing")
	}
}

// WL-4.6: servers before pods/resize.
func TestResourcesGoWithTheRestWhereTheServerHasNoPlaceForThem(t *testing.T) {
	s := resizing(t)
	s.server.Older = true
	if err := s.act(toB("web-x")); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch pod web-x", "patch pod/resize web-x")
	s.hasResized()
}

func TestKilledAfterTheResourcesWereWritten(t *testing.T) {
	s := resizing(t)
	s.server.Before = func(write string) error {
		if write == "patch pod web-x" {
			return errors.New("killed")
		}
		return nil
	}
	if err := s.act(toB("web-x")); err == nil {
		t.Fatal("nothing failed")
	}
	s.server.Before = nil
	s.wrote("patch pod web-x", "patch pod/resize web-x")
	s.look()
	if err := s.act(toB("web-x")); err != nil {
		t.Fatal(err)
	}
	s.wrote("patch pod web-x") // they are there already
	s.hasResized()
}

func TestKubeletThatResizesAtOnceCostsOneWrite(t *testing.T) {
	s := resizing(t)
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
	s.wrote("patch pod web-x", "patch pod web-x", "patch pod/resize web-x")
	s.hasResized()
}

// WL-4.6: what the server refuses is told, and nothing says that the pod was updated.
func TestResourcesThatAreRefusedLeaveThePodOld(t *testing.T) {
	s := resizing(t)
	s.server.Before = func(write string) error {
		if write == "patch pod/resize web-x" {
			return apierrors.NewForbidden(corev1.Resource("pods"), "web-x", errors.New("exceeded quota"))
		}
		return nil
	}
	if err := s.act(toB("web-x")); err == nil {
		t.Fatal("nothing failed")
	}
	if len(s.told) != 1 || s.told[0].Err == nil || !strings.Contains(s.told[0].Err.Error(), "resize: ") || !strings.Contains(s.told[0].Err.Error(), "exceeded quota") {
		t.Errorf("told %+v", s.told)
	}
	if got := s.pod("web-x").Labels["controller-revision-hash"]; got == "web-b" {
		t.Error("the pod is called updated")
	}
}
