package detach

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

const (
	// Finalizer keeps a cluster under an order until its works are gone and the record is written.
	Finalizer = "flotilla.dev/detach"
	// DetachedAnnotation is the record on the namespace that survives: the order that was carried out.
	DetachedAnnotation = "flotilla.dev/detached"

	// ConditionReleased says whether a cluster under an order can be deleted without harm to what runs in it.
	ConditionReleased = "Released"
	// ReasonReleasing says: its agent is still letting go.
	ReasonReleasing = "Releasing"
	// ReasonReleased says: its agent let go of everything.
	ReasonReleased = "ReleasedByAgent"
	// ReasonWithoutAgent says: its agent does not answer, and the cluster will go without it.
	ReasonWithoutAgent = "GoesWithoutAgent"
	// ReasonInvalidOrder says: nobody can tell who ordered what.
	ReasonInvalidOrder = "InvalidOrder"

	// EventDetaching is the reason of the event when an order is seen.
	EventDetaching = "ClusterDetaching"
	// EventDetached is the reason of the event when it was carried out.
	EventDetached = "ClusterDetached"

	// patience is how long a live agent may take to let go.
	patience = 10 * time.Minute
	// silence is how long the hub must have missed a cluster, beyond the grace of its lease, before works are let go
	// without its agent: watches that were open outlive the right to open them, by ten minutes at most.
	silence = 5 * time.Minute
	// longest ends the wait for that silence, for a hub whose health controller does not run.
	longest = 30 * time.Minute

	recheck = 5 * time.Second
	shown   = 3
)

// facts are what the hub has of the cluster.
type facts struct {
	home   *corev1.Namespace // nil: none
	works  []workv1.ManifestWork
	rights *rbacv1.RoleBinding // by which the agent sees works; looked at for a deleted cluster
	addOns []metav1.PartialObjectMetadata
}

// plan is one step.
type plan struct {
	hold, drop bool              // our finalizer
	home, was  *corev1.Namespace // its annotations after and before
	orphan     []workv1.ManifestWork
	take       *rbacv1.RoleBinding
	strip      []workv1.ManifestWork
	remove     []workv1.ManifestWork
	addOns     []metav1.PartialObjectMetadata
	tell       *eventsv1.Event
	verdicts   []metav1.Condition
	forget     bool // the order was withdrawn
	wait       time.Duration
	why        string
}

// Recheck looks again while others have to act.
func (p plan) Recheck() time.Duration { return p.wait }

// decide brings a cluster under an order one step further.
func decide(cluster *clusterv1.ManagedCluster, seen facts, now time.Time) plan {
	order, err := Of(cluster)
	switch {
	case err != nil:
		return plan{verdicts: []metav1.Condition{verdict(cluster, metav1.ConditionFalse, ReasonInvalidOrder, err.Error())}}
	case order == nil:
		return withdrawn(cluster, seen)
	}
	c := course{cluster: cluster, seen: seen, order: *order, now: now, leaving: !cluster.DeletionTimestamp.IsZero()}
	for _, w := range seen.works {
		if unfinished(w) {
			c.waiting = append(c.waiting, w)
		}
	}
	if p, begun := c.begin(); !begun {
		return p
	}
	if !c.leaving {
		return c.release()
	}
	return c.finish()
}

// course is one cluster on its way.
type course struct {
	cluster *clusterv1.ManagedCluster
	seen    facts
	order   Order
	now     time.Time
	leaving bool
	waiting []workv1.ManifestWork // for their agent
}

// begin marks the namespace and orphans the works, before anything else can happen to them.
func (c course) begin() (plan, bool) {
	p := plan{why: "ordered by " + c.order.Who, wait: recheck}
	p.hold = !c.leaving && !c.held()
	if h := c.seen.home; h != nil && h.DeletionTimestamp.IsZero() && h.Annotations[appsv1alpha1.AnnotationDetach] != c.value() && !c.recorded() {
		p.was, p.home = h, h.DeepCopy()
		metav1.SetMetaDataAnnotation(&p.home.ObjectMeta, appsv1alpha1.AnnotationDetach, c.value())
		if c.leaving && !c.held() { // too late to hold the cluster until the end, so the record is written first
			metav1.SetMetaDataAnnotation(&p.home.ObjectMeta, DetachedAnnotation, c.value())
		}
		p.tell = c.event(EventDetaching, fmt.Sprintf("%s ordered cluster %s detached%s: %d works let go of what they applied, which goes on running.",
			c.order.Who, c.cluster.Name, because(c.order), len(c.seen.works)))
	}
	for _, w := range c.seen.works {
		if !isOrphaned(w.Spec.DeleteOption) {
			p.orphan = append(p.orphan, w)
		}
	}
	p.verdicts = []metav1.Condition{verdict(c.cluster, metav1.ConditionFalse, ReasonReleasing,
		fmt.Sprintf("%s: %d of %d works are still to be told to let go (%s)", c.by(), len(p.orphan), len(c.seen.works), names(p.orphan)))}
	return p, !p.hold && p.home == nil && len(p.orphan) == 0
}

// release waits for the agent as long as there is hope, and then for whoever ordered it to delete the cluster.
func (c course) release() plan {
	p := plan{verdicts: c.verdicts()}
	if len(c.waiting) > 0 {
		p.wait = recheck
	}
	return p
}

// finish deletes works, with the agent or without it, and lets the cluster go when none is left.
func (c course) finish() plan {
	p := plan{verdicts: c.verdicts(), wait: recheck}
	switch {
	case len(c.seen.works) == 0:
		return c.record()
	case len(c.waiting) > 0 && !c.hopeless() && slices.ContainsFunc(c.waiting, staying):
		return p // deleting what the agent has not let go of would make it delete the objects
	}
	for _, a := range c.seen.addOns { // first, or whoever runs them would send their works again
		if a.DeletionTimestamp.IsZero() {
			p.addOns = append(p.addOns, a)
		}
	}
	switch {
	case len(c.waiting) == 0 || !c.hopeless():
		p.remove = slices.DeleteFunc(slices.Clone(c.seen.works), func(w workv1.ManifestWork) bool { return !staying(w) })
	case c.seen.rights != nil:
		p.take, p.why = c.seen.rights, "the agent does not let go, so it loses its right to works before they go"
	case c.silentFor() >= silence || c.age() >= longest:
		p.strip, p.why = c.waiting, "the agent is gone and can see no works any more, so they go without it"
		p.remove = slices.DeleteFunc(slices.Clone(c.seen.works), func(w workv1.ManifestWork) bool { return !staying(w) || unfinished(w) })
	}
	return p
}

// record keeps who did it where it survives, and then lets go.
func (c course) record() plan {
	p := plan{drop: c.held(), why: "no work is left"}
	p.tell = c.event(EventDetached, fmt.Sprintf("Cluster %s was detached on the order of %s%s; what ran there goes on running.",
		c.cluster.Name, c.order.Who, because(c.order)))
	h := c.seen.home
	if h == nil || !h.DeletionTimestamp.IsZero() || c.recorded() && h.Annotations[appsv1alpha1.AnnotationDetach] == "" {
		return p
	}
	p.was, p.home = h, h.DeepCopy()
	metav1.SetMetaDataAnnotation(&p.home.ObjectMeta, DetachedAnnotation, c.value())
	delete(p.home.Annotations, appsv1alpha1.AnnotationDetach)
	return p
}

// withdrawn takes back what marks a cluster under an order. Works stay orphaned until whoever wrote them says otherwise.
func withdrawn(cluster *clusterv1.ManagedCluster, seen facts) plan {
	p := plan{
		drop:   slices.Contains(cluster.Finalizers, Finalizer),
		forget: meta.FindStatusCondition(cluster.Status.Conditions, ConditionReleased) != nil,
	}
	if h := seen.home; h != nil && h.DeletionTimestamp.IsZero() && Ordered(h) {
		p.was, p.home, p.why = h, h.DeepCopy(), "the order was withdrawn"
		delete(p.home.Annotations, appsv1alpha1.AnnotationDetach)
	}
	return p
}

func (c course) value() string { return c.cluster.Annotations[appsv1alpha1.AnnotationDetach] }

// recorded says that all is done but for the cluster's last moments, which other finalizers may draw out.
func (c course) recorded() bool {
	return c.leaving && c.seen.home != nil && c.seen.home.Annotations[DetachedAnnotation] == c.value()
}

func (c course) held() bool { return slices.Contains(c.cluster.Finalizers, Finalizer) }

func (c course) age() time.Duration { return c.now.Sub(c.order.At) }

// hopeless says that there is no waiting for the agent.
func (c course) hopeless() bool { return c.silentFor() >= 0 || c.age() >= patience }

// silentFor is how long the hub has missed the cluster; negative when it has not. Only the hub's own verdict counts,
// which has waited for five lease durations. A cluster that nobody ever called available never had an agent.
func (c course) silentFor() time.Duration {
	available := meta.FindStatusCondition(c.cluster.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
	switch {
	case available == nil:
		return longest
	case available.Status == metav1.ConditionUnknown:
		return max(c.now.Sub(available.LastTransitionTime.Time), 0)
	}
	return -1
}

// verdicts are what the cluster's status says about its leaving.
func (c course) verdicts() []metav1.Condition {
	released := c.released()
	if !c.leaving || len(c.seen.works) == 0 {
		return []metav1.Condition{released}
	}
	return []metav1.Condition{released, {
		Type: clusterv1.ManagedClusterConditionDeleting, Status: metav1.ConditionFalse, Reason: clusterv1.ConditionDeletingReasonResourceRemaining,
		Message:            fmt.Sprintf("%d of kind ManifestWork are left (%s); %s", len(c.seen.works), names(c.seen.works), c.blocker()),
		ObservedGeneration: c.cluster.Generation,
	}}
}

func (c course) released() metav1.Condition {
	total, waiting := len(c.seen.works), len(c.waiting)
	switch {
	case waiting == 0:
		return verdict(c.cluster, metav1.ConditionTrue, ReasonReleased, fmt.Sprintf("%s: the agent holds on to nothing that %d works applied", c.by(), total))
	case c.hopeless():
		return verdict(c.cluster, metav1.ConditionTrue, ReasonWithoutAgent, fmt.Sprintf("%s: the agent does not answer, %d of %d works go without it (%s); what they applied goes on running",
			c.by(), waiting, total, names(c.waiting)))
	}
	return verdict(c.cluster, metav1.ConditionFalse, ReasonReleasing, fmt.Sprintf("%s: %d of %d works wait for the agent to let go of what they applied (%s); it has until %s",
		c.by(), waiting, total, names(c.waiting), c.order.At.Add(patience).UTC().Format(time.RFC3339)))
}

func (c course) by() string {
	return fmt.Sprintf("detach ordered by %s at %s", c.order.Who, c.order.At.UTC().Format(time.RFC3339))
}

// blocker names what a work on its way out waits for.
func (c course) blocker() string {
	for _, w := range c.seen.works {
		others := slices.DeleteFunc(slices.Clone(w.Finalizers), func(f string) bool { return f == workv1.ManifestWorkFinalizer })
		if !staying(w) && len(others) == len(w.Finalizers) && len(others) > 0 {
			return fmt.Sprintf("%s is kept by finalizer %s, whose owner has to drop it", w.Name, others[0])
		}
	}
	switch {
	case !c.hopeless():
		return "they go when the cluster's agent has let go of what they applied"
	case c.seen.rights != nil:
		return "the agent does not answer and loses its right to works first"
	case c.silentFor() < silence:
		return fmt.Sprintf("they go when the cluster has been silent for %s, so that no agent sees them go", silence)
	}
	return "they go without the agent"
}

func verdict(cluster *clusterv1.ManagedCluster, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: ConditionReleased, Status: status, Reason: reason, Message: message, ObservedGeneration: cluster.Generation}
}

// staying says that nobody has deleted the work yet.
func staying(w workv1.ManifestWork) bool { return w.DeletionTimestamp.IsZero() }

// unfinished says that an agent took the work up and has not let go: it keeps its finalizer until it has cleaned up
// after a deleted work, and says with the condition Applied that it has seen the newest spec of another. OCM-12.2, OCM-15.2
func unfinished(w workv1.ManifestWork) bool {
	if !slices.Contains(w.Finalizers, workv1.ManifestWorkFinalizer) {
		return false
	}
	applied := meta.FindStatusCondition(w.Status.Conditions, workv1.WorkApplied)
	return !staying(w) || applied == nil || applied.Status != metav1.ConditionTrue || applied.ObservedGeneration < w.Generation
}

func isOrphaned(o *workv1.DeleteOption) bool {
	return o != nil && o.PropagationPolicy == workv1.DeletePropagationPolicyTypeOrphan
}

// orphaned keeps how long a finished work stays; that is another matter.
func orphaned(o *workv1.DeleteOption) *workv1.DeleteOption {
	changed := &workv1.DeleteOption{PropagationPolicy: workv1.DeletePropagationPolicyTypeOrphan}
	if o != nil {
		changed.TTLSecondsAfterFinished = o.TTLSecondsAfterFinished
	}
	return changed
}

func names(works []workv1.ManifestWork) string {
	all := make([]string, 0, shown+1)
	for i := range works[:min(shown, len(works))] {
		all = append(all, works[i].Name)
	}
	if len(works) > shown {
		all = append(all, "...")
	}
	return strings.Join(all, ", ")
}

func because(o Order) string {
	if o.Why == "" {
		return ""
	}
	return " (" + o.Why + ")"
}

// event is named after the order, so that telling twice is telling once. OCM-20.3
func (c course) event(reason, note string) *eventsv1.Event {
	host, err := os.Hostname()
	if err != nil {
		host = reporter
	}
	const longestNote = 1024
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s.%s.%x", c.cluster.Name, strings.ToLower(reason), c.order.At.Unix()), Namespace: c.cluster.Name,
		},
		EventTime: metav1.NewMicroTime(c.now),
		// An event must be in the namespace of what it is about, which a cluster has not: its own stands in.
		Regarding: corev1.ObjectReference{APIVersion: clusterv1.GroupVersion.String(), Kind: "ManagedCluster", Namespace: c.cluster.Name,
			Name: c.cluster.Name, UID: c.cluster.UID, ResourceVersion: c.cluster.ResourceVersion},
		ReportingController: reporter, ReportingInstance: reporter + "-" + host, Action: "Detach", Reason: reason,
		Type: corev1.EventTypeNormal, Note: note[:min(len(note), longestNote)],
	}
}
