// Package unschedulable counts, for the hub, the pods of a workload that find no node.
//
// It owns the annotation apps.flotilla.dev/unschedulable-replicas of workloads that ask for it with
// apps.flotilla.dev/reschedule-critical-seconds, and reads their pods, and the ReplicaSets in between. It reads no
// workload but its metadata. It promises one write per change of the number, none while the number stays, and to count
// a pod at the very moment at which it has been pending for too long.
package unschedulable

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/index"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=apps,resources=deployments;statefulsets,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=apps,resources=replicasets,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=clonesets;statefulsets,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch

// kinds are the workloads that a template of a FederatedDeployment can make. WL-5.1
var kinds = []schema.GroupVersionKind{
	appsv1.SchemeGroupVersion.WithKind("Deployment"),
	appsv1.SchemeGroupVersion.WithKind("StatefulSet"),
	{Group: "apps.kruise.io", Version: "v1alpha1", Kind: "CloneSet"},
	{Group: "apps.kruise.io", Version: "v1beta1", Kind: "StatefulSet"},
}

var replicaSet = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")

// Register starts a controller for each kind that the cluster serves. The cache has to index pods with index.ByOwner.
func Register(mgr manager.Manager) error {
	for _, kind := range kinds {
		_, err := mgr.GetRESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			mgr.GetLogger().Info("not served here, its unschedulable pods are not counted", "kind", kind.String())
			continue
		}
		if err != nil {
			return fmt.Errorf("find kind %s: %w", kind.Kind, err)
		}
		if err := register(mgr, kind); err != nil {
			return fmt.Errorf("register unschedulable controller of %s: %w", kind.String(), err)
		}
	}
	return nil
}

func register(mgr manager.Manager, kind schema.GroupVersionKind) error {
	local := mgr.GetClient()
	r := &loop.Loop[*metav1.PartialObjectMetadata, seen, plan]{
		Steps: &steps{local: local, kind: kind}, Client: local,
		New: func() *metav1.PartialObjectMetadata { return metadataOf(kind) },
	}
	asking := predicate.NewPredicateFuncs(asks)
	return ctrl.NewControllerManagedBy(mgr).Named("unschedulable-"+kind.Kind+"."+kind.Group).
		For(metadataOf(kind), builder.WithPredicates(asking, predicate.AnnotationChangedPredicate{})).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(ownerOf(local, kind)), builder.WithPredicates(predicate.NewPredicateFuncs(ofSubset))).
		Complete(r)
}

func metadataOf(kind schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(kind)
	return o
}

// asks is also true of a workload that asked once, and whose answer has to be taken back.
func asks(o client.Object) bool {
	_, asked := o.GetAnnotations()[appsv1alpha1.AnnotationRescheduleCritical]
	_, answered := o.GetAnnotations()[appsv1alpha1.AnnotationUnschedulable]
	return asked || answered
}

func ofSubset(o client.Object) bool {
	_, labelled := o.GetLabels()[appsv1alpha1.LabelSubsetName]
	return labelled
}

// ownerOf finds the workload of a pod, if it is of kind: its controller, or for a Deployment the controller of that.
func ownerOf(local client.Reader, kind schema.GroupVersionKind) handler.MapFunc {
	return func(ctx context.Context, pod client.Object) []reconcile.Request {
		owner := metav1.GetControllerOf(pod)
		if owner != nil && kind.Kind == "Deployment" && is(owner, replicaSet) {
			set := metadataOf(replicaSet)
			if err := local.Get(ctx, client.ObjectKey{Namespace: pod.GetNamespace(), Name: owner.Name}, set); err != nil {
				return nil
			}
			owner = metav1.GetControllerOf(set)
		}
		if owner == nil || !is(owner, kind) {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: owner.Name}}}
	}
}

// is compares without the version, which an owner reference may have an older one of.
func is(owner *metav1.OwnerReference, kind schema.GroupVersionKind) bool {
	return schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).GroupKind() == kind.GroupKind()
}

// steps is the controller's part of the loop.
type steps struct {
	local client.Client
	kind  schema.GroupVersionKind
}

var _ loop.Steps[*metav1.PartialObjectMetadata, seen, plan] = &steps{}

// seen is what was observed.
type seen struct{ pods []corev1.Pod }

// Observe lists the workload's pods.
func (s *steps) Observe(ctx context.Context, workload *metav1.PartialObjectMetadata) (seen, error) {
	if !asks(workload) {
		return seen{}, nil
	}
	owners := []client.Object{workload}
	if s.kind.Kind == "Deployment" {
		var err error
		if owners, err = s.replicaSets(ctx, workload); err != nil {
			return seen{}, err
		}
	}
	var out seen
	for _, owner := range owners {
		pods, err := index.PodsOf(ctx, s.local, owner)
		if err != nil {
			return seen{}, err
		}
		out.pods = append(out.pods, pods...)
	}
	return out, nil
}

func (s *steps) replicaSets(ctx context.Context, deployment *metav1.PartialObjectMetadata) ([]client.Object, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(replicaSet.GroupVersion().WithKind("ReplicaSetList"))
	if err := s.local.List(ctx, list, client.InNamespace(deployment.Namespace)); err != nil {
		return nil, fmt.Errorf("list ReplicaSets: %w", err)
	}
	var out []client.Object
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], deployment) {
			out = append(out, &list.Items[i])
		}
	}
	return out, nil
}

// Decide counts.
func (*steps) Decide(workload *metav1.PartialObjectMetadata, s seen, now time.Time) plan {
	return decide(workload, s.pods, now)
}

// Act writes the number, on the workload that was looked at.
func (s *steps) Act(ctx context.Context, workload *metav1.PartialObjectMetadata, p plan) error {
	if !p.write {
		return nil
	}
	next := workload.DeepCopy()
	if p.answer == "" {
		delete(next.Annotations, appsv1alpha1.AnnotationUnschedulable)
	} else {
		metav1.SetMetaDataAnnotation(&next.ObjectMeta, appsv1alpha1.AnnotationUnschedulable, p.answer)
	}
	lock := client.MergeFromWithOptions(workload.DeepCopy(), client.MergeFromWithOptimisticLock{})
	if err := s.local.Patch(ctx, next, lock); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write number of unschedulable pods: %w", err)
	}
	return nil
}

// Report has nothing to say: the answer is no status.
func (*steps) Report(*metav1.PartialObjectMetadata, seen, plan, error) {}
