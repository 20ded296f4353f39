package daemonset

import (
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// Default is a copy of the DaemonSet with what its user left out. // WL-3.1
func Default(ds *kruise.DaemonSet) *kruise.DaemonSet {
	ds = ds.DeepCopy()
	fill(&ds.Spec.BurstReplicas, intstr.FromInt32(250))
	fill(&ds.Spec.RevisionHistoryLimit, 10)
	update := &ds.Spec.UpdateStrategy
	if update.Type == "" {
		update.Type = kruise.RollingUpdateDaemonSetStrategyType
	}
	if update.Type == kruise.RollingUpdateDaemonSetStrategyType {
		fill(&update.RollingUpdate, kruise.RollingUpdateDaemonSet{})
		defaultRolling(update.RollingUpdate)
	}
	return ds
}

func defaultRolling(r *kruise.RollingUpdateDaemonSet) {
	switch r.Type {
	case kruise.DeprecatedSurgingRollingUpdateType: // WL-3.12.1
		fill(&r.MaxSurge, intstr.FromInt32(1))
		fill(&r.MaxUnavailable, intstr.FromInt32(0))
		r.Type = kruise.StandardRollingUpdateType
	case "":
		r.Type = kruise.StandardRollingUpdateType
	}
	if r.MaxUnavailable == nil && r.MaxSurge == nil {
		fill(&r.MaxUnavailable, intstr.FromInt32(1))
		fill(&r.MaxSurge, intstr.FromInt32(0))
	}
}

func fill[V any](to **V, value V) {
	if *to == nil {
		*to = &value
	}
}

// Validate lists what is wrong with a DaemonSet that has its defaults, as far as the object alone tells; old is nil when it
// is new. What a pod template needs beyond its being a daemon's is not looked at. // WL-3.1
func Validate(old, ds *kruise.DaemonSet) field.ErrorList {
	spec := field.NewPath("spec")
	all := validateSelector(ds, spec)
	all = append(all, validateTemplate(&ds.Spec.Template, spec)...)
	all = append(all, notNegative(ds.Spec.MinReadySeconds, spec.Child("minReadySeconds"))...)
	if limit := ds.Spec.RevisionHistoryLimit; limit != nil {
		all = append(all, notNegative(*limit, spec.Child("revisionHistoryLimit"))...)
	}
	_, errs := number(ds.Spec.BurstReplicas, spec.Child("burstReplicas"))
	all = append(all, errs...)
	if l := ds.Spec.Lifecycle; l != nil && l.InPlaceUpdate != nil {
		all = append(all, field.Forbidden(spec.Child("lifecycle", "inPlaceUpdate"), "remove it: a DaemonSet knows the preDelete hook only"))
	}
	all = append(all, validateUpdate(&ds.Spec.UpdateStrategy, spec.Child("updateStrategy"))...)
	if old != nil && !equality.Semantic.DeepEqual(old.Spec.Selector, ds.Spec.Selector) {
		all = append(all, field.Forbidden(spec, "only template, updateStrategy, lifecycle, burstReplicas, minReadySeconds and revisionHistoryLimit may change"))
	}
	return all
}

func validateSelector(ds *kruise.DaemonSet, spec *field.Path) field.ErrorList {
	path := spec.Child("selector")
	if selectsAll(ds) {
		return field.ErrorList{field.Invalid(path, ds.Spec.Selector, "must not be empty; set matchLabels to labels that the template has")}
	}
	match, err := asSelector(ds.Spec.Selector, path.String())
	if err != nil {
		return field.ErrorList{field.Invalid(path, ds.Spec.Selector, err.Error())}
	}
	return podset.Matches(match, &ds.Spec.Template, spec)
}

// selectsAll: a selector without terms, which a DaemonSet does not act on. // WL-3.3
func selectsAll(ds *kruise.DaemonSet) bool {
	s := ds.Spec.Selector
	return s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0
}

func asSelector(s *metav1.LabelSelector, path string) (labels.Selector, error) {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return selector, nil
}

func validateTemplate(template *corev1.PodTemplateSpec, spec *field.Path) field.ErrorList {
	all, path := podset.ValidateTemplate(template, "DaemonSet", spec), spec.Child("template", "spec")
	for i, v := range template.Spec.Volumes {
		if v.GCEPersistentDisk != nil && !v.GCEPersistentDisk.ReadOnly {
			all = append(all, field.Invalid(path.Child("volumes").Index(i).Child("gcePersistentDisk", "readOnly"), false,
				"must be true: many pods share the disk"))
		}
	}
	if _, err := placementOf(template); err != nil {
		all = append(all, field.Invalid(path.Child("affinity", "nodeAffinity"), "", err.Error()))
	}
	return all
}

func validateUpdate(update *kruise.DaemonSetUpdateStrategy, path *field.Path) field.ErrorList {
	switch update.Type {
	case kruise.OnDeleteDaemonSetStrategyType:
		return nil
	case kruise.RollingUpdateDaemonSetStrategyType:
	default:
		return field.ErrorList{field.NotSupported(path.Child("type"), update.Type,
			[]kruise.DaemonSetUpdateStrategyType{kruise.OnDeleteDaemonSetStrategyType, kruise.RollingUpdateDaemonSetStrategyType})}
	}
	if update.RollingUpdate == nil {
		return field.ErrorList{field.Required(path.Child("rollingUpdate"), "type RollingUpdate needs it")}
	}
	return validateRolling(update.RollingUpdate, path.Child("rollingUpdate"))
}

func validateRolling(r *kruise.RollingUpdateDaemonSet, path *field.Path) field.ErrorList {
	down, all := share(r.MaxUnavailable, path.Child("maxUnavailable"))
	surge, errs := share(r.MaxSurge, path.Child("maxSurge"))
	all = append(all, errs...)
	switch { // WL-3.12.2
	case len(all) > 0:
	case down == 0 && surge == 0:
		all = append(all, field.Required(path.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0, or nothing could ever be updated"))
	case down > 0 && surge > 0:
		all = append(all, field.Invalid(path.Child("maxSurge"), r.MaxSurge, "must be 0 when maxUnavailable is not"))
	}
	switch r.Type {
	case "", kruise.StandardRollingUpdateType:
	case kruise.InplaceRollingUpdateType:
		if surge != 0 {
			all = append(all, field.Invalid(path.Child("maxSurge"), r.MaxSurge, "must be 0 with type InPlaceIfPossible"))
		}
	case kruise.DeprecatedSurgingRollingUpdateType:
		if down != 0 {
			all = append(all, field.Invalid(path.Child("maxUnavailable"), r.MaxUnavailable, "must be 0 with type Surging"))
		}
	default:
		all = append(all, field.NotSupported(path.Child("rollingUpdateType"), r.Type,
			[]kruise.RollingUpdateType{kruise.StandardRollingUpdateType, kruise.InplaceRollingUpdateType, kruise.DeprecatedSurgingRollingUpdateType}))
	}
	if r.Partition != nil {
		all = append(all, notNegative(*r.Partition, path.Child("partition"))...)
	}
	if r.Selector != nil {
		if _, err := asSelector(r.Selector, "it"); err != nil {
			all = append(all, field.Invalid(path.Child("selector"), r.Selector, err.Error()))
		}
	}
	return all
}

func notNegative(n int32, path *field.Path) field.ErrorList {
	if n < 0 {
		return field.ErrorList{field.Invalid(path, n, "must not be negative")}
	}
	return nil
}

// share is a number, or a percentage up to 100%.
func share(v *intstr.IntOrString, path *field.Path) (int, field.ErrorList) {
	n, errs := number(v, path)
	if len(errs) == 0 && n > 100 && v.Type == intstr.String {
		errs = field.ErrorList{field.Invalid(path, v, "must not be above 100%")}
	}
	return n, errs
}

// number is how many of a hundred nodes are meant; nil is 0.
func number(v *intstr.IntOrString, path *field.Path) (int, field.ErrorList) {
	if v == nil {
		return 0, nil
	}
	n, err := podset.Scaled(*v, 100, true)
	switch {
	case err != nil:
		return 0, field.ErrorList{field.Invalid(path, v, `must be a number such as 3 or a percentage such as "30%"`)}
	case n < 0:
		return 0, field.ErrorList{field.Invalid(path, v, "must not be negative")}
	default:
		return n, nil
	}
}
