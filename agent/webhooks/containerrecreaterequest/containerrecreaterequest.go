// Package containerrecreaterequest is admission for ContainerRecreateRequests: it judges them and fills in what the daemon of
// the pod's node needs, so that the daemon has to read neither pods nor nodes. It reads the pod and its node and writes nothing.
package containerrecreaterequest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Concerns keeps away updates of what may change: finalizers, and status, which is not even asked about.
const Concerns = "oldObject == null || object.spec != oldObject.spec || " +
	"object.metadata.?labels.orValue({}) != oldObject.metadata.?labels.orValue({}) || " +
	"object.metadata.?annotations.orValue({}) != oldObject.metadata.?annotations.orValue({})"

const (
	virtualLabel, virtual = "type", "virtual-kubelet"
	// sidecarsEnded is the condition of a pod whose sidecars were ended, which may have to start again. // CRR-6
	sidecarsEnded corev1.PodConditionType = "SidecarTerminated"
)

// Handler judges requests and fills them in. It reads with api, which must not lag behind: the pod may be new.
func Handler(api client.Reader) http.Handler {
	return webhook.Defaulter(func(ctx context.Context, r webhook.Request[*kruise.ContainerRecreateRequest]) error {
		if r.Old != nil {
			return forbidden(r.New.Name, ValidateUpdate(r.Old, r.New))
		}
		if r.New.Namespace == "" {
			r.New.Namespace = r.Namespace
		}
		if err := refusal(Validate(r.New)); err != nil {
			return err
		}
		seen, err := find(ctx, api, r.New)
		if err != nil {
			return err
		}
		return refusal(Fill(r.New, seen))
	})
}

// Facts are the pod of a request and its node; nil is what is not there.
type Facts struct {
	Pod  *corev1.Pod
	Node *corev1.Node
}

func find(ctx context.Context, api client.Reader, r *kruise.ContainerRecreateRequest) (f Facts, err error) {
	pod := &corev1.Pod{}
	if err := api.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.Spec.PodName}, pod); err != nil {
		return f, missing(err, "get pod %s", r.Spec.PodName)
	}
	f.Pod = pod
	if pod.Spec.NodeName == "" {
		return f, nil
	}
	node := &corev1.Node{}
	if err := api.Get(ctx, client.ObjectKey{Name: pod.Spec.NodeName}, node); err != nil {
		return f, missing(err, "get node %s", pod.Spec.NodeName)
	}
	f.Node = node
	return f, nil
}

// missing is no error: that there is no such object is judged with the rest.
func missing(err error, format string, args ...any) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

func refusal(problems field.ErrorList) error { // NP-8
	if len(problems) == 0 {
		return nil
	}
	return webhook.BadRequest("%v", problems.ToAggregate())
}

func forbidden(name string, problems field.ErrorList) error {
	if len(problems) == 0 {
		return nil
	}
	kind := schema.GroupResource{Group: kruise.SchemeGroupVersion.Group, Resource: "containerrecreaterequests"}
	return apierrors.NewForbidden(kind, name, errors.New(problems.ToAggregate().Error()))
}

// ValidateUpdate lists what changed and may not. // CRR-1
func ValidateUpdate(old, r *kruise.ContainerRecreateRequest) (problems field.ErrorList) {
	if !equality.Semantic.DeepEqual(old.Spec, r.Spec) {
		problems = append(problems, field.Forbidden(field.NewPath("spec"), "it is fixed: make another request"))
	}
	for _, key := range []string{kruise.ContainerRecreateRequestPodUIDKey, kruise.ContainerRecreateRequestNodeNameKey} {
		if old.Labels[key] != r.Labels[key] {
			problems = append(problems, field.Forbidden(field.NewPath("metadata", "labels").Key(key), "it is fixed"))
		}
	}
	const since = kruise.ContainerRecreateRequestUnreadyAcquiredKey
	if before := old.Annotations[since]; before != "" && before != r.Annotations[since] {
		problems = append(problems, field.Forbidden(field.NewPath("metadata", "annotations").Key(since), "it is fixed: a daemon counts from there"))
	}
	return problems
}

// Validate lists what is wrong with a new request as it stands. // CRR-2
func Validate(r *kruise.ContainerRecreateRequest) (problems field.ErrorList) {
	spec := field.NewPath("spec")
	if r.Spec.PodName == "" {
		problems = append(problems, field.Required(spec.Child("podName"), "say whose containers are to be recreated"))
	}
	if len(r.Spec.Containers) == 0 {
		problems = append(problems, field.Required(spec.Child("containers"), "name at least one"))
	}
	if d := r.Spec.ActiveDeadlineSeconds; d != nil && *d < 3 {
		problems = append(problems, field.Invalid(spec.Child("activeDeadlineSeconds"), *d, "must be at least 3"))
	}
	names := map[string]bool{}
	for i := range r.Spec.Containers {
		c, at := &r.Spec.Containers[i], spec.Child("containers").Index(i)
		if names[c.Name] {
			problems = append(problems, field.Duplicate(at.Child("name"), c.Name))
		}
		names[c.Name] = true
		if c.PreStop != nil || len(c.Ports) > 0 || c.StatusContext != nil {
			problems = append(problems, field.Forbidden(at, "preStop, ports and statusContext are filled in by the system"))
		}
	}
	return append(problems, validateStrategy(r.Spec.Strategy, spec.Child("strategy"))...)
}

func validateStrategy(s *kruise.ContainerRecreateRequestStrategy, at *field.Path) (problems field.ErrorList) {
	if s == nil {
		return nil
	}
	if p := s.FailurePolicy; p != "" && p != kruise.ContainerRecreateRequestFailurePolicyFail && p != kruise.ContainerRecreateRequestFailurePolicyIgnore {
		problems = append(problems, field.NotSupported(at.Child("failurePolicy"), p,
			[]kruise.ContainerRecreateRequestFailurePolicyType{kruise.ContainerRecreateRequestFailurePolicyFail, kruise.ContainerRecreateRequestFailurePolicyIgnore}))
	}
	for name, seconds := range map[string]*int64{
		"terminationGracePeriodSeconds": s.TerminationGracePeriodSeconds, "unreadyGracePeriodSeconds": s.UnreadyGracePeriodSeconds,
	} {
		if seconds != nil && *seconds < 0 {
			problems = append(problems, field.Invalid(at.Child(name), *seconds, "must not be negative"))
		}
	}
	return problems
}

// Fill writes defaults and what the daemon needs into a valid new request, or lists why there is no container to recreate.
func Fill(r *kruise.ContainerRecreateRequest, seen Facts) field.ErrorList { // CRR-3, CRR-4, CRR-5
	if problem := unfit(r, seen); problem != nil {
		return field.ErrorList{problem}
	}
	pod := seen.Pod
	if r.Spec.Strategy == nil {
		r.Spec.Strategy = &kruise.ContainerRecreateRequestStrategy{}
	}
	if r.Spec.Strategy.FailurePolicy == "" {
		r.Spec.Strategy.FailurePolicy = kruise.ContainerRecreateRequestFailurePolicyFail
	}
	if r.Spec.Strategy.TerminationGracePeriodSeconds == nil {
		r.Spec.Strategy.TerminationGracePeriodSeconds = pod.Spec.TerminationGracePeriodSeconds
	}
	label(r, kruise.ContainerRecreateRequestActiveKey, "true")
	label(r, kruise.ContainerRecreateRequestNodeNameKey, pod.Spec.NodeName)
	label(r, kruise.ContainerRecreateRequestPodUIDKey, string(pod.UID))
	if seen.Node.Labels[virtualLabel] == virtual {
		label(r, virtualLabel, virtual)
	}
	var problems field.ErrorList
	for i := range r.Spec.Containers {
		if problem := fill(&r.Spec.Containers[i], pod); problem != "" {
			problems = append(problems, field.Invalid(field.NewPath("spec", "containers").Index(i).Child("name"), r.Spec.Containers[i].Name, problem))
		}
	}
	return problems
}

func label(r *kruise.ContainerRecreateRequest, key, value string) {
	if r.Labels == nil {
		r.Labels = map[string]string{}
	}
	r.Labels[key] = value
}

// unfit is why nothing can be recreated in the pod. // CRR-4, CRR-6
func unfit(r *kruise.ContainerRecreateRequest, seen Facts) *field.Error {
	at, pod := field.NewPath("spec", "podName"), seen.Pod
	switch {
	case pod == nil:
		return field.NotFound(at, r.Spec.PodName)
	case !active(pod) && lifecycle.Condition(pod, sidecarsEnded) == nil:
		return field.Invalid(at, r.Spec.PodName, fmt.Sprintf("the pod is not active: its phase is %s%s", pod.Status.Phase, going(pod)))
	case pod.Spec.NodeName == "":
		return field.Invalid(at, r.Spec.PodName, "the pod is not on a node yet")
	case seen.Node == nil:
		return field.Invalid(at, r.Spec.PodName, fmt.Sprintf("the pod's node %s is gone", pod.Spec.NodeName))
	}
	return nil
}

func active(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

func going(pod *corev1.Pod) string {
	if pod.DeletionTimestamp == nil {
		return ""
	}
	return " and it is being deleted"
}

// fill copies what the daemon needs of one container, or says why it cannot be recreated. // CRR-4, CRR-5
func fill(c *kruise.ContainerRecreateRequestContainer, pod *corev1.Pod) string {
	all := slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
	i := slices.IndexFunc(all, func(x corev1.Container) bool { return x.Name == c.Name })
	if i < 0 {
		return "the pod has no such container"
	}
	j := slices.IndexFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == c.Name })
	if j < 0 || pod.Status.ContainerStatuses[j].ContainerID == "" {
		return "it has not run yet, or is an init container: there is nothing to recreate"
	}
	status := pod.Status.ContainerStatuses[j]
	c.StatusContext = &kruise.ContainerRecreateRequestContainerContext{ContainerID: status.ContainerID, RestartCount: status.RestartCount}
	if hooks := all[i].Lifecycle; hooks != nil && hooks.PreStop != nil {
		c.PreStop = &kruise.ProbeHandler{Exec: hooks.PreStop.Exec, HTTPGet: hooks.PreStop.HTTPGet, TCPSocket: hooks.PreStop.TCPSocket}
		if c.PreStop.HTTPGet != nil {
			c.Ports = all[i].Ports
		}
	}
	return ""
}
