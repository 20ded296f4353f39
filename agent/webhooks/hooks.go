package webhooks

import (
	"net/http"

	policy "github.com/openkruise/kruise-api/policy/v1alpha1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/webhooks/containerrecreaterequest"
	"github.com/flotilla-project/flotilla/agent/webhooks/pod"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// The configurations that all hooks are registered in. NP-8.4
const (
	Mutating   = "kruise-mutating-webhook-configuration"
	Validating = "kruise-validating-webhook-configuration"
)

const (
	group = "apps.kruise.io"
	// patience is what the API server grants us, in seconds: we may have to ask it in turn. NP-8.1
	patience = 30
)

// Conditions keep requests away that a webhook has nothing to say about: finalizers, labels and annotations of workloads
// can be written, and unprotected ones deleted, while no agent runs.
const (
	createOrSpec = "oldObject == null || object.spec != oldObject.spec"
	// The API server counts changes of a spec, but only after mutating webhooks were asked.
	createOrGeneration          = "oldObject == null || object.metadata.generation != oldObject.metadata.generation"
	labelled                    = "has(oldObject.metadata.labels) && 'policy.kruise.io/delete-protection' in oldObject.metadata.labels"
	newContentOrRemoveProtected = "request.operation == 'DELETE' ? " + labelled + " : " + createOrGeneration
)

type handlers struct {
	cloneSetDefaults, cloneSets       http.Handler
	statefulSetDefaults, statefulSets http.Handler
	daemonSetDefaults, daemonSets     http.Handler
}

// workloads are the hooks of the Set family. All fail closed (WL-0.9): what they would refuse is wrong in ways that a
// controller can only stop at, and nobody waits for them but who creates or changes a workload.
func workloads(h handlers) []webhook.Hook {
	const create, update, remove = admissionv1.Create, admissionv1.Update, admissionv1.Delete
	return []webhook.Hook{{
		Configuration: Mutating, Name: "mcloneset.kb.io", Mutating: true, Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/mutate-apps-kruise-io-v1alpha1-cloneset",
		Rules: rule("clonesets", []string{"v1alpha1"}, create, update), Conditions: when(createOrSpec), Handler: h.cloneSetDefaults,
	}, {
		Configuration: Validating, Name: "vcloneset.kb.io", Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/validate-apps-kruise-io-v1alpha1-cloneset",
		Rules: rule("clonesets", []string{"v1alpha1"}, create, update, remove), Conditions: when(newContentOrRemoveProtected), Handler: h.cloneSets,
	}, {
		Configuration: Mutating, Name: "mstatefulset.kb.io", Mutating: true, Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/mutate-apps-kruise-io-statefulset",
		Rules: rule("statefulsets", []string{"v1alpha1", "v1beta1"}, create, update), Conditions: when(createOrSpec), Handler: h.statefulSetDefaults,
	}, {
		Configuration: Validating, Name: "vstatefulset.kb.io", Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/validate-apps-kruise-io-statefulset",
		Rules: rule("statefulsets", []string{"v1alpha1", "v1beta1"}, create, update, remove), Conditions: when(newContentOrRemoveProtected), Handler: h.statefulSets,
	}, {
		Configuration: Mutating, Name: "mdaemonset.kb.io", Mutating: true, Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/mutate-apps-kruise-io-v1alpha1-daemonset",
		Rules: rule("daemonsets", []string{"v1alpha1"}, create, update), Conditions: when(createOrSpec), Handler: h.daemonSetDefaults,
	}, {
		Configuration: Validating, Name: "vdaemonset.kb.io", Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:  "/validate-apps-kruise-io-v1alpha1-daemonset",
		Rules: rule("daemonsets", []string{"v1alpha1"}, create, update), Conditions: when(createOrGeneration), Handler: h.daemonSets,
	}}
}

// pods is the hook for pods at their creation. It fails closed (WL-0.9): a pod without the readiness gate could never be
// taken out of service by others. So that a cluster without an agent still heals, it sees no pods of the system, none of the
// namespace that we run in ourselves, nor, unless the pods of everybody are to change, any but those of our workloads and those that ask for something.
func pods(handler http.Handler, all bool, home string) webhook.Hook {
	h := webhook.Hook{
		Configuration: Mutating, Name: "mpod.kb.io", Mutating: true, Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path: "/mutate-pod", Handler: handler,
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
		}},
		Namespaces: elsewhere(home),
	}
	if !all {
		h.Conditions = when("(" + pod.Ours + ") || " + pod.Ordered)
	}
	return h
}

// recreateRequests is the hook for ContainerRecreateRequests, which judges and fills in at once. It fails closed: without what it
// fills in, nobody could carry a request out. // CRR-1, NP-8.1
func recreateRequests(handler http.Handler) webhook.Hook {
	return webhook.Hook{
		Configuration: Mutating, Name: "mcontainerrecreaterequest.kb.io", Mutating: true, Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:       "/mutate-apps-kruise-io-v1alpha1-containerrecreaterequest",
		Rules:      rule("containerrecreaterequests", []string{"v1alpha1"}, admissionv1.Create, admissionv1.Update),
		Conditions: when(containerrecreaterequest.Concerns), Handler: handler,
	}
}

// probeMarkers is the hook for PodProbeMarkers. It fails closed: daemons run what a marker says. // PM-1, NP-8.1
func probeMarkers(handler http.Handler) webhook.Hook {
	return webhook.Hook{
		Configuration: Validating, Name: "vpodprobemarker.kb.io", Policy: admissionv1.Fail, TimeoutSeconds: patience,
		Path:       "/validate-apps-kruise-io-podprobemarker",
		Rules:      rule("podprobemarkers", []string{"v1alpha1"}, admissionv1.Create, admissionv1.Update),
		Conditions: when(createOrGeneration), Handler: handler,
	}
}

// protected are the hooks for objects of Kubernetes itself. They are ignored while nobody answers: nothing of the cluster
// shall wait for us, and what they keep is a mistake, not a right. NP-8 (WH-1)
func protected(handler http.Handler) (all []webhook.Hook) {
	for _, k := range []struct{ name, path, group, resource string }{
		{"vbuiltindeployment.kb.io", "/validate-apps-deployment", "apps", "deployments"},
		{"vbuiltinreplicaset.kb.io", "/validate-apps-replicaset", "apps", "replicasets"},
		{"vbuiltinstatefulset.kb.io", "/validate-apps-statefulset", "apps", "statefulsets"},
		{"vcustomresourcedefinition.kb.io", "/validate-customresourcedefinition", "apiextensions.k8s.io", "customresourcedefinitions"},
		{"vnamespace.kb.io", "/validate-namespace", "", "namespaces"},
		{"vservice.kb.io", "/validate-service", "", "services"},
		{"vingress.kb.io", "/validate-ingress", "networking.k8s.io", "ingresses"},
	} {
		all = append(all, webhook.Hook{
			Configuration: Validating, Name: k.name, Policy: admissionv1.Ignore, TimeoutSeconds: patience, Path: k.path, Handler: handler,
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Delete},
				Rule:       admissionv1.Rule{APIGroups: []string{k.group}, APIVersions: []string{"v1"}, Resources: []string{k.resource}},
			}},
			Objects:    having(policy.DeletionProtectionKey),
			Namespaces: outside("kube-system"),
		})
	}
	return all
}

func having(label string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: label, Operator: metav1.LabelSelectorOpExists}}}
}

func outside(namespaces ...string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: namespaces},
	}}
}

// elsewhere selects the namespaces of users. By label as OpenKruise does it, and by name, which nobody can take off.
func elsewhere(home string) *metav1.LabelSelector { // WL-0.9, NP-8 (WH-1)
	names := []string{"kube-system"}
	if home != "" {
		names = append(names, home)
	}
	selector := outside(names...)
	selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: "control-plane", Operator: metav1.LabelSelectorOpDoesNotExist,
	})
	return selector
}

func rule(resource string, versions []string, operations ...admissionv1.OperationType) []admissionv1.RuleWithOperations {
	return []admissionv1.RuleWithOperations{{
		Operations: operations,
		Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: versions, Resources: []string{resource}},
	}}
}

func when(expression string) []admissionv1.MatchCondition {
	return []admissionv1.MatchCondition{{Name: "concerns-us", Expression: expression}}
}
