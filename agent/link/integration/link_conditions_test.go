package integration

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// plainWork has manifests and options, and nothing else.
func (w *world) plainWork(name string, options []workv1.ManifestConfigOption, texts ...string) *workv1.ManifestWork {
	return &workv1.ManifestWork{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.cluster, Name: name},
		Spec:       workv1.ManifestWorkSpec{Workload: workv1.ManifestsTemplate{Manifests: w.raw(texts...)}, ManifestConfigs: options},
	}
}

func option(group, resource string) workv1.ManifestConfigOption {
	return workv1.ManifestConfigOption{ResourceIdentifier: workv1.ResourceIdentifier{Group: group, Resource: resource, Namespace: "*", Name: "*"}}
}

// said is what a condition of the work says, and that it says so of its present generation.
func (w *world) said(g Gomega, name, condition string) string {
	got := w.work(g, name)
	return w.saidOf(g, got, got.Status.Conditions, condition)
}

func (w *world) saidOf(g Gomega, work *workv1.ManifestWork, all []metav1.Condition, condition string) string {
	c := meta.FindStatusCondition(all, condition)
	if c == nil {
		return ""
	}
	g.Expect(c.ObservedGeneration).To(Equal(work.Generation))
	return string(c.Status) + " " + c.Reason + " " + c.Message
}

func (w *world) says(name, condition, want string) {
	w.Helper()
	w.Eventually(func(g Gomega) { g.Expect(w.said(g, name, condition)).To(HavePrefix(want)) }).Should(Succeed())
}

func TestConditionRules(t *testing.T) { // OCM-13.1, OCM-13.2
	t.Parallel()
	w := newWorld(t, "rules")
	w.join()
	ctx := t.Context()
	rules := option("", "configmaps")
	rules.ConditionRules = []workv1.ConditionRule{{
		Condition: "Ready", Type: workv1.CelConditionExpressionsType, CelExpressions: []string{`object.data.k == "2"`, `!hasConditions(object.status)`},
		MessageExpression: `result ? "is two" : "is " + object.data.k`,
	}}
	w.Expect(w.hub.Create(ctx, w.plainWork("cel", []workv1.ManifestConfigOption{rules}, namespaceText("rules"), configMapText("rules", "one", "1")))).To(Succeed())
	w.says("cel", "Ready", "False ConditionRulesAggregated is 1")
	w.edit("cel", func(m *workv1.ManifestWork) {
		m.Spec.Workload.Manifests = w.raw(namespaceText("rules"), configMapText("rules", "one", "2"))
	})
	w.says("cel", "Ready", "True ConditionRulesAggregated is two")
	w.edit("cel", func(m *workv1.ManifestWork) {
		m.Spec.ManifestConfigs[0].ConditionRules[0].CelExpressions = []string{"object.data.k > 1"}
	})
	w.says("cel", "Ready", "False ConditionRulesAggregated expression")
	w.Eventually(func(g Gomega) {
		got := w.work(g, "cel")
		g.Expect(w.saidOf(g, got, got.Status.ResourceStatus.Manifests[1].Conditions, "Ready")).To(HavePrefix("False ConditionRuleExpressionError expression"))
	}).Should(Succeed())
	w.edit("cel", func(m *workv1.ManifestWork) { m.Spec.ManifestConfigs = nil })
	w.Eventually(func(g Gomega) {
		got := w.work(g, "cel")
		g.Expect(meta.FindStatusCondition(got.Status.Conditions, "Ready")).To(BeNil())
		g.Expect(meta.FindStatusCondition(got.Status.ResourceStatus.Manifests[1].Conditions, "Ready")).To(BeNil())
	}).Should(Succeed())
}

func TestAPodThatFinishedCompletesItsWork(t *testing.T) { // OCM-13.1, OCM-13.3
	t.Parallel()
	w := newWorld(t, "finishes")
	w.join()
	ctx := t.Context()
	rules := option("", "pods")
	rules.ConditionRules = []workv1.ConditionRule{{Condition: "Complete", Type: workv1.WellKnownConditionsType}}
	pod := func(image string) string {
		return `{apiVersion: v1, kind: Pod, metadata: {namespace: finishes, name: p}, spec: {automountServiceAccountToken: false, containers: [{name: c, image: ` + image + `}]}}`
	}
	account := "{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: finishes, name: default}}"
	w.Expect(w.hub.Create(ctx, w.plainWork("once", []workv1.ManifestConfigOption{rules}, namespaceText("finishes"), account, pod("one")))).To(Succeed())
	w.says("once", "Complete", "False ConditionRulesAggregated Pod is in phase Pending")
	w.edit("once", func(m *workv1.ManifestWork) {
		m.Spec.Workload.Manifests = w.raw(namespaceText("finishes"), account, pod("two"))
	})
	w.Eventually(func(g Gomega) { // what may change of a pod is changed, what the server filled in stays
		g.Expect(get(g, ctx, w.member, &corev1.Pod{}, "finishes", "p").Spec.Containers[0].Image).To(Equal("two"))
	}).Should(Succeed())
	w.isApplied("once")

	live := get(w, ctx, w.member, &corev1.Pod{}, "finishes", "p")
	live.Status.Phase = corev1.PodSucceeded
	w.Expect(w.member.Status().Update(ctx, live)).To(Succeed())
	w.says("once", "Complete", "True ConditionRulesAggregated Pod is in phase Succeeded")
	w.edit("once", func(m *workv1.ManifestWork) {
		m.Spec.Workload.Manifests = w.raw(namespaceText("finishes"), account, pod("three"), configMapText("finishes", "late", "1"))
	})
	w.says("once", "Complete", "True ConditionRulesAggregated Pod is in phase Succeeded") // of the new generation
	w.Consistently(func() bool {
		return w.gone(&corev1.ConfigMap{}, "finishes", "late")() &&
			get(w, ctx, w.member, &corev1.Pod{}, "finishes", "p").Spec.Containers[0].Image == "two"
	}, "3s").Should(BeTrue(), "a completed work is frozen")
}

func TestIgnoredFieldsKeepTheirValue(t *testing.T) { // OCM-11.3
	t.Parallel()
	w := newWorld(t, "ignores")
	w.join()
	ctx := t.Context()
	apply := func(o workv1.ManifestConfigOption, force bool, field workv1.IgnoreField) workv1.ManifestConfigOption {
		o.UpdateStrategy = &workv1.UpdateStrategy{
			Type:            workv1.UpdateStrategyTypeServerSideApply,
			ServerSideApply: &workv1.ServerSideApplyConfig{Force: force, IgnoreFields: []workv1.IgnoreField{field}},
		}
		return o
	}
	options := []workv1.ManifestConfigOption{
		apply(option("apps", "deployments"), false, workv1.IgnoreField{Condition: workv1.IgnoreFieldsConditionOnSpokePresent, JSONPaths: []string{".spec.replicas"}}),
		apply(option("", "configmaps"), true, workv1.IgnoreField{Condition: workv1.IgnoreFieldsConditionOnSpokeChange, JSONPointers: []string{"/data/k"}}),
	}
	texts := func(replicas, seconds int, value string) []workv1.Manifest {
		deployment := strings.Replace(deploymentText("ignores", "web", replicas), "selector:", "minReadySeconds: "+string(rune('0'+seconds))+", selector:", 1)
		return w.raw(namespaceText("ignores"), deployment, configMapText("ignores", "c", value))
	}
	first := w.plainWork("ignoring", options)
	first.Spec.Workload.Manifests = texts(2, 1, "hub")
	w.Expect(w.hub.Create(ctx, first)).To(Succeed())
	w.isApplied("ignoring")
	deployment := func(g Gomega) *appsv1.Deployment {
		return get(g, ctx, w.member, &appsv1.Deployment{}, "ignores", "web")
	}
	becomes := func(replicas, seconds int32) {
		t.Helper()
		w.Eventually(func(g Gomega) {
			d := deployment(g)
			g.Expect([]int32{*d.Spec.Replicas, d.Spec.MinReadySeconds}).To(Equal([]int32{replicas, seconds}))
		}).Should(Succeed())
		w.isApplied("ignoring")
	}
	becomes(2, 1)
	w.Expect(deployment(w).Annotations).To(HaveKey("open-cluster-management.io/config-spec-hash"))

	w.edit("ignoring", func(m *workv1.ManifestWork) { m.Spec.Workload.Manifests = texts(5, 2, "hub") })
	becomes(2, 2) // not 5, and not 1 either, which a field that nobody applies falls back to
	scaled := deployment(w)
	scaled.Spec.Replicas = new(int32(7))
	w.Expect(w.member.Update(ctx, scaled)).To(Succeed())
	w.edit("ignoring", func(m *workv1.ManifestWork) { m.Spec.Workload.Manifests = texts(6, 3, "hub") })
	becomes(7, 3)

	edited := get(w, ctx, w.member, &corev1.ConfigMap{}, "ignores", "c")
	edited.Data["k"] = "spoke"
	w.Expect(w.member.Update(ctx, edited)).To(Succeed())
	w.stop()
	w.start() // and applies everything anew
	w.edit("ignoring", func(m *workv1.ManifestWork) { m.Spec.Workload.Manifests = texts(6, 4, "hub") })
	becomes(7, 4)
	w.Expect(get(w, ctx, w.member, &corev1.ConfigMap{}, "ignores", "c").Data).To(HaveKeyWithValue("k", "spoke"))
	w.edit("ignoring", func(m *workv1.ManifestWork) { m.Spec.Workload.Manifests = texts(6, 4, "hub again") })
	w.Eventually(func(g Gomega) {
		g.Expect(get(g, ctx, w.member, &corev1.ConfigMap{}, "ignores", "c").Data).To(HaveKeyWithValue("k", "hub again"))
	}).Should(Succeed())

	w.edit("ignoring", func(m *workv1.ManifestWork) {
		m.Spec.ManifestConfigs[0].UpdateStrategy.ServerSideApply.IgnoreFields[0].JSONPaths = []string{".spec["}
	})
	w.Eventually(func(g Gomega) {
		got := w.work(g, "ignoring")
		g.Expect(w.saidOf(g, got, got.Status.ResourceStatus.Manifests[1].Conditions, "Applied")).To(HavePrefix("False AppliedManifestSSAIgnoreFieldError "))
	}).Should(Succeed())
}

func TestServicesKeepTheirAddresses(t *testing.T) { // OCM-11.1
	t.Parallel()
	w := newWorld(t, "addresses")
	w.join()
	ctx := t.Context()
	service := func(port string) string {
		return "{apiVersion: v1, kind: Service, metadata: {namespace: addresses, name: s, labels: {mine: x}}, spec: {type: NodePort, selector: {a: b}, ports: [{port: 80, targetPort: " + port + "}]}}"
	}
	w.Expect(w.hub.Create(ctx, w.plainWork("svc", nil, namespaceText("addresses"), service("8080")))).To(Succeed())
	w.isApplied("svc")
	before := get(w, ctx, w.member, &corev1.Service{}, "addresses", "s")
	before.Labels["theirs"] = "y"
	w.Expect(w.member.Update(ctx, before)).To(Succeed())
	w.edit("svc", func(m *workv1.ManifestWork) {
		m.Spec.Workload.Manifests = w.raw(namespaceText("addresses"), service("9090"))
	})
	w.Eventually(func(g Gomega) {
		after := get(g, ctx, w.member, &corev1.Service{}, "addresses", "s")
		g.Expect(after.Spec.Ports[0].TargetPort.IntValue()).To(Equal(9090))
		g.Expect(after.Spec.ClusterIP).To(Equal(before.Spec.ClusterIP))
		g.Expect(after.Spec.Ports[0].NodePort).To(Equal(before.Spec.Ports[0].NodePort))
		g.Expect(after.Labels).To(Equal(map[string]string{"mine": "x", "theirs": "y"}))
	}).Should(Succeed())
	w.isApplied("svc")

	long := w.plainWork(strings.Repeat("n", 189), nil, configMapText("addresses", "c", "1"))
	w.Expect(w.hub.Create(ctx, long)).To(Succeed())
	w.Eventually(func(g Gomega) { // OCM-9.4
		got := w.work(g, long.Name)
		g.Expect(got.Status.ResourceStatus.Manifests).To(HaveLen(1))
		g.Expect(w.saidOf(g, got, got.Status.ResourceStatus.Manifests[0].Conditions, "Applied")).To(ContainSubstring("189 characters, of which the member can take 188"))
	}).Should(Succeed())
	w.Expect(w.hub.Delete(ctx, long)).To(Succeed())
	w.Eventually(func() error { return client.IgnoreNotFound(w.hub.Get(ctx, client.ObjectKeyFromObject(long), long)) }).Should(Succeed())
}

func TestAnExecutorMayDoWhatItMay(t *testing.T) { // OCM-14
	t.Parallel()
	w := newWorld(t, "executes")
	w.join()
	ctx := t.Context()
	w.Expect(w.member.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "executes"}})).To(Succeed())
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "executes", Name: "app"}}
	w.Expect(w.member.Create(ctx, role)).To(Succeed())
	w.Expect(w.member.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "executes", Name: "app"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "app"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "executes", Name: "app"}}, // the account itself need not exist
	})).To(Succeed())
	may := func(rules ...rbacv1.PolicyRule) {
		role.Rules = rules
		w.Expect(w.member.Update(ctx, role)).To(Succeed())
	}
	work := w.plainWork("app", nil, configMapText("executes", "c", "1"))
	work.Spec.Executor = &workv1.ManifestWorkExecutor{Subject: workv1.ManifestWorkExecutorSubject{
		Type: workv1.ExecutorSubjectTypeServiceAccount, ServiceAccount: &workv1.ManifestWorkSubjectServiceAccount{Namespace: "executes", Name: "app"},
	}}
	applied := func(manifest int, want string) {
		t.Helper()
		w.Eventually(func(g Gomega) {
			got := w.work(g, "app")
			g.Expect(len(got.Status.ResourceStatus.Manifests)).To(BeNumerically(">", manifest))
			g.Expect(w.saidOf(g, got, got.Status.ResourceStatus.Manifests[manifest].Conditions, "Applied")).To(Equal(want))
		}).Should(Succeed())
	}
	const fine = "True AppliedManifestComplete Apply manifest complete"
	refused := func(resource, name, why string) string {
		group := ""
		if resource == "roles" {
			group = "rbac.authorization.k8s.io"
		}
		return `False AppliedManifestFailed Failed to apply manifest: not allowed to apply the resource group "` + group + `", resource "` + resource +
			`", namespace "executes", name "` + name + `": service account executes/app ` + why + ", will try again in 1m0s"
	}
	again := func() {
		w.edit("app", func(m *workv1.ManifestWork) { m.Labels = map[string]string{"try": m.Labels["try"] + "x"} })
	}
	w.Expect(w.hub.Create(ctx, work)).To(Succeed())
	applied(0, refused("configmaps", "c", "may not create, update, patch, get, delete it"))
	w.Eventually(func(g Gomega) { // OCM-20.3
		var events eventsv1.EventList
		g.Expect(w.hub.List(ctx, &events, client.InNamespace("executes"))).To(Succeed())
		g.Expect(events.Items).To(ContainElement(HaveField("Reason", "AppliedManifestFailed")))
	}).Should(Succeed())

	may(rule(list("get", "create"), list(""), list("configmaps")))
	again()
	applied(0, refused("configmaps", "c", "may not update, patch, delete it"))
	w.Expect(w.gone(&corev1.ConfigMap{}, "executes", "c")()).To(BeTrue(), "half a right applies nothing")

	all := list("get", "create", "update", "patch", "delete")
	may(rule(all, list(""), list("configmaps")), rule(all, list("rbac.authorization.k8s.io"), list("roles")))
	again()
	applied(0, fine)
	w.edit("app", func(m *workv1.ManifestWork) {
		m.Spec.Workload.Manifests = w.raw(configMapText("executes", "c", "2"),
			"{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {namespace: executes, name: more}, rules: [{apiGroups: [''], resources: [secrets], verbs: [get]}]}")
	})
	applied(0, fine)
	applied(1, refused("roles", "more", "was refused for permission escalation: it would grant rights that it does not have"))
}
