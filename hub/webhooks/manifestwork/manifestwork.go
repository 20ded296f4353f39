// Package manifestwork judges what a ManifestWork, or the template of a ManifestWorkReplicaSet, may hold, whom it may be
// applied as, and whether so many may go at once. It reads works, clusters and one namespace from the cache and asks for
// rights; it writes nothing.
package manifestwork

import (
	"context"
	"encoding/json"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// DefaultLimit is how many bytes the manifests of a work may come to. OCM-9.3
const DefaultLimit = 500 * 1024

// agentItself is the name that is asked for when a work names no executor and the gate NilExecutorValidating is on. OCM-9.3
const agentItself = "system:serviceaccount::klusterlet-work-sa"

// Rules are what works are judged by.
type Rules struct {
	// Limit is how many bytes the manifests of a work may come to.
	Limit int
	// NilExecutor asks for the right to have a work applied as the agent itself, where it names no executor.
	NilExecutor bool
	// Rights answers questions for rights.
	Rights webhook.Reviewer
	// Brake judges removals; nil lets all pass.
	Brake *Brake
}

// Validator is the handler that judges a work.
func (rules Rules) Validator() http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*workv1.ManifestWork]) error {
		if r.Operation == admissionv1.Delete {
			return rules.Brake.judge(ctx, r.Old, r.Old, r.Dry())
		}
		if r.Old != nil && equality.Semantic.DeepEqual(r.Old.Spec, r.New.Spec) {
			return nil // a work that is bad already can still be finished
		}
		if err := Validate(r.New.Spec, rules.Limit); err != nil {
			return err
		}
		var old *workv1.ManifestWorkSpec
		if r.Old != nil {
			old = &r.Old.Spec
		}
		if err := webhook.Refuse(ctx, rules.Rights, r.UserInfo, Asks(old, r.New.Spec, r.Namespace, r.UserInfo.Username, rules.NilExecutor)...); err != nil {
			return err
		}
		return rules.Brake.judge(ctx, r.Old, r.New, r.Dry())
	})
}

// TemplateValidator is the handler that judges the template of a ManifestWorkReplicaSet. Its works are made by the hub,
// in namespaces that are not known yet, so its author needs the right to have works executed in all of them.
func (rules Rules) TemplateValidator() http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*workv1alpha1.ManifestWorkReplicaSet]) error {
		var old *workv1.ManifestWorkSpec
		if r.Old != nil {
			if old = &r.Old.Spec.ManifestWorkTemplate; equality.Semantic.DeepEqual(*old, r.New.Spec.ManifestWorkTemplate) {
				return nil
			}
		}
		if err := Validate(r.New.Spec.ManifestWorkTemplate, rules.Limit); err != nil {
			return err
		}
		return webhook.Refuse(ctx, rules.Rights, r.UserInfo, Asks(old, r.New.Spec.ManifestWorkTemplate, "", r.UserInfo.Username, rules.NilExecutor)...)
	})
}

// Validate looks at what a work holds. All refusals are HTTP 400. OCM-9.3
func Validate(spec workv1.ManifestWorkSpec, limit int) error {
	manifests := spec.Workload.Manifests
	if len(manifests) == 0 {
		return webhook.BadRequest("spec.workload.manifests: manifests should not be empty")
	}
	size := 0
	for _, m := range manifests {
		size += len(m.Raw)
	}
	if size > limit {
		return webhook.BadRequest("spec.workload.manifests: the size of manifests is %d bytes which exceeds the %d limit; spread them over several works", size, limit)
	}
	if spec.Executor != nil && (spec.Executor.Subject.ServiceAccount == nil ||
		spec.Executor.Subject.ServiceAccount.Name == "" || spec.Executor.Subject.ServiceAccount.Namespace == "") {
		// An executor that names nobody would run as the agent itself.
		return webhook.BadRequest("spec.executor.subject.serviceAccount: name the service account that the manifests are applied as, or leave spec.executor out")
	}
	return each(manifests)
}

// each looks at the manifests one by one.
func each(manifests []workv1.Manifest) error {
	type identity struct{ apiVersion, kind, namespace, name string }
	seen := make(map[identity]int, len(manifests))
	for i, m := range manifests {
		var o struct {
			metav1.TypeMeta `json:",inline"`
			Metadata        struct{ Namespace, Name, GenerateName string } `json:"metadata"`
		}
		if err := json.Unmarshal(m.Raw, &o); err != nil {
			return webhook.BadRequest("spec.workload.manifests[%d]: it is no object: %v", i, err)
		}
		if o.Metadata.GenerateName != "" {
			return webhook.BadRequest("spec.workload.manifests[%d]: metadata.generateName %s is not allowed; give the manifest a name", i, o.Metadata.GenerateName)
		}
		if o.APIVersion == "" || o.Kind == "" {
			return webhook.BadRequest("spec.workload.manifests[%d]: every manifest needs apiVersion and kind", i)
		}
		if o.Metadata.Name == "" {
			return webhook.BadRequest("spec.workload.manifests[%d].metadata.name: every manifest needs a name", i)
		}
		id := identity{o.APIVersion, o.Kind, o.Metadata.Namespace, o.Metadata.Name}
		if first, twice := seen[id]; twice {
			return webhook.BadRequest("spec.workload.manifests[%d]: the manifest of %s %s %s/%s is there twice, first at %d; keep one",
				i, id.apiVersion, id.kind, id.namespace, id.name, first)
		}
		seen[id] = i
	}
	return nil
}

// Asks are the rights that it takes to have manifests applied as somebody: when the executor is new or another, and only
// then. An empty namespace asks for all. OCM-9.3
func Asks(old *workv1.ManifestWorkSpec, spec workv1.ManifestWorkSpec, namespace, user string, nilExecutor bool) []webhook.Ask {
	name := executor(spec, nilExecutor)
	if name == "" || old != nil && executor(*old, nilExecutor) == name {
		return nil
	}
	where := "in namespace " + namespace
	if namespace == "" {
		where = "in all namespaces"
	}
	return []webhook.Ask{{
		What: authorizationv1.ResourceAttributes{
			Verb: "execute-as", Group: workv1.GroupName, Resource: "manifestworks", Namespace: namespace, Name: name,
		},
		Refusal: webhook.BadRequest("spec.executor: user %s may not have works executed as %s; it takes the right to execute-as manifestworks of that name %s", user, name, where),
	}}
}

func executor(spec workv1.ManifestWorkSpec, nilExecutor bool) string {
	switch {
	case spec.Executor != nil && spec.Executor.Subject.ServiceAccount != nil:
		account := spec.Executor.Subject.ServiceAccount
		return "system:serviceaccount:" + account.Namespace + ":" + account.Name
	case nilExecutor:
		return agentItself
	}
	return ""
}
