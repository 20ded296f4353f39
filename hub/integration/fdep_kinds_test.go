package integration

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/jsonpath"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
	"github.com/flotilla-project/flotilla/hub/controllers/uniteddeployment"
)

// templates of every kind (WL-5.1), with what its controller says of n replicas of which so many are ready.
var templates = map[string]struct {
	apiVersion, kind, resource string
	spec                       map[string]any
	status                     func(n, ready, updated int64) map[string]any
}{
	"cloneSetTemplate": {"apps.kruise.io/v1alpha1", "CloneSet", "clonesets", nil, func(n, ready, updated int64) map[string]any {
		return map[string]any{"replicas": n, "readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": updated,
			"updatedReadyReplicas": max(0, updated-n+ready), "updatedAvailableReplicas": max(0, updated-n+ready), "currentRevision": "x", "updateRevision": "x"}
	}},
	"advancedStatefulSetTemplate": {"apps.kruise.io/v1beta1", "StatefulSet", "statefulsets", map[string]any{"serviceName": "web"}, func(n, ready, updated int64) map[string]any {
		status := map[string]any{"replicas": n, "readyReplicas": ready, "availableReplicas": ready, "currentReplicas": n - updated, "updatedReplicas": updated, "currentRevision": "x", "updateRevision": "x"}
		if up := max(0, updated-n+ready); up > 0 { // its zeros are left out
			status["updatedReadyReplicas"], status["updatedAvailableReplicas"] = up, up
		}
		return status
	}},
	"statefulSetTemplate": {"apps/v1", "StatefulSet", "statefulsets", map[string]any{"serviceName": "web"}, func(n, ready, updated int64) map[string]any {
		return map[string]any{"replicas": n, "readyReplicas": ready, "availableReplicas": ready, "currentReplicas": n - updated, "updatedReplicas": updated, "currentRevision": "x", "updateRevision": "x"}
	}},
	"deploymentTemplate": {"apps/v1", "Deployment", "deployments", nil, func(n, ready, updated int64) map[string]any {
		return map[string]any{"replicas": n, "readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": updated}
	}},
}

func ofKind(template string, v int) func(map[string]any) {
	labels := map[string]any{"app": "web"}
	return func(o map[string]any) {
		spec := map[string]any{"selector": map[string]any{"matchLabels": labels}, "template": map[string]any{"metadata": map[string]any{"labels": labels},
			"spec": map[string]any{"containers": []any{map[string]any{"name": "web", "image": fmt.Sprint("web:v", v)}}}}}
		for k, value := range templates[template].spec {
			spec[k] = value
		}
		set(map[string]any{template: map[string]any{"metadata": map[string]any{"labels": labels}, "spec": spec}}, "spec", "template")(o)
	}
}

// answer is what an agent does once the workload of a subset is as asked for on its member: it reads from it what the work
// asks to be fed back, and nothing else.
func (f federation) answer(cluster, work, template string, notReady, updated int64) {
	f.t.Helper()
	kind := templates[template]
	f.Eventually(func() error {
		w := &workv1.ManifestWork{}
		if err := f.Admin.Get(f.t.Context(), client.ObjectKey{Namespace: f.prefix + "-" + cluster, Name: work}, w); err != nil {
			return err
		}
		live := workload(w)
		if live.GetAPIVersion() != kind.apiVersion || live.GetKind() != kind.kind {
			return fmt.Errorf("work %s carries %s %s", work, live.GetAPIVersion(), live.GetKind())
		}
		n, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
		live.SetGeneration(w.Generation)
		status := kind.status(n, n-notReady, min(n, updated))
		status["observedGeneration"] = w.Generation
		live.Object["status"] = status
		config := w.Spec.ManifestConfigs[len(w.Spec.ManifestConfigs)-1]
		if config.ResourceIdentifier.Resource != kind.resource {
			return fmt.Errorf("work %s asks for feedback of %s", work, config.ResourceIdentifier.Resource)
		}
		meta.SetStatusCondition(&w.Status.Conditions, metav1.Condition{Type: workv1.WorkApplied, Status: metav1.ConditionTrue, Reason: "AppliedManifestWorkComplete", ObservedGeneration: w.Generation})
		gvk := live.GroupVersionKind()
		w.Status.ResourceStatus.Manifests = []workv1.ManifestCondition{{
			ResourceMeta:    workv1.ManifestResourceMeta{Ordinal: 1, Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Resource: kind.resource, Name: live.GetName(), Namespace: live.GetNamespace()},
			StatusFeedbacks: workv1.StatusFeedbackResult{Values: f.fedBack(config.FeedbackRules, live)}, Conditions: []metav1.Condition{},
		}}
		return f.Admin.Status().Update(f.t.Context(), w)
	}, soon, interval).Should(Succeed())
}

func (f federation) fedBack(rules []workv1.FeedbackRule, live *unstructured.Unstructured) (values []workv1.FeedbackValue) {
	f.t.Helper()
	for _, rule := range rules {
		for _, path := range rule.JsonPaths {
			j := jsonpath.New(path.Name)
			f.Expect(j.Parse("{" + path.Path + "}")).To(Succeed())
			found, err := j.AllowMissingKeys(true).FindResults(live.Object)
			f.Expect(err).NotTo(HaveOccurred())
			if len(found) == 0 || len(found[0]) == 0 {
				continue
			}
			switch v := found[0][0].Interface().(type) {
			case int64:
				values = append(values, number(path.Name, v))
			case string:
				values = append(values, workv1.FeedbackValue{Name: path.Name, Value: workv1.FieldValue{Type: workv1.String, String: &v}})
			}
		}
	}
	return values
}

// WL-5.1, WL-5.10: every template kind is served for both kinds of objects, status included.
func TestEveryTemplateKindIsServed(t *testing.T) {
	f := federate(t, "kinds")
	f.run(t, func(m ctrl.Manager) error { return uniteddeployment.Register(m, federateddeployment.Options{}) })
	for template := range templates {
		for _, of := range []struct{ apiVersion, kind, short string }{{"apps.flotilla.dev/v1alpha1", "FederatedDeployment", "f"}, {"apps.kruise.io/v1alpha1", "UnitedDeployment", "u"}} {
			t.Run(of.kind+" of "+template, func(t *testing.T) {
				f := federation{server: f.server, WithT: NewWithT(t), t: t, prefix: f.prefix, namespace: f.namespace}
				name := of.short + "-" + map[string]string{"cloneSetTemplate": "cs", "advancedStatefulSetTemplate": "asts", "statefulSetTemplate": "sts", "deploymentTemplate": "dep"}[template]
				obj := f.object(set(of.apiVersion, "apiVersion"), set(of.kind, "kind"), set(name, "metadata", "name"), ofKind(template, 1))
				f.Expect(f.Admin.Create(t.Context(), obj)).To(Succeed())
				status := func() string {
					live := &unstructured.Unstructured{}
					live.SetGroupVersionKind(obj.GroupVersionKind())
					f.Expect(f.Admin.Get(t.Context(), client.ObjectKeyFromObject(obj), live)).To(Succeed())
					s, _, _ := unstructured.NestedMap(live.Object, "status")
					conditions, _ := s["conditions"].([]any)
					ready := ""
					for _, c := range conditions {
						if c := c.(map[string]any); c["type"] == "Ready" {
							ready = fmt.Sprint(c["status"], " ", c["reason"])
						}
					}
					number := func(key string) int64 { n, _ := s[key].(int64); return n }
					return fmt.Sprint(number("replicas"), " ", number("readyReplicas"), " ", number("updatedReplicas"), " ", number("updatedReadyReplicas"), " ", ready)
				}
				all := func(notReady, updated int64) {
					for at, cluster := range map[string]string{"a": "east", "b": "east", "c": "west"} {
						f.answer(cluster, f.namespace+"."+name+"."+at, template, notReady, updated)
					}
				}
				all(0, 10)
				f.Eventually(status, soon, interval).Should(Equal("10 10 10 10 True AllReplicasReady"))
				f.Eventually(func() error {
					live := &unstructured.Unstructured{}
					live.SetGroupVersionKind(obj.GroupVersionKind())
					if err := f.Admin.Get(t.Context(), client.ObjectKeyFromObject(obj), live); err != nil {
						return err
					}
					ofKind(template, 2)(live.Object)
					return f.Admin.Update(t.Context(), live)
				}, soon, interval).Should(Succeed())
				f.Eventually(status, soon, interval).Should(Equal("10 10 0 0 False Progressing"))
				all(1, 1) // one of each is updated, and not ready
				f.Eventually(status, soon, interval).Should(Equal("10 7 3 0 False Progressing"))
				all(0, 10)
				f.Eventually(status, soon, interval).Should(Equal("10 10 10 10 True AllReplicasReady"))
			})
		}
	}
}
