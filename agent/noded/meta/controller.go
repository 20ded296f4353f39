// Package meta reports what the containers of a pod were started with, which the pod's status does not tell: the hash of
// their specification, and of the environment that they took from labels and annotations. It reads this node's pods and
// the container runtime, writes one annotation through pods/status, and stops a container whose environment is out of
// date while an update in place of its pod waits for that, so that the kubelet starts it anew.
//
// It promises to restart nothing outside of such an update, nothing on an environment that it could not read, and each
// container once for one change.
package meta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/pace"
	"github.com/flotilla-project/flotilla/agent/podset/containermeta"
)

const (
	// Component is what events come from.
	Component = "kruise-daemon-containermeta"
	// settle lets a burst of changes of one pod become one look. // CM-2
	settle = time.Second
	// workers are as many as may wait for a container to end. // CM-6
	workers = 10
	// envTimeout is what `env` may take. // CM-5
	envTimeout = 3 * time.Second
	// longestEnd is more than any hook and grace period that is meant seriously.
	longestEnd = time.Hour
)

// Killer ends a container as the kubelet does.
type Killer interface {
	Kill(ctx context.Context, runtime cri.Runtime, pod *corev1.Pod, c cri.Status, grace time.Duration, preStop *corev1.LifecycleHandler, ports []corev1.ContainerPort) error
}

// Options are what the part depends on.
type Options struct {
	// Runtimes of this node.
	Runtimes cri.Runtimes
	// Killer records its events as Component.
	Killer Killer
	// Envs looks into environments and restarts for them (gate InPlaceUpdateEnvFromMetadata).
	Envs bool
}

// Register adds the part to the daemon.
func Register(m ctrl.Manager, o Options) error {
	r := newReporter(m.GetClient(), o)
	err := ctrl.NewControllerManagedBy(m).Named("runtime_container_meta").
		Watches(&corev1.Pod{}, r.changes()).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: pace.Retry(), ReconciliationTimeout: longestEnd}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("build controller: %w", err)
	}
	return nil
}

type reporter struct {
	local client.Client
	Options
	clock clock.PassiveClock
	// looks are failed tries to read an environment, restarts are tries to restart.
	looks, restarts *pauses
}

func newReporter(local client.Client, o Options) *reporter {
	return &reporter{local: local, Options: o, clock: clock.RealClock{}, looks: newPauses(), restarts: newPauses()}
}

// changes wakes for changes that matter, a moment later. // CM-2
func (r *reporter) changes() handler.EventHandler {
	later := func(q workqueue.TypedRateLimitingInterface[reconcile.Request], obj client.Object) {
		q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)}, settle)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if pod, ok := e.Object.(*corev1.Pod); ok && dueAtFirst(pod, r.Envs) {
				later(q, pod)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			old, isPod := e.ObjectOld.(*corev1.Pod)
			if pod, ok := e.ObjectNew.(*corev1.Pod); ok && isPod && due(old, pod, r.Envs) {
				later(q, pod)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			prefix := keyOf(client.ObjectKeyFromObject(e.Object), "")
			r.looks.forget(prefix)
			r.restarts.forget(prefix)
		},
	}
}

func keyOf(pod types.NamespacedName, container string) string {
	return pod.String() + "/" + container
}

// Reconcile is one look at a pod.
func (r *reporter) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var pod corev1.Pod
	if err := r.local.Get(ctx, request.NamespacedName, &pod); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !considered(&pod) {
		return reconcile.Result{}, nil
	}
	seen, wait, err := r.observe(ctx, &pod)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("observe: %w", err)
	}
	p := decide(&pod, seen, r.Envs)
	if err := r.write(ctx, &pod, p.annotation); err != nil {
		return reconcile.Result{}, err
	}
	for _, name := range p.settled {
		r.restarts.forget(keyOf(request.NamespacedName, name))
	}
	return reconcile.Result{RequeueAfter: sooner(wait, r.restart(ctx, &pod, p.restart))}, nil
}

// sooner is the shorter of two waits, where 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// observe reads the pod's containers, and the environments that nobody has looked at. One that cannot be read now is no
// error: it is tried again later.
func (r *reporter) observe(ctx context.Context, pod *corev1.Pod) (seen facts, wait time.Duration, err error) {
	seen = facts{containers: map[string]cri.Container{}, envs: map[string]uint64{}}
	for _, runtime := range r.Runtimes {
		list, err := runtime.Containers(ctx, string(pod.UID))
		if err != nil {
			return seen, 0, fmt.Errorf("list containers: %w", err)
		}
		for _, c := range list {
			seen.containers[runtime.Name()+"://"+c.ID] = c
		}
	}
	if !r.Envs {
		return seen, 0, nil
	}
	for _, id := range unknownEnvs(pod, seen.containers) {
		key := keyOf(client.ObjectKeyFromObject(pod), seen.containers[id].ID)
		if left := r.looks.left(key, r.clock.Now()); left > 0 {
			wait = sooner(wait, left)
			continue
		}
		hash, err := r.look(ctx, pod, id, seen.containers[id])
		if err != nil {
			r.looks.tried(key, r.clock.Now())
			wait = sooner(wait, r.looks.left(key, r.clock.Now()))
			log.FromContext(ctx).Info("cannot see a container's environment, it is not restarted for changes of its pod's metadata",
				"container", seen.containers[id].Name, "reason", err.Error(), "again", wait.String())
			continue
		}
		r.looks.forget(key)
		seen.envs[id] = hash
	}
	return seen, wait, nil
}

// look runs `env` in a container. // CM-5
func (r *reporter) look(ctx context.Context, pod *corev1.Pod, id string, c cri.Container) (uint64, error) {
	runtime, known := r.Runtimes.Of(id)
	spec := specOf(pod, c.Name)
	if !known || spec == nil {
		return 0, errors.New("its runtime or its specification is unknown")
	}
	result, err := runtime.Exec(ctx, c.ID, []string{"env"}, envTimeout)
	if err != nil {
		return 0, err
	}
	if result.Code != 0 {
		return 0, fmt.Errorf("env ended with %d", result.Code)
	}
	return containermeta.EnvHash(spec, func(ref containermeta.Ref) string {
		return valueIn(string(result.Stdout), ref.Env, ref.In(pod))
	}), nil
}

// write changes nothing but the annotation, of the pod that was looked at, through its status: the daemon has no right to
// change pods. // CM-4
func (r *reporter) write(ctx context.Context, pod *corev1.Pod, annotation string) error {
	if annotation == "" {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": pod.UID, "annotations": map[string]string{pub.RuntimeContainerMetaKey: annotation},
	}})
	if err != nil {
		return err
	}
	err = r.local.Status().Patch(ctx, pod.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, patch))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // it is gone, or another has its name: that one has its own turn
		return nil
	}
	if err != nil {
		return fmt.Errorf("report containers: %w", err)
	}
	return nil
}

// restart ends containers, each on its own: the kubelet starts them again, and that is news to look at.
func (r *reporter) restart(ctx context.Context, pod *corev1.Pod, victims []victim) (wait time.Duration) {
	var failures []error
	for _, v := range victims {
		key := keyOf(client.ObjectKeyFromObject(pod), v.name)
		if left := r.restarts.left(key, r.clock.Now()); left > 0 {
			wait = sooner(wait, left)
			continue
		}
		r.restarts.tried(key, r.clock.Now())
		if err := r.end(ctx, pod, v); err != nil {
			failures = append(failures, fmt.Errorf("restart container %s for its environment: %w", v.name, err))
		}
	}
	if err := errors.Join(failures...); err != nil {
		log.FromContext(ctx).Error(err, "containers keep an old environment for now", "pod", client.ObjectKeyFromObject(pod).String())
		wait = sooner(wait, firstPause)
	}
	return wait
}

// end looks once more at what it is about to end. // CM-6
func (r *reporter) end(ctx context.Context, pod *corev1.Pod, v victim) error {
	runtime, known := r.Runtimes.Of(v.id)
	if !known {
		return fmt.Errorf("no runtime serves %s", v.id)
	}
	status, err := runtime.Container(ctx, v.container.ID)
	if err != nil {
		return err
	}
	if status.State != cri.Running {
		return nil
	}
	// The list has what the kubelet wrote; not every runtime repeats all of it in the status.
	status.SandboxID = v.container.SandboxID
	how := endingOf(v.container)
	return r.Killer.Kill(ctx, runtime, pod, status, how.grace, how.preStop, how.ports)
}
