package restart

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

const (
	phasePending    = kruise.ContainerRecreateRequestPending
	phaseRecreating = kruise.ContainerRecreateRequestRecreating
	phaseSucceeded  = kruise.ContainerRecreateRequestSucceeded
	phaseFailed     = kruise.ContainerRecreateRequestFailed
	phaseCompleted  = kruise.ContainerRecreateRequestCompleted
)

// margin keeps a timer from firing just before its time. // RX-4
const margin = 100 * time.Millisecond

// state is what is recorded of one container.
type state = kruise.ContainerRecreateRequestContainerRecreateState

// plan is the status to write, after one container at most was stopped.
type plan struct {
	phase   kruise.ContainerRecreateRequestPhase
	states  []state
	message string
	// kill is the container to stop first, as an index of states; nil stops none.
	kill *kill
	// failed is what came of it, said by Act.
	failed  error
	now     time.Time
	recheck time.Duration
}

type kill struct {
	index     int
	container cri.Status
	runtime   cri.Runtime
}

// Recheck is when a grace period ends or a container may have run for long enough.
func (p *plan) Recheck() time.Duration { return p.recheck }

// Decide is one pass.
func (*steps) Decide(r *kruise.ContainerRecreateRequest, s seen, now time.Time) *plan {
	p := &plan{phase: phaseRecreating, states: r.Status.ContainerRecreateStates, message: r.Status.Message, now: now}
	if r.Status.Phase != phaseRecreating { // RX-3
		return p
	}
	wait, problem := unready(r, now)
	if problem == "" {
		problem = s.problem
	}
	switch {
	case problem != "":
		p.complete(problem)
	case wait != 0:
		p.recheck = max(wait, 0)
	default:
		p.look(r, s)
	}
	return p
}

func (p *plan) complete(message string) { p.phase, p.message, p.recheck = phaseCompleted, message, 0 }

// unready is how long the pod has to be unready before anything is stopped; below zero waits for the mark. // RX-4
func unready(r *kruise.ContainerRecreateRequest, now time.Time) (wait time.Duration, problem string) {
	grace := strategyOf(r).UnreadyGracePeriodSeconds
	if grace == nil {
		return 0, ""
	}
	since := r.Annotations[kruise.ContainerRecreateRequestUnreadyAcquiredKey]
	if since == "" {
		return -1, ""
	}
	at, err := time.Parse(time.RFC3339, since)
	if err != nil {
		return 0, fmt.Sprintf("annotation %s is no time: %q", kruise.ContainerRecreateRequestUnreadyAcquiredKey, since)
	}
	if left := at.Add(time.Duration(*grace) * time.Second).Sub(now); left > 0 {
		return left + margin, ""
	}
	return 0, ""
}

func strategyOf(r *kruise.ContainerRecreateRequest) kruise.ContainerRecreateRequestStrategy {
	if r.Spec.Strategy == nil {
		return kruise.ContainerRecreateRequestStrategy{}
	}
	return *r.Spec.Strategy
}

// look compares what is recorded with what there is. What differs is recorded before anything is done. // RX-7
func (p *plan) look(r *kruise.ContainerRecreateRequest, s seen) {
	stored, back := r.Status.ContainerRecreateStates, backAgain(r)
	p.states = make([]state, 0, len(r.Spec.Containers))
	for i := range r.Spec.Containers {
		name := r.Spec.Containers[i].Name
		was := state{Name: name}
		if j := slices.IndexFunc(stored, func(x state) bool { return x.Name == name }); j >= 0 {
			was = stored[j]
		}
		on, there := s.containers[name]
		p.states = append(p.states, sight{r, &r.Spec.Containers[i], was, on, there, back[name], p.now, s.runtime}.state())
	}
	if slices.Equal(stored, p.states) {
		p.walk(r, s)
	}
	if slices.IndexFunc(p.states, func(x state) bool { return x.Phase != phaseSucceeded && x.Phase != phaseFailed }) < 0 && p.kill == nil {
		p.complete("") // RX-9
	}
	if p.phase != phaseCompleted {
		p.recheck = time.Duration(strategyOf(r).MinStartedSeconds) * time.Second // RX-9
	}
}

// backAgain are the containers that the manager saw running since the request was made. // A: CRR-9
func backAgain(r *kruise.ContainerRecreateRequest) map[string]kruise.ContainerRecreateRequestSyncContainerStatus {
	var list []kruise.ContainerRecreateRequestSyncContainerStatus
	all := map[string]kruise.ContainerRecreateRequestSyncContainerStatus{}
	if json.Unmarshal([]byte(r.Annotations[kruise.ContainerRecreateRequestSyncContainerStatusesKey]), &list) != nil {
		return all
	}
	for _, c := range list {
		all[c.Name] = c
	}
	return all
}

// sight is one container of a request, as it was and as it is.
type sight struct {
	request *kruise.ContainerRecreateRequest
	asked   *kruise.ContainerRecreateRequestContainer
	was     state
	on      cri.Status
	there   bool
	back    kruise.ContainerRecreateRequestSyncContainerStatus
	now     time.Time
	runtime cri.Runtime
}

// state is the first row of RX-6 that fits.
func (s sight) state() state {
	next := state{Name: s.was.Name, Phase: phasePending, IsKilled: s.was.IsKilled}
	force := strategyOf(s.request).ForceRecreate && !s.was.IsKilled
	switch {
	case s.was.Phase == phaseSucceeded || s.was.Phase == phaseFailed:
		return s.was
	case force && s.stopped():
		next.Phase, next.IsKilled = phaseRecreating, true
	case !s.there:
		next.Message = "there is no such container on the node yet"
	case s.on.State == cri.Exited:
		next.Phase = phaseRecreating
	case force:
		next.Message = s.was.Message
		if !s.announced() {
			next.Message = ""
		}
	case s.again():
		next.Phase = phaseRecreating
		if s.good() {
			next.Phase = phaseSucceeded
		}
	}
	return next
}

// intent is recorded before a container is stopped by force: it may have started again since the request was made, so that
// nothing else tells, after a crash, whether it has been stopped.
const intent = "stopping "

func (s sight) id() string { return s.runtime.Name() + "://" + s.on.ID }

func (s sight) announced() bool { return s.there && s.was.Message == intent+s.id() }

// stopped says that the container of the recorded intent is gone.
func (s sight) stopped() bool {
	return len(s.was.Message) > len(intent) && s.was.Message[:len(intent)] == intent && (!s.announced() || s.on.State == cri.Exited)
}

// again says that the container started since the request was made.
func (s sight) again() bool {
	recorded, created := s.asked.StatusContext, s.request.CreationTimestamp.Time
	if _, id := cri.SplitID(recorded.ContainerID); id != s.on.ID || restarts(s.on) > int(recorded.RestartCount) {
		return true
	}
	// The time of creation is cut to whole seconds: what runs under the recorded ID may have started within that second.
	return !s.on.StartedAt.Before(created.Add(time.Second))
}

func restarts(c cri.Status) int {
	n, err := strconv.Atoi(c.Annotations[cri.AnnotationRestartCount])
	if err != nil {
		return int(c.Attempt)
	}
	return n
}

// good says that it is ready and has run for long enough.
func (s sight) good() bool {
	atLeast := time.Duration(strategyOf(s.request).MinStartedSeconds) * time.Second
	return s.back.ContainerID == s.id() && s.back.Ready && s.now.Sub(s.on.StartedAt) > atLeast
}

// walk goes through the containers in their order and stops one at most. // RX-8
func (p *plan) walk(r *kruise.ContainerRecreateRequest, s seen) {
	strategy := strategyOf(r)
	for i := range p.states {
		switch st := &p.states[i]; st.Phase {
		case phaseFailed:
			if strategy.FailurePolicy != kruise.ContainerRecreateRequestFailurePolicyIgnore {
				p.complete("")
				return
			}
		case phaseRecreating:
			st.IsKilled = true
			if strategy.OrderedRecreate {
				return
			}
		case phasePending:
			if on, there := s.containers[st.Name]; there {
				p.stop(i, on, s.runtime, strategy.ForceRecreate)
			}
			return
		}
	}
}

// stop has a container stopped, one that is stopped by force only once that is recorded.
func (p *plan) stop(i int, on cri.Status, runtime cri.Runtime, force bool) {
	announced := intent + runtime.Name() + "://" + on.ID
	if force && p.states[i].Message != announced {
		p.states[i].Message = announced
		return
	}
	p.kill = &kill{i, on, runtime}
}
