package statefulset

import (
	"errors"
	"fmt"
	"slices"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/ordinal"
)

// Default is a copy of the StatefulSet with what its user left out. // WL-2.1
func Default(set *kruise.StatefulSet, o Options) *kruise.StatefulSet {
	set = set.DeepCopy()
	spec := &set.Spec
	or(&spec.PodManagementPolicy, appsv1.OrderedReadyPodManagement)
	or(&spec.UpdateStrategy.Type, appsv1.RollingUpdateStatefulSetStrategyType)
	if spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType {
		fill(&spec.UpdateStrategy.RollingUpdate, kruise.RollingUpdateStatefulSetStrategy{})
		rolling := spec.UpdateStrategy.RollingUpdate
		fill(&rolling.Partition, 0)
		fill(&rolling.MaxUnavailable, intstr.FromInt32(1))
		or(&rolling.PodUpdatePolicy, kruise.RecreatePodUpdateStrategyType)
		fill(&rolling.MinReadySeconds, 0)
	}
	if o.AutoDeletePVC {
		fill(&spec.PersistentVolumeClaimRetentionPolicy, kruise.StatefulSetPersistentVolumeClaimRetentionPolicy{})
		or(&spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted, kruise.RetainPersistentVolumeClaimRetentionPolicyType)
		or(&spec.PersistentVolumeClaimRetentionPolicy.WhenScaled, kruise.RetainPersistentVolumeClaimRetentionPolicyType)
	}
	if o.AutoResizePVC {
		or(&spec.VolumeClaimUpdateStrategy.Type, kruise.OnPVCDeleteVolumeClaimUpdateStrategyType)
	}
	fill(&spec.Replicas, 1)
	fill(&spec.RevisionHistoryLimit, 10)
	return set
}

func fill[V any](field **V, value V) {
	if *field == nil {
		*field = &value
	}
}

func or[V comparable](field *V, value V) {
	var empty V
	if *field == empty {
		*field = value
	}
}

// Validate lists what is wrong with a StatefulSet that has its defaults, as far as the object alone tells. // WL-2.3
func Validate(set *kruise.StatefulSet) field.ErrorList {
	spec := field.NewPath("spec")
	var all field.ErrorList
	for _, wrong := range validation.IsDNS1123Label(set.Name) {
		all = append(all, field.Invalid(field.NewPath("metadata", "name"), set.Name, wrong))
	}
	switch set.Spec.PodManagementPolicy {
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
	default:
		all = append(all, field.NotSupported(spec.Child("podManagementPolicy"), set.Spec.PodManagementPolicy,
			[]appsv1.PodManagementPolicyType{appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement}))
	}
	if n := *set.Spec.Replicas; n < 0 {
		all = append(all, field.Invalid(spec.Child("replicas"), n, "must not be negative"))
	}
	for i, v := range set.Spec.ReserveOrdinals {
		if _, err := ordinal.ParseReserved([]intstr.IntOrString{v}); err != nil {
			all = append(all, field.Invalid(spec.Child("reserveOrdinals").Index(i), v.String(), err.Error()))
		}
	}
	if o := set.Spec.Ordinals; o != nil && o.Start < 0 {
		all = append(all, field.Invalid(spec.Child("ordinals", "start"), o.Start, "must not be negative"))
	}
	all = append(all, podset.ValidateSelector(set.Spec.Selector, &set.Spec.Template, spec)...)
	all = append(all, podset.ValidateTemplate(&set.Spec.Template, "StatefulSet", spec)...)
	if s := set.Spec.ScaleStrategy; s != nil && s.MaxUnavailable != nil {
		all = append(all, validateMaxUnavailable(set, s.MaxUnavailable, spec.Child("scaleStrategy", "maxUnavailable"))...)
	}
	all = append(all, validateRetention(set.Spec.PersistentVolumeClaimRetentionPolicy, spec.Child("persistentVolumeClaimRetentionPolicy"))...)
	return append(all, validateUpdateStrategy(set, spec.Child("updateStrategy"))...)
}

// validateMaxUnavailable: every percentage above zero passes, and an ordered set takes exactly the number 1. // WL-2.3
func validateMaxUnavailable(set *kruise.StatefulSet, v *intstr.IntOrString, path *field.Path) field.ErrorList {
	n, err := podset.Scaled(*v, 1, true)
	switch {
	case err != nil:
		return field.ErrorList{field.Invalid(path, v.String(), `must be a number such as 3 or a percentage such as "30%"`)}
	case n < 1:
		return field.ErrorList{field.Invalid(path, v.String(), "must be above 0")}
	case set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement && *v != intstr.FromInt32(1):
		return field.ErrorList{field.Invalid(path, v.String(), "must be the number 1 unless podManagementPolicy is Parallel")}
	}
	return nil
}

func validateRetention(policy *kruise.StatefulSetPersistentVolumeClaimRetentionPolicy, path *field.Path) field.ErrorList {
	if policy == nil {
		return nil
	}
	var all field.ErrorList
	known := []kruise.PersistentVolumeClaimRetentionPolicyType{
		kruise.RetainPersistentVolumeClaimRetentionPolicyType, kruise.DeletePersistentVolumeClaimRetentionPolicyType,
	}
	check := func(name string, v kruise.PersistentVolumeClaimRetentionPolicyType) {
		if v != "" && !slices.Contains(known, v) {
			all = append(all, field.NotSupported(path.Child(name), v, known))
		}
	}
	check("whenDeleted", policy.WhenDeleted)
	check("whenScaled", policy.WhenScaled)
	return all
}

func validateUpdateStrategy(set *kruise.StatefulSet, path *field.Path) field.ErrorList {
	update := set.Spec.UpdateStrategy
	switch update.Type {
	case appsv1.RollingUpdateStatefulSetStrategyType:
		return validateRolling(set, update.RollingUpdate, path.Child("rollingUpdate"))
	case appsv1.OnDeleteStatefulSetStrategyType:
		if update.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(path.Child("rollingUpdate"), "remove it: only type RollingUpdate has it")}
		}
		return nil
	default:
		return field.ErrorList{field.NotSupported(path.Child("type"), update.Type,
			[]appsv1.StatefulSetUpdateStrategyType{appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType})}
	}
}

func validateRolling(set *kruise.StatefulSet, r *kruise.RollingUpdateStatefulSetStrategy, path *field.Path) field.ErrorList {
	var all field.ErrorList
	if n := *r.Partition; n < 0 {
		all = append(all, field.Invalid(path.Child("partition"), n, "must not be negative"))
	}
	if n := *r.MinReadySeconds; n < 0 || n > kruise.MaxMinReadySeconds {
		all = append(all, field.Invalid(path.Child("minReadySeconds"), n, fmt.Sprintf("must be between 0 and %d", kruise.MaxMinReadySeconds)))
	}
	all = append(all, validateMaxUnavailable(set, r.MaxUnavailable, path.Child("maxUnavailable"))...)
	all = append(all, validatePolicy(set, r.PodUpdatePolicy, path.Child("podUpdatePolicy"))...)
	if u := r.UnorderedUpdate; u != nil {
		if set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
			all = append(all, field.Forbidden(path.Child("unorderedUpdate"), "needs podManagementPolicy Parallel"))
		}
		if err := u.PriorityStrategy.FieldsValidation(); err != nil {
			all = append(all, field.Invalid(path.Child("unorderedUpdate", "priorityStrategy"), u.PriorityStrategy, err.Error()))
		}
	}
	return all
}

// validatePolicy: nobody adds the gate that updates in place need. // WL-2.16.7
func validatePolicy(set *kruise.StatefulSet, policy kruise.PodUpdateStrategyType, path *field.Path) field.ErrorList {
	gates := set.Spec.Template.Spec.ReadinessGates
	switch policy {
	case kruise.RecreatePodUpdateStrategyType:
	case kruise.InPlaceIfPossiblePodUpdateStrategyType, kruise.InPlaceOnlyPodUpdateStrategyType:
		if !slices.ContainsFunc(gates, func(g corev1.PodReadinessGate) bool { return g.ConditionType == pub.InPlaceUpdateReady }) {
			return field.ErrorList{field.Invalid(path, policy,
				fmt.Sprintf("needs readiness gate %s in spec.template.spec.readinessGates; add it", pub.InPlaceUpdateReady))}
		}
	default:
		return field.ErrorList{field.NotSupported(path, policy, []kruise.PodUpdateStrategyType{
			kruise.RecreatePodUpdateStrategyType, kruise.InPlaceIfPossiblePodUpdateStrategyType, kruise.InPlaceOnlyPodUpdateStrategyType,
		})}
	}
	return nil
}

// ValidateUpdate lists what may not change that way between two StatefulSets that have their defaults. classes are the
// storage classes there are; they matter for claim templates that grow. // WL-2.3
func ValidateUpdate(old, set *kruise.StatefulSet, o Options, classes []storagev1.StorageClass) field.ErrorList {
	spec := field.NewPath("spec")
	var all field.ErrorList
	fixed := set.Spec.DeepCopy()
	from := &old.Spec
	fixed.Replicas, fixed.Template, fixed.UpdateStrategy = from.Replicas, from.Template, from.UpdateStrategy
	fixed.ScaleStrategy, fixed.ReserveOrdinals, fixed.Lifecycle = from.ScaleStrategy, from.ReserveOrdinals, from.Lifecycle
	fixed.RevisionHistoryLimit, fixed.Ordinals = from.RevisionHistoryLimit, from.Ordinals
	fixed.PersistentVolumeClaimRetentionPolicy = from.PersistentVolumeClaimRetentionPolicy
	fixed.VolumeClaimTemplates, fixed.VolumeClaimUpdateStrategy = from.VolumeClaimTemplates, from.VolumeClaimUpdateStrategy
	if !equality.Semantic.DeepEqual(fixed, from) {
		all = append(all, field.Forbidden(spec, "updates to statefulset spec for fields other than 'replicas', 'template', 'updateStrategy', 'scaleStrategy', "+
			"'reserveOrdinals', 'lifecycle', 'revisionHistoryLimit', 'ordinals', 'persistentVolumeClaimRetentionPolicy', "+
			"'volumeClaimTemplates' and 'volumeClaimUpdateStrategy' are forbidden"))
	}
	if o.AutoResizePVC && set.Spec.VolumeClaimUpdateStrategy.Type == kruise.OnPodRollingUpdateVolumeClaimUpdateStrategyType {
		all = append(all, validateClaims(from.VolumeClaimTemplates, set.Spec.VolumeClaimTemplates, classes, spec.Child("volumeClaimTemplates"))...)
	}
	r := set.Spec.UpdateStrategy.RollingUpdate
	if r == nil || r.PodUpdatePolicy != kruise.InPlaceOnlyPodUpdateStrategyType {
		return all
	}
	before := &corev1.PodTemplateSpec{Spec: from.Template.Spec}
	_, err := inplace.Diff(before, &corev1.PodTemplateSpec{Spec: set.Spec.Template.Spec}, "", inplace.Gates{})
	if no, ok := errors.AsType[*inplace.NotPossible](err); ok {
		all = append(all, field.Forbidden(spec.Child("template"), no.Error()+"; podUpdatePolicy InPlaceOnly lets only images change"))
	}
	return all
}

func validateClaims(old, claims []corev1.PersistentVolumeClaim, classes []storagev1.StorageClass, path *field.Path) field.ErrorList {
	if !slices.EqualFunc(old, claims, func(a, b corev1.PersistentVolumeClaim) bool { return a.Name == b.Name }) {
		return field.ErrorList{field.Forbidden(path, "their number and names are fixed with volumeClaimUpdateStrategy OnPodRollingUpdate")}
	}
	var all field.ErrorList
	for i := range claims {
		before, after := &old[i].Spec, &claims[i].Spec
		a, b := before.StorageClassName, after.StorageClassName
		switch {
		case a != nil && b != nil && *a != *b:
			all = append(all, field.Forbidden(path.Index(i).Child("spec", "storageClassName"), "claims that exist cannot change it"))
		case !slices.Equal(before.AccessModes, after.AccessModes):
			all = append(all, field.Forbidden(path.Index(i).Child("spec", "accessModes"), "claims that exist cannot change them"))
		case sameStorage(before.Resources, after.Resources):
		case fixedSize(after, classes):
			all = append(all, field.Forbidden(path.Index(i).Child("spec", "resources"), "the storage class does not allow it (allowVolumeExpansion is false)"))
		}
	}
	return all
}

func sameStorage(a, b corev1.VolumeResourceRequirements) bool {
	same := func(a, b corev1.ResourceList) bool {
		x, y := a[corev1.ResourceStorage], b[corev1.ResourceStorage]
		return x.Cmp(y) == 0
	}
	return same(a.Requests, b.Requests) && same(a.Limits, b.Limits)
}

// fixedSize says that the claim's class, or the newest default class, forbids that claims grow.
func fixedSize(claim *corev1.PersistentVolumeClaimSpec, classes []storagev1.StorageClass) bool {
	var class *storagev1.StorageClass
	for i := range classes {
		c := &classes[i]
		switch {
		case claim.StorageClassName != nil:
			if c.Name == *claim.StorageClassName {
				class = c
			}
		case c.Annotations["storageclass.kubernetes.io/is-default-class"] != "true":
		case class == nil || class.CreationTimestamp.Before(&c.CreationTimestamp):
			class = c
		}
	}
	return class != nil && class.AllowVolumeExpansion != nil && !*class.AllowVolumeExpansion
}
