package work

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	workv1 "open-cluster-management.io/api/work/v1"
)

// manifest is one entry of a work's spec, as far as it could be read, and what a round found out about it.
type manifest struct {
	meta   workv1.ManifestResourceMeta
	want   *unstructured.Unstructured // nil: unreadable
	hash   string                     // of the raw manifest and the way to apply it
	config config
	broken error // why it cannot be applied at all: unreadable, or of a kind the cluster does not know

	same    bool                       // the hub knows all of it: neither manifest nor object changed since it was told
	done    bool                       // its condition Complete is True: it is left as it is
	live    *unstructured.Unstructured // nil: not there, or not read
	failed  error                      // why applying failed
	unread  error                      // why the object could not be read; nil with live nil means it is not there
	applied bool                       // this round tried to apply it
	ruled   []metav1.Condition         // what its condition rules say of live
}

// gvr is where the object is found.
func (m *manifest) gvr() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: m.meta.Group, Version: m.meta.Version, Resource: m.meta.Resource}
}

// place is where a watch finds it.
func (m *manifest) place() watched { return watched{m.gvr(), m.meta.Namespace, m.meta.Name} }

func (m *manifest) readOnly() bool {
	return m.config.strategy.Type == workv1.UpdateStrategyTypeReadOnly
}

// denied reports whether the work's executor has not the rights for it.
func (m *manifest) denied() bool {
	_, ok := errors.AsType[*notAllowed](m.failed)
	return ok
}

// lost reports whether an object that was applied is not there any more.
func (m *manifest) lost() bool {
	return m.meta.Resource != "" && !m.readOnly() && !m.done && !m.same && m.live == nil && m.unread == nil
}

// key names the object in memory, whatever version it is applied in.
func (m *manifest) key() objectKey {
	return objectKey{m.meta.Group, m.meta.Resource, m.meta.Namespace, m.meta.Name}
}

type objectKey struct{ group, resource, namespace, name string }

// mapKind finds the resource of a kind.
type mapKind func(schema.GroupVersionKind) (*meta.RESTMapping, error)

// decode reads the manifests one by one; one that cannot be read does not stop the others. OCM-10.2
func decode(work *workv1.ManifestWork, find mapKind) []*manifest {
	out := make([]*manifest, 0, len(work.Spec.Workload.Manifests))
	for i := range work.Spec.Workload.Manifests {
		m := decodeOne(int32(i), work.Spec.Workload.Manifests[i].Raw, find)
		m.config = configOf(work.Spec.ManifestConfigs, m.meta)
		m.hash = digest(work.Spec.Workload.Manifests[i].Raw, m.config.strategy)
		m.done = completed(previous(work.Status.ResourceStatus.Manifests, m.meta), m.config)
		out = append(out, m)
	}
	return out
}

// digest tells manifests apart, and ways to apply them: an object does not count as applied when only those changed.
func digest(raw []byte, s workv1.UpdateStrategy) string {
	way, err := json.Marshal(s)
	if err != nil {
		way = nil // such a strategy would not have come out of JSON
	}
	hash := sha256.New()
	hash.Write(way)
	hash.Write(raw)
	return string(hash.Sum(nil))
}

// completed reports whether a manifest has reached its condition Complete. Whoever takes the rule away has it
// carried out again. OCM-13.3
func completed(entry workv1.ManifestCondition, c config) bool {
	return c.completes() && meta.IsStatusConditionTrue(entry.Conditions, workv1.ManifestComplete)
}

func decodeOne(ordinal int32, raw []byte, find mapKind) *manifest {
	m := &manifest{meta: workv1.ManifestResourceMeta{Ordinal: ordinal}}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(raw); err != nil {
		m.broken = errors.New("manifest is not an object with apiVersion and kind") // the text of it may be a secret
		return m
	}
	gvk := obj.GroupVersionKind()
	m.meta.Group, m.meta.Version, m.meta.Kind = gvk.Group, gvk.Version, gvk.Kind
	m.meta.Name, m.meta.Namespace = obj.GetName(), obj.GetNamespace()
	if obj.IsList() {
		m.broken = fmt.Errorf("manifest is a list of kind %s; give each object a manifest of its own", gvk.Kind)
		return m
	}
	if m.meta.Name == "" {
		m.broken = errors.New("manifest has no name")
		return m
	}
	mapping, err := find(gvk)
	if err != nil {
		m.broken = fmt.Errorf("find resource of %s: %w", gvk.Kind, err)
		return m
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		m.meta.Namespace = ""
		obj.SetNamespace("")
	} else if m.meta.Namespace == "" {
		m.broken = fmt.Errorf("manifest of kind %s has no namespace", gvk.Kind)
		return m
	}
	m.meta.Resource = mapping.Resource.Resource
	m.want = required(obj)
	return m
}

// remembered are the manifests as the status lists them, for a round that only looks.
func remembered(work *workv1.ManifestWork) []*manifest {
	out := make([]*manifest, 0, len(work.Status.ResourceStatus.Manifests))
	for i := range work.Status.ResourceStatus.Manifests {
		m := &manifest{meta: work.Status.ResourceStatus.Manifests[i].ResourceMeta}
		m.config = configOf(work.Spec.ManifestConfigs, m.meta)
		m.done = completed(work.Status.ResourceStatus.Manifests[i], m.config)
		out = append(out, m)
	}
	return out
}
