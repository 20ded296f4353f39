package uniteddeployment

import (
	"maps"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// in is the FederatedDeployment that a UnitedDeployment stands for.
func in(ud *kruisev1alpha1.UnitedDeployment) *v1alpha1.FederatedDeployment {
	ud = ud.DeepCopy()
	t := ud.Spec.Template
	fed := &v1alpha1.FederatedDeployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind},
		ObjectMeta: ud.ObjectMeta,
		Spec: v1alpha1.FederatedDeploymentSpec{
			Replicas: ud.Spec.Replicas, RevisionHistoryLimit: ud.Spec.RevisionHistoryLimit,
			Template: v1alpha1.SubsetTemplate{
				StatefulSetTemplate: t.StatefulSetTemplate, AdvancedStatefulSetTemplate: t.AdvancedStatefulSetTemplate,
				CloneSetTemplate: t.CloneSetTemplate, DeploymentTemplate: t.DeploymentTemplate,
			},
			UpdateStrategy: v1alpha1.UpdateStrategy{Type: v1alpha1.UpdateManual},
		},
		Status: remembered(ud.Status),
	}
	if ud.Spec.Selector != nil {
		fed.Spec.Selector = *ud.Spec.Selector
	}
	if m := ud.Spec.UpdateStrategy.ManualUpdate; m != nil {
		fed.Spec.UpdateStrategy.ManualUpdate = &v1alpha1.ManualUpdate{Partitions: m.Partitions}
	}
	for _, s := range ud.Spec.Topology.Subsets {
		fed.Spec.Topology.Subsets = append(fed.Spec.Topology.Subsets, subset(ud, s))
	}
	fed.Spec.Topology.ScheduleStrategy = strategy(ud.Spec.Topology.ScheduleStrategy)
	return fed
}

func subset(ud *kruisev1alpha1.UnitedDeployment, s kruisev1alpha1.Subset) v1alpha1.Subset {
	theirs := v1alpha1.Subset{
		Name: s.Name, Cluster: ud.Annotations[v1alpha1.AnnotationSubsetCluster+s.Name], Tolerations: s.Tolerations,
		Replicas: s.Replicas, MinReplicas: s.MinReplicas, MaxReplicas: s.MaxReplicas,
	}
	if len(s.NodeSelectorTerm.MatchExpressions)+len(s.NodeSelectorTerm.MatchFields) > 0 {
		theirs.NodeSelectorTerm = &s.NodeSelectorTerm
	}
	if len(s.Patch.Raw) > 0 {
		theirs.Patch = &s.Patch
	}
	return theirs
}

// strategy is Fixed where none is said (WL-5.2).
func strategy(s kruisev1alpha1.UnitedDeploymentScheduleStrategy) *v1alpha1.ScheduleStrategy {
	if !s.IsAdaptive() {
		return nil
	}
	adaptive := &v1alpha1.ScheduleStrategy{Type: v1alpha1.ScheduleAdaptive}
	if s.Adaptive != nil {
		adaptive.Adaptive = &v1alpha1.AdaptiveSchedule{
			RescheduleCriticalSeconds: s.Adaptive.RescheduleCriticalSeconds, UnschedulableLastSeconds: s.Adaptive.UnschedulableLastSeconds,
		}
	}
	return adaptive
}

// remembered is what the next round needs to know of the last.
func remembered(status kruisev1alpha1.UnitedDeploymentStatus) v1alpha1.FederatedDeploymentStatus {
	mine := v1alpha1.FederatedDeploymentStatus{
		ObservedGeneration: status.ObservedGeneration, CurrentRevision: status.CurrentRevision, CollisionCount: status.CollisionCount,
		Conditions: ours(status),
	}
	if status.UpdateStatus != nil {
		mine.UpdateRevision = status.UpdateStatus.UpdatedRevision
	}
	for _, s := range status.SubsetStatuses {
		line := v1alpha1.SubsetStatus{Name: s.Name}
		for _, c := range s.Conditions {
			line.Conditions = append(line.Conditions, metav1.Condition{
				Type: string(c.Type), Status: metav1.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message, LastTransitionTime: c.LastTransitionTime,
			})
		}
		mine.Subsets = append(mine.Subsets, line)
	}
	return mine
}

// ours are the conditions that UnitedDeployment itself does not have.
func ours(status kruisev1alpha1.UnitedDeploymentStatus) []metav1.Condition {
	var all []metav1.Condition
	for _, c := range status.Conditions {
		switch string(c.Type) {
		case condition.Ready, condition.Reconciling, condition.Stalled:
			all = append(all, metav1.Condition{Type: string(c.Type), Status: metav1.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message,
				LastTransitionTime: c.LastTransitionTime, ObservedGeneration: status.ObservedGeneration})
		}
	}
	return all
}

// out writes the status (WL-5.10).
func out(ud *kruisev1alpha1.UnitedDeployment, o federateddeployment.Outcome) {
	status, found := &ud.Status, o.Object.Status
	status.ObservedGeneration = ud.Generation
	conditions(status, o)
	if !o.Readable {
		return
	}
	// What silent clusters said last is counted as there, but not as ready or updated.
	status.Replicas, status.ReadyReplicas = found.Replicas+found.UnconfirmedReplicas, found.ReadyReplicas
	status.UpdatedReplicas, status.UpdatedReadyReplicas = found.UpdatedReplicas, found.UpdatedReadyReplicas
	status.CollisionCount, status.LabelSelector, status.CurrentRevision = found.CollisionCount, found.LabelSelector, found.CurrentRevision
	if status.UpdateStatus == nil {
		status.UpdateStatus = &kruisev1alpha1.UpdateStatus{}
	}
	status.UpdateStatus.UpdatedRevision = found.UpdateRevision
	if o.Shares != nil {
		status.SubsetReplicas, status.UpdateStatus.CurrentPartitions = maps.Clone(o.Shares), maps.Clone(o.Partitions)
	}
	for _, s := range ud.Spec.Topology.Subsets {
		entry(status, s.Name)
	}
	for _, s := range found.Subsets {
		for _, c := range s.Conditions {
			setSubsetCondition(entry(status, s.Name), c)
		}
	}
}

// entry of a subset; those of subsets that are gone are kept (WL-5.7).
func entry(status *kruisev1alpha1.UnitedDeploymentStatus, name string) *kruisev1alpha1.UnitedDeploymentSubsetStatus {
	if s := status.GetSubsetStatus(name); s != nil {
		return s
	}
	status.SubsetStatuses = append(status.SubsetStatuses, kruisev1alpha1.UnitedDeploymentSubsetStatus{Name: name})
	return &status.SubsetStatuses[len(status.SubsetStatuses)-1]
}

func setSubsetCondition(s *kruisev1alpha1.UnitedDeploymentSubsetStatus, c metav1.Condition) {
	theirs := kruisev1alpha1.UnitedDeploymentSubsetCondition{
		Type: kruisev1alpha1.UnitedDeploymentSubsetConditionType(c.Type), Status: corev1.ConditionStatus(c.Status),
		LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
	}
	for i := range s.Conditions {
		if s.Conditions[i].Type == theirs.Type {
			s.Conditions[i] = theirs
			return
		}
	}
	s.Conditions = append(s.Conditions, theirs)
}

// conditions are UnitedDeployment's own, and ours. SubsetFailure is removed: nobody reports it.
func conditions(status *kruisev1alpha1.UnitedDeploymentStatus, o federateddeployment.Outcome) {
	now := metav1.NewTime(o.At)
	updated, provisioned := o.Shares != nil && o.Err == nil, o.Provisioned && o.Err == nil
	var all []kruisev1alpha1.UnitedDeploymentCondition
	for _, c := range status.Conditions {
		if c.Type != kruisev1alpha1.SubsetFailure {
			all = append(all, c)
		}
	}
	status.Conditions = all
	switch {
	case o.Err != nil:
		set(status, kruisev1alpha1.SubsetUpdated, corev1.ConditionFalse, "Error", o.Err.Error(), now)
		if o.Provisioned {
			set(status, kruisev1alpha1.SubsetProvisioned, corev1.ConditionFalse, "Error", o.Err.Error(), now)
		}
	case provisioned:
		set(status, kruisev1alpha1.SubsetProvisioned, corev1.ConditionTrue, "", "", now)
	}
	if updated {
		set(status, kruisev1alpha1.SubsetUpdated, corev1.ConditionTrue, "", "", now)
	}
	for _, c := range o.Object.Status.Conditions {
		theirs := kruisev1alpha1.UnitedDeploymentConditionType(c.Type)
		set(status, theirs, corev1.ConditionStatus(c.Status), c.Reason, c.Message, c.LastTransitionTime)
		for i := range status.Conditions {
			if status.Conditions[i].Type == theirs { // ours tell news under an old reason
				status.Conditions[i].Message = c.Message
			}
		}
	}
}

// set leaves a condition alone whose status and reason are the same (WL-5.10).
func set(status *kruisev1alpha1.UnitedDeploymentStatus, kind kruisev1alpha1.UnitedDeploymentConditionType, is corev1.ConditionStatus, reason, message string, now metav1.Time) {
	c := kruisev1alpha1.UnitedDeploymentCondition{Type: kind, Status: is, LastTransitionTime: now, Reason: reason, Message: message}
	for i := range status.Conditions {
		old := &status.Conditions[i]
		if old.Type != kind {
			continue
		}
		if old.Status == is {
			c.LastTransitionTime = old.LastTransitionTime
		}
		if old.Status != is || old.Reason != reason {
			*old = c
		}
		return
	}
	status.Conditions = append(status.Conditions, c)
}
