package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/workset"
	"github.com/flotilla-project/flotilla/hub/controllers/workttl"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// rolling is a namespace for a set, with the controller at work; placements are decided and works answered by hand.
type rolling struct {
	server
	*WithT
	t                 testing.TB
	prefix, namespace string
}

func roll(t testing.TB, prefix string) rolling {
	t.Helper()
	r := rolling{server: hubServer(t), WithT: NewWithT(t), t: t, prefix: prefix}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}
	r.Expect(r.Admin.Create(t.Context(), ns)).To(Succeed())
	r.namespace = ns.Name
	r.run(t, func(m ctrl.Manager) error { return workset.Register(m, workset.Options{}) })
	return r
}

// clusters have a namespace and nothing else: sets need no ManagedCluster.
func (r rolling) clusters(names ...string) (all []string) {
	r.t.Helper()
	for _, name := range names {
		name = r.prefix + "-" + name
		all = append(all, name)
		r.Expect(r.Admin.Create(r.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
	}
	return all
}

// place makes a Placement with one decision.
func (r rolling) place(name string, clusters ...string) *clusterv1beta1.PlacementDecision {
	r.t.Helper()
	r.Expect(r.Admin.Create(r.t.Context(), &clusterv1beta1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name}})).To(Succeed())
	return r.decide(name, 0, clusters...)
}

func (r rolling) decide(placement string, group int, clusters ...string) *clusterv1beta1.PlacementDecision {
	r.t.Helper()
	d := &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fmt.Sprintf("%s-decision-%d", placement, group+1),
		Labels: map[string]string{clusterv1beta1.PlacementLabel: placement, clusterv1beta1.DecisionGroupIndexLabel: fmt.Sprint(group), clusterv1beta1.DecisionGroupNameLabel: ""}}}
	r.Expect(r.Admin.Create(r.t.Context(), d)).To(Succeed())
	r.redecide(d, clusters...)
	return d
}

func (r rolling) redecide(d *clusterv1beta1.PlacementDecision, clusters ...string) {
	r.t.Helper()
	d.Status.Decisions = []clusterv1beta1.ClusterDecision{}
	for _, c := range clusters {
		d.Status.Decisions = append(d.Status.Decisions, clusterv1beta1.ClusterDecision{ClusterName: c})
	}
	r.Expect(r.Admin.Status().Update(r.t.Context(), d)).To(Succeed())
}

func content(version string) workv1.ManifestWorkSpec {
	raw := fmt.Sprintf(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c","namespace":"default"},"data":{"version":%q}}`, version)
	return workv1.ManifestWorkSpec{Workload: workv1.ManifestsTemplate{Manifests: []workv1.Manifest{{RawExtension: runtime.RawExtension{Raw: []byte(raw)}}}}}
}

func (r rolling) set(strategy clusterv1alpha1.RolloutStrategy, placements ...string) *workv1alpha1.ManifestWorkReplicaSet {
	r.t.Helper()
	s := &workv1alpha1.ManifestWorkReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "web", Labels: map[string]string{"app": "web"}},
		Spec: workv1alpha1.ManifestWorkReplicaSetSpec{ManifestWorkTemplate: content("one")}}
	for _, p := range placements {
		s.Spec.PlacementRefs = append(s.Spec.PlacementRefs, workv1alpha1.LocalPlacementReference{Name: p, RolloutStrategy: strategy})
	}
	r.Expect(r.Admin.Create(r.t.Context(), s)).To(Succeed())
	return s
}

func (r rolling) works() []workv1.ManifestWork {
	r.t.Helper()
	var found workv1.ManifestWorkList
	r.Expect(r.Admin.List(r.t.Context(), &found, client.MatchingLabels{workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey: r.namespace + ".web"})).To(Succeed())
	return found.Items
}

// carrying are the clusters whose works have that version, without the prefix.
func (r rolling) carrying(version string) func() []string {
	return func() []string {
		names := []string{}
		for _, w := range r.works() {
			if strings.Contains(string(w.Spec.Workload.Manifests[0].Raw), `"`+version+`"`) {
				names = append(names, strings.TrimPrefix(w.Namespace, r.prefix+"-"))
			}
		}
		slices.Sort(names)
		return names
	}
}

// answer is what an agent says of all works for a cluster; a "!" before a condition is False.
func (r rolling) answer(cluster string, conditions ...string) {
	r.t.Helper()
	r.Eventually(func() error {
		for _, w := range r.works() {
			if w.Namespace != r.prefix+"-"+cluster {
				continue
			}
			for _, said := range conditions {
				kind, denied := strings.CutPrefix(said, "!")
				status := condition.Of(!denied)
				meta.SetStatusCondition(&w.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: "Test", ObservedGeneration: w.Generation})
			}
			if err := r.Admin.Status().Update(r.t.Context(), &w); err != nil {
				return err
			}
		}
		return nil
	}, soon, interval).Should(Succeed())
}

// short are the conditions of the set, as status and reason.
func (r rolling) short() map[string]string {
	var s workv1alpha1.ManifestWorkReplicaSet
	r.Expect(r.Admin.Get(r.t.Context(), client.ObjectKey{Namespace: r.namespace, Name: "web"}, &s)).To(Succeed())
	all := map[string]string{}
	for _, c := range s.Status.Conditions {
		all[c.Type] = string(c.Status) + " " + c.Reason
	}
	return all
}

func (r rolling) retemplate(version string) {
	r.t.Helper()
	r.Eventually(func() error {
		var s workv1alpha1.ManifestWorkReplicaSet
		if err := r.Admin.Get(r.t.Context(), client.ObjectKey{Namespace: r.namespace, Name: "web"}, &s); err != nil {
			return err
		}
		s.Spec.ManifestWorkTemplate = content(version)
		return r.Admin.Update(r.t.Context(), &s)
	}, soon, interval).Should(Succeed())
}

// OCM-18.1 to OCM-18.3: defaults, finalizer, works, summaries and conditions; without a rule that yields Progressing it
// completes when all is applied and available.
func TestASetMakesAWorkForEveryClusterAndCompletes(t *testing.T) {
	t.Parallel()
	r := roll(t, "ws-all")
	clusters := r.clusters("a", "b")
	decision := r.place("p", clusters...)
	s := r.set(clusterv1alpha1.RolloutStrategy{}, "p")
	if s.Spec.CascadeDeletionPolicy != workv1alpha1.Background {
		t.Errorf("%v", s.Spec.CascadeDeletionPolicy)
	}
	r.Eventually(r.carrying("one"), soon, interval).Should(Equal([]string{"a", "b"}))
	w := r.works()[0]
	r.Expect(w.GenerateName).To(Equal("web"))
	r.Expect(w.Labels).To(Equal(map[string]string{"app": "web", "work.open-cluster-management.io/manifestworkreplicaset": r.namespace + ".web",
		"work.open-cluster-management.io/placementname": "p"}))
	r.Eventually(r.short, soon, interval).Should(Equal(map[string]string{
		"PlacementVerified": "True AsExpected", "PlacementRolledOut": "False Progressing", "ManifestworkApplied": "False NotAsExpected"}))

	r.answer("a", "Applied", "Available")
	r.answer("b", "Applied", "Available")
	r.Eventually(r.short, soon, interval).Should(Equal(map[string]string{
		"PlacementVerified": "True AsExpected", "PlacementRolledOut": "True Complete", "ManifestworkApplied": "True AsExpected"}))
	r.Expect(r.Admin.Get(t.Context(), client.ObjectKeyFromObject(s), s)).To(Succeed())
	r.Expect(s.Finalizers).To(Equal([]string{"work.open-cluster-management.io/manifest-work-cleanup"}))
	r.Expect(s.Status.Summary).To(Equal(workv1alpha1.ManifestWorkReplicaSetSummary{Total: 2, Applied: 2, Available: 2, DesiredTotal: 2, Updated: 2}))
	r.Expect(s.Status.PlacementsSummary[0].AvailableDecisionGroups).To(Equal("1 (2 / 2 clusters applied)"))

	// Nothing changed, so nothing is written.
	versions := r.versions()
	r.Consistently(r.versions, time.Second, interval).Should(Equal(versions))

	r.redecide(decision, clusters[1])
	r.Eventually(r.carrying("one"), soon, interval).Should(Equal([]string{"b"}))
}

func (r rolling) versions() map[string]string {
	all := map[string]string{}
	for _, w := range r.works() {
		all[w.Namespace] = w.ResourceVersion
	}
	var s workv1alpha1.ManifestWorkReplicaSet
	r.Expect(r.Admin.Get(r.t.Context(), client.ObjectKey{Namespace: r.namespace, Name: "web"}, &s)).To(Succeed())
	all["set"] = s.ResourceVersion
	return all
}

// OCM-18.5: one at a time, a soak, and a stop at too many failures.
func TestAProgressiveRolloutGoesOneByOneAndStopsAtAFailure(t *testing.T) {
	t.Parallel()
	r := roll(t, "ws-prog")
	r.place("p", r.clusters("a", "b", "c")...)
	r.set(clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.Progressive, Progressive: &clusterv1alpha1.RolloutProgressive{
		MaxConcurrency: intstr.FromInt32(1), RolloutConfig: clusterv1alpha1.RolloutConfig{MinSuccessTime: metav1.Duration{Duration: time.Second}}}}, "p")
	r.Eventually(r.carrying("one"), soon, interval).Should(Equal([]string{"a"}))
	r.answer("a", "Applied", "!Progressing")
	r.Eventually(r.carrying("one"), soon, interval).Should(Equal([]string{"a", "b"}))
	r.answer("b", "Applied", "!Progressing")
	r.Eventually(r.carrying("one"), soon, interval).Should(Equal([]string{"a", "b", "c"}))
	r.answer("c", "Applied", "!Progressing")
	r.Eventually(r.short, soon, interval).Should(HaveKeyWithValue("PlacementRolledOut", "True Complete"))

	r.retemplate("two")
	r.Eventually(r.carrying("two"), soon, interval).Should(Equal([]string{"a"}))
	r.answer("a", "Applied", "Progressing", "Degraded")
	r.Eventually(r.short, soon, interval).Should(HaveKeyWithValue("ManifestworkApplied", "False NotAsExpected"))
	r.Consistently(r.carrying("two"), time.Second, interval).Should(Equal([]string{"a"}))
	r.Expect(r.carrying("one")()).To(Equal([]string{"b", "c"}))
}

// OCM-18.5, and the extension: a cluster that is not heard from counts as a failure and does not hold the next group.
func TestASilentClusterDoesNotHoldTheNextGroup(t *testing.T) {
	t.Parallel()
	r := roll(t, "ws-group")
	clusters := r.clusters("a", "b", "c")
	lost := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: clusters[0]}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}}
	r.Expect(r.Admin.Create(t.Context(), lost)).To(Succeed())
	r.place("p", clusters[:2]...)
	r.decide("p", 1, clusters[2])
	r.set(clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.ProgressivePerGroup, ProgressivePerGroup: &clusterv1alpha1.RolloutProgressivePerGroup{
		RolloutConfig: clusterv1alpha1.RolloutConfig{MaxFailures: intstr.FromInt32(1)}}}, "p")
	r.Eventually(r.carrying("one"), soon, interval).Should(Equal([]string{"a", "b"}))
	r.answer("b", "Applied", "Available")
	r.Consistently(r.carrying("one"), time.Second, interval).Should(Equal([]string{"a", "b"}))

	meta.SetStatusCondition(&lost.Status.Conditions, metav1.Condition{Type: clusterv1.ManagedClusterConditionAvailable, Status: metav1.ConditionUnknown, Reason: "Test"})
	r.Expect(r.Admin.Status().Update(t.Context(), lost)).To(Succeed())
	r.Eventually(r.carrying("one"), soon, interval).Should(Equal([]string{"a", "b", "c"}))
}

// OCM-18.5: a placement that is gone takes nothing away, and the one after it is served.
func TestAPlacementThatIsGoneTakesNothingAway(t *testing.T) {
	t.Parallel()
	r := roll(t, "ws-gone")
	clusters := r.clusters("a", "b")
	decision := r.place("p", clusters[0])
	other := r.place("q")
	r.set(clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.All}, "p", "q")
	r.Eventually(r.carrying("one"), soon, interval).Should(Equal([]string{"a"}))
	r.Expect(r.Admin.Delete(t.Context(), &clusterv1beta1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "p"}})).To(Succeed())
	r.Expect(r.Admin.Delete(t.Context(), decision)).To(Succeed())
	r.Eventually(r.short, soon, interval).Should(HaveKeyWithValue("PlacementVerified", "False PlacementDecisionNotFound"))
	r.redecide(other, clusters[1])
	r.Eventually(r.carrying("one"), soon, interval).Should(Equal([]string{"a", "b"}))
}

// OCM-18.2: in the foreground the set waits for its works, and an agent's finalizer is not touched.
func TestASetThatIsDeletedInTheForegroundWaitsForItsWorks(t *testing.T) {
	t.Parallel()
	r := roll(t, "ws-del")
	r.place("p", r.clusters("a")...)
	s := r.set(clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.All}, "p")
	r.Eventually(r.carrying("one"), soon, interval).Should(Equal([]string{"a"}))
	w := r.works()[0]
	w.Finalizers = []string{workv1.ManifestWorkFinalizer}
	r.Expect(r.Admin.Update(t.Context(), &w)).To(Succeed())
	r.Eventually(func() error {
		if err := r.Admin.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		s.Spec.CascadeDeletionPolicy = workv1alpha1.Foreground
		return r.Admin.Update(t.Context(), s)
	}, soon, interval).Should(Succeed())
	r.Expect(r.Admin.Delete(t.Context(), s)).To(Succeed())
	r.Eventually(func() bool { return r.works()[0].DeletionTimestamp != nil }, soon, interval).Should(BeTrue())
	r.Consistently(func() error { return r.Admin.Get(t.Context(), client.ObjectKeyFromObject(s), s) }, time.Second, interval).Should(Succeed())
	w = r.works()[0]
	r.Expect(w.Finalizers).To(Equal([]string{workv1.ManifestWorkFinalizer}))
	w.Finalizers = nil
	r.Expect(r.Admin.Update(t.Context(), &w)).To(Succeed())
	r.Eventually(func() bool { return apierrors.IsNotFound(r.Admin.Get(t.Context(), client.ObjectKeyFromObject(s), s)) }, soon, interval).Should(BeTrue())
}

// OCM-13.4
func TestACompletedWorkIsDeletedWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	r := roll(t, "ws-ttl")
	r.run(t, func(m ctrl.Manager) error { return workttl.Register(m, workttl.Options{}) })
	cluster := r.clusters("a")[0]
	w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: "job"}, Spec: content("one")}
	w.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: workv1.DeletePropagationPolicyTypeForeground, TTLSecondsAfterFinished: new(int64(2))}
	r.Expect(r.Admin.Create(t.Context(), w)).To(Succeed())
	meta.SetStatusCondition(&w.Status.Conditions, metav1.Condition{Type: "Complete", Status: metav1.ConditionTrue, Reason: "ConditionRulesAggregated"})
	done := w.Status.Conditions[0].LastTransitionTime.Truncate(time.Second)
	r.Expect(r.Admin.Status().Update(t.Context(), w)).To(Succeed())
	r.Eventually(func() bool { return apierrors.IsNotFound(r.Admin.Get(t.Context(), client.ObjectKeyFromObject(w), w)) }, soon, interval).Should(BeTrue())
	if lived := time.Since(done); lived < 2*time.Second {
		t.Errorf("deleted %v after it was done", lived)
	}
}
