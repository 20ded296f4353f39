package imagepulljob

import (
	"context"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/imageref"
)

// A job looks again after what happened to its nodes was gathered for a while, and the longer the more jobs there are: all
// together they write no more than about a hundred statuses a second.
const (
	perJob               = 10 * time.Millisecond
	shortest, longestYet = 200 * time.Millisecond, 5 * time.Second
)

func gather(jobs int) time.Duration {
	return min(max(time.Duration(jobs)*perJob, shortest), longestYet)
}

// watches finds the jobs that something concerns: those that are still at it. // IP-17
type watches struct {
	local   client.Reader
	options Options
}

// running are the jobs that are neither over nor leaving, of one namespace or of all.
func (w watches) running(ctx context.Context, namespace string) (jobs []*kruise.ImagePullJob) {
	var all kruise.ImagePullJobList
	if err := w.local.List(ctx, &all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil // the cache has stopped
	}
	for i := range all.Items {
		if job := &all.Items[i]; job.DeletionTimestamp == nil && job.Status.CompletionTime == nil {
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// wake brings those jobs that fit.
func (w watches) wake(ctx context.Context, q queue, namespace string, fit func(*kruise.ImagePullJob) bool) {
	jobs := w.running(ctx, namespace)
	for _, job := range jobs {
		if fit(job) {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(job)}, gather(len(jobs)))
		}
	}
}

// images wakes the jobs whose image or choice of nodes a change of a NodeImage touches.
func (w watches) images() handler.EventHandler {
	any := func(ctx context.Context, o client.Object, q queue) {
		w.wake(ctx, q, "", func(job *kruise.ImagePullJob) bool { return couldBeFor(job, o) })
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e crevent.CreateEvent, q queue) { any(ctx, e.Object, q) },
		DeleteFunc: func(ctx context.Context, e crevent.DeleteEvent, q queue) { any(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e crevent.UpdateEvent, q queue) {
			before, was := e.ObjectOld.(*kruise.NodeImage)
			after, is := e.ObjectNew.(*kruise.NodeImage)
			if !was || !is {
				return
			}
			moved := !equality.Semantic.DeepEqual(before.Labels, after.Labels) || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero()
			images := changed(before, after)
			if !moved && len(images) == 0 {
				return
			}
			w.wake(ctx, q, "", func(job *kruise.ImagePullJob) bool {
				name, _, err := imageref.Parse(job.Spec.Image)
				return err == nil && images[name] || moved && (couldBeFor(job, before) || couldBeFor(job, after))
			})
		},
	}
}

// couldBeFor says that the job is about the node as far as its labels and its name tell.
func couldBeFor(job *kruise.ImagePullJob, node client.Object) bool {
	if job.Spec.PodSelector != nil {
		return true
	}
	match, err := chosen(job)
	return err == nil && match(&kruise.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: node.GetName(), Labels: node.GetLabels()}})
}

// changed are the images of which spec or status is another.
func changed(before, after *kruise.NodeImage) map[string]bool {
	names := map[string]bool{}
	for _, n := range []*kruise.NodeImage{before, after} {
		for name := range n.Spec.Images {
			names[name] = true
		}
		for name := range n.Status.ImageStatuses {
			names[name] = true
		}
	}
	for name := range names {
		if equality.Semantic.DeepEqual(before.Spec.Images[name], after.Spec.Images[name]) &&
			equality.Semantic.DeepEqual(before.Status.ImageStatuses[name], after.Status.ImageStatuses[name]) {
			delete(names, name)
		}
	}
	return names
}

// pods wakes jobs with a podSelector when a pod comes to a node, is relabelled or gone.
func (w watches) pods() handler.EventHandler {
	one := func(ctx context.Context, o client.Object, q queue) {
		if pod, ok := o.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
			w.wake(ctx, q, pod.Namespace, selecting(pod))
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e crevent.CreateEvent, q queue) { one(ctx, e.Object, q) },
		DeleteFunc: func(ctx context.Context, e crevent.DeleteEvent, q queue) { one(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e crevent.UpdateEvent, q queue) {
			before, was := e.ObjectOld.(*corev1.Pod)
			after, is := e.ObjectNew.(*corev1.Pod)
			if was && is && (settled(before) != settled(after) || !equality.Semantic.DeepEqual(before.Labels, after.Labels)) {
				w.wake(ctx, q, after.Namespace, selecting(before, after))
			}
		},
	}
}

func selecting(pods ...*corev1.Pod) func(*kruise.ImagePullJob) bool {
	return func(job *kruise.ImagePullJob) bool {
		if job.Spec.PodSelector == nil {
			return false
		}
		selector, err := metav1.LabelSelectorAsSelector(&job.Spec.PodSelector.LabelSelector)
		return err == nil && slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return selector.Matches(labels.Set(p.Labels)) })
	}
}

// secrets wakes the jobs that name a secret whose contents are new, and those that a copy refers to. // IP-9
func (w watches) secrets() handler.EventHandler {
	one := func(ctx context.Context, o client.Object, q queue) {
		w.wake(ctx, q, o.GetNamespace(), func(job *kruise.ImagePullJob) bool { return slices.Contains(job.Spec.PullSecrets, o.GetName()) })
		if copied, ok := o.(*corev1.Secret); ok && o.GetNamespace() == w.options.ConfigNamespace && o.GetLabels()[sourceUIDLabel] != "" {
			for key := range references(copied) {
				q.AddAfter(reconcile.Request{NamespacedName: split(key)}, shortest)
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e crevent.CreateEvent, q queue) { one(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e crevent.UpdateEvent, q queue) {
			before, was := e.ObjectOld.(*corev1.Secret)
			after, is := e.ObjectNew.(*corev1.Secret)
			if was && is && (!forPulls(after) || !equality.Semantic.DeepEqual(before.Data, after.Data)) {
				one(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e crevent.DeleteEvent, q queue) {
			if e.Object.GetNamespace() == w.options.ConfigNamespace {
				one(ctx, e.Object, q) // a copy that somebody deleted is made again
			}
		},
	}
}

func split(key string) types.NamespacedName {
	for i := range key {
		if key[i] == '/' {
			return types.NamespacedName{Namespace: key[:i], Name: key[i+1:]}
		}
	}
	return types.NamespacedName{Name: key}
}

// namespaces wakes every job when the namespace for pull secrets is there. // IP-8
func (w watches) namespaces() handler.EventHandler {
	return handler.Funcs{CreateFunc: func(ctx context.Context, e crevent.CreateEvent, q queue) {
		if e.Object.GetName() == w.options.ConfigNamespace {
			w.wake(ctx, q, "", func(*kruise.ImagePullJob) bool { return true })
		}
	}}
}
