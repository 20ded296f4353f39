package federateddeployment

import (
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// line is what is known of a subset, and how it compares to what was asked.
type line struct {
	v1alpha1.SubsetStatus
	// extra counts pods of the same subset in the cluster that it is moving from.
	extra []v1alpha1.SubsetStatus
	// fresh says that the numbers speak of what is asked for now.
	fresh bool
	// asked are the ready pods of the revision that the subset shall run, which may be an older one.
	asked int32
	// waits says what is not there yet; stuck and refused say why it never will be.
	waits, stuck, refused string
	silent                string
}

// Report writes down what was observed. Only confirmed numbers are summed up.
func (s *steps) Report(obj *v1alpha1.FederatedDeployment, seen facts, plan Plan, acted error) {
	status := &obj.Status
	status.ObservedGeneration = obj.Generation
	if seen.malformed == nil {
		status.LabelSelector = metav1.FormatLabelSelector(&obj.Spec.Selector)
	}
	if plan.update != nil {
		status.UpdateRevision = plan.update.Name
	}
	if errors.Is(acted, errNameTaken) {
		collisions := int32(1)
		if status.CollisionCount != nil {
			collisions += *status.CollisionCount
		}
		status.CollisionCount = &collisions
	}
	switch {
	case plan.rollout != nil:
		status.Rollout = plan.rollout
	case seen.malformed == nil && obj.Spec.UpdateStrategy.Type != v1alpha1.UpdateProgressive:
		status.Rollout = nil
	}
	lines := linesOf(obj, seen, plan)
	sum(status, plan, lines)
	status.Clusters = clustersHeard(seen, lines)
	if plan.update != nil && !errors.Is(acted, errNameTaken) {
		status.CurrentRevision = currentRevision(status, plan, seen, lines)
	}
	v := judge(obj, plan, lines, acted)
	v.write(&status.Conditions, obj.Generation)
}

// linesOf are in the order of the spec; subsets that are on their way out follow.
func linesOf(obj *v1alpha1.FederatedDeployment, seen facts, plan Plan) []line {
	var all []line
	reported, of := map[*workv1.ManifestWork]bool{}, bySubset(seen.works)
	for _, s := range plan.shares {
		subset := s.subset
		l := line{SubsetStatus: v1alpha1.SubsetStatus{
			Name: s.name(), Cluster: s.cluster, Zone: zoneOf(subset), DesiredReplicas: s.goal, Partition: s.partition, Revision: s.revision,
			WorkName: workName(obj.Namespace, obj.Name, s.name()),
		}}
		for _, w := range of[s.name()] {
			reported[w.live] = true
			if w.cluster() == s.cluster || s.cluster == "" && l.Cluster == "" {
				l.tell(w, s.content, seen.clusters[w.cluster()])
				l.onlyUpdated(s, plan)
				l.Cluster, l.WorkName = w.cluster(), w.live.Name
				continue
			}
			var leaving line
			leaving.Cluster = w.cluster()
			leaving.tell(w, "", seen.clusters[w.cluster()])
			l.extra = append(l.extra, leaving.SubsetStatus)
		}
		l.explain(plan, s, seen)
		l.stood(plan)
		all = append(all, l)
	}
	for _, w := range seen.works {
		if reported[w.live] {
			continue
		}
		l := line{SubsetStatus: v1alpha1.SubsetStatus{Name: w.subset(), Cluster: w.cluster(), WorkName: w.live.Name}}
		content := ""
		switch {
		case plan.stays[w.live] != "":
			l.waits = fmt.Sprintf("subset %s: %s", w.subset(), plan.stays[w.live])
			l.Message = plan.stays[w.live]
		case !obj.DeletionTimestamp.IsZero() || len(plan.shares) > 0 && !plan.blocked():
			l.Message = fmt.Sprintf("waiting for %s to remove it", w.cluster())
		default: // the spec is at fault, and what runs keeps running
			l.DesiredReplicas, content = w.replicas, w.content
		}
		l.tell(w, content, seen.clusters[w.cluster()])
		l.merge(&all)
	}
	return all
}

// merge adds a line, or adds to the one that has its name: a list of the API has each name once.
func (l line) merge(all *[]line) {
	for i := range *all {
		if (*all)[i].Name == l.Name {
			(*all)[i].extra = append((*all)[i].extra, l.SubsetStatus)
			return
		}
	}
	*all = append(*all, l)
}

// tell fills in what the cluster said last. Pods count as updated only when it spoke of the content that is asked for.
func (l *line) tell(w work, content string, c cluster) {
	f := w.feedback
	l.Replicas, l.ReadyReplicas, l.AvailableReplicas, l.UnschedulableReplicas = f.replicas, f.ready, f.available, f.unschedulable
	if l.fresh = f.fresh(content) && !w.leaving(); l.fresh {
		l.UpdatedReplicas, l.UpdatedReadyReplicas, l.asked = f.updated, f.updatedReady, f.updatedReady
	}
	if l.Silent = !c.heard; l.Silent {
		l.silent = silence(w, c)
		l.Message = "not heard from" + since(c)
		return
	}
	switch {
	case w.leaving():
		if l.Message == "" {
			l.Message = fmt.Sprintf("waiting for %s to let go of its work, which was deleted", w.cluster())
		}
		if why := held(w); why != "" {
			l.Message = why
			l.refused = fmt.Sprintf("subset %s on %s: %s", w.subset(), w.cluster(), why)
		}
	case refusal(w) != "":
		l.refused = fmt.Sprintf("subset %s on %s: %s; correct the template, or what refuses it on %s", w.subset(), w.cluster(), refusal(w), w.cluster())
		l.Message = refusal(w)
	case l.fresh && f.message != "":
		l.stuck = fmt.Sprintf("subset %s on %s: %s", w.subset(), w.cluster(), f.message)
		l.Message = f.message
	case l.fresh && f.progress != "":
		l.Message = f.progress
	}
}

// onlyUpdated takes pods of an older revision, as waves and rollbacks ask for, from those that count as updated.
func (l *line) onlyUpdated(s share, plan Plan) {
	if plan.update != nil && s.revision != plan.update.Name {
		l.UpdatedReplicas, l.UpdatedReadyReplicas = 0, 0
	}
}

// explain says what the share still waits for.
func (l *line) explain(plan Plan, s share, seen facts) {
	at := l.Cluster
	switch {
	case s.cluster == "":
		i := slices.IndexFunc(plan.problems, func(p problem) bool { return p.subset == s.name() })
		if i >= 0 {
			l.Message = plan.problems[i].message
		}
		l.waits = fmt.Sprintf("subset %s has no cluster", s.name())
		return
	case !l.fresh:
		l.waits = fmt.Sprintf("waiting for %s to report on subset %s", at, s.name())
	case l.Replicas != s.replicas || l.ReadyReplicas < s.replicas:
		l.waits = fmt.Sprintf("subset %s on %s has %d of %d replicas ready", s.name(), at, l.ReadyReplicas, s.replicas)
		if l.Replicas > s.replicas {
			l.waits = fmt.Sprintf("subset %s on %s has %d replicas and shall have %d", s.name(), at, l.Replicas, s.replicas)
		}
	case l.asked < s.replicas-s.partition && !s.paused:
		l.waits = fmt.Sprintf("subset %s on %s has %d of %d replicas updated and ready%s", s.name(), at, l.asked, s.replicas-s.partition, byHand(s))
	case l.AvailableReplicas < s.replicas:
		l.waits = fmt.Sprintf("subset %s on %s has %d of %d replicas available, the others are ready since too short a time", s.name(), at, l.AvailableReplicas, s.replicas)
	}
	if s.held != "" && l.waits == "" {
		l.waits = s.held
	}
	if s.from != "" {
		l.waits = fmt.Sprintf("subset %s is moving from %s to %s", s.name(), s.from, s.cluster)
	}
	if _, known := seen.clusters[s.cluster]; known && !seen.clusters[s.cluster].heard && l.silent == "" {
		l.Silent, l.silent = true, fmt.Sprintf("subset %s waits for %s, which is not heard from%s", s.name(), s.cluster, since(seen.clusters[s.cluster]))
	}
	if l.Message == "" {
		l.Message = l.waits
	}
}

// byHand says who updates pods that no controller does.
func byHand(s share) string {
	_, tmpl, _ := kindOf(s.template)
	if strategy, _, _ := unstructured.NestedString(tmpl, "spec", "updateStrategy", "type"); strategy == "OnDelete" {
		return ", and updateStrategy OnDelete leaves the others until somebody deletes them"
	}
	return ""
}

func silence(w work, c cluster) string {
	return fmt.Sprintf("%d replicas on %s unconfirmed%s", w.feedback.replicas, w.cluster(), since(c))
}

func since(c cluster) string {
	if c.since.IsZero() {
		return ""
	}
	return " since " + c.since.UTC().Format(time.RFC3339)
}

// refusal is what the cluster says about a manifest that it could not apply.
func refusal(w work) string {
	applied := meta.FindStatusCondition(w.live.Status.Conditions, workv1.WorkApplied)
	if applied == nil || applied.Status != metav1.ConditionFalse || applied.ObservedGeneration != w.live.Generation {
		return ""
	}
	for _, m := range w.live.Status.ResourceStatus.Manifests {
		if c := meta.FindStatusCondition(m.Conditions, workv1.ManifestApplied); c != nil && c.Status == metav1.ConditionFalse {
			return fmt.Sprintf("%s %s: %s", m.ResourceMeta.Kind, m.ResourceMeta.Name, c.Message)
		}
	}
	return applied.Message
}

// held is why a cluster does not remove what it was told to remove, if it says so.
func held(w work) string {
	c := meta.FindStatusCondition(w.live.Status.Conditions, workv1.WorkDeleting)
	if c == nil || c.Status != metav1.ConditionFalse {
		return ""
	}
	return c.Message
}

// sum adds up what is confirmed. What silent clusters said last stays in the lines.
func sum(status *v1alpha1.FederatedDeploymentStatus, plan Plan, lines []line) {
	status.DesiredReplicas, status.Replicas, status.ReadyReplicas, status.AvailableReplicas = 0, 0, 0, 0
	status.UpdatedReplicas, status.UpdatedReadyReplicas, status.UnconfirmedReplicas = 0, 0, 0
	status.Subsets = nil
	for _, l := range lines {
		if c, known := plan.schedulable[l.Name]; known {
			l.Conditions = []metav1.Condition{c}
		}
		status.Subsets = append(status.Subsets, l.SubsetStatus)
		status.DesiredReplicas += l.DesiredReplicas
		for _, part := range append([]v1alpha1.SubsetStatus{l.SubsetStatus}, l.extra...) {
			if part.Silent {
				status.UnconfirmedReplicas += part.Replicas
				continue
			}
			status.Replicas += part.Replicas
			status.ReadyReplicas += part.ReadyReplicas
			status.AvailableReplicas += part.AvailableReplicas
			status.UpdatedReplicas += part.UpdatedReplicas
			status.UpdatedReadyReplicas += part.UpdatedReadyReplicas
		}
	}
}

// clustersHeard is the column: clusters heard from, of clusters used.
func clustersHeard(seen facts, lines []line) string {
	used := map[string]bool{}
	for _, l := range lines {
		for _, part := range append([]v1alpha1.SubsetStatus{l.SubsetStatus}, l.extra...) {
			if part.Cluster != "" {
				used[part.Cluster] = seen.clusters[part.Cluster].heard
			}
		}
	}
	heard := 0
	for _, h := range used {
		if h {
			heard++
		}
	}
	return fmt.Sprintf("%d/%d", heard, len(used))
}

// currentRevision moves on when every pod there is, is a ready one of the update revision (WL-5.10).
func currentRevision(status *v1alpha1.FederatedDeploymentStatus, plan Plan, seen facts, lines []line) string {
	known := slices.ContainsFunc(seen.revisions, revisionNamed(status.CurrentRevision))
	if status.CurrentRevision == "" || !known && status.CurrentRevision != plan.update.Name {
		return plan.update.Name
	}
	for _, l := range lines {
		if l.Silent || len(l.extra) > 0 || !l.fresh || l.UpdatedReadyReplicas < max(l.Replicas, l.DesiredReplicas) {
			return status.CurrentRevision
		}
	}
	return plan.update.Name
}

func revisionNamed(name string) func(appsv1.ControllerRevision) bool {
	return func(r appsv1.ControllerRevision) bool { return r.Name == name }
}
