package v1alpha1

// Labels that tie a ManifestWork to the FederatedDeployment it was made for. A work is ours only when all four agree.
const (
	// LabelFederatedDeployment is the name of the FederatedDeployment.
	LabelFederatedDeployment = "apps.flotilla.dev/federateddeployment"
	// LabelFederatedDeploymentNamespace is its namespace on the hub.
	LabelFederatedDeploymentNamespace = "apps.flotilla.dev/federateddeployment-namespace"
	// LabelFederatedDeploymentUID is its UID, so that a namesake created later never inherits works.
	LabelFederatedDeploymentUID = "apps.flotilla.dev/federateddeployment-uid"
	// LabelUnitedDeployment and its companions are on the works of a UnitedDeployment instead of those above.
	LabelUnitedDeployment          = "apps.flotilla.dev/uniteddeployment"
	LabelUnitedDeploymentNamespace = "apps.flotilla.dev/uniteddeployment-namespace"
	LabelUnitedDeploymentUID       = "apps.flotilla.dev/uniteddeployment-uid"
	// LabelSubset is the subset's name.
	LabelSubset = "apps.flotilla.dev/subset"
)

const (
	// AnnotationRevision is the revision of the template that a ManifestWork carries.
	AnnotationRevision = "apps.flotilla.dev/revision"
	// AnnotationClusterChoice is how the cluster of a ManifestWork was chosen. As long as the user asks the same way, the
	// subset stays where it is.
	AnnotationClusterChoice = "apps.flotilla.dev/cluster-choice"
	// AnnotationSubsetCluster and the name of a subset make an annotation of a UnitedDeployment that names the subset's
	// cluster, as topology.subsets[].cluster of a FederatedDeployment does.
	AnnotationSubsetCluster = "cluster.apps.flotilla.dev/"
	// AnnotationContent is on the workload of a member: a hash of all that the hub asked for but replicas and partition.
	// Pods count as updated only when the member spoke of the content that is wanted now.
	AnnotationContent = "apps.flotilla.dev/content"
	// AnnotationConfirmRemoval lets a held removal go on. Its value is the name of the object it stands on, or,
	// on a cluster namespace, the name of that namespace. The hub's controllers set it on works that an owner's or a
	// cluster's deletion, or an owner's own spec, orders away.
	AnnotationConfirmRemoval = "flotilla.dev/confirm-removal"
	// AnnotationConfirmMassRemoval lets removals go on that were held because there were so many at once. On a
	// ManagedCluster its value is that cluster's name, and the agent goes on; on the namespace of the hub it is the time
	// (RFC 3339) until which the hub lets them pass, and on an owner of works until which its works may go.
	AnnotationConfirmMassRemoval = "flotilla.dev/confirm-mass-removal"
	// AnnotationHubHistory is on every ManagedCluster: the id of the hub's history. Another id means that the hub was
	// restored or replaced, and agents remove and change nothing until somebody confirms.
	AnnotationHubHistory = "flotilla.dev/hub-history"
	// AnnotationConfirmHistory on a ManagedCluster is the history id that its agent shall go on with.
	AnnotationConfirmHistory = "flotilla.dev/confirm-history"
	// AnnotationDetach on a ManagedCluster says who lets it go, leaving everything in it running.
	AnnotationDetach = "flotilla.dev/detach"
	// AnnotationStepDownAfter on a ManifestWork is how long (a Go duration) its agent may be without its hub before it
	// stops the replicas of the work's workloads. Without it they keep running.
	AnnotationStepDownAfter = "apps.flotilla.dev/step-down-after"
	// AnnotationRescheduleCritical on a workload is how many seconds a pod may be unschedulable before it counts.
	AnnotationRescheduleCritical = "apps.flotilla.dev/reschedule-critical-seconds"
	// AnnotationUnschedulable on a workload is how many of its pods have been unschedulable for longer than that.
	AnnotationUnschedulable = "apps.flotilla.dev/unschedulable-replicas"
	// AnnotationResume on a FederatedDeployment lets a paused update go on. Its value is <revision>/<wave>.
	AnnotationResume = "apps.flotilla.dev/resume"
	// FinalizerWorks keeps a FederatedDeployment until the works it made are gone from every cluster.
	FinalizerWorks = "apps.flotilla.dev/works"
)

// ClusterClaims through which an agent says where its nodes are. Values are sorted, distinct and joined by commas.
const (
	ClaimZones   = "zones.flotilla.dev"
	ClaimRegions = "regions.flotilla.dev"
)

// Names that UnitedDeployment fixes for workloads and pods (WL-5.11).
const (
	LabelSubsetName         = "apps.kruise.io/subset-name"
	LabelControllerRevision = "apps.kruise.io/controller-revision-hash"
	AnnotationSubsetPatch   = "apps.kruise.io/subset-patch"
)

// Condition types of a FederatedDeployment. Ready sums up, Reconciling says wait, Stalled says act.
const (
	ConditionReady       = "Ready"
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"
)

// Reasons of those conditions.
const (
	// ReasonAllReplicasReady: every subset runs what was asked, ready and updated.
	ReasonAllReplicasReady = "AllReplicasReady"
	// ReasonProgressing: works are on their way or pods are starting or updating.
	ReasonProgressing = "Progressing"
	// ReasonRolloutHeld: partitions keep some replicas on the old revision, as asked.
	ReasonRolloutHeld = "RolloutHeld"
	// ReasonClusterSilent: a cluster stopped reporting, its replicas are unconfirmed.
	ReasonClusterSilent = "ClusterSilent"
	// ReasonInvalidSpec: the spec contradicts itself in a way that the schema cannot refuse.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonClusterUnresolved: a subset matches no cluster, or several.
	ReasonClusterUnresolved = "ClusterUnresolved"
	// ReasonAllocationFailed: the replica settings of the subsets cannot all hold.
	ReasonAllocationFailed = "AllocationFailed"
	// ReasonWorkRefused: a work could not be written or applied.
	ReasonWorkRefused = "WorkRefused"
	// ReasonRemovalHeld: a member removes nothing until somebody confirms it.
	ReasonRemovalHeld = "RemovalHeld"
	// ReasonRolloutStuck: updated pods do not become ready and use up the budget.
	ReasonRolloutStuck = "RolloutStuck"
	// ReasonPlacementUnresolved: the Placement is missing, undecided or misconfigured.
	ReasonPlacementUnresolved = "PlacementUnresolved"
	// ReasonUnschedulable: replicas find no node, and no other subset may take them.
	ReasonUnschedulable = "Unschedulable"
	// ReasonReferenceMissing: a ConfigMap or Secret that shall travel is not there.
	ReasonReferenceMissing = "ReferenceMissing"
	// ReasonRolledBack: an update failed, and all subsets run the revision before.
	ReasonRolledBack = "RolledBack"
	// ReasonRolloutFailed: an update failed and waits for a human.
	ReasonRolloutFailed = "RolloutFailed"
	// ReasonRolloutPaused: an update waits until somebody lets it go on.
	ReasonRolloutPaused = "RolloutPaused"
	// ReasonFailoverHeld: so many clusters are silent that the hub is probably the one that is cut off.
	ReasonFailoverHeld = "FailoverHeld"
	// ReasonRemoving: the object is being deleted and waits for clusters to remove its workloads.
	ReasonRemoving = "Removing"
	// ReasonSettled is the reason of Reconciling and Stalled while they are False.
	ReasonSettled = "Settled"
)
