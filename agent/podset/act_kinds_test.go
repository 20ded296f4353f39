package podset_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-project/flotilla/agent/podset"
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
	for _, wait := range []time.Duration{time.Minute, 0, time.Second, time.Hour} {
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
