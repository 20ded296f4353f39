package integration

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const agentsFinalizer = "cluster.open-cluster-management.io/manifest-work-cleanup"

// annotated is a merge patch of one annotation.
func annotated(key, value string) client.Patch {
	return client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+key+`":"`+value+`"}}}`))
}

// takesUp is what an agent does with a work that it sees: its finalizer, and the condition Applied.
func (m member) takesUp(t testing.TB, name string) error {
	t.Helper()
	w := manifestWork(m.cluster, name)
	if err := m.Get(t.Context(), client.ObjectKeyFromObject(w), w); err != nil {
		return err
	}
	w.Finalizers = []string{agentsFinalizer}
	if err := m.Update(t.Context(), w); err != nil {
		return err
	}
	before := w.DeepCopy()
	meta.SetStatusCondition(&w.Status.Conditions, metav1.Condition{Type: "Applied", Status: "True", Reason: "AppliedManifestWorkComplete", ObservedGeneration: w.Generation})
	return m.Status().Patch(t.Context(), w, client.MergeFrom(before))
}

// orderOf is what an administrator writes; the tests' administrator is whoever made the API server.
func (s server) orderOf(t testing.TB) string {
	t.Helper()
	return s.whoAmI(t) + " " + time.Now().UTC().Format(time.RFC3339) + " closed"
}

func says(s server, t testing.TB, name, kind string) func() string {
	return func() string { return s.condition(t, name, kind) }
}

// OCM-7.2, OCM-21.3: an order to detach, signed by who gives it, ends with everything running and nothing stuck.
func TestADetachedClusterLetsGoOfItsWorks(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	s.run(t, joining()...)
	const name = "detached"
	s.accepted(t, name)
	g.Expect(s.Admin.Create(t.Context(), manifestWork(name, "web"))).To(Succeed())
	agent := s.member(t, name)
	g.Eventually(func() error { return agent.report(t, metav1.ConditionTrue) }, soon, interval).Should(Succeed())
	g.Eventually(func() error { return agent.takesUp(t, "web") }, soon, interval).Should(Succeed())

	// Nobody signs for somebody else, and a member does not sign at all.
	order := s.orderOf(t)
	for who, try := range map[string]func() error{
		"for somebody else": func() error {
			return s.Admin.Patch(t.Context(), managed(name), annotated("flotilla.dev/detach", "alice "+order))
		},
		"without a time": func() error {
			return s.Admin.Patch(t.Context(), managed(name), annotated("flotilla.dev/detach", s.whoAmI(t)+" now"))
		},
		"the member itself": func() error {
			c := managed(name)
			s.exists(t, c)
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, "flotilla.dev/detach", agent.user+" "+strings.SplitN(order, " ", 2)[1])
			return agent.Update(t.Context(), c)
		},
	} {
		g.Expect(try()).To(MatchError(ContainSubstring("metadata.annotations[flotilla.dev/detach]")), who)
	}
	g.Expect(s.Admin.Patch(t.Context(), managed(name), annotated("flotilla.dev/detach", order))).To(Succeed())

	// The work is orphaned, and whoever placed it cannot undo that any more.
	w := manifestWork(name, "web")
	g.Eventually(func() string {
		s.exists(t, w)
		if w.Spec.DeleteOption == nil {
			return ""
		}
		return string(w.Spec.DeleteOption.PropagationPolicy)
	}, soon, interval).Should(Equal("Orphan"))
	g.Expect(says(s, t, name, "Released")()).To(Equal("False Releasing"))
	g.Expect(s.Admin.Patch(t.Context(), manifestWork(name, "web"), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"deleteOption":null}}`)))).
		To(MatchError(ContainSubstring("is being detached, ordered by")))
	g.Expect(s.Admin.Create(t.Context(), manifestWork(name, "new"))).To(MatchError(ContainSubstring("works are not sent there any more")))

	// The agent lets go; then the cluster can be deleted, and its works go with the agent's help.
	g.Expect(agent.takesUp(t, "web")).To(Succeed())
	g.Eventually(says(s, t, name, "Released"), soon, interval).Should(Equal("True ReleasedByAgent"))
	g.Expect(s.Admin.Delete(t.Context(), managed(name))).To(Succeed())
	g.Eventually(func() bool { s.exists(t, w); return w.DeletionTimestamp != nil }, soon, interval).Should(BeTrue())
	w.Finalizers = nil
	g.Expect(agent.Update(t.Context(), w)).To(Succeed(), "the agent keeps the right to finish")
	s.goes(t, managed(name))
	s.recorded(t, name, order)

	// It joins again, and works can be sent again.
	s.accepted(t, name)
	g.Eventually(func() error { return s.Admin.Create(t.Context(), manifestWork(name, "again")) }, soon, interval).Should(Succeed())
}

// recorded: the namespace survives, and says who did it.
func (s server) recorded(t testing.TB, name, order string) {
	t.Helper()
	g := NewWithT(t)
	home := namespace(name)
	s.exists(t, home)
	g.Expect(home.Annotations).To(HaveKeyWithValue("flotilla.dev/detached", order))
	g.Expect(home.Annotations).NotTo(HaveKey("flotilla.dev/detach"))
	var events eventsv1.EventList
	g.Expect(s.Admin.List(t.Context(), &events, client.InNamespace(name))).To(Succeed())
	g.Expect(events.Items).To(ContainElement(And(HaveField("Reason", "ClusterDetached"), HaveField("Note", ContainSubstring(s.whoAmI(t))))))
}

// OCM-21.3: a dead cluster's works keep their finalizer for ever; the order takes the agent's rights, and then them.
func TestADeadClusterIsDetached(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.run(t, joining()...)
	const name = "dead"
	s.accepted(t, name)
	g.Expect(s.Admin.Create(t.Context(), manifestWork(name, "web"))).To(Succeed())
	agent := s.member(t, name)
	g.Eventually(func() error { return agent.takesUp(t, "web") }, soon, interval).Should(Succeed())
	c := managed(name)
	g.Eventually(func() error {
		s.exists(t, c)
		before := c.DeepCopy()
		c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{Type: clusterv1.ManagedClusterConditionAvailable, Status: metav1.ConditionUnknown,
			Reason: "ManagedClusterLeaseUpdateStopped", LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Hour))})
		return s.Admin.Status().Patch(t.Context(), c, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	}, soon, interval).Should(Succeed())

	// Deleted by hand it hangs, as the contract says.
	g.Expect(s.Admin.Delete(t.Context(), managed(name))).To(Succeed())
	g.Expect(s.Admin.Delete(t.Context(), manifestWork(name, "web"))).To(Succeed())
	g.Consistently(func() error {
		return s.Admin.Get(t.Context(), client.ObjectKey{Namespace: name, Name: "web"}, manifestWork(name, "web"))
	}, time.Second, interval).Should(Succeed())

	order := s.orderOf(t)
	g.Expect(s.Admin.Patch(t.Context(), managed(name), annotated("flotilla.dev/detach", order))).To(Succeed())
	s.goes(t, managed(name))
	s.goes(t, manifestWork(name, "web"))
	s.goes(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "open-cluster-management:managedcluster:" + name + ":work"}})
	g.Expect(apierrors.IsForbidden(agent.List(t.Context(), &workv1.ManifestWorkList{}, client.InNamespace(name)))).To(BeTrue(),
		"an agent that comes back sees no empty list")
	home := namespace(name)
	s.exists(t, home)
	g.Expect(home.Annotations).To(HaveKeyWithValue("flotilla.dev/detached", order))
}

// whoAmI is the tests' administrator as the API server knows him.
func (s server) whoAmI(t testing.TB) string {
	t.Helper()
	who := &authenticationv1.SelfSubjectReview{}
	if err := s.Admin.Create(t.Context(), who); err != nil {
		t.Fatal(err)
	}
	return who.Status.UserInfo.Username
}

// Names of 63 characters are as good as any; a longer one is no namespace.
func TestTheLongestNameJoins(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	s.run(t, joining()...)
	name := "c" + strings.Repeat("0123456789", 6) + "zz"
	g.Expect(name).To(HaveLen(63))
	boot := s.bootstrapper(t)
	g.Expect(boot.Create(t.Context(), managed(name))).To(Succeed())
	request := ask(t, boot, name)
	g.Expect(request.Labels).To(HaveKeyWithValue(clusterv1.ClusterNameLabelKey, name))
	s.change(t, name, acceptedCluster)
	s.settles(t, name, "True HubClusterAdminAccepted")
	s.exists(t, lease(name))
	agent := s.member(t, name)
	g.Eventually(func() error { return agent.renew(t, time.Now()) }, soon, interval).Should(Succeed())
	g.Eventually(func() error { return agent.report(t, metav1.ConditionTrue) }, soon, interval).Should(Succeed())
	g.Expect(s.Admin.Create(t.Context(), manifestWork(name, "web"))).To(Succeed())
	g.Eventually(func() error { return agent.takesUp(t, "web") }, soon, interval).Should(Succeed())
	renewal := ask(t, agent, name)
	g.Eventually(func() int { s.exists(t, renewal); return len(renewal.Status.Conditions) }, soon, interval).Should(Equal(1), "its renewal is approved")

	g.Expect(boot.Create(t.Context(), managed(name+"z"))).To(MatchError(ContainSubstring("at most 63 characters")))
	g.Expect(boot.Create(t.Context(), managed("with.dots"))).To(MatchError(ContainSubstring("lower-case letters, digits and hyphens")))
}
