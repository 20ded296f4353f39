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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
)

// webYAML is in zones PREFIX-a and PREFIX-b of cluster PREFIX-east, half of it in zone PREFIX-c of PREFIX-west.
const webYAML = `
apiVersion: apps.flotilla.dev/v1alpha1
kind: FederatedDeployment
metadata: {name: web, namespace: NAMESPACE}
spec:
  replicas: 10
  selector: {matchLabels: {app: web}}
  template:
    cloneSetTemplate:
      metadata: {labels: {app: web}}
      spec:
        template:
          metadata: {labels: {app: web}}
          spec: {containers: [{name: web, image: "web:v1"}]}
  topology:
    subsets:
    - name: a
      nodeSelectorTerm: {matchExpressions: [{key: topology.kubernetes.io/zone, operator: In, values: [PREFIX-a]}]}
    - name: b
      nodeSelectorTerm: {matchExpressions: [{key: topology.kubernetes.io/zone, operator: In, values: [PREFIX-b]}]}
    - name: c
      replicas: 50%
      nodeSelectorTerm: {matchExpressions: [{key: topology.kubernetes.io/zone, operator: In, values: [PREFIX-c]}]}
`

// federation is two clusters and a namespace for one test, with the controller at work.
type federation struct {
	server
	*WithT
	t                 testing.TB
	prefix, namespace string
}

func federate(t testing.TB, prefix string) federation {
	t.Helper()
	f := federation{server: hubServer(t), WithT: NewWithT(t), t: t, prefix: prefix}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}
	f.Expect(f.Admin.Create(t.Context(), ns)).To(Succeed())
	f.namespace = ns.Name
	f.member(prefix+"-east", prefix+"-a,"+prefix+"-b")
	f.member(prefix+"-west", prefix+"-c")
	f.run(t, func(m ctrl.Manager) error { return federateddeployment.Register(m, federateddeployment.Options{}) })
	return f
}

// member is an accepted cluster that is heard from.
func (f federation) member(name, zones string) {
	f.t.Helper()
	f.Expect(f.Admin.Create(f.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}}
	f.Expect(f.Admin.Create(f.t.Context(), c)).To(Succeed())
	c.Status.ClusterClaims = []clusterv1.ManagedClusterClaim{{Name: appsv1alpha1.ClaimZones, Value: zones}}
	f.Expect(f.Admin.Status().Update(f.t.Context(), c)).To(Succeed())
	f.hear(name, metav1.ConditionTrue)
}

func (f federation) hear(name string, available metav1.ConditionStatus) {
	f.t.Helper()
	f.Eventually(func() error {
		c := &clusterv1.ManagedCluster{}
		if err := f.Admin.Get(f.t.Context(), client.ObjectKey{Name: name}, c); err != nil {
			return err
		}
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{
			Type: clusterv1.ManagedClusterConditionAvailable, Status: available, Reason: "Test",
		})
		return f.Admin.Status().Update(f.t.Context(), c)
	}, soon, interval).Should(Succeed())
}

// object is the YAML with edits, as a user would apply it.
func (f federation) object(edits ...func(map[string]any)) *unstructured.Unstructured {
	f.t.Helper()
	text := strings.NewReplacer("PREFIX", f.prefix, "NAMESPACE", f.namespace).Replace(webYAML)
	u := &unstructured.Unstructured{}
	f.Expect(yaml.Unmarshal([]byte(text), &u.Object)).To(Succeed())
	for _, e := range edits {
		e(u.Object)
	}
	return u
}

func set(value any, path ...string) func(map[string]any) {
	return func(o map[string]any) { _ = unstructured.SetNestedField(o, value, path...) } // all paths lead through maps
}

// ofSubset sets fields of one subset.
func ofSubset(i int, fields map[string]any) func(map[string]any) {
	return func(o map[string]any) {
		subsets, _, _ := unstructured.NestedSlice(o, "spec", "topology", "subsets")
		for k, v := range fields {
			subsets[i].(map[string]any)[k] = v
			if v == nil {
				delete(subsets[i].(map[string]any), k)
			}
		}
		set(subsets, "spec", "topology", "subsets")(o)
	}
}

func image(image string) func(map[string]any) {
	return set([]any{map[string]any{"name": "web", "image": image}}, "spec", "template", "cloneSetTemplate", "spec", "template", "spec", "containers")
}

// live is the object, which may not decode.
func (f federation) live(name string) *unstructured.Unstructured {
	f.t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(appsv1alpha1.GroupVersion.WithKind("FederatedDeployment"))
	f.Expect(f.Admin.Get(f.t.Context(), client.ObjectKey{Namespace: f.namespace, Name: name}, u)).To(Succeed())
	return u
}

// says is a condition as one line.
func (f federation) says(name, kind string) func() string {
	return func() string {
		conditions, _, _ := unstructured.NestedSlice(f.live(name).Object, "status", "conditions")
		for _, c := range conditions {
			if c := c.(map[string]any); c["type"] == kind {
				return fmt.Sprintf("%s %s: %s", c["status"], c["reason"], c["message"])
			}
		}
		return ""
	}
}

// sums are what kubectl shows: desired, there, ready, updated, unconfirmed, clusters.
func (f federation) sums(name string) func() string {
	return func() string {
		s, _, _ := unstructured.NestedMap(f.live(name).Object, "status")
		text := ""
		for _, k := range []string{"desiredReplicas", "replicas", "readyReplicas", "updatedReplicas", "unconfirmedReplicas"} {
			n, _ := s[k].(int64)
			text += fmt.Sprint(n, " ")
		}
		return fmt.Sprint(text, s["clusters"])
	}
}

func (f federation) work(cluster, subset string) *workv1.ManifestWork {
	w := &workv1.ManifestWork{}
	key := client.ObjectKey{Namespace: f.prefix + "-" + cluster, Name: f.namespace + ".web." + subset}
	if err := f.Admin.Get(f.t.Context(), key, w); err != nil {
		return nil
	}
	return w
}

// workload is what a work carries.
func workload(w *workv1.ManifestWork) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(w.Spec.Workload.Manifests[1].Raw); err != nil {
		return nil
	}
	return u
}

// report does what an agent does when all replicas are there, of which so many are ready. It keeps the work until release.
func (f federation) report(cluster, subset string, notReady int64, more ...workv1.FeedbackValue) {
	f.t.Helper()
	f.Eventually(func() error {
		w := f.work(cluster, subset)
		if w == nil {
			return fmt.Errorf("no work of %s on %s", subset, cluster)
		}
		if len(w.Finalizers) == 0 {
			w.Finalizers = []string{"cluster.open-cluster-management.io/manifest-work-cleanup"}
			if err := f.Admin.Update(f.t.Context(), w); err != nil {
				return err
			}
		}
		object := workload(w)
		n, _, _ := unstructured.NestedInt64(object.Object, "spec", "replicas")
		values := slices.DeleteFunc([]workv1.FeedbackValue{
			{Name: "content", Value: workv1.FieldValue{Type: workv1.String, String: new(object.GetAnnotations()[appsv1alpha1.AnnotationContent])}},
			number("generation", w.Generation), number("observedGeneration", w.Generation), number("replicas", n), number("availableReplicas", n-notReady),
			number("readyReplicas", n-notReady), number("updatedReplicas", n), number("updatedReadyReplicas", n-notReady),
		}, func(v workv1.FeedbackValue) bool {
			return slices.ContainsFunc(more, func(m workv1.FeedbackValue) bool { return m.Name == v.Name })
		})
		values = append(values, more...)
		applied := metav1.Condition{Type: workv1.WorkApplied, Status: metav1.ConditionTrue, Reason: "AppliedManifestWorkComplete", ObservedGeneration: w.Generation}
		meta.SetStatusCondition(&w.Status.Conditions, applied)
		w.Status.ResourceStatus.Manifests = []workv1.ManifestCondition{{
			ResourceMeta:    workv1.ManifestResourceMeta{Ordinal: 1, Group: "apps.kruise.io", Version: "v1alpha1", Kind: "CloneSet", Resource: "clonesets", Name: object.GetName(), Namespace: object.GetNamespace()},
			StatusFeedbacks: workv1.StatusFeedbackResult{Values: values}, Conditions: []metav1.Condition{},
		}}
		return f.Admin.Status().Update(f.t.Context(), w)
	}, soon, interval).Should(Succeed())
}

func number(name string, n int64) workv1.FeedbackValue {
	return workv1.FeedbackValue{Name: name, Value: workv1.FieldValue{Type: workv1.Integer, Integer: &n}}
}

func (f federation) release(cluster, subset string) {
	f.t.Helper()
	f.Eventually(func() error {
		w := f.work(cluster, subset)
		if w == nil {
			return nil
		}
		w.Finalizers = nil
		return f.Admin.Update(f.t.Context(), w)
	}, soon, interval).Should(Succeed())
}

func (f federation) change(edits ...func(map[string]any)) {
	f.t.Helper()
	f.Eventually(func() error {
		u := f.live("web")
		for _, e := range edits {
			e(u.Object)
		}
		return f.Admin.Update(f.t.Context(), u)
	}, soon, interval).Should(Succeed())
}

// Issue: apply once on a hub, and each cluster is asked for its share; what they report is summed up.
func TestAFederatedDeploymentLives(t *testing.T) {
	f := federate(t, "lives")
	created := f.object()
	f.Expect(f.Admin.Create(t.Context(), created)).To(Succeed())
	f.Expect(created.Object["spec"]).To(And(HaveKeyWithValue("revisionHistoryLimit", int64(10)),
		HaveKeyWithValue("updateStrategy", HaveKeyWithValue("type", "Manual")))) // WL-5.2

	// Works, with content as WL-5.8 has it.
	f.Eventually(func() bool {
		return f.work("east", "a") != nil && f.work("east", "b") != nil && f.work("west", "c") != nil
	}, soon, interval).Should(BeTrue())
	c := workload(f.work("west", "c"))
	f.Expect(c.GetKind()).To(Equal("CloneSet"))
	f.Expect(c.GetName()).To(Equal("web-c"))
	f.Expect(c.Object["spec"]).To(HaveKeyWithValue("replicas", int64(5)))
	f.Expect(c.GetLabels()).To(And(HaveKeyWithValue("app", "web"), HaveKeyWithValue("apps.kruise.io/subset-name", "c"), HaveKey("apps.kruise.io/controller-revision-hash")))
	f.Eventually(f.sums("web"), soon, interval).Should(Equal("10 0 0 0 0 2/2"))
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(HavePrefix("False Progressing: waiting for lives-east to report on subset a"))

	// Feedback.
	f.report("east", "a", 0)
	f.report("east", "b", 0)
	f.report("west", "c", 1)
	f.Eventually(f.sums("web"), soon, interval).Should(Equal("10 10 9 10 0 2/2"))
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(Equal("False Progressing: subset c on lives-west has 4 of 5 replicas ready"))
	f.report("west", "c", 0)
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(Equal("True AllReplicasReady: all 10 replicas are ready and updated"))

	// Nothing changes, nothing is written.
	still := func() string {
		return f.live("web").GetResourceVersion() + f.work("east", "a").ResourceVersion + f.work("east", "b").ResourceVersion + f.work("west", "c").ResourceVersion
	}
	before := still()
	f.Consistently(still, time.Second, 5*interval).Should(Equal(before))

	// A new image is one write to each work, and no pod counts as updated before its cluster says so.
	generation := f.work("east", "a").Generation
	f.change(image("web:v2"))
	f.Eventually(func() int64 { return f.work("east", "a").Generation }, soon, interval).Should(Equal(generation + 1))
	f.Eventually(f.sums("web"), soon, interval).Should(Equal("10 10 10 0 0 2/2"))
	f.report("east", "a", 0)
	f.report("east", "b", 0)
	f.report("west", "c", 1, workv1.FeedbackValue{Name: "message", Value: workv1.FieldValue{Type: workv1.String, String: new("1 of 5 updated pods is not ready: ImagePullBackOff")}})
	f.Eventually(f.says("web", "Stalled"), soon, interval).Should(Equal("True RolloutStuck: subset c on lives-west: 1 of 5 updated pods is not ready: ImagePullBackOff; correct the template, or bring the one before back (kubectl flotilla undo web)"))
	f.report("west", "c", 0)
	f.Eventually(f.says("web", "Stalled"), soon, interval).Should(HavePrefix("False Settled"))

	// A cluster falls silent.
	f.hear("lives-west", metav1.ConditionUnknown)
	f.Eventually(f.sums("web"), soon, interval).Should(Equal("10 5 5 5 5 1/2"))
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(HavePrefix("Unknown ClusterSilent: 5 replicas on lives-west unconfirmed since "))
	f.hear("lives-west", metav1.ConditionTrue)
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(HavePrefix("True AllReplicasReady"))

	// What members claim moves nothing.
	f.change(set(int64(11), "spec", "replicas"))
	f.member("lives-liar", "lives-a,lives-b,lives-c")
	f.Eventually(func() any { return workload(f.work("west", "c")).Object["spec"].(map[string]any)["replicas"] }, soon, interval).Should(Equal(int64(6)))

	// The end.
	f.Expect(f.Admin.Delete(t.Context(), f.live("web"))).To(Succeed())
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(HavePrefix("False Removing: waiting for lives-east to remove subset a"))
	f.release("east", "a")
	f.release("east", "b")
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(Equal("False Removing: waiting for lives-west to remove subset c"))
	f.release("west", "c")
	f.Eventually(func() bool {
		return apierrors.IsNotFound(f.Admin.Get(t.Context(), client.ObjectKey{Namespace: f.namespace, Name: "web"}, f.object()))
	}, soon, interval).Should(BeTrue())
}

// Issue: each malformed object gets a refusal, or a Stalled condition, that names field, value and remedy.
var malformed = map[string]struct {
	edits   []func(map[string]any)
	refused []string // by the API server
	stalled []string // by the controller
}{
	"no template": {
		edits:   []func(map[string]any){set(map[string]any{}, "spec", "template")},
		refused: []string{"spec.template", "set exactly one of cloneSetTemplate"},
	},
	"two templates": {
		edits:   []func(map[string]any){set(map[string]any{"spec": map[string]any{}}, "spec", "template", "deploymentTemplate")},
		refused: []string{"spec.template", "set exactly one of cloneSetTemplate"},
	},
	"an unknown cluster": {
		edits:   []func(map[string]any){ofSubset(0, map[string]any{"cluster": "atlantis"})},
		stalled: []string{"ClusterUnresolved", "spec.topology.subsets[0].cluster", `"atlantis" is no ManagedCluster`, "register it, or name another"},
	},
	"a percentage over 100": {
		edits:   []func(map[string]any){ofSubset(2, map[string]any{"replicas": "120%"})},
		refused: []string{"spec.topology.subsets[2].replicas", "120%", "percentage from 0% to 100%"},
	},
	"percentages that are over 100 together": {
		edits:   []func(map[string]any){ofSubset(0, map[string]any{"replicas": "60%"})},
		stalled: []string{"AllocationFailed", `spec.topology.subsets[2].replicas: "50%" of 10 is 5 and the subsets before take 6`, "lower one of them"},
	},
	"a subset twice": {
		edits:   []func(map[string]any){ofSubset(1, map[string]any{"name": "a"})},
		refused: []string{"spec.topology.subsets[1]", "Duplicate value", `"a"`},
	},
	"a minimum over its maximum": {
		edits:   []func(map[string]any){ofSubset(2, map[string]any{"replicas": nil}), ofSubset(0, map[string]any{"minReplicas": int64(5), "maxReplicas": int64(3)})},
		refused: []string{"spec.topology.subsets[0]", "minReplicas", "5", "3"},
	},
	"a minimum over its maximum in percent": {
		edits:   []func(map[string]any){ofSubset(2, map[string]any{"replicas": nil}), ofSubset(0, map[string]any{"minReplicas": "50%", "maxReplicas": "30%"})},
		stalled: []string{"AllocationFailed", `spec.topology.subsets[0].minReplicas: "50%" (5) is more than maxReplicas "30%" (3)`, "lower minReplicas or raise maxReplicas"},
	},
	"bounds and numbers mixed": {
		edits:   []func(map[string]any){ofSubset(0, map[string]any{"minReplicas": int64(1)})},
		refused: []string{"spec.topology.subsets", "use one way for all subsets"},
	},
	"no total": {
		edits:   []func(map[string]any){func(o map[string]any) { unstructured.RemoveNestedField(o, "spec", "replicas") }},
		refused: []string{"spec.replicas", "is required"},
	},
	"a partition of no subset": {
		edits:   []func(map[string]any){set(map[string]any{"x": int64(1)}, "spec", "updateStrategy", "manualUpdate", "partitions")},
		refused: []string{"spec.updateStrategy.manualUpdate.partitions", "subset"},
	},
	"negative replicas": {
		edits:   []func(map[string]any){set(int64(-3), "spec", "replicas")},
		refused: []string{"spec.replicas", "-3", "greater than or equal to 0"},
	},
	"a selector that does not find the pods": {
		edits:   []func(map[string]any){set(map[string]any{"app": "api"}, "spec", "selector", "matchLabels")},
		stalled: []string{"InvalidSpec", "spec.template.cloneSetTemplate.spec.template.metadata.labels", `"app=web"`, "add the labels that it asks for"},
	},
	"text for a number, deep in the template": {
		edits:   []func(map[string]any){set("x", "spec", "template", "cloneSetTemplate", "spec", "minReadySeconds")},
		stalled: []string{"InvalidSpec", `spec.template.cloneSetTemplate.spec.minReadySeconds: Invalid value: "x"`, "correct it"},
	},
	"a zone that no cluster has": {
		edits: []func(map[string]any){ofSubset(0, map[string]any{"nodeSelectorTerm": map[string]any{"matchExpressions": []any{
			map[string]any{"key": "topology.kubernetes.io/zone", "operator": "In", "values": []any{"moon"}}}}})},
		stalled: []string{"ClusterUnresolved", "spec.topology.subsets[0]", "zone moon", "set cluster"},
	},
}

// WL-5.1, WL-5.3
func TestMalformedFederatedDeployments(t *testing.T) {
	f := federate(t, "malformed")
	for name, tc := range malformed {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			u := f.object(tc.edits...)
			u.SetName("bad-" + strings.ToLower(strings.NewReplacer(" ", "-", ",", "").Replace(name)))
			err := f.Admin.Create(t.Context(), u)
			if tc.refused != nil {
				g.Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
				for _, text := range tc.refused {
					g.Expect(err.Error()).To(ContainSubstring(text))
				}
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			stalled := f.says(u.GetName(), "Stalled")
			g.Eventually(stalled, soon, interval).Should(HavePrefix("True"))
			for _, text := range tc.stalled {
				g.Expect(stalled()).To(ContainSubstring(text))
			}
		})
	}

	// None of them stops the others, and each can be deleted.
	f.Expect(f.Admin.Create(t.Context(), f.object())).To(Succeed())
	f.Eventually(func() bool { return f.work("west", "c") != nil }, soon, interval).Should(BeTrue())
	bad := f.live("bad-text-for-a-number-deep-in-the-template")
	f.Expect(f.Admin.Delete(t.Context(), bad)).To(Succeed())
	f.Eventually(func() bool {
		return apierrors.IsNotFound(f.Admin.Get(t.Context(), client.ObjectKeyFromObject(bad), bad))
	}, soon, interval).Should(BeTrue())

	// What may not change.
	for name, tc := range map[string]struct {
		edit func(map[string]any)
		says []string
	}{
		"the selector": {set(map[string]any{"app": "api"}, "spec", "selector", "matchLabels"), []string{"spec.selector", "immutable", "another name"}},
		"the term of a subset": {ofSubset(0, map[string]any{"nodeSelectorTerm": map[string]any{}}),
			[]string{"spec.topology.subsets[0]", "nodeSelectorTerm", "immutable", "add a subset of another name"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			u := f.live("web")
			tc.edit(u.Object)
			err := f.Admin.Update(t.Context(), u, client.DryRunAll)
			g.Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
			for _, text := range tc.says {
				g.Expect(err.Error()).To(ContainSubstring(text))
			}
		})
	}
}
