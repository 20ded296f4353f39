package imagepulljob

import (
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/agent/imageref"
)

// Numbers that a user need not give. // IP-1
const (
	timeoutSeconds = 600
	backoffLimit   = 3
)

// Default is a copy of the job with what its user left out. // IP-1
func Default(job *kruise.ImagePullJob) *kruise.ImagePullJob {
	job = job.DeepCopy()
	DefaultTemplate(&job.Spec.ImagePullJobTemplate)
	if job.Spec.ImagePullPolicy == "" {
		job.Spec.ImagePullPolicy = kruise.PullIfNotPresent
	}
	return job
}

// DefaultTemplate fills in what jobs and lists of jobs have in common. // IP-1, IL-1
func DefaultTemplate(t *kruise.ImagePullJobTemplate) {
	if t.CompletionPolicy.Type == "" {
		t.CompletionPolicy.Type = kruise.Always
	}
	if t.PullPolicy == nil {
		t.PullPolicy = &kruise.PullPolicy{}
	}
	if t.PullPolicy.TimeoutSeconds == nil {
		t.PullPolicy.TimeoutSeconds = new(int32(timeoutSeconds))
	}
	if t.PullPolicy.BackoffLimit == nil {
		t.PullPolicy.BackoffLimit = new(int32(backoffLimit))
	}
}

// Validate lists what is wrong with a job that has its defaults. // IP-2
func Validate(job *kruise.ImagePullJob) field.ErrorList {
	spec := field.NewPath("spec")
	all := ValidateImage(job.Spec.Image, spec.Child("image"))
	all = append(all, ValidateTemplate(&job.Spec.ImagePullJobTemplate, spec)...)
	policy, pull := job.Spec.CompletionPolicy, job.Spec.PullPolicy
	if policy.Type == kruise.Always && policy.ActiveDeadlineSeconds != nil && *policy.ActiveDeadlineSeconds < int64(*pull.TimeoutSeconds) {
		all = append(all, field.Invalid(spec.Child("completionPolicy", "activeDeadlineSeconds"), *policy.ActiveDeadlineSeconds,
			"must not be less than spec.pullPolicy.timeoutSeconds: no pull could take as long as it may"))
	}
	return all
}

// ValidateImage says whether a reference can be read. // IP-2
func ValidateImage(image string, path *field.Path) field.ErrorList {
	if image == "" {
		return field.ErrorList{field.Required(path, "say which image to pull")}
	}
	if _, _, err := imageref.Parse(image); err != nil {
		return field.ErrorList{field.Invalid(path, image, err.Error())}
	}
	return nil
}

// ValidateTemplate lists what is wrong with what jobs and lists of jobs have in common. // IP-2, IL-2
func ValidateTemplate(t *kruise.ImagePullJobTemplate, spec *field.Path) (all field.ErrorList) {
	if t.Selector != nil && t.PodSelector != nil {
		all = append(all, field.Forbidden(spec.Child("podSelector"), "choose nodes by selector or by podSelector, not by both"))
	}
	if t.Selector != nil {
		all = append(all, validateSelector(t.Selector, spec.Child("selector"))...)
	}
	if t.PodSelector != nil {
		all = append(all, readable(&t.PodSelector.LabelSelector, spec.Child("podSelector"))...)
	}
	return append(all, validateCompletion(&t.CompletionPolicy, spec.Child("completionPolicy"))...)
}

func validateSelector(s *kruise.ImagePullJobNodeSelector, path *field.Path) (all field.ErrorList) {
	if len(s.Names) > 0 && len(s.MatchLabels)+len(s.MatchExpressions) > 0 {
		all = append(all, field.Forbidden(path, "choose nodes by names or by labels, not by both"))
	}
	known := map[string]bool{}
	for i, name := range s.Names {
		if known[name] {
			all = append(all, field.Duplicate(path.Child("names").Index(i), name))
		}
		known[name] = true
	}
	return append(all, readable(&s.LabelSelector, path)...)
}

func readable(s *metav1.LabelSelector, path *field.Path) field.ErrorList {
	if _, err := metav1.LabelSelectorAsSelector(s); err != nil {
		return field.ErrorList{field.Invalid(path, metav1.FormatLabelSelector(s), err.Error())}
	}
	return nil
}

func validateCompletion(p *kruise.CompletionPolicy, path *field.Path) (all field.ErrorList) {
	switch p.Type {
	case kruise.Always:
	case kruise.Never:
		if p.ActiveDeadlineSeconds != nil {
			all = append(all, field.Forbidden(path.Child("activeDeadlineSeconds"), "a job that never completes has no deadline"))
		}
		if p.TTLSecondsAfterFinished != nil {
			all = append(all, field.Forbidden(path.Child("ttlSecondsAfterFinished"), "a job that never completes is never cleaned up"))
		}
	default:
		all = append(all, field.NotSupported(path.Child("type"), p.Type, []kruise.CompletionPolicyType{kruise.Always, kruise.Never}))
	}
	return all
}
