package integration

import (
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/health"
)

// A namespace that was deleted by mistake came back without the lease, and its agent, which cannot make one, stepped down.
func TestALeaseIsMadeWhenItsNamespaceComes(t *testing.T) { // OCM-4.1
	s, g := hubServer(t), NewWithT(t)
	const name = "homeless"
	c := managed(name, acceptedCluster)
	g.Expect(s.Admin.Create(t.Context(), c)).To(Succeed())
	before := c.DeepCopy()
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: clusterv1.ManagedClusterConditionHubAccepted, Status: metav1.ConditionTrue, Reason: "HubClusterAdminAccepted"})
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: clusterv1.ManagedClusterConditionAvailable, Status: metav1.ConditionTrue, Reason: "ManagedClusterAvailable"})
	g.Expect(s.Admin.Status().Patch(t.Context(), c, client.MergeFrom(before))).To(Succeed())

	s.run(t, func(m ctrl.Manager) error { return health.Register(m, health.Options{}) })
	// Seen without a namespace: what was tainted before it was available is tainted no more.
	g.Eventually(func() bool { s.exists(t, c); return len(c.Spec.Taints) == 0 }, soon, interval).Should(BeTrue())
	g.Consistently(func() bool { s.exists(t, c); return len(c.Spec.Taints) == 0 }, "1s", interval).Should(BeTrue())

	home := namespace(name)
	home.Labels = map[string]string{clusterv1.ClusterNameLabelKey: name}
	g.Expect(s.Admin.Create(t.Context(), home)).To(Succeed())
	s.exists(t, lease(name))
}
