package offer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	"github.com/flotilla-project/flotilla/hub/brake"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
	"github.com/flotilla-project/flotilla/hub/rollout"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

const (
	// InstalledBy marks installations that follow Placements, with the one that asked for them, "<namespace>/<name>": when
	// none selects their cluster any more, they go. Those that people made for other clusters are not touched.
	InstalledBy = "flotilla.dev/installed-by"

	// ReasonRemovalHeld says that so many installations are no longer selected that somebody has to confirm it.
	ReasonRemovalHeld = "RemovalHeld"

	// copied begins the annotations of a cluster that its add-ons get. OCM-19.2
	copied = "addon.open-cluster-management.io"

	// settle is how long a cluster must be without a decision before its add-on is deleted: while a Placement rewrites its
	// decisions, a cluster that only moves is in none for a moment. OCM-17.1
	settle = time.Second
	// recheckHeld is when incomplete decisions and clusters without a namespace are looked at again, should nobody tell.
	recheckHeld = time.Minute
)

// plan is what to write.
type plan struct {
	create       []*installation
	change       []change
	remove       []removal
	defaults     []addonv1alpha1.DefaultConfigReference
	progressions []addonv1alpha1.InstallProgression
	recheck      time.Duration
	// braked says why installations stay that are no longer selected.
	braked string
}

// change is an installation as it is and as it should be.
type change struct{ live, want *installation }

// removal is an installation to delete.
type removal struct {
	live *installation
	why  string
	// meant: the offer itself does not name the placement any more.
	meant bool
}

// Recheck is when a rollout, a departure or a hold is looked at again.
func (p plan) Recheck() time.Duration { return p.recheck }

func (p *plan) again(after time.Duration) {
	if after > 0 && (p.recheck == 0 || after < p.recheck) {
		p.recheck = after
	}
}

// decision is the making of a plan.
type decision struct {
	*plan
	offer *offer
	seen  facts
	now   time.Time
	// of is the strategy that a cluster belongs to: the last one that selects it. OCM-19.2
	of map[string]int
	// started are the clusters that get the present configurations.
	started map[string]bool
}

func decide(obj *offer, seen facts, now time.Time) plan {
	p := plan{}
	if !obj.DeletionTimestamp.IsZero() { // its installations go with it, by their owner reference
		return plan{defaults: obj.Status.DefaultConfigReferences, progressions: obj.Status.InstallProgressions}
	}
	d := decision{plan: &p, offer: obj, seen: seen, now: now, of: map[string]int{}, started: map[string]bool{}}
	for i, placed := range seen.placements {
		for cluster := range placed.selected {
			d.of[cluster] = i
		}
	}
	if !seen.selfDriven {
		p.defaults = d.defaultReferences()
		for i, strategy := range placed(obj) {
			p.progressions = append(p.progressions, d.roll(i, strategy))
		}
		d.install()
	}
	for _, live := range seen.installed {
		d.settle(live)
	}
	d.brake()
	return p
}

// brake keeps the installations that Placements no longer select, if they are many and the offer does not confirm it.
func (d *decision) brake() {
	// The kind has no namespace; kubectl takes one all the same.
	s := brake.Shrink{Kind: "clustermanagementaddon", Name: d.offer.Name, Annotations: d.offer.Annotations, Because: "placements no longer select their clusters"}
	for _, r := range d.remove {
		if !r.meant {
			s.Clusters = append(s.Clusters, r.live.Namespace)
		}
	}
	for _, a := range d.seen.installed {
		if a.Annotations[InstalledBy] != "" && a.DeletionTimestamp.IsZero() {
			s.Total++
		}
	}
	if d.seen.braked {
		d.braked = s.Held(d.now)
	}
	if d.braked != "" {
		d.remove = slices.DeleteFunc(d.remove, func(r removal) bool { return !r.meant })
		d.again(recheckHeld)
	}
	for i := range d.progressions {
		sayHeld(&d.progressions[i], d.braked, d.offer.Generation)
	}
}

// sayHeld tells the user of an offer that he has to act, and takes that back.
func sayHeld(p *addonv1alpha1.InstallProgression, why string, generation int64) {
	if why == "" {
		meta.RemoveStatusCondition(&p.Conditions, condition.Stalled)
		return
	}
	condition.Set(&p.Conditions, condition.Stalled, metav1.ConditionTrue, ReasonRemovalHeld, why, generation)
}

// install makes the installations that Placements ask for. OCM-19.2
func (d *decision) install() {
	there := map[string]bool{}
	for _, live := range d.seen.installed {
		there[live.Namespace] = true
	}
	for _, name := range slices.Sorted(maps.Keys(d.of)) {
		cluster := d.seen.clusters[name]
		if there[name] || closed(cluster) || excepted(cluster.Annotations) {
			continue
		}
		d.create = append(d.create, d.made(cluster))
		d.again(recheckHeld)
	}
}

// closed clusters are on their way out, or nobody knows: nothing is installed there, and nothing taken away.
func closed(c *clusterv1.ManagedCluster) bool {
	return c == nil || !c.DeletionTimestamp.IsZero() || detach.Ordered(c)
}

// excepted clusters and installations are left to people.
func excepted(annotations map[string]string) bool {
	return annotations[addonv1alpha1.DisableAddonAutomaticInstallationAnnotationKey] == "true"
}

func (d *decision) made(cluster *clusterv1.ManagedCluster) *installation {
	a := &installation{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Name, Name: d.offer.Name,
		Annotations: map[string]string{InstalledBy: d.placementOf(cluster.Name)}, OwnerReferences: []metav1.OwnerReference{owner(d.offer)}}}
	for key, value := range cluster.Annotations {
		if strings.HasPrefix(key, copied) {
			a.Annotations[key] = value
		}
	}
	return a
}

// placementOf names the Placement that a cluster is selected by.
func (d *decision) placementOf(cluster string) string {
	p := placed(d.offer)[d.of[cluster]]
	return p.Namespace + "/" + p.Name
}

// owner is the controller reference to an offer. OCM-19.1
func owner(obj *offer) metav1.OwnerReference {
	return *metav1.NewControllerRef(obj, catalog.GroupVersion.WithKind("ClusterManagementAddOn"))
}

// settle brings one installation to what it should be, or takes it away.
func (d *decision) settle(live *installation) {
	if !live.DeletionTimestamp.IsZero() {
		return
	}
	want := live.DeepCopy()
	if metav1.GetControllerOf(live) == nil {
		want.OwnerReferences = append(want.OwnerReferences, owner(d.offer))
	}
	if !d.seen.selfDriven {
		if _, selected := d.of[live.Namespace]; selected {
			metav1.SetMetaDataAnnotation(&want.ObjectMeta, InstalledBy, d.placementOf(live.Namespace))
		} else if live.Annotations[InstalledBy] != "" && d.departs(live) {
			return
		}
		d.configure(want)
	}
	if !equality.Semantic.DeepEqual(live, want) {
		d.change = append(d.change, change{live, want})
	}
}

// departs takes an installation away whose cluster is no longer selected, but not before it is sure that it is not.
func (d *decision) departs(live *installation) bool {
	if d.offer.Spec.InstallStrategy.Type != addonv1alpha1.AddonInstallStrategyPlacements || excepted(live.Annotations) {
		return false
	}
	// What becomes of a cluster that is deleted or detached is not for an add-on to say, and one that is missing says nothing.
	if closed(d.seen.clusters[live.Namespace]) {
		return false
	}
	left := settle - d.now.Sub(d.leftAt(live))
	switch {
	case slices.ContainsFunc(d.seen.placements, placement.undecided):
		d.again(recheckHeld)
		return false
	case left > 0:
		d.again(left)
		return false
	}
	named := slices.ContainsFunc(placed(d.offer), func(p addonv1alpha1.PlacementStrategy) bool {
		return p.Namespace+"/"+p.Name == live.Annotations[InstalledBy]
	})
	d.remove = append(d.remove, removal{live, "no placement of the add-on selects the cluster any more", !named})
	return true
}

func (d *decision) leftAt(live *installation) time.Time {
	if at, noted := d.seen.leftAt[live.UID]; noted {
		return at
	}
	return d.now
}

// roll decides which clusters of a strategy get its configurations now, and reports how far it is. OCM-18.5, OCM-19.3
func (d *decision) roll(i int, strategy addonv1alpha1.PlacementStrategy) addonv1alpha1.InstallProgression {
	base := config.Resolve(config.Defaults(d.offer), config.Of(strategy.Configs))
	byCluster := map[string]*installation{}
	for _, live := range d.seen.installed {
		byCluster[live.Namespace] = live
	}
	var clusters []rollout.Cluster
	done := 0
	for name, group := range d.seen.placements[i].selected {
		if d.of[name] != i {
			continue // a later strategy has it
		}
		c := rollout.Cluster{Name: name, Group: group, Silent: d.silent(name)}
		if live := byCluster[name]; live != nil {
			c.Status, c.Since = d.judge(live, base)
		}
		if c.Status == rollout.Succeeded {
			done++
		}
		if c.Status != rollout.New {
			d.started[name] = true
		}
		clusters = append(clusters, c)
	}
	step, err := rollout.Next(strategy.RolloutStrategy, clusters, d.now)
	for _, name := range step.Start {
		d.started[name] = true
	}
	d.again(step.Recheck)
	return d.progression(i, strategy, base, progress{step: step, wrong: err, total: len(clusters), done: done})
}

func (d *decision) silent(name string) bool {
	c := d.seen.clusters[name]
	return c != nil && silent(c)
}

// progress is how far a strategy is.
type progress struct {
	step        rollout.Result
	wrong       error
	total, done int
}

func (p progress) said(found bool) (metav1.ConditionStatus, string, string) {
	failed := len(p.step.Failed) + len(p.step.TimedOut)
	switch {
	case p.wrong != nil:
		return metav1.ConditionFalse, addonv1alpha1.ProgressingReasonFailed, fmt.Sprintf("The rollout strategy cannot be followed, and no configuration is changed: %v.", p.wrong)
	case !found:
		return metav1.ConditionTrue, addonv1alpha1.ProgressingReasonProgressing, "The placement does not exist; installations stay as they are."
	case p.done == p.total:
		return metav1.ConditionFalse, addonv1alpha1.ProgressingReasonCompleted, fmt.Sprintf("%d/%d completed with no errors.", p.done, p.total)
	case p.step.Stopped:
		return metav1.ConditionFalse, addonv1alpha1.ProgressingReasonFailed, fmt.Sprintf("%d/%d completed, %d failed or timed out, more than the %d that may; no further cluster is changed.", p.done, p.total, failed, p.step.MaxFailures)
	}
	return metav1.ConditionTrue, addonv1alpha1.ProgressingReasonProgressing, fmt.Sprintf("%d/%d progressing..., %d completed, %d waiting, %d failed or timed out.",
		len(p.step.Busy), p.total, p.done, p.step.Waiting, failed)
}
