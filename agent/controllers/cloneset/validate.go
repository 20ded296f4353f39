package cloneset

import (
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// Default is a copy of the CloneSet with what its user left out. // WL-1.1
func Default(cs *kruise.CloneSet) *kruise.CloneSet {
	cs = cs.DeepCopy()
	spec, update := &cs.Spec, &cs.Spec.UpdateStrategy
	fill(&spec.Replicas, 1)
	fill(&spec.RevisionHistoryLimit, 10)
	if update.Type == "" {
		update.Type = kruise.RecreateCloneSetUpdateStrategyType
	}
	if update.Type != kruise.RecreateCloneSetUpdateStrategyType && update.InPlaceUpdateStrategy == nil {
		update.InPlaceUpdateStrategy = &inPlaceStrategy{}
	}
	fill(&update.Partition, intstr.FromInt32(0))
	fill(&update.MaxUnavailable, intstr.FromString(kruise.DefaultCloneSetMaxUnavailable))
	fill(&update.MaxSurge, intstr.FromInt32(0))
	return cs
}

func fill[V any](field **V, value V) {
	if *field == nil {
		*field = &value
	}
}

// Validate lists what is wrong with a CloneSet that has its defaults, as far as the object alone tells. // WL-1.2
func Validate(cs *kruise.CloneSet) field.ErrorList {
	spec := field.NewPath("spec")
	var all field.ErrorList
	if n := *cs.Spec.Replicas; n < 0 {
		all = append(all, field.Invalid(spec.Child("replicas"), n, "must not be negative"))
	}
	all = append(all, podset.ValidateSelector(cs.Spec.Selector, &cs.Spec.Template, spec)...)
	all = append(all, podset.ValidateTemplate(&cs.Spec.Template, "CloneSet", spec)...)
	if limit := cs.Spec.ScaleStrategy.MaxUnavailable; limit != nil {
		_, errs := scaled(limit, *cs.Spec.Replicas, spec.Child("scaleStrategy", "maxUnavailable"))
		all = append(all, errs...)
	}
	return append(all, validateUpdate(cs, spec.Child("updateStrategy"))...)
}

func validateUpdate(cs *kruise.CloneSet, path *field.Path) field.ErrorList {
	var all field.ErrorList
	update, replicas := cs.Spec.UpdateStrategy, *cs.Spec.Replicas
	switch update.Type {
	case kruise.RecreateCloneSetUpdateStrategyType, kruise.InPlaceIfPossibleCloneSetUpdateStrategyType, kruise.InPlaceOnlyCloneSetUpdateStrategyType:
	default:
		all = append(all, field.NotSupported(path.Child("type"), update.Type, []kruise.CloneSetUpdateStrategyType{
			kruise.RecreateCloneSetUpdateStrategyType, kruise.InPlaceIfPossibleCloneSetUpdateStrategyType, kruise.InPlaceOnlyCloneSetUpdateStrategyType,
		}))
	}
	if _, err := podset.PartitionCount(update.Partition, &replicas); err != nil {
		all = append(all, field.Invalid(path.Child("partition"), update.Partition.String(), `must be a number such as 3 or a percentage such as "30%"`))
	} else if update.Partition.Type == intstr.Int && update.Partition.IntVal < 0 {
		all = append(all, field.Invalid(path.Child("partition"), update.Partition.IntVal, "must not be negative"))
	}
	down, errs := scaled(update.MaxUnavailable, replicas, path.Child("maxUnavailable"))
	all = append(all, errs...)
	surge, errs := scaled(update.MaxSurge, replicas, path.Child("maxSurge"))
	all = append(all, errs...)
	switch {
	case surge > 0 && update.Type == kruise.InPlaceOnlyCloneSetUpdateStrategyType:
		all = append(all, field.Invalid(path.Child("maxSurge"), update.MaxSurge.String(), "must be 0 with type InPlaceOnly, which makes no pods"))
	case len(all) == 0 && replicas > 0 && surge < 1 && down < 1:
		all = append(all, field.Invalid(path.Child("maxUnavailable"), update.MaxUnavailable.String(), "must be above 0 when maxSurge is 0, or nothing could ever be updated"))
	}
	if err := update.PriorityStrategy.FieldsValidation(); err != nil {
		all = append(all, field.Invalid(path.Child("priorityStrategy"), update.PriorityStrategy, err.Error()))
	}
	if err := update.ScatterStrategy.FieldsValidation(); err != nil {
		all = append(all, field.Invalid(path.Child("scatterStrategy"), update.ScatterStrategy, err.Error()))
	}
	return all
}

// scaled is rounded up, as validation does it.
func scaled(v *intstr.IntOrString, replicas int32, path *field.Path) (int, field.ErrorList) {
	n, err := podset.Scaled(*v, int(replicas), true)
	switch {
	case err != nil:
		return 0, field.ErrorList{field.Invalid(path, v.String(), `must be a number such as 3 or a percentage such as "30%"`)}
	case n < 0:
		return 0, field.ErrorList{field.Invalid(path, v.String(), "must not be negative")}
	default:
		return n, nil
	}
}
