package work

import (
	"encoding/base64"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// required is a manifest's object without what only a server may say, and without a UID, which a manifest that
// was read from another cluster still carries. OCM-10.2, OCM-11.2
func required(obj *unstructured.Unstructured) *unstructured.Unstructured {
	out := obj.DeepCopy()
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields", "selfLink"} {
		unstructured.RemoveNestedField(out.Object, "metadata", field)
	}
	if out.GetKind() == "Secret" && out.GroupVersionKind().Group == "" {
		foldStringData(out)
	}
	return out
}

// foldStringData moves stringData into data, as the server does, so that the two can be compared.
func foldStringData(secret *unstructured.Unstructured) {
	texts, found, err := unstructured.NestedStringMap(secret.Object, "stringData")
	if !found || err != nil {
		return
	}
	data, _, err := unstructured.NestedStringMap(secret.Object, "data")
	if err != nil {
		return // the server will say what is wrong
	}
	if data == nil {
		data = map[string]string{}
	}
	for k, v := range texts {
		data[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	delete(secret.Object, "stringData")
	_ = unstructured.SetNestedStringMap(secret.Object, data, "data") // cannot fail: data was a map or absent
}

// merge is the live object as the manifest wants it: content replaced part by part, with regard to its kind, labels and annotations
// added, a key that ends in "-" taken away, owners and finalizers kept. OCM-11.1
func merge(live, want *unstructured.Unstructured, owner *metav1.OwnerReference, orphan bool) *unstructured.Unstructured {
	out := live.DeepCopy()
	for key, value := range adapted(live, want) {
		switch key {
		case "apiVersion", "kind", "metadata", "status":
		default:
			out.Object[key] = value
		}
	}
	out.SetLabels(mergeKeys(live.GetLabels(), want.GetLabels()))
	out.SetAnnotations(mergeKeys(live.GetAnnotations(), want.GetAnnotations()))
	finalizers := live.GetFinalizers()
	for _, f := range want.GetFinalizers() {
		if !slices.Contains(finalizers, f) {
			finalizers = append(finalizers, f)
		}
	}
	out.SetFinalizers(finalizers)
	owners := live.GetOwnerReferences()
	for _, o := range want.GetOwnerReferences() {
		if !slices.ContainsFunc(owners, func(x metav1.OwnerReference) bool { return x.UID == o.UID }) {
			owners = append(owners, o)
		}
	}
	owners, _ = own(owners, owner, orphan)
	out.SetOwnerReferences(owners)
	return out
}

func mergeKeys(live, want map[string]string) map[string]string {
	if len(live) == 0 && len(want) == 0 {
		return nil
	}
	out := map[string]string{}
	for k, v := range live {
		out[k] = v
	}
	for k, v := range want {
		if bare, remove := strings.CutSuffix(k, "-"); remove {
			delete(out, bare)
			continue
		}
		out[k] = v
	}
	return out
}

// fresh is what to create from a manifest.
func fresh(want *unstructured.Unstructured, owner *metav1.OwnerReference, orphan bool) *unstructured.Unstructured {
	out := want.DeepCopy()
	out.SetLabels(mergeKeys(nil, want.GetLabels()))
	out.SetAnnotations(mergeKeys(nil, want.GetAnnotations()))
	owners, _ := own(out.GetOwnerReferences(), owner, orphan)
	out.SetOwnerReferences(owners)
	return out
}

// own adds or, for an orphan, takes away our reference; it reports whether the list changed. It is never a
// controller's reference, and several works may own one object. A reference to an earlier record of the same name
// goes: it owns nothing any more, and would look like another owner. OCM-15.2
func own(owners []metav1.OwnerReference, ours *metav1.OwnerReference, orphan bool) ([]metav1.OwnerReference, bool) {
	var out []metav1.OwnerReference
	for _, o := range owners {
		if o.Kind == ours.Kind && o.APIVersion == ours.APIVersion && o.Name == ours.Name && (orphan || o.UID != ours.UID) {
			continue
		}
		out = append(out, o)
	}
	has := slices.ContainsFunc(out, func(o metav1.OwnerReference) bool { return o.UID == ours.UID })
	if !orphan && !has {
		out = append(out, *ours)
	}
	return out, !equality.Semantic.DeepEqual(owners, out)
}

// covers reports whether live has all that want says; what the server added besides does not matter.
func covers(live, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok {
			return len(w) == 0 && live == nil
		}
		for k, v := range w {
			if !covers(l[k], v) {
				return false
			}
		}
		return true
	case []any:
		l, ok := live.([]any)
		if !ok || len(l) != len(w) {
			return len(w) == 0 && live == nil
		}
		for i := range w {
			if !covers(l[i], w[i]) {
				return false
			}
		}
		return true
	default:
		return equality.Semantic.DeepEqual(live, want)
	}
}

// coversContent compares all but metadata and status, and then the labels, annotations and owners merge would set.
func coversContent(live, want, merged *unstructured.Unstructured) bool {
	for key, value := range want.Object {
		switch key {
		case "apiVersion", "kind", "metadata", "status":
			continue
		}
		if !covers(live.Object[key], value) {
			return false
		}
	}
	return equality.Semantic.DeepEqual(live.Object["metadata"], merged.Object["metadata"])
}
