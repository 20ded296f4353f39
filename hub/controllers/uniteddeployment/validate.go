package uniteddeployment

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/hub/allocate"
	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
)

// Validate lists what is wrong with a UnitedDeployment that is applied on the hub (WL-5.3); old is nil for a new one. A
// CloneSet template is not judged here: what is wrong with it is said once the object is there.
func Validate(old, ud *kruisev1alpha1.UnitedDeployment) field.ErrorList {
	fed, spec := in(ud), field.NewPath("spec")
	if ud.Spec.Selector == nil {
		return field.ErrorList{field.Required(spec.Child("selector"), "the pods of the subsets are found by it; give labels that the template has")}
	}
	errs := slices.DeleteFunc(federateddeployment.Validate(fed), func(e *field.Error) bool {
		return strings.HasPrefix(e.Field, "spec.template.cloneSetTemplate")
	})
	if len(errs) == 0 {
		errs = append(errs, addsUp(ud, spec)...)
	}
	if old != nil {
		errs = append(errs, unchanged(old, ud, spec)...)
	}
	return errs
}

// addsUp lets the allocator of the spec alone say whether the numbers contradict each other.
func addsUp(ud *kruisev1alpha1.UnitedDeployment, spec *field.Path) field.ErrorList {
	r := allocate.Request{Replicas: ud.Spec.Replicas}
	for _, s := range ud.Spec.Topology.Subsets {
		r.Subsets = append(r.Subsets, allocate.Subset{Name: s.Name, Replicas: s.Replicas, Min: s.MinReplicas, Max: s.MaxReplicas})
	}
	_, err := allocate.Replicas(r)
	if err == nil {
		return nil
	}
	at, why, found := strings.Cut(err.Error(), ": ")
	if !found {
		at, why = spec.Child("topology", "subsets").String(), err.Error()
	}
	return field.ErrorList{{Type: field.ErrorTypeForbidden, Field: at, Detail: why}}
}

// unchanged lists changes that members could not follow.
func unchanged(old, ud *kruisev1alpha1.UnitedDeployment, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, s := range ud.Spec.Topology.Subsets {
		was := slices.IndexFunc(old.Spec.Topology.Subsets, func(o kruisev1alpha1.Subset) bool { return o.Name == s.Name })
		if was < 0 {
			continue
		}
		at, remedy := spec.Child("topology", "subsets").Index(i), "is immutable; add a subset of another name and remove this one"
		if before := old.Spec.Topology.Subsets[was]; !reflect.DeepEqual(before.NodeSelectorTerm, s.NodeSelectorTerm) {
			errs = append(errs, field.Forbidden(at.Child("nodeSelectorTerm"), remedy))
		} else if !slices.EqualFunc(before.Tolerations, s.Tolerations, func(a, b corev1.Toleration) bool { return reflect.DeepEqual(a, b) }) {
			errs = append(errs, field.Forbidden(at.Child("tolerations"), remedy))
		}
	}
	return append(errs, statefulUnchanged(old.Spec.Template, ud.Spec.Template, spec.Child("template"))...)
}

// statefulUnchanged compares what is not changeable in the spec of a stateful template.
func statefulUnchanged(old, now kruisev1alpha1.SubsetTemplate, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if a, b := old.StatefulSetTemplate, now.StatefulSetTemplate; a != nil && b != nil {
		a, b = a.DeepCopy(), b.DeepCopy()
		a.Spec.Template, a.Spec.UpdateStrategy, a.Spec.Replicas = b.Spec.Template, b.Spec.UpdateStrategy, b.Spec.Replicas
		errs = append(errs, same(a.Spec, b.Spec, at.Child("statefulSetTemplate", "spec"))...)
	}
	if a, b := old.AdvancedStatefulSetTemplate, now.AdvancedStatefulSetTemplate; a != nil && b != nil {
		a, b = a.DeepCopy(), b.DeepCopy()
		a.Spec.Template, a.Spec.UpdateStrategy, a.Spec.Replicas = b.Spec.Template, b.Spec.UpdateStrategy, b.Spec.Replicas
		errs = append(errs, same(a.Spec, b.Spec, at.Child("advancedStatefulSetTemplate", "spec"))...)
	}
	return errs
}

// same names the fields that differ.
func same[T any](a, b T, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			continue
		}
		name, _, _ := strings.Cut(x.Type().Field(i).Tag.Get("json"), ",")
		errs = append(errs, field.Forbidden(at.Child(name), fmt.Sprintf(
			"is immutable, only template and updateStrategy may change; change it back, or create a %s of another name", kind.Kind)))
	}
	return errs
}
