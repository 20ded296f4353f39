package federateddeployment

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

// reference is a ConfigMap or Secret that a pod template refers to.
type reference struct {
	kind, name string
	optional   bool
}

func (r reference) key() string { return r.kind + "/" + r.name }

func (r reference) resource() string {
	if r.kind == kindSecret {
		return "secrets"
	}
	return "configmaps"
}

// material is what a reference leads to.
type material struct {
	// manifest of the object as it travels. nil: there is none.
	manifest map[string]any
	// barred says why it does not travel although it is there.
	barred string
}

// missingError is a reference that cannot travel. It never holds content.
type missingError string

func (m missingError) Error() string { return string(m) }

// references of a pod, by kind and name. One that is needed anywhere is not optional.
type references map[string]reference

func (r references) add(kind, name string, optional *bool) {
	if name == "" {
		return
	}
	ref := reference{kind: kind, name: name, optional: optional != nil && *optional}
	if old, known := r[ref.key()]; known {
		ref.optional = ref.optional && old.optional
	}
	r[ref.key()] = ref
}

// referencesOf finds what a pod cannot start without, or would like to have.
func referencesOf(pod corev1.PodSpec) references {
	refs := references{}
	for _, v := range pod.Volumes {
		refs.volume(v)
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		refs.container(c)
	}
	for _, s := range pod.ImagePullSecrets {
		refs.add(kindSecret, s.Name, nil)
	}
	return refs
}

func (r references) volume(v corev1.Volume) {
	if v.ConfigMap != nil {
		r.add(kindConfigMap, v.ConfigMap.Name, v.ConfigMap.Optional)
	}
	if v.Secret != nil {
		r.add(kindSecret, v.Secret.SecretName, v.Secret.Optional)
	}
	if v.CSI != nil && v.CSI.NodePublishSecretRef != nil {
		r.add(kindSecret, v.CSI.NodePublishSecretRef.Name, nil)
	}
	if v.Projected == nil {
		return
	}
	for _, s := range v.Projected.Sources {
		if s.ConfigMap != nil {
			r.add(kindConfigMap, s.ConfigMap.Name, s.ConfigMap.Optional)
		}
		if s.Secret != nil {
			r.add(kindSecret, s.Secret.Name, s.Secret.Optional)
		}
	}
}

func (r references) container(c corev1.Container) {
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if ref := e.ValueFrom.ConfigMapKeyRef; ref != nil {
			r.add(kindConfigMap, ref.Name, ref.Optional)
		}
		if ref := e.ValueFrom.SecretKeyRef; ref != nil {
			r.add(kindSecret, ref.Name, ref.Optional)
		}
	}
	for _, e := range c.EnvFrom {
		if e.ConfigMapRef != nil {
			r.add(kindConfigMap, e.ConfigMapRef.Name, e.ConfigMapRef.Optional)
		}
		if e.SecretRef != nil {
			r.add(kindSecret, e.SecretRef.Name, e.SecretRef.Optional)
		}
	}
}

// referencesIn are those of a pod template as it was written. What cannot be read refers to nothing.
func referencesIn(pod any) references {
	data, err := json.Marshal(pod)
	if err != nil {
		return nil
	}
	var typed corev1.PodTemplateSpec
	if err := utiljson.Unmarshal(data, &typed); err != nil {
		return nil
	}
	return referencesOf(typed.Spec)
}

// referencesUnder are those of a template, with every subset's patch.
func referencesUnder(template map[string]any, patches [][]byte) references {
	_, tmpl, _ := kindOf(template)
	pod, _, _ := unstructured.NestedMap(tmpl, "spec", "template")
	refs := referencesIn(pod)
	for _, patch := range patches {
		if changed, err := patched(pod, patch); err == nil {
			for key, ref := range referencesIn(changed) {
				if old, known := refs[key]; known {
					ref.optional = ref.optional && old.optional
				}
				refs[key] = ref
			}
		}
	}
	return refs
}

// referencesMade is the index of who refers to what.
func referencesMade(o client.Object) []string {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	if travels, _, _ := unstructured.NestedBool(u.Object, "spec", "propagateReferences"); !travels {
		return nil
	}
	var patches [][]byte
	subsets, _, _ := unstructured.NestedSlice(u.Object, "spec", "topology", "subsets")
	for _, s := range subsets {
		s, _ := s.(map[string]any)
		if data, err := json.Marshal(s["patch"]); err == nil && s["patch"] != nil {
			patches = append(patches, data)
		}
	}
	return slices.Sorted(maps.Keys(referencesUnder(templateOf(u), patches)))
}

func patchesOf(obj *v1alpha1.FederatedDeployment) (all [][]byte) {
	for _, s := range obj.Spec.Topology.Subsets {
		if s.Patch != nil && len(s.Patch.Raw) > 0 {
			all = append(all, s.Patch.Raw)
		}
	}
	return all
}

// shelf keeps what was read of ConfigMaps and Secrets, so that each version is read once. Only metadata is watched.
type shelf struct {
	cached client.Reader // of metadata
	live   client.Reader
	mu     sync.Mutex
	kept   map[string]edition
}

type edition struct {
	version string
	material
}

// fetch reads what the templates in use refer to. It is nil for an object that does not ask for it, and on a hub that
// does not read such things.
func (s *shelf) fetch(ctx context.Context, obj *v1alpha1.FederatedDeployment, seen facts) (map[string]material, error) {
	if s == nil || !obj.Spec.PropagateReferences {
		return nil, nil
	}
	refs := referencesUnder(seen.template, patchesOf(obj))
	for _, r := range seen.revisions {
		if inForce(obj, r.Name) {
			maps.Copy(refs, referencesUnder(templateIn(r.Data.Raw), patchesOf(obj)))
		}
	}
	found := map[string]material{}
	for _, key := range slices.Sorted(maps.Keys(refs)) {
		m, err := s.get(ctx, obj.Namespace, refs[key])
		if err != nil {
			return nil, err
		}
		found[key] = m
	}
	return found, nil
}

func (s *shelf) get(ctx context.Context, namespace string, ref reference) (material, error) {
	at := client.ObjectKey{Namespace: namespace, Name: ref.name}
	known := &metav1.PartialObjectMetadata{}
	known.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(ref.kind))
	err := s.cached.Get(ctx, at, known)
	if client.IgnoreNotFound(err) != nil {
		return material{}, fmt.Errorf("look up %s %s: %w", ref.kind, at, err)
	}
	key := namespace + "/" + ref.key()
	s.mu.Lock()
	defer s.mu.Unlock()
	if apierrors.IsNotFound(err) {
		delete(s.kept, key)
		return material{}, nil
	}
	if have, ok := s.kept[key]; ok && have.version == known.ResourceVersion {
		return have.material, nil
	}
	m, err := s.read(ctx, at, ref)
	if err != nil || m.manifest == nil && m.barred == "" {
		return m, err
	}
	if s.kept == nil {
		s.kept = map[string]edition{}
	}
	s.kept[key] = edition{known.ResourceVersion, m}
	return m, nil
}

// read asks the API server itself.
func (s *shelf) read(ctx context.Context, at client.ObjectKey, ref reference) (material, error) {
	u := raw(corev1.SchemeGroupVersion.WithKind(ref.kind))
	if err := s.live.Get(ctx, at, u); err != nil {
		if apierrors.IsNotFound(err) {
			return material{}, nil
		}
		return material{}, fmt.Errorf("get %s %s: %w", ref.kind, at, err)
	}
	return materialOf(u.Object, ref), nil
}

// materialOf is what travels: the content, and nothing that belongs to the hub.
func materialOf(object map[string]any, ref reference) material {
	if object["type"] == string(corev1.SecretTypeServiceAccountToken) {
		return material{barred: "is a token of the hub itself, which is of no use elsewhere and must not leave it"}
	}
	name, _, _ := unstructured.NestedString(object, "metadata", "name")
	namespace, _, _ := unstructured.NestedString(object, "metadata", "namespace")
	manifest := map[string]any{"apiVersion": "v1", "kind": ref.kind, "metadata": map[string]any{"name": name, "namespace": namespace}}
	for _, field := range []string{"data", "binaryData", "type", "immutable"} {
		if value, ok := object[field]; ok {
			manifest[field] = value
		}
	}
	return material{manifest: manifest}
}

// luggage are the manifests that travel with a workload, by kind and name, or why they cannot.
func luggage(obj *v1alpha1.FederatedDeployment, workload map[string]any, materials map[string]material) ([]map[string]any, error) {
	if !obj.Spec.PropagateReferences {
		return nil, nil
	}
	if materials == nil {
		return nil, missingError("spec.propagateReferences: this hub reads no ConfigMaps and Secrets; start it with the feature gate PropagateReferences and bind its ClusterRole flotilla:hub:references, or set propagateReferences to false")
	}
	pod, _, _ := unstructured.NestedMap(workload, "spec", "template")
	refs := referencesIn(pod)
	var all []map[string]any
	for _, key := range slices.Sorted(maps.Keys(refs)) {
		ref, m := refs[key], materials[key]
		switch {
		case m.barred != "":
			return nil, missingError(fmt.Sprintf("%s %s/%s, which the template refers to, %s; refer to another", ref.kind, obj.Namespace, ref.name, m.barred))
		case m.manifest != nil:
			all = append(all, m.manifest)
		case !ref.optional:
			return nil, missingError(fmt.Sprintf("%s %s/%s, which the template refers to, is not there; create it on the hub, mark the reference optional, or set propagateReferences to false",
				ref.kind, obj.Namespace, ref.name))
		}
	}
	return all, nil
}

// carry is how such a manifest is applied: never by force, so that what belongs to somebody else on the member stays his
// and the conflict is reported (OCM-11.2).
func carry(manifest map[string]any) workv1.ManifestConfigOption {
	metadata, _ := manifest["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	kind, _ := manifest["kind"].(string)
	return workv1.ManifestConfigOption{
		ResourceIdentifier: workv1.ResourceIdentifier{Resource: reference{kind: kind}.resource(), Namespace: namespace, Name: name},
		UpdateStrategy: &workv1.UpdateStrategy{
			Type:            workv1.UpdateStrategyTypeServerSideApply,
			ServerSideApply: &workv1.ServerSideApplyConfig{FieldManager: workv1.DefaultFieldManager},
		},
		FeedbackScrapeType: workv1.FeedbackPollType,
	}
}
