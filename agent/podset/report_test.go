package podset

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func says(kind string, status metav1.ConditionStatus, reason, message string, at time.Time) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(at)}
}

func three(ready, reconciling, stalled metav1.ConditionStatus, reason, message string) []metav1.Condition {
	text := func(s metav1.ConditionStatus) string {
		if s == "True" {
			return message
		}
		return ""
	}
	return []metav1.Condition{
		says("Ready", ready, reason, message, noon), says("Reconciling", reconciling, reason, text(reconciling), noon), says("Stalled", stalled, reason, text(stalled), noon),
	}
}

func TestBoardSumsUp(t *testing.T) {
	forbidden := apierrors.NewForbidden(corev1.Resource("pods"), "web-1", errors.New("exceeded quota"))
	for name, tc := range map[string]struct {
		progress Progress
		failed   error
		want     []metav1.Condition
	}{
		"all is well":              {Settled, nil, three("True", "False", "False", "Settled", "1 of 1")},
		"it gets there":            {Moving, nil, three("False", "True", "False", "Progressing", "1 of 1")},
		"it does not":              {Stuck, nil, three("False", "False", "True", "PodsBlocked", "1 of 1")},
		"a write failed":           {Settled, errors.New("no answer"), three("False", "True", "False", "Progressing", "1 of 1; told")},
		"a write was refused":      {Moving, forbidden, three("False", "False", "True", "Refused", "1 of 1; told")},
		"a pod cannot be right":    {Moving, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), "x", nil), three("False", "False", "True", "Refused", "1 of 1; told")},
		"a name belongs to others": {Moving, apierrors.NewAlreadyExists(corev1.Resource("pods"), "x"), three("False", "False", "True", "Refused", "1 of 1; told")},
	} {
		t.Run(name, func(t *testing.T) {
			board := &Board{Now: noon}
			board.Sum(tc.progress, "1 of 1", tc.failed, "told")
			if d := cmp.Diff(tc.want, board.All); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBoardKeepsTimes(t *testing.T) {
	board := &Board{Now: noon}
	board.Wrong("spec.replicas: no")
	if d := cmp.Diff(three("False", "False", "True", "InvalidSpec", "spec.replicas: no"), board.All); d != "" {
		t.Error(d)
	}
	board.Now = noon.Add(time.Hour)
	board.Sum(Moving, "0 of 1", nil, "")
	want := []metav1.Condition{
		says("Ready", "False", "Progressing", "0 of 1", noon),
		says("Reconciling", "True", "Progressing", "0 of 1", board.Now), says("Stalled", "False", "Progressing", "", board.Now),
	}
	if d := cmp.Diff(want, board.All); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"Ready", "Stalled"}, []string{board.Told()[0].Type, board.Told()[1].Type}); d != "" || len(board.Told()) != 2 {
		t.Error(board.Told())
	}
}

// WL-1.15, WL-2.14
func TestBoardForgetsFailures(t *testing.T) {
	board := &Board{Now: noon, All: []metav1.Condition{says("Other", "True", "", "", noon)}}
	board.Failed("FailedScale", "no quota")
	if d := cmp.Diff([]metav1.Condition{says("Other", "True", "", "", noon), says("FailedScale", "True", "", "no quota", noon)}, board.All); d != "" {
		t.Error(d)
	}
	board.Failed("FailedScale", "")
	if d := cmp.Diff([]metav1.Condition{says("Other", "True", "", "", noon)}, board.All); d != "" {
		t.Error(d)
	}
}

// WL-1.2, WL-2.3
func TestSelectorsAndTemplates(t *testing.T) {
	spec := field.NewPath("spec")
	template := func(labels map[string]string) *corev1.PodTemplateSpec {
		return &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}}}
	}
	web := map[string]string{"app": "web"}
	for name, tc := range map[string]struct {
		selector *metav1.LabelSelector
		labels   map[string]string
		wrong    string
	}{
		"it fits":              {&metav1.LabelSelector{MatchLabels: web}, web, ""},
		"expressions fit":      {&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Exists"}}}, web, ""},
		"none":                 {nil, web, "spec.selector"},
		"an empty one":         {&metav1.LabelSelector{}, web, "spec.selector"},
		"one that is not true": {&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Is"}}}, web, "spec.selector"},
		"other pods":           {&metav1.LabelSelector{MatchLabels: web}, nil, "spec.template.metadata.labels"},
	} {
		t.Run(name, func(t *testing.T) {
			errs := ValidateSelector(tc.selector, template(tc.labels), spec)
			if (len(errs) == 0) != (tc.wrong == "") || len(errs) > 0 && errs[0].Field != tc.wrong {
				t.Error(errs)
			}
		})
	}
	bad := template(nil)
	bad.Spec.Containers, bad.Spec.RestartPolicy, bad.Spec.ActiveDeadlineSeconds = nil, corev1.RestartPolicyNever, new(int64(1))
	var fields []string
	for _, err := range ValidateTemplate(bad, "CloneSet", spec) {
		fields = append(fields, err.Field)
	}
	if d := cmp.Diff([]string{"spec.template.spec.containers", "spec.template.spec.restartPolicy", "spec.template.spec.activeDeadlineSeconds"}, fields); d != "" {
		t.Error(d)
	}
	good := template(nil)
	good.Spec.RestartPolicy = corev1.RestartPolicyAlways
	if errs := ValidateTemplate(good, "CloneSet", spec); len(errs) != 0 {
		t.Error(errs)
	}
}
