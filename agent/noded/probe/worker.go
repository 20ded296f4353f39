package probe

import (
	"context"
	"reflect"
	"sync"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

// repeat is after how long a result is recorded again although it is the same. // PB-6
const repeat = 600 * time.Second

// result is what is recorded of a probe; its time has whole seconds, as the API has.
type result struct {
	state   kruise.ProbeState
	message string
	at      time.Time
}

// outcome is what one run of a probe came to.
type outcome struct {
	state   kruise.ProbeState
	message string
}

// worker is one probe that runs.
type worker struct {
	key     key
	stop    context.CancelFunc
	target  *target
	records *records
	// before is what was written of this probe when it started; it serves once.
	before *kruise.ContainerProbeState
	// changed holds a token when the probe has changed.
	changed chan struct{}

	mu    sync.Mutex
	probe corev1.Probe

	// What follows belongs to the goroutine of run.
	handler corev1.ProbeHandler
	on      cri.Container
	started time.Time
	last    result
	row     outcome
	length  int32
}

// take has a running worker probe differently from now on. // PB-1
func (w *worker) take(probe corev1.Probe) {
	w.mu.Lock()
	same := reflect.DeepEqual(w.probe, probe)
	w.probe = probe
	w.mu.Unlock()
	if same {
		return
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *worker) current() corev1.Probe {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.probe
}

// Zero means one. // PB-2, PB-3, PB-4
func period(p corev1.Probe) time.Duration       { return seconds(p.PeriodSeconds) }
func timeout(p corev1.Probe) time.Duration      { return seconds(p.TimeoutSeconds) }
func initialDelay(p corev1.Probe) time.Duration { return seconds(p.InitialDelaySeconds) }

func seconds(n int32) time.Duration { return time.Duration(max(n, 1)) * time.Second }

// run probes until ctx ends.
func (w *worker) run(ctx context.Context) {
	w.handler = w.current().ProbeHandler
	ticker := time.NewTicker(period(w.current()))
	defer ticker.Stop()
	for {
		w.tick(ctx, w.current())
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
			ticker.Reset(period(w.current()))
		case <-ticker.C:
		}
	}
}

// tick probes once, if there is something to probe. // PB-3
func (w *worker) tick(ctx context.Context, p corev1.Probe) {
	newest, found, err := w.target.containers.newest(ctx, w.key.uid, w.key.container)
	if err != nil || !found {
		return // a runtime that does not answer says nothing about the pod
	}
	if newest.ID != w.on.ID && !w.meet(ctx, newest) {
		return
	}
	if !reflect.DeepEqual(w.handler, p.ProbeHandler) {
		w.handler = p.ProbeHandler
		w.forget("the probe was changed")
	}
	if newest.State != cri.Running {
		w.record(outcome{kruise.ProbeFailed, "container " + newest.Name + " is not running"})
		return
	}
	if time.Since(w.started) < initialDelay(p) {
		return
	}
	if came, known := w.target.try(ctx, w.key, newest, p); known && ctx.Err() == nil {
		w.count(came, p)
	}
}

// meet turns to another container, of which nothing is known, unless what is written was found out after it had started.
func (w *worker) meet(ctx context.Context, c cri.Container) bool {
	status, err := w.target.runtime.Container(ctx, c.ID)
	if err != nil {
		log.FromContext(ctx).V(1).Info("cannot look at a container", "container", c.ID, "error", err.Error())
		return false
	}
	w.on, w.started = c, status.StartedAt
	before := w.before
	w.before = nil
	if before != nil && before.State != "" && !before.LastProbeTime.Time.Before(w.started.Truncate(time.Second)) {
		w.last = result{before.State, before.Message, before.LastProbeTime.Time}
		w.row, w.length = outcome{}, 0
		w.records.put(w, w.last, false)
		return true
	}
	w.forget("container " + c.Name + " has just started")
	return true
}

// forget makes the result unknown.
func (w *worker) forget(why string) {
	w.row, w.length = outcome{}, 0
	w.record(outcome{kruise.ProbeUnknown, why})
}

// count records an outcome that came as many times in a row as it has to. // PB-4
func (w *worker) count(came outcome, p corev1.Probe) {
	if w.row.state != came.state {
		w.length = 0
	}
	w.row = came
	w.length++
	threshold := p.FailureThreshold
	if came.state == kruise.ProbeSucceeded {
		threshold = p.SuccessThreshold
	}
	if w.length >= max(threshold, 1) {
		w.length = max(threshold, 1) // it counts no further
		w.record(came)
	}
}

// record keeps a result that is news, or old. // PB-6
func (w *worker) record(came outcome) {
	now := time.Now().Truncate(time.Second)
	if w.last.state == came.state && w.last.message == came.message && now.Sub(w.last.at) < repeat {
		return
	}
	w.last = result{came.state, came.message, now}
	w.records.put(w, w.last, true)
}
