package inplace

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

// Step is one write that a pod's update asks for.
type Step int

// The steps. A pod asks for at most one at a time.
const (
	Nothing    Step = iota
	DropGrace       // the pod got another revision during its grace period
	ApplyGrace      // the grace period is over
	ApplyNext       // one batch of containers is ready, the next may change
	MakeReady       // nothing changes any more, so the gate opens; also on a pod that never changed
)

// Progress is how far a pod is with its update.
type Progress struct {
	Done      bool // nothing is left to change and every container shows it; true also of a pod that never changed
	Grace     bool // it waits for a grace period
	Due       Step
	NotBefore time.Time // earliest time for Due; zero means now
	Why       string    // why the pod is not done
}

// Next says how far the pod is and what it asks for. // WL-4.7
func Next(pod *corev1.Pod) Progress {
	if atRest(pod) {
		return Progress{Done: true}
	}
	state := stateOf(pod)
	if spec := graceOf(pod); spec != nil {
		return afterGrace(pod, spec, state)
	}
	if state != nil {
		if why := unfinished(pod, state); why != "" {
			return Progress{Why: why}
		}
		if pending(*state) {
			if name := firstUnready(pod, state.PreCheckBeforeNext); name != "" {
				return Progress{Why: fmt.Sprintf("container %s is not ready", name)}
			}
			return Progress{Due: ApplyNext, Why: "more containers are to be updated"}
		}
	}
	p := Progress{Done: true}
	if c := lifecycle.Condition(pod, pub.InPlaceUpdateReady); lifecycle.HasGate(pod, pub.InPlaceUpdateReady) && (c == nil || c.Status != corev1.ConditionTrue) {
		p.Due = MakeReady
	}
	return p
}

// atRest says without reading the state that no update is under way: a pod gets an open gate and the normal state back only
// when it is done, and loses both before anything changes. Of thousands of pods nearly all are at rest.
func atRest(pod *corev1.Pod) bool {
	if grace, _ := pub.GetInPlaceUpdateGrace(pod); grace != "" || lifecycle.Of(pod) != lifecycle.Normal {
		return false
	}
	c := lifecycle.Condition(pod, pub.InPlaceUpdateReady)
	return lifecycle.HasGate(pod, pub.InPlaceUpdateReady) && c != nil && c.Status == corev1.ConditionTrue
}

func afterGrace(pod *corev1.Pod, spec *Spec, state *pub.InPlaceUpdateState) Progress {
	p := Progress{Grace: true, Why: "in its grace period"}
	label := pod.Labels[appsv1.ControllerRevisionHashLabelKey]
	if state == nil || short(label) != short(spec.Revision) {
		p.Due = DropGrace
		return p
	}
	p.Due = ApplyGrace
	p.NotBefore = state.UpdateTimestamp.Add(time.Duration(spec.GraceSeconds) * time.Second)
	return p
}

// short is the part of a revision name after its last dash, which is how revisions are compared. // WL-1.5
func short(revision string) string { return revision[strings.LastIndex(revision, "-")+1:] }

func firstUnready(pod *corev1.Pod, check *pub.InPlaceUpdatePreCheckBeforeNext) string {
	if check == nil {
		return ""
	}
	ready := map[string]bool{}
	for _, s := range pod.Status.ContainerStatuses {
		ready[s.Name] = s.Ready
	}
	for _, name := range check.ContainersRequiredReady {
		if !ready[name] {
			return name
		}
	}
	return ""
}

func pending(state pub.InPlaceUpdateState) bool {
	return len(state.NextContainerImages)+len(state.NextContainerRefMetadata)+len(state.NextContainerResources) > 0
}

// stateOf reads the state annotation. One that cannot be read is like none: the pod would otherwise never be done.
func stateOf(pod *corev1.Pod) *pub.InPlaceUpdateState {
	text, ok := pub.GetInPlaceUpdateState(pod)
	var state pub.InPlaceUpdateState
	if !ok || json.Unmarshal([]byte(text), &state) != nil {
		return nil
	}
	return &state
}

// graceOf reads the grace annotation; an unreadable one comes back empty, and is dropped for its revision.
func graceOf(pod *corev1.Pod) *Spec {
	text, ok := pub.GetInPlaceUpdateGrace(pod)
	if !ok || text == "" {
		return nil
	}
	var spec Spec
	if json.Unmarshal([]byte(text), &spec) != nil {
		return &Spec{}
	}
	return &spec
}
