package integration

import (
	"context"
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// guarded waits until admission policies and webhooks are at work: they come alive a moment after they were made.
func (s server) guarded(t testing.TB) {
	t.Helper()
	g := NewWithT(t)
	g.Eventually(func() error {
		empty := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "empty"}}
		return s.Admin.Create(t.Context(), empty, client.DryRunAll)
	}, soon, interval).Should(MatchError(ContainSubstring("should not be empty")))
	g.Eventually(func() error {
		return s.Admin.Create(t.Context(), managed("default"), client.DryRunAll)
	}, soon, interval).Should(MatchError(ContainSubstring("like a system namespace")))
}

// OCM-3.5
func TestWhoMayAcceptAClusterAndWhatItMaySay(t *testing.T) {
	s := hubServer(t)
	s.guarded(t)
	g := NewWithT(t)
	editor := s.as(t, "editor", "editors")
	s.grant(t, "editors", rbacv1.PolicyRule{APIGroups: []string{clusterv1.GroupName}, Resources: []string{"managedclusters"}, Verbs: []string{"get", "create", "update", "patch"}},
		rbacv1.PolicyRule{APIGroups: []string{clusterv1.GroupName}, Resources: []string{"managedclustersets/join"}, ResourceNames: []string{"default"}, Verbs: []string{"create"}})
	acceptor := s.as(t, "acceptor", "editors", "acceptors")
	s.grant(t, "acceptors", rbacv1.PolicyRule{APIGroups: []string{"register.open-cluster-management.io"}, Resources: []string{"managedclusters/accept"},
		ResourceNames: []string{"guarded", "guarded-born"}, Verbs: []string{"update"}})
	g.Eventually(func() error { return editor.Create(t.Context(), managed("guarded")) }, soon, interval).Should(Succeed())
	g.Expect(s.Admin.Create(t.Context(), managed("guarded-2"))).To(Succeed())

	accept := func(c client.Client, name string) func() error {
		return func() error { return changeAs(t.Context(), c, name, acceptedCluster) }
	}
	g.Expect(accept(editor, "guarded")()).To(MatchError(ContainSubstring("user editor may not accept cluster guarded; it takes the right to update managedclusters/accept")))
	g.Expect(editor.Create(t.Context(), managed("guarded-born", acceptedCluster))).To(MatchError(ContainSubstring("may not accept cluster")))
	g.Eventually(accept(acceptor, "guarded"), soon, interval).Should(Succeed())
	g.Expect(accept(acceptor, "guarded-2")()).To(MatchError(ContainSubstring("may not accept cluster guarded-2")), "the right is for one cluster by name")
	g.Expect(changeAs(t.Context(), editor, "guarded", func(c *clusterv1.ManagedCluster) {
		c.Labels = map[string]string{"a": "b"}
	})).To(Succeed(), "an accepted cluster can be edited by others")
	g.Expect(changeAs(t.Context(), editor, "guarded", func(c *clusterv1.ManagedCluster) {
		c.Spec.HubAcceptsClient = false
	})).To(Succeed(), "denying needs no special right")

	for url, allowed := range map[string]bool{
		"https://10.0.0.1:6443": true, "https://api.east.example.com": true,
		"http://10.0.0.1:6443": false, "10.0.0.1:6443": false, "https://": false, "": false,
	} {
		err := s.Admin.Create(t.Context(), managed("guarded-url", func(c *clusterv1.ManagedCluster) {
			c.Spec.ManagedClusterClientConfigs = []clusterv1.ClientConfig{{URL: "https://fine.example.com"}, {URL: url}}
		}), client.DryRunAll)
		if allowed != (err == nil) {
			t.Errorf("url %q: %v", url, err)
		}
		if !allowed {
			g.Expect(err).To(MatchError(ContainSubstring("must be an https URL")))
		}
	}
	for _, name := range []string{"kube-system", "default", "open-cluster-management-hub", "flotilla-system", "managed-clusters"} {
		g.Expect(s.Admin.Create(t.Context(), managed(name), client.DryRunAll)).To(
			MatchError(ContainSubstring("a cluster cannot be called "+name+" like a system namespace")), name)
	}
}

// OCM-8.3, and DESIGN: what a member says of itself does not draw other people's workloads to it.
func TestAMemberChoosesNeitherItsSetNorProtectedLabels(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	s.run(t, joining()...)
	const name = "labels"
	s.accepted(t, name, func(c *clusterv1.ManagedCluster) {
		c.Labels = map[string]string{"flotilla.dev/tier": "test", "cluster.open-cluster-management.io/clusterset": "blue"}
	})
	agent := s.member(t, name)
	relabel := func(key, value string) error {
		c := managed(name)
		if err := agent.Get(t.Context(), client.ObjectKeyFromObject(c), c); err != nil {
			return err
		}
		if c.Labels[key] = value; value == "" {
			delete(c.Labels, key)
		}
		return agent.Update(t.Context(), c)
	}
	g.Eventually(func() error { return relabel("env", "prod") }, soon, interval).Should(Succeed())
	for _, value := range []string{"prod", ""} {
		g.Expect(relabel("flotilla.dev/tier", value)).To(MatchError(ContainSubstring("metadata.labels[flotilla.dev/tier]: labels under flotilla.dev/ are set by those who may accept the cluster")))
		g.Expect(relabel("cluster.open-cluster-management.io/clusterset", value)).To(MatchError(ContainSubstring("may not change it from 'blue' to '" + value + "'")))
	}
	g.Expect(relabel("flotilla.dev/new", "x")).To(MatchError(ContainSubstring("flotilla.dev/new")))

	s.grant(t, "movers", rbacv1.PolicyRule{APIGroups: []string{clusterv1.GroupName}, Resources: []string{"managedclusters"}, Verbs: []string{"get", "patch"}},
		rbacv1.PolicyRule{APIGroups: []string{clusterv1.GroupName}, Resources: []string{"managedclustersets/join"}, ResourceNames: []string{"blue", "green"}, Verbs: []string{"create"}})
	mover := s.as(t, "mover", "movers")
	move := func(set string) error {
		return changeAs(t.Context(), mover, name, func(c *clusterv1.ManagedCluster) {
			c.Labels["cluster.open-cluster-management.io/clusterset"] = set
		})
	}
	g.Eventually(func() error { return move("green") }, soon, interval).Should(Succeed())
	g.Expect(move("red")).To(MatchError(ContainSubstring("from 'green' to 'red'")))
}

// grant binds a role of its own to a group.
func (s server) grant(t testing.TB, group string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "test-" + group}, Rules: rules}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "test-" + group},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: group}},
	}
	for _, o := range []client.Object{role, binding} {
		if err := s.Admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Admin.Delete(context.Background(), o) })
	}
}

// DESIGN: two words, never one. And OCM-3.5: nobody is accepted while the namespace goes.
func TestTheNamespaceOfAClusterIsNotDeletedByMistake(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	const name = "precious"
	ns := namespace(name)
	ns.Labels = map[string]string{clusterv1.ClusterNameLabelKey: name}
	g.Expect(s.Admin.Create(t.Context(), ns)).To(Succeed())

	refusal := And(ContainSubstring("would delete every ManifestWork in it"),
		ContainSubstring("kubectl annotate namespace precious flotilla.dev/confirm-removal=precious"))
	g.Eventually(func() error { return s.Admin.Delete(t.Context(), namespace(name), client.DryRunAll) }, soon, interval).Should(MatchError(refusal))
	g.Expect(s.Admin.Delete(t.Context(), namespace(name))).To(MatchError(refusal))
	ns.Annotations = map[string]string{"flotilla.dev/confirm-removal": "another"}
	g.Expect(s.Admin.Update(t.Context(), ns)).To(Succeed())
	g.Expect(s.Admin.Delete(t.Context(), namespace(name))).To(MatchError(refusal))
	ns.Annotations["flotilla.dev/confirm-removal"] = name
	g.Expect(s.Admin.Update(t.Context(), ns)).To(Succeed())
	g.Expect(s.Admin.Delete(t.Context(), namespace(name))).To(Succeed())

	// Nothing finishes deleting namespaces here, so it stays Terminating.
	g.Expect(s.Admin.Create(t.Context(), managed(name))).To(Succeed())
	g.Eventually(func() error {
		c := managed(name, acceptedCluster)
		return s.Admin.Patch(t.Context(), c, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"hubAcceptsClient":true}}`)), client.DryRunAll)
	}, soon, interval).Should(MatchError(ContainSubstring("namespace precious is being deleted; accept the cluster when it is gone")))
	g.Expect(s.Admin.Create(t.Context(), managed("other-than-precious", acceptedCluster), client.DryRunAll)).To(Succeed())

	foreign := namespace("ordinary")
	g.Expect(s.Admin.Create(t.Context(), foreign)).To(Succeed())
	g.Expect(s.Admin.Delete(t.Context(), foreign)).To(Succeed(), "namespaces that stand for no cluster are nobody's business")
}

// OCM-9.3
func TestWhatAManifestWorkMayHold(t *testing.T) {
	s := hubServer(t)
	s.guarded(t)
	g := NewWithT(t)
	editor := s.as(t, "author", "authors")
	s.grant(t, "authors", rbacv1.PolicyRule{APIGroups: []string{workv1.GroupName}, Resources: []string{"manifestworks"}, Verbs: []string{"get", "create", "update", "patch"}})
	s.grant(t, "executors", rbacv1.PolicyRule{APIGroups: []string{workv1.GroupName}, Resources: []string{"manifestworks"},
		ResourceNames: []string{"system:serviceaccount:apps:deployer"}, Verbs: []string{"execute-as"}})
	g.Eventually(func() error { return editor.Create(t.Context(), manifestWork("default", "guarded")) }, soon, interval).Should(Succeed())

	const nameless = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default"}}`
	const generated = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","generateName":"x-"}}`
	secret := `{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":"default","name":"web"}}`
	var many []string
	for i := range 400 {
		many = append(many, configMap(fmt.Sprintf("web-%d", i)))
	}
	for what, tc := range map[string]struct {
		work    *workv1.ManifestWork
		refusal string
	}{
		"one manifest":              {manifestWork("default", "w"), ""},
		"two kinds of one name":     {manifestWork("default", "w", configMap("web"), secret), ""},
		"very many manifests":       {manifestWork("default", "w", many...), ""},
		"no manifest":               {&workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "w"}}, "manifests should not be empty"},
		"a manifest without a name": {manifestWork("default", "w", configMap("web"), nameless), "spec.workload.manifests[1].metadata.name: every manifest needs a name"},
		"a generated name":          {manifestWork("default", "w", generated), "metadata.generateName x- is not allowed"},
		"the same manifest twice":   {manifestWork("default", "w", configMap("web"), secret, configMap("web")), "the manifest of v1 ConfigMap default/web is there twice"},
		"one of very many twice":    {manifestWork("default", "w", append(many[:399:399], configMap("web-0"))...), "default/web-0 is there twice"},
		"an executor of another":    {executedAs("apps", "admin"), "user author may not have works executed as system:serviceaccount:apps:admin"},
		"an executor without name":  {executedAs("", ""), "spec.executor"},
	} {
		err := editor.Create(t.Context(), tc.work, client.DryRunAll)
		if tc.refusal == "" && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if tc.refusal != "" {
			g.Expect(err).To(MatchError(ContainSubstring(tc.refusal)), what)
			g.Expect(apierrors.IsBadRequest(err)).To(BeTrue(), "%s: refusals come as HTTP 400, never 403: %v", what, err)
		}
	}

	// The executor is looked at when it changes, and only then.
	g.Expect(editor.Create(t.Context(), executedAs("apps", "deployer"))).To(MatchError(ContainSubstring("may not have works executed")))
	executor := s.as(t, "executor", "authors", "executors")
	g.Eventually(func() error { return executor.Create(t.Context(), executedAs("apps", "deployer")) }, soon, interval).Should(Succeed())
	change := func(c client.Client, patch string) error {
		return c.Patch(t.Context(), executedAs("apps", "deployer"), client.RawPatch("application/merge-patch+json", []byte(patch)))
	}
	g.Expect(change(editor, `{"spec":{"workload":{"manifests":[`+secret+`]}}}`)).To(Succeed(), "the executor stays the same")
	g.Expect(change(editor, `{"spec":{"executor":{"subject":{"type":"ServiceAccount","serviceAccount":{"namespace":"apps","name":"admin"}}}}}`)).
		To(MatchError(ContainSubstring("may not have works executed as system:serviceaccount:apps:admin")))
}

// A work that is bad already can still be finished: finalizers and labels are not the webhook's business.
func TestABadWorkCanStillBeFinished(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	s.unregistered(t, "manifestworkvalidators.admission.work.open-cluster-management.io", func() {
		bad := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bad", Finalizers: []string{"test/keep"}}}
		g.Eventually(func() error { return s.Admin.Create(t.Context(), bad.DeepCopy()) }, soon, interval).Should(Succeed())
	})
	s.guarded(t)
	g.Expect(s.Admin.Delete(t.Context(), manifestWork("default", "bad"))).To(Succeed())
	g.Expect(s.Admin.Patch(t.Context(), manifestWork("default", "bad"),
		client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))).To(Succeed())
	s.goes(t, manifestWork("default", "bad"))
}

func executedAs(namespace, name string) *workv1.ManifestWork {
	w := manifestWork("default", "executed")
	w.Spec.Executor = &workv1.ManifestWorkExecutor{Subject: workv1.ManifestWorkExecutorSubject{Type: workv1.ExecutorSubjectTypeServiceAccount}}
	if name != "" {
		w.Spec.Executor.Subject.ServiceAccount = &workv1.ManifestWorkSubjectServiceAccount{Namespace: namespace, Name: name}
	}
	return w
}
