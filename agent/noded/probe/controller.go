// Package probe runs the probes of the node's NodePodProbe: commands in containers and connections to pods.
//
// It owns the status of that object and the events KruiseProbeSucceeded and KruiseProbeFailed of the pods. It reads the object
// and the container runtime, and no pods. It promises that a probe reaches its own pod and nobody else, that a runtime which
// does not answer fails no probe, that a result is written when it changed and every ten minutes, and that a restart of the
// daemon shows in no result.
package probe

import (
	"context"
	"fmt"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/pace"
	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=nodepodprobes,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=nodepodprobes/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Options are what the part depends on.
type Options struct {
	// Node is the name of this node, and of the object.
	Node string
	// Runtime is the node's first. // CR-3
	Runtime cri.Runtime
	// Events are recorded under the component kruise-daemon-podprobe.
	Events record.EventRecorder
}

// Register starts the part. The cache has to hold the node's own NodePodProbe and no other.
func Register(mgr manager.Manager, o Options) error {
	all := newPool(o)
	if err := mgr.Add(all); err != nil {
		return err
	}
	err := ctrl.NewControllerManagedBy(mgr).Named("sync_node_pod_probe").For(&kruise.NodePodProbe{}).
		WatchesRawSource(source.Channel(all.news, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, RateLimiter: pace.Retry()}).
		Complete(newProbes(mgr.GetClient(), all, o))
	if err != nil {
		return fmt.Errorf("register probe controller: %w", err)
	}
	return nil
}

// probes reconciles the object; once it is gone there is nothing to probe.
type probes struct {
	local client.Client
	all   *pool
	loop  *loop.Loop[*kruise.NodePodProbe, seen, plan]
}

func newProbes(local client.Client, all *pool, o Options) *probes {
	return &probes{local: local, all: all, loop: &loop.Loop[*kruise.NodePodProbe, seen, plan]{
		Steps: &steps{all: all, events: o.Events}, Client: local,
		New: func() *kruise.NodePodProbe { return &kruise.NodePodProbe{} },
	}}
}

// Reconcile is one round.
func (p *probes) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	o := &kruise.NodePodProbe{}
	err := p.local.Get(ctx, r.NamespacedName, o)
	if apierrors.IsNotFound(err) {
		p.all.sync(nil)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("get what to probe: %w", err)
	}
	return p.loop.ReconcileObject(ctx, o)
}

// steps is the part of the loop; only one round runs at a time.
type steps struct {
	all    *pool
	events record.EventRecorder
	// told is the status of which pods have events; nil before the first round, which tells of nothing.
	told *kruise.NodePodProbeStatus
}

var _ loop.Steps[*kruise.NodePodProbe, seen, plan] = &steps{}

// seen are the results so far.
type seen struct {
	results map[place]result
	told    *kruise.NodePodProbeStatus
}

// plan is what to probe from now on, what to write and what to tell.
type plan struct {
	probes map[key]task
	status kruise.NodePodProbeStatus
	events []podEvent
}

// Recheck is never: results are news.
func (plan) Recheck() time.Duration { return 0 }

// Observe takes the results.
func (s *steps) Observe(context.Context, *kruise.NodePodProbe) (seen, error) {
	return seen{s.all.results(), s.told}, nil
}

// Decide compares.
func (*steps) Decide(o *kruise.NodePodProbe, s seen, _ time.Time) plan {
	p := plan{probes: tasks(o), status: statusOf(o, s.results)}
	if s.told != nil {
		p.events = eventsOf(s.told.PodProbeStatuses, o.Status.PodProbeStatuses)
	}
	return p
}

// Act starts and stops probes, and tells what was written in the round before. // PB-7, PB-8
func (s *steps) Act(_ context.Context, o *kruise.NodePodProbe, p plan) error {
	s.all.sync(p.probes)
	for _, e := range p.events {
		event.Emit(s.events, e.pod, e.event)
	}
	s.told = o.Status.DeepCopy()
	return nil
}

// Report writes the results.
func (*steps) Report(o *kruise.NodePodProbe, _ seen, p plan, _ error) { o.Status = p.status }

// place is where a result belongs in the status.
type place struct{ uid, probe string }

// tasks are the probes that are wanted, each with the result that is written of it. // PB-1
func tasks(o *kruise.NodePodProbe) map[key]task {
	written, wanted := states(o.Status.PodProbeStatuses), map[key]task{}
	for _, pod := range o.Spec.PodProbes {
		for _, probe := range pod.Probes {
			k := key{pod.Namespace, pod.Name, pod.UID, pod.IP, probe.ContainerName, probe.Name}
			t := task{probe: probe.Probe.Probe}
			if state, found := written[place{pod.UID, probe.Name}]; found {
				t.before = &state
			}
			wanted[k] = t
		}
	}
	return wanted
}

func states(all []kruise.PodProbeStatus) map[place]kruise.ContainerProbeState {
	out := map[place]kruise.ContainerProbeState{}
	for _, pod := range all {
		for _, state := range pod.ProbeStates {
			out[place{pod.UID, state.Name}] = state
		}
	}
	return out
}

// statusOf keeps what is still probed and puts the results in. // PB-7
func statusOf(o *kruise.NodePodProbe, results map[place]result) (status kruise.NodePodProbeStatus) {
	written := states(o.Status.PodProbeStatuses)
	for _, pod := range o.Spec.PodProbes {
		entry := kruise.PodProbeStatus{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID}
		for _, probe := range pod.Probes {
			at := place{pod.UID, probe.Name}
			state, known := written[at]
			if r, found := results[at]; found {
				state, known = r.over(state, probe.Name), true
			}
			if known {
				entry.ProbeStates = append(entry.ProbeStates, state)
			}
		}
		if len(entry.ProbeStates) > 0 {
			status.PodProbeStatuses = append(status.PodProbeStatuses, entry)
		}
	}
	return status
}

// over is the state that a result makes of the one before. // PB-7
func (r result) over(before kruise.ContainerProbeState, name string) kruise.ContainerProbeState {
	next := kruise.ContainerProbeState{
		Name: name, State: r.state, Message: r.message, LastProbeTime: metav1.NewTime(r.at), LastTransitionTime: before.LastTransitionTime,
	}
	if before.State != r.state {
		next.LastTransitionTime = next.LastProbeTime
	}
	return next
}

// podEvent is an event of a pod that we know by reference only.
type podEvent struct {
	pod   *corev1.ObjectReference
	event event.Event
}

// eventsOf are those for what changed from one status to the next. // PB-7, PB-8
func eventsOf(before, after []kruise.PodProbeStatus) (all []podEvent) {
	was := states(before)
	for _, pod := range after {
		ref := &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: types.UID(pod.UID)}
		for _, state := range pod.ProbeStates {
			old := was[place{pod.UID, state.Name}]
			if old.State == state.State && old.Message == state.Message {
				continue
			}
			switch state.State {
			case kruise.ProbeSucceeded:
				all = append(all, podEvent{ref, event.Normal("KruiseProbeSucceeded", "%s", state.Message)})
			case kruise.ProbeFailed:
				all = append(all, podEvent{ref, event.Normal("KruiseProbeFailed", "%s", state.Message)})
			}
		}
	}
	return all
}
