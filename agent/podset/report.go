package podset

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/pkg/condition"
)

// Reasons of our conditions.
const (
	ReasonSettled     = "Settled"     // everything is as the spec wants it
	ReasonProgressing = "Progressing" // it gets there by itself
	ReasonInvalidSpec = "InvalidSpec" // the spec cannot be right
	ReasonPodsBlocked = "PodsBlocked" // pods cannot become ready, or cannot be updated
	ReasonRefused     = "Refused"     // the API server refuses what we write
)

// Board is the conditions of a set while a round writes them. Each kind has a type of its own for the same five fields.
type Board struct {
	Now time.Time
	All []metav1.Condition
}

// Failed keeps a condition as long as the failure lasts; empty text is none. // WL-1.15, WL-2.14
func (b *Board) Failed(kind, text string) {
	if text == "" {
		b.All = slices.DeleteFunc(b.All, func(c metav1.Condition) bool { return c.Type == kind })
		return
	}
	b.set(kind, metav1.ConditionTrue, "", text)
}

// Wrong says that the spec cannot be right.
func (b *Board) Wrong(why string) { b.conclude(Stuck, ReasonInvalidSpec, why) }

// Sum sums up what was found, and what failed of what was done about it, in the words of the text.
func (b *Board) Sum(progress Progress, message string, failed error, text string) {
	switch {
	case failed != nil && refused(failed):
		b.conclude(Stuck, ReasonRefused, fmt.Sprintf("%s; %s", message, text))
	case failed != nil:
		b.conclude(Moving, ReasonProgressing, fmt.Sprintf("%s; %s", message, text))
	case progress == Settled:
		b.conclude(Settled, ReasonSettled, message)
	case progress == Stuck:
		b.conclude(Stuck, ReasonPodsBlocked, message)
	default:
		b.conclude(Moving, ReasonProgressing, message)
	}
}

func refused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsAlreadyExists(err)
}

// conclude sums up in our own conditions: ready, wait, or act.
func (b *Board) conclude(progress Progress, reason, message string) {
	say := func(kind string, holds bool) {
		text := ""
		if holds || kind == condition.Ready {
			text = message
		}
		b.set(kind, condition.Of(holds), reason, text)
	}
	say(condition.Ready, progress == Settled)
	say(condition.Reconciling, progress == Moving)
	say(condition.Stalled, progress == Stuck)
}

// set moves the transition time with the status only.
func (b *Board) set(kind string, status metav1.ConditionStatus, reason, message string) {
	want := metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(b.Now)}
	i := slices.IndexFunc(b.All, func(c metav1.Condition) bool { return c.Type == kind })
	if i < 0 {
		b.All = append(b.All, want)
		return
	}
	if b.All[i].Status == status {
		want.LastTransitionTime = b.All[i].LastTransitionTime
	}
	b.All[i] = want
}

// Told are the conditions whose transitions become events.
func (b *Board) Told() (told []metav1.Condition) {
	for _, c := range b.All {
		if c.Type == condition.Ready || c.Type == condition.Stalled {
			told = append(told, metav1.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message})
		}
	}
	return told
}

// ValidateSelector lists what is wrong with a selector that has to choose pods of the template. // WL-1.2, WL-2.3
func ValidateSelector(selector *metav1.LabelSelector, template *corev1.PodTemplateSpec, spec *field.Path) field.ErrorList {
	path := spec.Child("selector")
	if selector == nil || len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return field.ErrorList{field.Required(path, "set matchLabels to labels that the template has")}
	}
	match, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return field.ErrorList{field.Invalid(path, metav1.FormatLabelSelector(selector), err.Error())}
	}
	return Matches(match, template, spec)
}

// Matches lists that pods of the template would not be chosen.
func Matches(match labels.Selector, template *corev1.PodTemplateSpec, spec *field.Path) field.ErrorList {
	if match.Matches(labels.Set(template.Labels)) {
		return nil
	}
	return field.ErrorList{field.Invalid(spec.Child("template", "metadata", "labels"), template.Labels,
		fmt.Sprintf("must match the selector %q; add its labels to the template", match))}
}

// ValidateTemplate lists what is wrong with the template of pods that run until they are deleted. // WL-1.2, WL-2.3, WL-3.1
func ValidateTemplate(template *corev1.PodTemplateSpec, kind string, spec *field.Path) (all field.ErrorList) {
	path := spec.Child("template", "spec")
	if len(template.Spec.Containers) == 0 {
		all = append(all, field.Required(path.Child("containers"), "a pod needs at least one container"))
	}
	if p := template.Spec.RestartPolicy; p != "" && p != corev1.RestartPolicyAlways {
		all = append(all, field.NotSupported(path.Child("restartPolicy"), p, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if template.Spec.ActiveDeadlineSeconds != nil {
		all = append(all, field.Forbidden(path.Child("activeDeadlineSeconds"), "remove it: pods of a "+kind+" run until they are deleted"))
	}
	return all
}
