package integration

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/join"
)

// OCM-1.1, OCM-3.2, OCM-21.1: the order of play, with a hub that holds no more than its own service account's rights.
func TestAClusterJoins(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.run(t, joining()...)
	const name = "joins"

	// The cluster asks, with bootstrap credentials that can do no more than that.
	boot := s.bootstrapper(t)
	g.Expect(boot.Create(t.Context(), managed(name, func(c *clusterv1.ManagedCluster) {
		c.Spec.ManagedClusterClientConfigs = []clusterv1.ClientConfig{{URL: "https://10.0.0.1:6443"}}
	}))).To(Succeed())
	request := ask(t, boot, name)
	g.Expect(apierrors.IsForbidden(changeAs(t.Context(), boot, name, acceptedCluster))).To(BeTrue(), "a cluster accepted itself")
	g.Expect(apierrors.IsForbidden(boot.Create(t.Context(), managed("joins-accepted", acceptedCluster)))).To(BeTrue(), "a cluster was born accepted")

	// Nobody has decided: no verdict, no namespace, and the request waits (OCM-3.8). It is tainted already (OCM-4.4).
	g.Eventually(func() []clusterv1.Taint {
		c := managed(name)
		g.Expect(s.Admin.Get(t.Context(), client.ObjectKeyFromObject(c), c)).To(Succeed())
		return c.Spec.Taints
	}, soon, interval).Should(ConsistOf(HaveField("Key", "cluster.open-cluster-management.io/unreachable")))
	g.Consistently(func() bool {
		g.Expect(s.Admin.Get(t.Context(), client.ObjectKeyFromObject(request), request)).To(Succeed())
		return len(request.Status.Conditions) == 0 && s.condition(t, name, clusterv1.ManagedClusterConditionHubAccepted) == "" &&
			apierrors.IsNotFound(s.Admin.Get(t.Context(), client.ObjectKey{Name: name}, namespace(name)))
	}, time.Second, interval).Should(BeTrue())

	// The administrator accepts.
	s.change(t, name, acceptedCluster)
	s.settles(t, name, "True HubClusterAdminAccepted")
	l := lease(name)
	s.exists(t, l)
	g.Expect(*l.Spec.HolderIdentity).To(Equal("managed-cluster-lease"))
	g.Expect(l.Labels).To(HaveKeyWithValue(clusterv1.ClusterNameLabelKey, name))
	ns := namespace(name)
	s.exists(t, ns)
	g.Expect(ns.Labels).To(HaveKeyWithValue(clusterv1.ClusterNameLabelKey, name))
	c := managed(name)
	s.exists(t, c)
	g.Expect(c.Finalizers).To(ContainElement("cluster.open-cluster-management.io/api-resource-cleanup"))
	work := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "open-cluster-management:managedcluster:" + name + ":work"}}
	s.exists(t, work)
	g.Expect(work.Finalizers).To(ContainElement("cluster.open-cluster-management.io/manifest-work-cleanup"))

	// The agent reports with its own rights, and the taint goes.
	agent := s.member(t, name)
	g.Eventually(func() error { return agent.report(t, metav1.ConditionTrue) }, soon, interval).Should(Succeed())
	g.Eventually(func() []clusterv1.Taint {
		s.exists(t, c)
		return c.Spec.Taints
	}, soon, interval).Should(BeEmpty())
	g.Eventually(func() error { return agent.renew(t, time.Now()) }, soon, interval).Should(Succeed())
	g.Eventually(func() string { return s.condition(t, name, clusterv1.ManagedClusterConditionClockSynced) }, soon, interval).
		Should(Equal("True ManagedClusterClockSynced"))

	// Nothing happens any more, so nothing is written any more.
	s.exists(t, c)
	settled := c.ResourceVersion
	g.Consistently(func() string { s.exists(t, c); return c.ResourceVersion }, time.Second, interval).Should(Equal(settled))
}

// report says how the cluster is, as its agent: a merge patch of the status. OCM-20.1
func (m member) report(t testing.TB, available metav1.ConditionStatus) error {
	c := managed(m.cluster)
	if err := m.Get(t.Context(), client.ObjectKeyFromObject(c), c); err != nil {
		return err
	}
	before := c.DeepCopy()
	for _, kind := range []string{clusterv1.ManagedClusterConditionJoined, clusterv1.ManagedClusterConditionAvailable} {
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: kind, Status: available, Reason: "Reported"})
	}
	return m.Status().Patch(t.Context(), c, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// renew renews the lease, as the agent.
func (m member) renew(t testing.TB, now time.Time) error {
	l := lease(m.cluster)
	if err := m.Get(t.Context(), client.ObjectKeyFromObject(l), l); err != nil {
		return err
	}
	l.Spec.RenewTime = &metav1.MicroTime{Time: now}
	return m.Update(t.Context(), l)
}

// OCM-3.4: an agent renews its own certificate without a human, and nobody else's.
func TestRenewalsAreApprovedAndForgeriesAreNot(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.run(t, joining()...)
	s.accepted(t, "renews")
	s.accepted(t, "victim")
	agent := s.member(t, "renews")
	approved := func(request *certificatesv1.CertificateSigningRequest) []certificatesv1.CertificateSigningRequestCondition {
		g.Expect(s.Admin.Get(t.Context(), client.ObjectKeyFromObject(request), request)).To(Succeed())
		return request.Status.Conditions
	}

	g.Eventually(func() error { return agent.List(t.Context(), &certificatesv1.CertificateSigningRequestList{}) }, soon, interval).Should(Succeed())
	renewal := ask(t, agent, "renews")
	g.Eventually(func() any { return approved(renewal) }, soon, interval).Should(ConsistOf(And(
		HaveField("Type", certificatesv1.CertificateApproved), HaveField("Reason", "AutoApprovedByHubCSRApprovingController"))))

	forgeries := map[string]*certificatesv1.CertificateSigningRequest{
		"another cluster's name":        csr(t, "victim", "system:open-cluster-management:victim:a1", "system:open-cluster-management:victim", allMembers),
		"its own name, another's group": csr(t, "renews", agent.user, "system:open-cluster-management:victim", allMembers),
		"an additional group":           csr(t, "renews", agent.user, "system:open-cluster-management:renews", "flotilla:administrators"),
		"another agent's name":          csr(t, "renews", "system:open-cluster-management:renews:a2", "system:open-cluster-management:renews"),
	}
	for what, forged := range forgeries {
		g.Expect(agent.Create(t.Context(), forged)).To(Succeed(), what)
	}
	for what, forged := range forgeries {
		g.Eventually(func() string { return s.eventsOn(t, forged) }, soon, interval).Should(ContainSubstring("CertificateRequestLeftAlone"), what)
		g.Expect(approved(forged)).To(BeEmpty(), "%s: neither approved nor denied", what)
	}
}

// eventsOn are the reasons of the events on a cluster-scoped object.
func (s server) eventsOn(t testing.TB, o client.Object) string {
	t.Helper()
	var events corev1.EventList
	if err := s.Admin.List(t.Context(), &events, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, e := range events.Items {
		if e.InvolvedObject.UID == o.GetUID() {
			reasons = append(reasons, e.Reason)
		}
	}
	return strings.Join(reasons, " ")
}

// OCM-3.6, OCM-3.7: what a member may do is what the contract says: in its own namespace, on its own object.
func TestAMemberReachesNothingOfAnother(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.run(t, joining()...)
	for _, name := range []string{"mine", "other"} {
		s.accepted(t, name)
		g.Expect(s.Admin.Create(t.Context(), manifestWork(name, "web"))).To(Succeed())
	}
	agent := s.member(t, "mine")
	g.Eventually(func() error { return agent.renew(t, time.Now()) }, soon, interval).Should(Succeed())

	ctx := t.Context()
	touch := func(o client.Object) error {
		if err := s.Admin.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		o.SetAnnotations(map[string]string{"touched": t.Name()})
		return agent.Update(ctx, o)
	}
	status := func(o client.Object) error {
		return agent.Status().Patch(ctx, o, client.RawPatch("application/merge-patch+json", []byte(`{"status":{}}`)))
	}
	patch := func(o client.Object) error {
		return agent.Patch(ctx, o, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"a":"b"}}}`)))
	}
	read := func(o client.Object) error { return agent.Get(ctx, client.ObjectKeyFromObject(o), o) }
	list := func(l client.ObjectList, opts ...client.ListOption) error { return agent.List(ctx, l, opts...) }
	newLease := lease("mine")
	newLease.Name = "another-lease"

	for what, tc := range map[string]struct {
		err     error
		allowed bool
	}{
		"read its own cluster":                  {read(managed("mine")), true},
		"list clusters of its own name":         {list(&clusterv1.ManagedClusterList{}, client.MatchingFields{"metadata.name": "mine"}), true},
		"update its own cluster":                {touch(managed("mine")), true},
		"update its own cluster's status":       {status(managed("mine")), true},
		"read its works":                        {read(manifestWork("mine", "web")), true},
		"list its works":                        {list(&workv1.ManifestWorkList{}, client.InNamespace("mine")), true},
		"put a finalizer on its work":           {patch(manifestWork("mine", "web")), true},
		"update the status of its work":         {status(manifestWork("mine", "web")), true},
		"read its lease":                        {read(lease("mine")), true},
		"patch its own cluster":                 {patch(managed("mine")), false},
		"delete its own cluster":                {agent.Delete(ctx, managed("mine")), false},
		"make a lease":                          {agent.Create(ctx, newLease), false},
		"make a work":                           {agent.Create(ctx, manifestWork("mine", "evil")), false},
		"delete a work of its own":              {agent.Delete(ctx, manifestWork("mine", "web")), false},
		"list all clusters":                     {list(&clusterv1.ManagedClusterList{}), false},
		"read another cluster":                  {read(managed("other")), false},
		"update another cluster":                {touch(managed("other")), false},
		"update another cluster's status":       {status(managed("other")), false},
		"read another's work":                   {read(manifestWork("other", "web")), false},
		"list another's works":                  {list(&workv1.ManifestWorkList{}, client.InNamespace("other")), false},
		"list all works":                        {list(&workv1.ManifestWorkList{}), false},
		"update another's work":                 {touch(manifestWork("other", "web")), false},
		"update the status of another's work":   {status(manifestWork("other", "web")), false},
		"read another's lease":                  {read(lease("other")), false},
		"renew another's lease":                 {touch(lease("other")), false},
		"read secrets of its own namespace":     {list(&corev1.SecretList{}, client.InNamespace("mine")), false},
		"read config maps of its own":           {list(&corev1.ConfigMapList{}, client.InNamespace("mine")), false},
		"read namespaces":                       {list(&corev1.NamespaceList{}), false},
		"read roles":                            {list(&rbacv1.ClusterRoleList{}), false},
		"approve a certificate":                 {agent.SubResource("approval").Update(ctx, ask(t, agent, "mine")), false},
		"make a cluster":                        {agent.Create(ctx, managed("third")), false},
		"tell of its own namespace in an event": {agent.Create(ctx, event("mine")), true},
		"tell of another's in an event":         {agent.Create(ctx, event("other")), false},
	} {
		if tc.allowed && tc.err != nil {
			t.Errorf("a member must be able to %s: %v", what, tc.err)
		}
		if !tc.allowed && !apierrors.IsForbidden(tc.err) {
			t.Errorf("a member must not be able to %s: %v", what, tc.err)
		}
	}
}

func event(namespace string) *eventsv1.Event {
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e-", Namespace: namespace}, EventTime: metav1.NowMicro(), Action: "Test", Reason: "Test",
		ReportingController: "klusterlet-agent", ReportingInstance: "klusterlet-agent-1", Type: corev1.EventTypeNormal, Note: "hello",
		Regarding: corev1.ObjectReference{Namespace: namespace, Kind: "Lease", Name: "managed-cluster-lease"},
	}
}

// OCM-7.1: rights shrink at once, those to works with the last work, and then the verdict.
func TestADeniedClusterLosesItsRights(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.run(t, joining()...)
	const name = "denied"
	s.accepted(t, name)
	g.Expect(s.Admin.Create(t.Context(), manifestWork(name, "web"))).To(Succeed())
	agent := s.member(t, name)
	g.Eventually(func() error { return agent.renew(t, time.Now()) }, soon, interval).Should(Succeed())

	s.change(t, name, func(c *clusterv1.ManagedCluster) { c.Spec.HubAcceptsClient = false })
	g.Eventually(func() bool { return apierrors.IsForbidden(agent.renew(t, time.Now())) }, soon, interval).Should(BeTrue())
	g.Expect(agent.Get(t.Context(), client.ObjectKey{Name: name}, managed(name))).To(Succeed(), "it can see that it was denied")
	g.Consistently(func() error {
		return agent.Get(t.Context(), client.ObjectKey{Namespace: name, Name: "web"}, manifestWork(name, "web"))
	}, time.Second, interval).Should(Succeed(), "it can finish its works")
	g.Expect(s.condition(t, name, clusterv1.ManagedClusterConditionHubAccepted)).To(Equal("True HubClusterAdminAccepted"))

	g.Expect(s.Admin.Delete(t.Context(), manifestWork(name, "web"))).To(Succeed())
	s.settles(t, name, "False HubClusterAdminDenied")
	g.Eventually(func() bool {
		return apierrors.IsForbidden(agent.List(t.Context(), &workv1.ManifestWorkList{}, client.InNamespace(name)))
	}, soon, interval).Should(BeTrue())
	s.exists(t, namespace(name))

	s.change(t, name, acceptedCluster)
	s.settles(t, name, "True HubClusterAdminAccepted")
	g.Eventually(func() error { return agent.renew(t, time.Now()) }, soon, interval).Should(Succeed(), "accepted again, it is back")
}

// OCM-7.2: a deleted cluster goes when its works are gone, and takes its RBAC along.
func TestADeletedClusterGoesWithItsLastWork(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.run(t, joining()...)
	const name = "leaves"
	s.accepted(t, name)
	w := manifestWork(name, "web")
	w.Finalizers = []string{"cluster.open-cluster-management.io/manifest-work-cleanup"}
	g.Expect(s.Admin.Create(t.Context(), w)).To(Succeed())
	agent := s.member(t, name)

	g.Expect(s.Admin.Delete(t.Context(), managed(name))).To(Succeed())
	s.goes(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "open-cluster-management:managedcluster:" + name}})
	g.Expect(s.Admin.Delete(t.Context(), manifestWork(name, "web"))).To(Succeed())
	g.Consistently(func() error { return s.Admin.Get(t.Context(), client.ObjectKey{Name: name}, managed(name)) }, time.Second, interval).
		Should(Succeed(), "the work is not finished yet")

	g.Expect(agent.Get(t.Context(), client.ObjectKeyFromObject(w), w)).To(Succeed())
	w.Finalizers = nil
	g.Expect(agent.Update(t.Context(), w)).To(Succeed(), "the agent finishes its work with the rights it kept")
	s.goes(t, managed(name))
	s.goes(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "open-cluster-management:managedcluster:" + name + ":work"}})
	s.exists(t, namespace(name))
}

// OCM-4.1, OCM-4.3: who stops renewing is given up, and a clock that is off is told of.
func TestASilentClusterIsGivenUp(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.run(t, joining()...)
	const name = "silent"
	s.accepted(t, name, func(c *clusterv1.ManagedCluster) { c.Spec.LeaseDurationSeconds = 1 })
	agent := s.member(t, name)
	g.Eventually(func() error { return agent.report(t, metav1.ConditionTrue) }, soon, interval).Should(Succeed())
	g.Eventually(func() error { return agent.renew(t, time.Now()) }, soon, interval).Should(Succeed())

	g.Eventually(func() string { return s.condition(t, name, clusterv1.ManagedClusterConditionAvailable) }, soon, interval).
		Should(Equal("Unknown ManagedClusterLeaseUpdateStopped"))
	c := managed(name)
	g.Eventually(func() []clusterv1.Taint { s.exists(t, c); return c.Spec.Taints }, soon, interval).
		Should(ConsistOf(And(HaveField("Key", "cluster.open-cluster-management.io/unreachable"), HaveField("TimeAdded.IsZero()", false))))
	var events eventsv1.EventList
	g.Expect(s.Admin.List(t.Context(), &events, client.InNamespace(name))).To(Succeed())
	g.Expect(events.Items).To(ContainElement(HaveField("Reason", "AvailableUnknown")))

	g.Expect(agent.renew(t, time.Now().Add(time.Hour))).To(Succeed())
	g.Eventually(func() string { return s.condition(t, name, clusterv1.ManagedClusterConditionClockSynced) }, soon, interval).
		Should(Equal("False ManagedClusterClockOutOfSync"))
	g.Consistently(func() string { return s.condition(t, name, clusterv1.ManagedClusterConditionAvailable) }, time.Second, interval).
		Should(HavePrefix("Unknown"), "only the agent calls a cluster available")
}

// A hub that starts again finds everything as it should be and writes nothing.
func TestAHubThatStartsAgainWritesNothing(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	c := managed("stays", acceptedCluster)
	t.Run("first", func(t *testing.T) {
		s.run(t, joining()...)
		s.accepted(t, c.Name)
		NewWithT(t).Eventually(func() []clusterv1.Taint { s.exists(t, c); return c.Spec.Taints }, soon, interval).ShouldNot(BeEmpty())
	})
	work := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: c.Name, Name: "open-cluster-management:managedcluster:stays:work"}}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "open-cluster-management:managedcluster:work"}}
	all := []client.Object{c, work, role, namespace(c.Name), lease(c.Name)}
	versions := func() (found []string) {
		for _, o := range all {
			s.exists(t, o)
			found = append(found, o.GetResourceVersion())
		}
		return found
	}
	settled := versions()
	t.Run("second", func(t *testing.T) {
		s.run(t, joining()...)
		s.accepted(t, "stays-marker") // another cluster shows that the controllers are at work
		NewWithT(t).Expect(versions()).To(Equal(settled))
	})
	g.Expect(versions()).To(Equal(settled))
}

// OCM-7.2, item 1: with the gate on, deleting a cluster removes its works first, through its agent.
func TestADeletedClusterTakesItsWorksAlong(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.run(t, func(m ctrl.Manager) error { return join.Register(m, join.Options{ResourceCleanup: true}) }, joining()[1])
	const name = "emptied"
	s.accepted(t, name)
	c := managed(name)
	g.Eventually(func() []string { s.exists(t, c); return c.Finalizers }, soon, interval).
		Should(ContainElement("cluster.open-cluster-management.io/resource-cleanup"))
	w := manifestWork(name, "web")
	w.Finalizers = []string{"cluster.open-cluster-management.io/manifest-work-cleanup"}
	g.Expect(s.Admin.Create(t.Context(), w)).To(Succeed())

	g.Expect(s.Admin.Delete(t.Context(), managed(name))).To(Succeed())
	g.Eventually(func() string { return s.condition(t, name, clusterv1.ManagedClusterConditionDeleting) }, soon, interval).
		Should(Equal("False ResourceRemaining"))
	g.Eventually(func() bool { s.exists(t, w); return w.DeletionTimestamp != nil }, soon, interval).Should(BeTrue())
	w.Finalizers = nil
	g.Expect(s.member(t, name).Update(t.Context(), w)).To(Succeed(), "the agent finishes its work")
	s.goes(t, managed(name))
}
