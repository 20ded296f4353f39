package integration

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/clusterset"
)

// saysOf is a condition as "Status Reason: Message".
func saysOf(conditions []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// OCM-5.3, OCM-8.1, OCM-8.2, OCM-8.4: sets, bindings and stock sets under the hub's own rights.
func TestClusterSets(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.run(t, func(m ctrl.Manager) error { return clusterset.Register(m, clusterset.Options{StockSets: true}) })
	set := func(name string) *clusterv1beta2.ManagedClusterSet {
		return &clusterv1beta2.ManagedClusterSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	empty := func(name string) func() string {
		return func() string {
			got := set(name)
			if err := s.Admin.Get(t.Context(), client.ObjectKey{Name: name}, got); err != nil {
				return err.Error()
			}
			return saysOf(got.Status.Conditions, "ClusterSetEmpty")
		}
	}

	// The stock sets are there, come back, and are what they were.
	for _, name := range []string{"default", "global"} {
		s.exists(t, set(name))
	}
	// Clusters of other tests may be in it.
	g.Eventually(empty("default"), soon, interval).Should(MatchRegexp("NoClusterMatched: No ManagedCluster selected|ClustersSelected: [0-9]+ ManagedClusters selected"))
	g.Expect(s.Admin.Delete(t.Context(), set("global"))).To(Succeed())
	g.Eventually(func() error { return s.Admin.Get(t.Context(), client.ObjectKey{Name: "global"}, set("")) }, soon, interval).Should(Succeed())
	edited := set("default")
	s.exists(t, edited)
	edited.Spec.ClusterSelector = clusterv1beta2.ManagedClusterSelector{SelectorType: "LabelSelector", LabelSelector: &metav1.LabelSelector{}}
	g.Expect(s.Admin.Update(t.Context(), edited)).To(Succeed())
	selector := func() clusterv1beta2.SelectorType {
		got := set("default")
		s.exists(t, got)
		return got.Spec.ClusterSelector.SelectorType
	}
	g.Eventually(selector, soon, interval).Should(Equal(clusterv1beta2.ExclusiveClusterSetLabel))
	s.exists(t, edited)
	edited.Annotations = map[string]string{"cluster.open-cluster-management.io/autoupdate": "false"}
	edited.Spec.ClusterSelector = clusterv1beta2.ManagedClusterSelector{SelectorType: "LabelSelector", LabelSelector: &metav1.LabelSelector{}}
	g.Expect(s.Admin.Update(t.Context(), edited)).To(Succeed())
	g.Consistently(selector, time.Second, interval).Should(Equal(clusterv1beta2.LabelSelector))
	g.Expect(s.Admin.Delete(t.Context(), edited)).To(Succeed())

	// A set counts its clusters, and tells them the namespaces it manages.
	prod := set("prod")
	prod.Spec.ManagedNamespaces = []clusterv1.ManagedNamespaceConfig{{Name: "web"}}
	g.Expect(s.Admin.Create(t.Context(), prod)).To(Succeed())
	g.Eventually(empty("prod"), soon, interval).Should(Equal("True NoClusterMatched: No ManagedCluster selected"))
	member := managed("set-member", func(c *clusterv1.ManagedCluster) {
		c.Labels = map[string]string{"cluster.open-cluster-management.io/clusterset": "prod"}
	})
	g.Expect(s.Admin.Create(t.Context(), member)).To(Succeed())
	g.Eventually(empty("prod"), soon, interval).Should(Equal("False ClustersSelected: 1 ManagedClusters selected"))
	g.Eventually(empty("global"), soon, interval).Should(ContainSubstring("False ClustersSelected: "))
	namespaces := func() []clusterv1.ClusterSetManagedNamespaceConfig {
		s.exists(t, member)
		return member.Status.ManagedNamespaces
	}
	g.Eventually(namespaces, soon, interval).Should(ConsistOf(And(HaveField("ClusterSet", "prod"), HaveField("Name", "web"))))

	// The agent's word about a namespace stays when another is added.
	before := member.DeepCopy()
	member.Status.ManagedNamespaces[0].Conditions = []metav1.Condition{{Type: "NamespaceAvailable", Status: "True", Reason: "NamespaceApplied", LastTransitionTime: metav1.Now()}}
	g.Expect(s.Admin.Status().Patch(t.Context(), member, client.MergeFrom(before))).To(Succeed())
	prod.Spec.ManagedNamespaces = append(prod.Spec.ManagedNamespaces, clusterv1.ManagedNamespaceConfig{Name: "db"})
	s.exists(t, set("prod"))
	g.Expect(s.Admin.Patch(t.Context(), set("prod"), client.RawPatch("application/merge-patch+json",
		[]byte(`{"spec":{"managedNamespaces":[{"name":"web"},{"name":"db"}]}}`)))).To(Succeed())
	g.Eventually(namespaces, soon, interval).Should(HaveExactElements(
		And(HaveField("Name", "web"), HaveField("Conditions", HaveLen(1))), And(HaveField("Name", "db"), HaveField("Conditions", BeEmpty()))))

	// A binding follows its set.
	binding := &clusterv1beta2.ManagedClusterSetBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "later"}}
	binding.Spec.ClusterSet = "later"
	g.Expect(s.Admin.Create(t.Context(), binding)).To(Succeed())
	bound := func() string {
		s.exists(t, binding)
		return saysOf(binding.Status.Conditions, "Bound")
	}
	g.Eventually(bound, soon, interval).Should(HavePrefix("False ClusterSetNotFound"))
	g.Expect(s.Admin.Create(t.Context(), set("later"))).To(Succeed())
	g.Eventually(bound, soon, interval).Should(HavePrefix("True ClusterSetBound"))
	g.Expect(s.Admin.Delete(t.Context(), set("later"))).To(Succeed())
	g.Eventually(bound, soon, interval).Should(HavePrefix("False ClusterSetNotFound"))

	// A cluster that goes leaves at once.
	g.Expect(s.Admin.Delete(t.Context(), managed("set-member"))).To(Succeed())
	g.Eventually(empty("prod"), soon, interval).Should(HavePrefix("True NoClusterMatched"))

	// Nothing happens any more, so nothing is written any more.
	got := set("prod")
	s.exists(t, got)
	settled := got.ResourceVersion
	g.Consistently(func() string { s.exists(t, got); return got.ResourceVersion }, time.Second, interval).Should(Equal(settled))
}
