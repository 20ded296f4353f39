// Package podprobemarker is admission for PodProbeMarkers. It reads and writes nothing.
package podprobemarker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// reserved are conditions that others write. // PM-1
var reserved = []string{
	string(corev1.PodScheduled), string(corev1.PodInitialized), string(corev1.PodReady), string(corev1.ContainersReady),
	string(pub.KruisePodReadyConditionType), string(pub.InPlaceUpdateReady),
}

// Validator is the handler that judges a PodProbeMarker. Without its gate (PodProbeMarkerGate) there are none. // PM-1
func Validator(on bool) http.Handler {
	return webhook.Validator(func(_ context.Context, r webhook.Request[*kruise.PodProbeMarker]) error {
		if !on {
			return apierrors.NewForbidden(kruise.SchemeGroupVersion.WithResource("podprobemarkers").GroupResource(), r.New.Name,
				errors.New("feature gate PodProbeMarkerGate is off"))
		}
		problems := Validate(r.New)
		if r.Old != nil && !equality.Semantic.DeepEqual(r.Old.Spec.Selector, r.New.Spec.Selector) {
			problems = append(problems, field.Forbidden(field.NewPath("spec", "selector"), "it is fixed: make another PodProbeMarker"))
		}
		if len(problems) == 0 {
			return nil
		}
		return webhook.BadRequest("%v", problems.ToAggregate()) // NP-8
	})
}

// Validate lists what is wrong. // PM-1
func Validate(m *kruise.PodProbeMarker) field.ErrorList {
	spec := field.NewPath("spec")
	problems := validateSelector(m.Spec.Selector, spec.Child("selector"))
	if len(m.Spec.Probes) == 0 {
		problems = append(problems, field.Required(spec.Child("probes"), "name at least one"))
	}
	names, conditions := map[string]bool{}, map[string]bool{}
	for i := range m.Spec.Probes {
		p, at := &m.Spec.Probes[i], spec.Child("probes").Index(i)
		if names[p.Name] {
			problems = append(problems, field.Duplicate(at.Child("name"), p.Name))
		}
		if t := p.PodConditionType; t != "" && conditions[t] {
			problems = append(problems, field.Duplicate(at.Child("podConditionType"), t))
		}
		names[p.Name], conditions[p.PodConditionType] = true, true
		problems = append(problems, validateProbe(p, at)...)
	}
	return problems
}

func validateSelector(s *metav1.LabelSelector, at *field.Path) field.ErrorList {
	if s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		return field.ErrorList{field.Required(at, "say which pods are probed")}
	}
	return metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{}, at)
}

func validateProbe(p *kruise.PodContainerProbe, at *field.Path) (problems field.ErrorList) {
	switch {
	case p.Name == "":
		problems = append(problems, field.Required(at.Child("name"), "give the probe a name"))
	case strings.Contains(p.Name, "#"):
		problems = append(problems, field.Invalid(at.Child("name"), p.Name, "must not contain #"))
	case slices.Contains(reserved, p.Name):
		problems = append(problems, field.Invalid(at.Child("name"), p.Name, "this name is taken by a condition of pods"))
	}
	if p.ContainerName == "" {
		problems = append(problems, field.Required(at.Child("containerName"), "say which container is probed"))
	}
	if p.PodConditionType == "" && len(p.MarkerPolicy) == 0 {
		problems = append(problems, field.Required(at.Child("podConditionType"), "nothing would come of the probe: set it or markerPolicy"))
	}
	if p.PodConditionType != "" {
		problems = append(problems, validateCondition(p.PodConditionType, at.Child("podConditionType"))...)
	}
	problems = append(problems, validateHandler(&p.Probe.Probe, at.Child("probe"))...)
	return append(problems, validatePolicies(p.MarkerPolicy, at.Child("markerPolicy"))...)
}

func validateCondition(t string, at *field.Path) (problems field.ErrorList) {
	if slices.Contains(reserved, t) {
		problems = append(problems, field.Invalid(at, t, "others write this condition"))
	}
	for _, text := range validation.IsQualifiedName(t) {
		problems = append(problems, field.Invalid(at, t, text))
	}
	return problems
}

// validateHandler wants exec or tcpSocket. // PM-2
func validateHandler(p *corev1.Probe, at *field.Path) (problems field.ErrorList) {
	handlers := 0
	if p.Exec != nil {
		handlers++
		if len(p.Exec.Command) == 0 {
			problems = append(problems, field.Required(at.Child("exec", "command"), "say what to run"))
		}
	}
	if p.TCPSocket != nil {
		handlers++
		problems = append(problems, validateSocket(p.TCPSocket, at.Child("tcpSocket"))...)
	}
	if p.HTTPGet != nil {
		handlers++
		problems = append(problems, field.Forbidden(at.Child("httpGet"), "not supported: use exec or tcpSocket"))
	}
	if handlers != 1 {
		problems = append(problems, field.Required(at, fmt.Sprintf("must have one of exec and tcpSocket, not %d", handlers)))
	}
	for name, n := range map[string]int32{
		"initialDelaySeconds": p.InitialDelaySeconds, "timeoutSeconds": p.TimeoutSeconds, "periodSeconds": p.PeriodSeconds,
		"successThreshold": p.SuccessThreshold, "failureThreshold": p.FailureThreshold,
	} {
		if n < 0 {
			problems = append(problems, field.Invalid(at.Child(name), n, "must not be negative"))
		}
	}
	return problems
}

func validateSocket(s *corev1.TCPSocketAction, at *field.Path) (problems field.ErrorList) {
	if s.Host != "" {
		problems = append(problems, field.Forbidden(at.Child("host"), "a pod is probed at its own address"))
	}
	texts := validation.IsValidPortNum(s.Port.IntValue())
	if s.Port.Type == intstr.String {
		texts = validation.IsValidPortName(s.Port.StrVal)
	}
	for _, text := range texts {
		problems = append(problems, field.Invalid(at.Child("port"), s.Port.String(), text))
	}
	return problems
}

// validatePolicies wants labels or annotations for each state. // PM-3
func validatePolicies(all []kruise.ProbeMarkerPolicy, at *field.Path) (problems field.ErrorList) {
	states := map[kruise.ProbeState]bool{}
	for i, p := range all {
		at := at.Index(i)
		if p.State != kruise.ProbeSucceeded && p.State != kruise.ProbeFailed {
			problems = append(problems, field.NotSupported(at.Child("state"), p.State, []kruise.ProbeState{kruise.ProbeSucceeded, kruise.ProbeFailed}))
		}
		if states[p.State] {
			problems = append(problems, field.Duplicate(at.Child("state"), p.State))
		}
		states[p.State] = true
		if len(p.Labels)+len(p.Annotations) == 0 {
			problems = append(problems, field.Required(at, "give labels or annotations"))
		}
		problems = append(problems, metav1validation.ValidateLabels(p.Labels, at.Child("labels"))...)
		problems = append(problems, apivalidation.ValidateAnnotations(p.Annotations, at.Child("annotations"))...)
	}
	return problems
}
