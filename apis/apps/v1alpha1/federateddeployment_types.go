package v1alpha1

import (
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// FederatedDeployment spreads one workload over zones of several clusters. Its fields are those of OpenKruise's
// UnitedDeployment; a subset additionally says in which cluster it lives.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.labelSelector
// +kubebuilder:resource:shortName=fdep,categories={all,flotilla}
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=`.status.desiredReplicas`
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.readyReplicas`
// +kubebuilder:printcolumn:name="Updated",type=integer,JSONPath=`.status.updatedReplicas`
// +kubebuilder:printcolumn:name="Clusters",type=string,JSONPath=`.status.clusters`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="metadata.name: at most 52 characters, because the name of its revision is the value of a label on every pod"
type FederatedDeployment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is wanted.
	Spec FederatedDeploymentSpec `json:"spec"`
	// What is known, as last reported by the clusters.
	// +optional
	Status FederatedDeploymentStatus `json:"status,omitempty"`
}

// FederatedDeploymentList is a list of FederatedDeployments.
//
// +kubebuilder:object:root=true
type FederatedDeploymentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	// The FederatedDeployments.
	Items []FederatedDeployment `json:"items"`
}

// FederatedDeploymentSpec is what a user wants (WL-5).
//
// +kubebuilder:validation:XValidation:rule="oldSelf.selector == self.selector",message="spec.selector: is immutable; create a FederatedDeployment of another name and remove this one once the new one is ready"
// +kubebuilder:validation:XValidation:rule="has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0",message="spec.selector.matchLabels: at least one label is required, the subset's pods are found by it"
// +kubebuilder:validation:XValidation:rule="!has(self.updateStrategy) || !has(self.updateStrategy.manualUpdate) || !has(self.updateStrategy.manualUpdate.partitions) || !has(self.topology.subsets) || self.updateStrategy.manualUpdate.partitions.all(p, self.topology.subsets.exists(s, s.name == p))",message="spec.updateStrategy.manualUpdate.partitions: every key must be the name of a subset in spec.topology.subsets"
// +kubebuilder:validation:XValidation:rule="!has(self.topology.subsets) || !(self.topology.subsets.exists(s, has(s.replicas)) && self.topology.subsets.exists(s, has(s.minReplicas) || has(s.maxReplicas)))",message="spec.topology.subsets: replicas and minReplicas/maxReplicas cannot be mixed; use one way for all subsets"
// +kubebuilder:validation:XValidation:rule="has(self.replicas) || !has(self.topology.subsets) || !self.topology.subsets.exists(s, has(s.minReplicas) || has(s.maxReplicas))",message="spec.replicas: is required when a subset sets minReplicas or maxReplicas"
// +kubebuilder:validation:XValidation:rule="has(self.replicas) || !has(self.topology.subsets) || self.topology.subsets.all(s, has(s.replicas) && type(s.replicas) == int)",message="spec.replicas: is required unless every subset sets replicas to a number"
// +kubebuilder:validation:XValidation:rule="!has(self.topology.subsets) || !self.topology.subsets.exists(s, has(s.minReplicas) || has(s.maxReplicas)) || self.topology.subsets.exists(s, !has(s.maxReplicas))",message="spec.topology.subsets: at least one subset must have no maxReplicas, or replicas beyond the sum could go nowhere"
// +kubebuilder:validation:XValidation:rule="has(self.replicas) || !has(self.topology.placementRef)",message="spec.replicas: is required with topology.placementRef, the clusters share it"
type FederatedDeploymentSpec struct {
	// Replicas is the total over all subsets. It may be left out only when every subset says its number itself.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Replicas *int32 `json:"replicas,omitempty"`

	// Selector finds the pods. It must match the template's pod labels and cannot be changed.
	Selector metav1.LabelSelector `json:"selector"`

	// Template is the workload that every subset gets a share of. Exactly one kind is set.
	Template SubsetTemplate `json:"template"`

	// Topology says which subsets there are and where each one lives.
	Topology Topology `json:"topology"`

	// UpdateStrategy says how a changed template reaches the subsets.
	// +optional
	// +kubebuilder:default={type: Manual}
	UpdateStrategy UpdateStrategy `json:"updateStrategy,omitempty"`

	// Failover says what happens to the replicas of a cluster that falls silent. Without it they stay where they are.
	// +optional
	Failover *Failover `json:"failover,omitempty"`

	// PropagateReferences lets the ConfigMaps and Secrets of this namespace that the pod template refers to travel with
	// the workload. Whoever may write this object thereby copies them to the clusters it names.
	// +optional
	PropagateReferences bool `json:"propagateReferences,omitempty"`

	// RevisionHistoryLimit is the number of old revisions kept for undoing a change.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=0
	RevisionHistoryLimit *int32 `json:"revisionHistoryLimit,omitempty"`
}

// SubsetTemplate holds exactly one workload template (WL-5.1).
//
// +kubebuilder:validation:XValidation:rule="[has(self.cloneSetTemplate), has(self.advancedStatefulSetTemplate), has(self.statefulSetTemplate), has(self.deploymentTemplate)].filter(x, x).size() == 1",message="spec.template: set exactly one of cloneSetTemplate, advancedStatefulSetTemplate, statefulSetTemplate and deploymentTemplate"
type SubsetTemplate struct {
	// StatefulSetTemplate makes each subset a StatefulSet of apps/v1.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	StatefulSetTemplate *kruisev1alpha1.StatefulSetTemplateSpec `json:"statefulSetTemplate,omitempty"`

	// AdvancedStatefulSetTemplate makes each subset a StatefulSet of apps.kruise.io/v1beta1.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	AdvancedStatefulSetTemplate *kruisev1alpha1.AdvancedStatefulSetTemplateSpec `json:"advancedStatefulSetTemplate,omitempty"`

	// CloneSetTemplate makes each subset a CloneSet of apps.kruise.io/v1alpha1.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	CloneSetTemplate *kruisev1alpha1.CloneSetTemplateSpec `json:"cloneSetTemplate,omitempty"`

	// DeploymentTemplate makes each subset a Deployment of apps/v1.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	DeploymentTemplate *kruisev1alpha1.DeploymentTemplateSpec `json:"deploymentTemplate,omitempty"`
}

// Topology says which subsets there are: a list, or one for every cluster that a Placement decides for.
//
// +kubebuilder:validation:XValidation:rule="has(self.subsets) != has(self.placementRef)",message="set exactly one of subsets and placementRef"
type Topology struct {
	// Subsets are the shares of the workload, in order of priority.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	Subsets []Subset `json:"subsets,omitempty"`

	// PlacementRef makes a subset, named like the cluster, of each cluster that a Placement decides for.
	// +optional
	PlacementRef *PlacementRef `json:"placementRef,omitempty"`

	// ScheduleStrategy says what happens to replicas that a subset cannot run.
	// +optional
	ScheduleStrategy *ScheduleStrategy `json:"scheduleStrategy,omitempty"`
}

// ReplicaWeighting is how the clusters of a Placement share the replicas.
//
// +kubebuilder:validation:Enum=Equal;Score
type ReplicaWeighting string

const (
	// WeightEqual gives every cluster the same share.
	WeightEqual ReplicaWeighting = "Equal"
	// WeightScore shares by the score of the decision; clusters with a score of 0 or less get a share only when no
	// cluster has more.
	WeightScore ReplicaWeighting = "Score"
)

// PlacementRef refers to a Placement in the namespace of the FederatedDeployment.
type PlacementRef struct {
	// Name of the Placement.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Weighting is how the clusters share the replicas.
	// +optional
	// +kubebuilder:default=Equal
	Weighting ReplicaWeighting `json:"weighting,omitempty"`
	// MaxReplicasPerCluster is the most that one cluster gets. Without it there is no limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxReplicasPerCluster *int32 `json:"maxReplicasPerCluster,omitempty"`
}

// ScheduleStrategyType is what happens to replicas that a subset cannot run.
//
// +kubebuilder:validation:Enum=Fixed;Adaptive
type ScheduleStrategyType string

const (
	// ScheduleFixed leaves every replica in the subset that it was given to.
	ScheduleFixed ScheduleStrategyType = "Fixed"
	// ScheduleAdaptive moves replicas that a subset cannot schedule to subsets that can (WL-5.7).
	ScheduleAdaptive ScheduleStrategyType = "Adaptive"
)

// ScheduleStrategy says what happens to replicas that a subset cannot run.
type ScheduleStrategy struct {
	// Type of the strategy.
	// +optional
	// +kubebuilder:default=Fixed
	Type ScheduleStrategyType `json:"type,omitempty"`
	// Adaptive holds the times of type Adaptive.
	// +optional
	Adaptive *AdaptiveSchedule `json:"adaptive,omitempty"`
}

// AdaptiveSchedule holds the times of Adaptive scheduling (WL-5.7).
type AdaptiveSchedule struct {
	// RescheduleCriticalSeconds is how long a pod may be unschedulable before it counts. The default is 30.
	// +optional
	// +kubebuilder:validation:Minimum=0
	RescheduleCriticalSeconds *int32 `json:"rescheduleCriticalSeconds,omitempty"`
	// UnschedulableLastSeconds is how long a subset then gets no further replicas. The default is 300.
	// +optional
	// +kubebuilder:validation:Minimum=0
	UnschedulableLastSeconds *int32 `json:"unschedulableLastSeconds,omitempty"`
}

// FailoverMode is what a silent cluster is expected to do.
//
// +kubebuilder:validation:Enum=KeepRunning;StepDown
type FailoverMode string

const (
	// FailoverKeepRunning lets a silent cluster go on; until it is heard again more replicas may run than were asked for.
	FailoverKeepRunning FailoverMode = "KeepRunning"
	// FailoverStepDown makes the agent of a silent cluster stop its replicas by itself; they start elsewhere only after
	// that. An agent that is gone itself cannot stop them.
	FailoverStepDown FailoverMode = "StepDown"
)

// Failover says when replicas of a silent cluster start elsewhere and how they come back. What a subset says about its
// number is a wish for normal times: one with fixed replicas takes in others beyond its number, and its own start elsewhere
// too. Only maxReplicas and maxReplicasPerCluster limit what a subset takes in: where one must never grow, say it with
// minReplicas and maxReplicas in all subsets instead of replicas. It also holds for clusters that a Placement drops because
// they are silent.
type Failover struct {
	// Mode is what a silent cluster is expected to do. CloneSets with volumeClaimTemplates cannot step down, because
	// their volumes would be deleted: with StepDown they stay where they are, and their subset says so.
	// +optional
	// +kubebuilder:default=KeepRunning
	Mode FailoverMode `json:"mode,omitempty"`
	// AfterSeconds is how long a cluster may be silent, counted from when the hub marked it unreachable, before its
	// replicas start elsewhere. With StepDown the agent stops its replicas after as many seconds without its hub.
	// +optional
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=10
	AfterSeconds int32 `json:"afterSeconds,omitempty"`
	// ReturnAfterSeconds is how long a cluster must be back and well before replicas elsewhere are taken away again.
	// +optional
	// +kubebuilder:default=60
	// +kubebuilder:validation:Minimum=0
	ReturnAfterSeconds *int32 `json:"returnAfterSeconds,omitempty"`
	// MaxSilentPercent is the share of the clusters in use that may be silent together; with more, the hub is taken to
	// be the one that is cut off, and nothing moves.
	// +optional
	// +kubebuilder:default=50
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxSilentPercent *int32 `json:"maxSilentPercent,omitempty"`
}

// Subset is one share of the workload: how many replicas, in which cluster, on which of its nodes.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.cluster) && has(self.clusterSelector))",message="cluster and clusterSelector exclude each other: name the cluster, or select it by labels"
// +kubebuilder:validation:XValidation:rule="!has(self.minReplicas) || !has(self.maxReplicas) || type(self.minReplicas) != int || type(self.maxReplicas) != int || self.minReplicas <= self.maxReplicas",messageExpression="'minReplicas ' + string(self.minReplicas) + ' is above maxReplicas ' + string(self.maxReplicas) + '; lower minReplicas or raise maxReplicas'"
// +kubebuilder:validation:XValidation:rule="has(self.nodeSelectorTerm) == has(oldSelf.nodeSelectorTerm) && (!has(self.nodeSelectorTerm) || self.nodeSelectorTerm == oldSelf.nodeSelectorTerm)",message="nodeSelectorTerm of a subset is immutable; add a subset of another name and remove this one"
// +kubebuilder:validation:XValidation:rule="has(self.tolerations) == has(oldSelf.tolerations) && (!has(self.tolerations) || self.tolerations == oldSelf.tolerations)",message="tolerations of a subset are immutable; add a subset of another name and remove this one"
type Subset struct {
	// Name of the subset, unique among them. The workload on the member is named after it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// Cluster is the ManagedCluster that this subset lives in.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Cluster string `json:"cluster,omitempty"`

	// ClusterSelector selects the one ManagedCluster that this subset lives in by its labels.
	// With neither cluster nor clusterSelector, the hub takes the one cluster whose zones and regions satisfy
	// nodeSelectorTerm. Should none or several match, the subset is Stalled and nothing moves.
	// +optional
	ClusterSelector *metav1.LabelSelector `json:"clusterSelector,omitempty"`

	// NodeSelectorTerm picks the nodes inside the cluster, for example those of one zone.
	// +optional
	NodeSelectorTerm *corev1.NodeSelectorTerm `json:"nodeSelectorTerm,omitempty"`

	// Tolerations are added to the pods of this subset.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// Replicas of this subset: a number, or a percentage of spec.replicas. Subsets that say nothing share the rest.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(100|[0-9]{1,2})%$')",message="write a number of 0 or more, or a percentage from 0% to 100%"
	// +kubebuilder:validation:MaxLength=20
	Replicas *intstr.IntOrString `json:"replicas,omitempty"`

	// MinReplicas are given to this subset before any subset gets more than its minimum.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(100|[0-9]{1,2})%$')",message="write a number of 0 or more, or a percentage from 0% to 100%"
	// +kubebuilder:validation:MaxLength=20
	MinReplicas *intstr.IntOrString `json:"minReplicas,omitempty"`

	// MaxReplicas is the most this subset gets. Without it there is no limit.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(100|[0-9]{1,2})%$')",message="write a number of 0 or more, or a percentage from 0% to 100%"
	// +kubebuilder:validation:MaxLength=20
	MaxReplicas *intstr.IntOrString `json:"maxReplicas,omitempty"`

	// Patch is a strategic merge patch onto the pod template, applied last.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	Patch *runtime.RawExtension `json:"patch,omitempty"`
}

// UpdateStrategyType is how a changed template reaches the subsets.
//
// +kubebuilder:validation:Enum=Manual;Progressive
type UpdateStrategyType string

const (
	// UpdateManual leaves the pace to the partitions that the user sets.
	UpdateManual UpdateStrategyType = "Manual"
	// UpdateProgressive goes in waves and rolls back by itself.
	UpdateProgressive UpdateStrategyType = "Progressive"
)

// UpdateStrategy says how a changed template reaches the subsets.
//
// +kubebuilder:validation:XValidation:rule="!has(self.manualUpdate) || self.type == 'Manual'",message="manualUpdate: is for type Manual only; remove it or set type to Manual"
// +kubebuilder:validation:XValidation:rule="!has(self.progressive) || self.type == 'Progressive'",message="progressive: is for type Progressive only; remove it or set type to Progressive"
type UpdateStrategy struct {
	// Type of the strategy.
	// +optional
	// +kubebuilder:default=Manual
	Type UpdateStrategyType `json:"type,omitempty"`
	// ManualUpdate holds the partitions of type Manual.
	// +optional
	ManualUpdate *ManualUpdate `json:"manualUpdate,omitempty"`
	// Progressive holds the waves of type Progressive. Without it every subset is a wave of its own, in their order.
	// +optional
	Progressive *ProgressiveUpdate `json:"progressive,omitempty"`
	// Paused stops an update where it is. What was updated stays updated.
	// +optional
	Paused bool `json:"paused,omitempty"`
}

// FailureAction is what happens when a wave fails.
//
// +kubebuilder:validation:Enum=Rollback;Pause
type FailureAction string

const (
	// FailureRollback brings every subset back to the revision before.
	FailureRollback FailureAction = "Rollback"
	// FailurePause stops and waits for a human.
	FailurePause FailureAction = "Pause"
)

// ProgressiveUpdate says in which waves a changed template goes out, and what stops it.
type ProgressiveUpdate struct {
	// Waves go one after the other. What they leave goes out as one last wave.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	Waves []Wave `json:"waves,omitempty"`
	// MaxFailures is how many subsets may fail, a number or a percentage of all, before the update has failed.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(100|[0-9]{1,2})%$')",message="write a number of 0 or more, or a percentage from 0% to 100%"
	// +kubebuilder:validation:MaxLength=20
	MaxFailures *intstr.IntOrString `json:"maxFailures,omitempty"`
	// ProgressDeadlineSeconds is how long a subset may take to become healthy in a wave before it counts as failed.
	// +optional
	// +kubebuilder:default=600
	// +kubebuilder:validation:Minimum=1
	ProgressDeadlineSeconds *int32 `json:"progressDeadlineSeconds,omitempty"`
	// OnFailure is what happens when the update has failed.
	// +optional
	// +kubebuilder:default=Rollback
	OnFailure FailureAction `json:"onFailure,omitempty"`
}

// Wave is a step of a progressive update.
type Wave struct {
	// Name of the wave, for people.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// Subsets that are updated in this wave; empty is all of them. A name that is no subset's is refused by the hub
	// (Stalled), because the schema cannot afford to look.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MaxLength=63
	Subsets []string `json:"subsets,omitempty"`
	// Percent of each subset's replicas that are on the new revision after this wave.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Percent *int32 `json:"percent,omitempty"`
	// SoakSeconds is how long the wave must stay healthy before the next begins.
	// +optional
	// +kubebuilder:validation:Minimum=0
	SoakSeconds int32 `json:"soakSeconds,omitempty"`
	// Pause waits after this wave until somebody lets it go on: kubectl flotilla resume.
	// +optional
	Pause bool `json:"pause,omitempty"`
}

// ManualUpdate sets, per subset, how many replicas stay on the old revision.
type ManualUpdate struct {
	// Partitions maps a subset's name to the number of its replicas that keep the old revision.
	// +optional
	// +kubebuilder:validation:MaxProperties=1000
	Partitions map[string]int32 `json:"partitions,omitempty"`
}

// FederatedDeploymentStatus is what the hub knows. Sums count only what a cluster has confirmed while it was heard from.
type FederatedDeploymentStatus struct {
	// ObservedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// DesiredReplicas is the sum of what the subsets were given.
	// +optional
	DesiredReplicas int32 `json:"desiredReplicas"`
	// Replicas is the number of pods that exist.
	// +optional
	Replicas int32 `json:"replicas"`
	// ReadyReplicas is the number of pods that are ready.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`
	// AvailableReplicas is the number of pods that have been ready for minReadySeconds.
	// +optional
	AvailableReplicas int32 `json:"availableReplicas"`
	// UpdatedReplicas is the number of pods of the newest revision.
	// +optional
	UpdatedReplicas int32 `json:"updatedReplicas"`
	// UpdatedReadyReplicas is the number of those that are ready.
	// +optional
	UpdatedReadyReplicas int32 `json:"updatedReadyReplicas"`
	// UnconfirmedReplicas is the number of pods last reported by clusters that are silent now. They are in no other sum.
	// +optional
	UnconfirmedReplicas int32 `json:"unconfirmedReplicas,omitempty"`

	// Clusters sums up, for people: clusters heard from, of clusters used, such as "2/2".
	// +optional
	Clusters string `json:"clusters,omitempty"`

	// CurrentRevision is the revision that all replicas were on last.
	// +optional
	CurrentRevision string `json:"currentRevision,omitempty"`
	// UpdateRevision is the revision of the present template.
	// +optional
	UpdateRevision string `json:"updateRevision,omitempty"`
	// CollisionCount makes names of revisions unique.
	// +optional
	CollisionCount *int32 `json:"collisionCount,omitempty"`

	// LabelSelector is the selector as text, for autoscalers.
	// +optional
	LabelSelector string `json:"labelSelector,omitempty"`

	// Rollout is how far a progressive update is.
	// +optional
	Rollout *RolloutStatus `json:"rollout,omitempty"`

	// Subsets has a line for every subset, in the order of the spec; subsets on their way out follow.
	// +optional
	// +listType=map
	// +listMapKey=name
	Subsets []SubsetStatus `json:"subsets,omitempty"`

	// Conditions: Ready sums up, Reconciling says wait, Stalled says act.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RolloutPhase is what a progressive update does now.
type RolloutPhase string

// Phases of a progressive update.
const (
	// RolloutProgressing: replicas of the wave are being updated.
	RolloutProgressing RolloutPhase = "Progressing"
	// RolloutSoaking: the wave is healthy and has to stay so for a while.
	RolloutSoaking RolloutPhase = "Soaking"
	// RolloutPaused: somebody has to let it go on.
	RolloutPaused RolloutPhase = "Paused"
	// RolloutFailed: it failed and was told to stop where it is.
	RolloutFailed RolloutPhase = "Failed"
	// RolloutRollingBack: it failed, and all subsets go back to the revision before.
	RolloutRollingBack RolloutPhase = "RollingBack"
	// RolloutRolledBack: all subsets are back, and stay there until the template changes.
	RolloutRolledBack RolloutPhase = "RolledBack"
	// RolloutComplete: every replica is on the revision of the template.
	RolloutComplete RolloutPhase = "Complete"
)

// RolloutStatus is how far a progressive update is.
type RolloutStatus struct {
	// Revision that goes out.
	Revision string `json:"revision"`
	// StableRevision is what it goes back to on failure.
	// +optional
	StableRevision string `json:"stableRevision,omitempty"`
	// Phase of the update.
	Phase RolloutPhase `json:"phase"`
	// Wave that it is in, from 1.
	// +optional
	Wave int32 `json:"wave,omitempty"`
	// Waves that there are.
	// +optional
	Waves int32 `json:"waves,omitempty"`
	// WaveStartTime is when the present wave began.
	// +optional
	WaveStartTime *metav1.Time `json:"waveStartTime,omitempty"`
	// HealthySince is since when the present wave has been healthy.
	// +optional
	HealthySince *metav1.Time `json:"healthySince,omitempty"`
	// Resumed is the last wave that somebody let go on.
	// +optional
	Resumed int32 `json:"resumed,omitempty"`
	// FailedSubsets count as failed until they are healthy.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	FailedSubsets []string `json:"failedSubsets,omitempty"`
	// Message says what it waits for, or why it failed.
	// +optional
	Message string `json:"message,omitempty"`
}

// SubsetStatus is what the hub knows of one subset, as its cluster reported it last.
type SubsetStatus struct {
	// Name of the subset.
	Name string `json:"name"`
	// Cluster that the subset lives in. Empty while none was found.
	// +optional
	Cluster string `json:"cluster,omitempty"`
	// Zone is the zone that nodeSelectorTerm asks for, if it asks for just one.
	// +optional
	Zone string `json:"zone,omitempty"`
	// WorkName is the ManifestWork that carries the subset, in the namespace named like the cluster.
	// +optional
	WorkName string `json:"workName,omitempty"`
	// DesiredReplicas is the share that the subset was given.
	// +optional
	DesiredReplicas int32 `json:"desiredReplicas"`
	// Replicas is the number of pods that exist.
	// +optional
	Replicas int32 `json:"replicas"`
	// ReadyReplicas is the number of pods that are ready.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`
	// AvailableReplicas is the number of pods that have been ready for minReadySeconds.
	// +optional
	AvailableReplicas int32 `json:"availableReplicas"`
	// UpdatedReplicas is the number of pods of the newest revision.
	// +optional
	UpdatedReplicas int32 `json:"updatedReplicas"`
	// UpdatedReadyReplicas is the number of those that are ready.
	// +optional
	UpdatedReadyReplicas int32 `json:"updatedReadyReplicas"`
	// Partition is the number of replicas that are kept on the old revision.
	// +optional
	Partition int32 `json:"partition,omitempty"`
	// UnschedulableReplicas is the number of pods that found no node for too long, as the agent counts them.
	// +optional
	UnschedulableReplicas int32 `json:"unschedulableReplicas,omitempty"`
	// Revision that the subset is asked to run.
	// +optional
	Revision string `json:"revision,omitempty"`
	// StandInReplicas of the desired ones are there for a cluster that fell silent.
	// +optional
	StandInReplicas int32 `json:"standInReplicas,omitempty"`
	// FailedOverSince is since when its replicas have been started elsewhere, because the cluster fell silent.
	// +optional
	FailedOverSince *metav1.Time `json:"failedOverSince,omitempty"`
	// BackSince is since when a cluster that was failed over has been heard again.
	// +optional
	BackSince *metav1.Time `json:"backSince,omitempty"`
	// Conditions of the subset: Schedulable (WL-5.7).
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Silent is true while the cluster is not heard from; the numbers above are then the last that it said.
	// +optional
	Silent bool `json:"silent,omitempty"`
	// Message says what the subset waits for, if anything.
	// +optional
	Message string `json:"message,omitempty"`
}
