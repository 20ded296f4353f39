package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/placement"
)

// placing is a namespace with a set bound to it, and the placement controller alone on the hub.
type placing struct {
	server
	t      testing.TB
	g      *WithT
	prefix string
}

func place(t testing.TB, prefix string, clusters ...string) placing {
	t.Helper()
	p := placing{server: hubServer(t), t: t, g: NewWithT(t), prefix: prefix}
	p.run(t, func(m ctrl.Manager) error { return placement.Register(m, placement.Options{}) })
	p.g.Expect(p.Admin.Create(t.Context(), namespace(prefix))).To(Succeed())
	for _, c := range clusters {
		p.cluster(c)
	}
	return p
}

func (p placing) cluster(name string, change ...func(*clusterv1.ManagedCluster)) {
	inSet := func(c *clusterv1.ManagedCluster) {
		c.Labels = map[string]string{clusterv1beta2.ClusterSetLabel: p.prefix}
	}
	p.g.Expect(p.Admin.Create(p.t.Context(), managed(p.prefix+"-"+name, append([]func(*clusterv1.ManagedCluster){inSet}, change...)...))).To(Succeed())
}

func (p placing) taint(cluster string, taints ...clusterv1.Taint) {
	p.change(p.t, p.prefix+"-"+cluster, func(c *clusterv1.ManagedCluster) { c.Spec.Taints = taints })
}

// bind makes the set and binds it.
func (p placing) bind() {
	p.g.Expect(p.Admin.Create(p.t.Context(), &clusterv1beta2.ManagedClusterSet{ObjectMeta: metav1.ObjectMeta{Name: p.prefix}})).To(Succeed())
	p.g.Expect(p.Admin.Create(p.t.Context(), p.binding())).To(Succeed())
}

func (p placing) binding() *clusterv1beta2.ManagedClusterSetBinding {
	return &clusterv1beta2.ManagedClusterSetBinding{ObjectMeta: metav1.ObjectMeta{Namespace: p.prefix, Name: p.prefix},
		Spec: clusterv1beta2.ManagedClusterSetBindingSpec{ClusterSet: p.prefix}}
}

func (p placing) wants(change func(*clusterv1beta1.PlacementSpec)) {
	web := &clusterv1beta1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: p.prefix, Name: "web"}}
	err := p.Admin.Get(p.t.Context(), client.ObjectKeyFromObject(web), web)
	if client.IgnoreNotFound(err) != nil {
		p.t.Fatal(err)
	}
	before := web.DeepCopy()
	change(&web.Spec)
	if err != nil {
		p.g.Expect(p.Admin.Create(p.t.Context(), web)).To(Succeed())
		return
	}
	p.g.Expect(p.Admin.Patch(p.t.Context(), web, client.MergeFrom(before))).To(Succeed())
}

func (p placing) web() *clusterv1beta1.Placement {
	web := &clusterv1beta1.Placement{}
	p.g.Expect(p.Admin.Get(p.t.Context(), client.ObjectKey{Namespace: p.prefix, Name: "web"}, web)).To(Succeed())
	return web
}

func (p placing) decisions() []clusterv1beta1.PlacementDecision {
	var all clusterv1beta1.PlacementDecisionList
	p.g.Expect(p.Admin.List(p.t.Context(), &all, client.InNamespace(p.prefix), client.MatchingLabels{"cluster.open-cluster-management.io/placement": "web"})).To(Succeed())
	return all.Items
}

// decided is "number of objects: clusters", without the prefix.
func (p placing) decided() string {
	all := p.decisions()
	var names []string
	for _, d := range all {
		for _, c := range d.Status.Decisions {
			names = append(names, strings.TrimPrefix(c.ClusterName, p.prefix+"-"))
		}
	}
	slices.Sort(names)
	return fmt.Sprintf("%d: %s", len(all), strings.Join(names, " "))
}

func (p placing) becomes(want string) {
	p.t.Helper()
	p.g.Eventually(p.decided, soon, interval).Should(Equal(want))
}

func (p placing) says(kind, want string) {
	p.t.Helper()
	p.g.Eventually(func() string { return saysOf(p.web().Status.Conditions, kind) }, soon, interval).Should(HavePrefix(want))
}

// OCM-16.2, OCM-16.4, OCM-16.6, OCM-17.1, OCM-17.3, OCM-17.4, OCM-21.1: placement alone, with the hub's own rights.
func TestPlacement(t *testing.T) {
	p := place(t, "placed", "east", "north", "west")
	g := p.g
	p.wants(func(s *clusterv1beta1.PlacementSpec) { s.NumberOfClusters = new(int32(2)) })
	p.becomes("1: ")
	p.says("PlacementSatisfied", "False NoManagedClusterSetBindings: ")
	p.bind()
	p.becomes("1: east north")
	p.says("PlacementSatisfied", "True AllDecisionsScheduled: All cluster decisions scheduled")
	p.says("PlacementMisconfigured", "False Succeedconfigured: Placement configurations check pass")
	p.says("ClustersLeftOut", "True Refused: 1 cluster left out: placed-west: numberOfClusters is 2")
	decision := p.decisions()[0]
	g.Expect(decision.Name).To(Equal("web-decision-1"))
	g.Expect(decision.Labels).To(Equal(map[string]string{"cluster.open-cluster-management.io/placement": "web",
		"cluster.open-cluster-management.io/decision-group-index": "0", "cluster.open-cluster-management.io/decision-group-name": ""}))
	g.Expect(metav1.IsControlledBy(&decision, p.web())).To(BeTrue())
	g.Expect(decision.Status.Decisions[0]).To(Equal(clusterv1beta1.ClusterDecision{ClusterName: "placed-east", Score: 200, Reason: "Balance 100, Steady 100"}))
	g.Expect(p.web().Status.NumberOfSelectedClusters).To(Equal(int32(2)))
	g.Eventually(p.told, soon, interval).Should(SatisfyAll(ContainSubstring("Placement DecisionCreate"), ContainSubstring("Placement ScoreUpdate")))

	// Nothing happens, so nothing is written; a heartbeat is nothing.
	before := p.web().ResourceVersion
	p.seen("north", "Available", time.Now())
	p.seen("north", "Available", time.Now().Add(time.Minute))
	g.Consistently(func() []string { return []string{p.web().ResourceVersion, p.decisions()[0].ResourceVersion} }, 2*time.Second, interval).
		Should(Equal([]string{before, decision.ResourceVersion}))

	// A taint moves the cluster, its end does not move it back: the one that took over is steady.
	p.taint("east", clusterv1.Taint{Key: "power", Effect: "NoSelect"})
	p.becomes("1: north west")
	p.says("ClustersLeftOut", "True Refused: 1 cluster left out: placed-east: taint power:NoSelect is not tolerated")
	p.taint("east")
	p.says("ClustersLeftOut", "True Refused: 1 cluster left out: placed-east: numberOfClusters is 2")
	g.Expect(p.decided()).To(Equal("1: north west"))

	// A toleration ends at its moment, with nothing else happening.
	p.wants(func(s *clusterv1beta1.PlacementSpec) {
		s.Tolerations = []clusterv1beta1.Toleration{{Key: "power", Operator: "Exists", TolerationSeconds: new(int64(3))}}
	})
	p.taint("west", clusterv1.Taint{Key: "power", Effect: "NoSelect"})
	g.Consistently(p.decided, time.Second, interval).Should(Equal("1: north west"))
	p.becomes("1: east north")

	// What somebody makes of a decision is put right.
	decision = p.decisions()[0]
	stripped := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":null}}`))
	g.Expect(p.Admin.Patch(t.Context(), &decision, stripped)).To(Succeed())
	p.becomes("1: east north")
	g.Expect(p.Admin.Delete(t.Context(), &decision)).To(Succeed())
	g.Eventually(func() bool { all := p.decisions(); return len(all) == 1 && all[0].UID != decision.UID }, soon, interval).Should(BeTrue())
	p.becomes("1: east north")
}

// told are the reasons of the events in the namespace.
func (p placing) told() string {
	var events corev1.EventList
	p.g.Expect(p.Admin.List(p.t.Context(), &events, client.InNamespace(p.prefix))).To(Succeed())
	var reasons []string
	for _, e := range events.Items {
		reasons = append(reasons, e.InvolvedObject.Kind+" "+e.Reason)
	}
	return strings.Join(reasons, ", ")
}

func (p placing) seen(cluster, kind string, at time.Time) {
	name := p.prefix + "-" + cluster
	c := managed(name)
	p.exists(p.t, c)
	c.Status.Conditions = []metav1.Condition{{Type: kind, Status: "True", Reason: "Seen", LastTransitionTime: metav1.NewTime(at)}}
	p.g.Expect(p.Admin.Status().Update(p.t.Context(), c)).To(Succeed())
}

// OCM-16.3, OCM-16.5, OCM-16.6: mistakes keep what there is, a lost binding does not; scores move clusters.
func TestPlacementKeepsAndMoves(t *testing.T) {
	p := place(t, "kept", "east", "west")
	p.bind()
	cel := func(expression string) func(*clusterv1beta1.PlacementSpec) {
		return func(s *clusterv1beta1.PlacementSpec) {
			s.Predicates = []clusterv1beta1.ClusterPredicate{{RequiredClusterSelector: clusterv1beta1.ClusterSelector{
				CelSelector: clusterv1beta1.ClusterCelSelector{CelExpressions: []string{expression}}}}}
		}
	}
	p.wants(cel(`managedCluster.metadata.name.endsWith(`))
	p.says("PlacementMisconfigured", "True Misconfigured: Predicate:predicate 0: CEL expression 0: ")
	p.becomes("1: ")
	p.wants(cel(`managedCluster.metadata.name.endsWith("st")`))
	p.becomes("1: east west")
	p.says("PlacementMisconfigured", "False Succeedconfigured")
	p.wants(func(s *clusterv1beta1.PlacementSpec) {
		s.PrioritizerPolicy.Configurations = []clusterv1beta1.PrioritizerConfig{{Weight: 1, ScoreCoordinate: &clusterv1beta1.ScoreCoordinate{Type: "BuiltIn", BuiltIn: "Cheapest"}}}
	})
	p.says("PlacementMisconfigured", `True Misconfigured: Prioritizer:configuration 0: no built-in prioritizer is called "Cheapest"`)
	p.says("PlacementSatisfied", "False NotAllDecisionsScheduled: Prioritizer:")
	p.g.Consistently(p.decided, time.Second, interval).Should(Equal("1: east west"))
	p.g.Expect(p.web().Status.NumberOfSelectedClusters).To(Equal(int32(2)))

	// A score comes, and one cluster is enough.
	p.wants(func(s *clusterv1beta1.PlacementSpec) {
		s.NumberOfClusters = new(int32(1))
		s.PrioritizerPolicy = clusterv1beta1.PrioritizerPolicy{Mode: "Exact", Configurations: []clusterv1beta1.PrioritizerConfig{{Weight: 1,
			ScoreCoordinate: &clusterv1beta1.ScoreCoordinate{Type: "AddOn", AddOn: &clusterv1beta1.AddOnScore{ResourceName: "load", ScoreName: "cpu"}}}}}
	})
	p.becomes("1: east")
	p.score("west", 10)
	p.becomes("1: west")
	p.score("west", -10)
	p.becomes("1: east")

	p.g.Expect(p.Admin.Delete(t.Context(), p.binding())).To(Succeed())
	p.becomes("1: ")
	p.says("PlacementSatisfied", "False NoManagedClusterSetBindings: ")
}

func (p placing) score(cluster string, value int32) {
	name := p.prefix + "-" + cluster
	if err := p.Admin.Create(p.t.Context(), namespace(name)); err != nil {
		p.t.Log(err) // it is there from the last time
	}
	score := &clusterv1alpha1.AddOnPlacementScore{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "load"}}
	if err := p.Admin.Get(p.t.Context(), client.ObjectKeyFromObject(score), score); client.IgnoreNotFound(err) != nil {
		p.t.Fatal(err)
	} else if err != nil {
		p.g.Expect(p.Admin.Create(p.t.Context(), score)).To(Succeed())
	}
	score.Status.Scores = []clusterv1alpha1.AddOnPlacementScoreItem{{Name: "cpu", Value: value}}
	p.g.Expect(p.Admin.Status().Update(p.t.Context(), score)).To(Succeed())
}

// OCM-17.1, OCM-17.2: groups and the division into objects of a hundred.
func TestPlacementDivides(t *testing.T) {
	p := place(t, "many")
	for i := range 130 {
		p.cluster(fmt.Sprintf("c%03d", i))
	}
	p.bind()
	p.wants(func(*clusterv1beta1.PlacementSpec) {})
	p.g.Eventually(func() int32 { return p.web().Status.NumberOfSelectedClusters }, soon, interval).Should(Equal(int32(130)))
	p.g.Expect(p.decisions()).To(HaveLen(2))
	p.wants(func(s *clusterv1beta1.PlacementSpec) {
		s.DecisionStrategy.GroupStrategy.DecisionGroups = []clusterv1beta1.DecisionGroup{{GroupName: "canary", ClusterSelector: clusterv1beta1.GroupClusterSelector{
			LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"canary": "yes"}}}}}
	})
	p.change(t, "many-c120", func(c *clusterv1.ManagedCluster) { c.Labels["canary"] = "yes" })
	p.g.Eventually(func() []clusterv1beta1.DecisionGroupStatus { return p.web().Status.DecisionGroups }, soon, interval).Should(Equal([]clusterv1beta1.DecisionGroupStatus{
		{DecisionGroupIndex: 0, DecisionGroupName: "canary", Decisions: []string{"web-decision-1"}, ClustersCount: 1},
		{DecisionGroupIndex: 1, Decisions: []string{"web-decision-2", "web-decision-3"}, ClustersCount: 129},
	}))
	p.g.Expect(p.decisions()).To(HaveLen(3))
}
