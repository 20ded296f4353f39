package broadcastjob

import (
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Labels that the pods of a job carry. // BJ-8
const (
	NameLabel = "broadcastjob-name"
	UIDLabel  = "broadcastjob-controller-uid"
)

// unlimited is as many pods at a time as there are nodes. // BJ-1
const unlimited = 1<<31 - 1

// Default is a copy of the job with what its user left out. An empty restart policy becomes one that a job may have. // BJ-1
func Default(job *kruise.BroadcastJob) *kruise.BroadcastJob {
	job = job.DeepCopy()
	spec := &job.Spec
	if spec.CompletionPolicy.Type == "" {
		spec.CompletionPolicy.Type = kruise.Always
	}
	if spec.Parallelism == nil {
		spec.Parallelism = new(intstr.FromInt32(unlimited))
	}
	if spec.FailurePolicy.Type == "" {
		spec.FailurePolicy.Type = kruise.FailurePolicyTypeFailFast
	}
	if spec.Template.Spec.RestartPolicy == "" {
		spec.Template.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	}
	return job
}

// Validate lists what is wrong with a job that has its defaults, as far as the object alone tells. What a pod template needs
// beyond its being a job's is not looked at. // BJ-2
func Validate(job *kruise.BroadcastJob) field.ErrorList {
	all := impossible(job)
	labels := field.NewPath("spec", "template", "metadata", "labels")
	for _, key := range []string{NameLabel, UIDLabel} {
		if value, set := job.Spec.Template.Labels[key]; set {
			all = append(all, field.Invalid(labels.Key(key), value, "remove it: the job sets it on its pods"))
		}
	}
	policy, path := job.Spec.CompletionPolicy, field.NewPath("spec", "completionPolicy")
	if policy.Type == kruise.Never && policy.TTLSecondsAfterFinished != nil {
		all = append(all, field.Forbidden(path.Child("ttlSecondsAfterFinished"), "remove it: a job of type Never does not finish"))
	}
	if policy.Type == kruise.Never && policy.ActiveDeadlineSeconds != nil {
		all = append(all, field.Forbidden(path.Child("activeDeadlineSeconds"), "remove it: a job of type Never does not finish"))
	}
	return all
}

// impossible is what nobody could carry out, whoever let it in.
func impossible(job *kruise.BroadcastJob) (all field.ErrorList) {
	spec := field.NewPath("spec")
	pods := spec.Child("template", "spec")
	if len(job.Spec.Template.Spec.Containers) == 0 {
		all = append(all, field.Required(pods.Child("containers"), "a pod needs at least one container"))
	}
	ends := []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}
	if p := job.Spec.Template.Spec.RestartPolicy; p != ends[0] && p != ends[1] {
		all = append(all, field.NotSupported(pods.Child("restartPolicy"), p, ends))
	}
	if _, err := placeOf(&job.Spec.Template); err != nil {
		all = append(all, field.Invalid(pods.Child("affinity", "nodeAffinity"), "", err.Error()))
	}
	if n, err := width(job, 100); err != nil || n < 0 {
		all = append(all, field.Invalid(spec.Child("parallelism"), job.Spec.Parallelism, `must be a number such as 3 or a percentage such as "30%"`))
	}
	return append(all, unknown(job, spec)...)
}

func unknown(job *kruise.BroadcastJob, spec *field.Path) (all field.ErrorList) {
	switch t := job.Spec.CompletionPolicy.Type; t {
	case kruise.Always, kruise.Never:
	default:
		all = append(all, field.NotSupported(spec.Child("completionPolicy", "type"), t, []kruise.CompletionPolicyType{kruise.Always, kruise.Never}))
	}
	switch t := job.Spec.FailurePolicy.Type; t {
	case kruise.FailurePolicyTypeContinue, kruise.FailurePolicyTypeFailFast, kruise.FailurePolicyTypePause:
	default:
		all = append(all, field.NotSupported(spec.Child("failurePolicy", "type"), t,
			[]kruise.FailurePolicyType{kruise.FailurePolicyTypeContinue, kruise.FailurePolicyTypeFailFast, kruise.FailurePolicyTypePause}))
	}
	return all
}

// width is how many pods may be active at a time, for so many nodes. // BJ-7
func width(job *kruise.BroadcastJob, desired int) (int, error) {
	return intstr.GetScaledValueFromIntOrPercent(job.Spec.Parallelism, desired, true)
}
