// Package cloneset is admission for CloneSets: it writes defaults into them and refuses those that cannot be right. Rules
// that need only the object are those of the controller, which keeps to them also where no webhook is registered. It reads
// pods that are named to be deleted; it writes nothing.
package cloneset

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	controller "github.com/flotilla-project/flotilla/agent/controllers/cloneset"
	"github.com/flotilla-project/flotilla/agent/podset/defaults"
	"github.com/flotilla-project/flotilla/agent/webhooks/change"
	"github.com/flotilla-project/flotilla/agent/webhooks/protection"
	"github.com/flotilla-project/flotilla/agent/webhooks/template"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Defaulter is the handler that fills a CloneSet in; templates says whether also what Kubernetes would fill into its
// templates (gate TemplateNoDefaults).
func Defaulter(templates bool) http.Handler {
	return webhook.Defaulter(func(_ context.Context, r webhook.Request[*kruise.CloneSet]) error {
		Default(r.Old, r.New, templates)
		return nil
	})
}

// Default fills a CloneSet in. // WL-1.1
func Default(old, cs *kruise.CloneSet, templates bool) {
	*cs = *controller.Default(cs)
	if !templates { // WL-0.9
		return
	}
	if old == nil || !equality.Semantic.DeepEqual(old.Spec.Template, cs.Spec.Template) {
		defaults.Template(&cs.Spec.Template)
	}
	if old == nil || !equality.Semantic.DeepEqual(old.Spec.VolumeClaimTemplates, cs.Spec.VolumeClaimTemplates) {
		defaults.Claims(cs.Spec.VolumeClaimTemplates)
	}
}

// Validator is the handler that judges a CloneSet; guard is nil without gate ResourcesDeletionProtection.
func Validator(api client.Reader, judge template.Judge, guard *protection.Guard) http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*kruise.CloneSet]) error {
		if r.Operation == admissionv1.Delete {
			if r.Old == nil {
				return nil
			}
			return guard.Workload(r.Request, r.Old, r.Old.Spec.Replicas)
		}
		problems := Validate(r.Old, r.New)
		if r.Old == nil || !equality.Semantic.DeepEqual(r.Old.Spec.Template, r.New.Spec.Template) {
			pods := template.WithClaims(&r.New.Spec.Template, r.New.Spec.VolumeClaimTemplates)
			problems = template.Add(ctx, judge, r.Namespace, pods, problems)
		}
		marked, err := podsOf(ctx, api, r.Namespace, Marked(r.Old, r.New))
		if err != nil {
			return err
		}
		problems = append(problems, ValidateMarked(r.New, marked)...)
		return webhook.Invalid(kruise.SchemeGroupVersion.WithKind("CloneSet").GroupKind(), r.New.Name, problems)
	})
}

// Validate lists what is wrong with a CloneSet, as far as it and its predecessor tell. // WL-1.2
func Validate(old, cs *kruise.CloneSet) (problems field.ErrorList) {
	for _, text := range apivalidation.NameIsDNSSubdomain(cs.Name, false) {
		problems = append(problems, field.Invalid(field.NewPath("metadata", "name"), cs.Name, text))
	}
	filled := controller.Default(cs)
	problems = append(problems, controller.Validate(filled)...)
	problems = append(problems, twice(cs.Spec.ScaleStrategy.PodsToDelete)...)
	if old == nil {
		return problems
	}
	problems = append(problems, change.Fixed(&old.Spec, &cs.Spec, "replicas", "template", "scaleStrategy", "updateStrategy",
		"minReadySeconds", "lifecycle", "revisionHistoryLimit", "volumeClaimTemplates")...)
	if filled.Spec.UpdateStrategy.Type == kruise.InPlaceOnlyCloneSetUpdateStrategyType {
		problems = append(problems, inPlace(old, filled)...)
	}
	return problems
}

// inPlace compares with defaults on both sides: one that was stored before there were any has pods that have them. // WL-1.2
func inPlace(old, filled *kruise.CloneSet) field.ErrorList {
	before, after := old.Spec.Template.DeepCopy(), filled.Spec.Template.DeepCopy()
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	if exact := change.InPlaceOnly(&before.Spec, &after.Spec, change.Image); len(exact) == 0 {
		return nil
	}
	defaults.Template(before)
	defaults.Template(after)
	return change.InPlaceOnly(&before.Spec, &after.Spec, change.Image)
}

func toDelete() *field.Path { return field.NewPath("spec", "scaleStrategy", "podsToDelete") }

func twice(names []string) (problems field.ErrorList) {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			problems = append(problems, field.Duplicate(toDelete().Index(i), name))
		}
	}
	return problems
}

// Marked are the pods that a CloneSet names to be deleted, and did not before. // WL-1.2
func Marked(old, cs *kruise.CloneSet) (names []string) {
	for _, name := range cs.Spec.ScaleStrategy.PodsToDelete {
		if old == nil || !slices.Contains(old.Spec.ScaleStrategy.PodsToDelete, name) {
			names = append(names, name)
		}
	}
	return names
}

// podsOf reads pods from the API server: one that was made a moment ago may be named as well. There is nil for one that is
// not there.
func podsOf(ctx context.Context, api client.Reader, namespace string, names []string) (map[string]*corev1.Pod, error) {
	pods := map[string]*corev1.Pod{}
	for _, name := range names {
		pod := &corev1.Pod{}
		err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, pod)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("get pod %s: %w", name, err)
		}
		pods[name] = pod
		if err != nil {
			pods[name] = nil
		}
	}
	return pods, nil
}

// ValidateMarked lists which of the newly marked pods cannot be deleted for this CloneSet. // WL-1.2
func ValidateMarked(cs *kruise.CloneSet, marked map[string]*corev1.Pod) (problems field.ErrorList) {
	for i, name := range cs.Spec.ScaleStrategy.PodsToDelete {
		pod, isNew := marked[name]
		switch {
		case !isNew:
		case pod == nil:
			problems = append(problems, field.Invalid(toDelete().Index(i), name, "there is no such pod in the namespace"))
		case pod.DeletionTimestamp != nil:
			problems = append(problems, field.Invalid(toDelete().Index(i), name, "the pod is being deleted already"))
		case !metav1.IsControlledBy(pod, cs):
			problems = append(problems, field.Invalid(toDelete().Index(i), name, "the pod is not controlled by this CloneSet"))
		}
	}
	return problems
}
