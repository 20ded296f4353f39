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
// +kubebuilder:validation:XValidation:rule="!has(self.updateStrategy) || !has(self.updateStrategy.manualUpdate) || !has(self.updateStrategy.manualUpdate.partitions) || self.updateStrategy.manualUpdate.partitions.all(p, self.topology.subsets.exists(s, s.name == p))",message="spec.updateStrategy.manualUpdate.partitions: every key must be the name of a subset in spec.topology.subsets"
// +kubebuilder:validation:XValidation:rule="!(self.topology.subsets.exists(s, has(s.replicas)) && self.topology.subsets.exists(s, has(s.minReplicas) || has(s.maxReplicas)))",message="spec.topology.subsets: replicas and minReplicas/maxReplicas cannot be mixed; use one way for all subsets"
// +kubebuilder:validation:XValidation:rule="has(self.replicas) || !self.topology.subsets.exists(s, has(s.minReplicas) || has(s.maxReplicas))",message="spec.replicas: is required when a subset sets minReplicas or maxReplicas"
// +kubebuilder:validation:XValidation:rule="has(self.replicas) || self.topology.subsets.all(s, has(s.replicas) && type(s.replicas) == int)",message="spec.replicas: is required unless every subset sets replicas to a number"
// +kubebuilder:validation:XValidation:rule="!self.topology.subsets.exists(s, has(s.minReplicas) || has(s.maxReplicas)) || self.topology.subsets.exists(s, !has(s.maxReplicas))",message="spec.topology.subsets: at least one subset must have no maxReplicas, or replicas beyond the sum could go nowhere"
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

// Topology says which subsets there are.
type Topology struct {
	// Subsets are the shares of the workload, in order of priority.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	Subsets []Subset `json:"subsets"`

	// ScheduleStrategy says what happens to replicas that a subset cannot run.
	// +optional
	ScheduleStrategy *ScheduleStrategy `json:"scheduleStrategy,omitempty"`
}

// ScheduleStrategyType is what happens to replicas that a subset cannot run.
//
// +kubebuilder:validation:Enum=Fixed
type ScheduleStrategyType string

// ScheduleFixed leaves every replica in the subset that it was given to.
const ScheduleFixed ScheduleStrategyType = "Fixed"

// ScheduleStrategy says what happens to replicas that a subset cannot run.
type ScheduleStrategy struct {
	// Type of the strategy.
	// +optional
	// +kubebuilder:default=Fixed
	Type ScheduleStrategyType `json:"type,omitempty"`
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
// +kubebuilder:validation:Enum=Manual
type UpdateStrategyType string

// UpdateManual leaves the pace to the partitions that the user sets.
const UpdateManual UpdateStrategyType = "Manual"

// UpdateStrategy says how a changed template reaches the subsets.
type UpdateStrategy struct {
	// Type of the strategy.
	// +optional
	// +kubebuilder:default=Manual
	Type UpdateStrategyType `json:"type,omitempty"`
	// ManualUpdate holds the partitions of type Manual.
	// +optional
	ManualUpdate *ManualUpdate `json:"manualUpdate,omitempty"`
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
	// Silent is true while the cluster is not heard from; the numbers above are then the last that it said.
	// +optional
	Silent bool `json:"silent,omitempty"`
	// Message says what the subset waits for, if anything.
	// +optional
	Message string `json:"message,omitempty"`
}
