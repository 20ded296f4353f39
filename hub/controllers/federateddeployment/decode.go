package federateddeployment

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The templates have no schema, so the API server stores what the Go types cannot hold. A list of typed objects would
// fail as a whole for one of them; therefore FederatedDeployments are cached as they are and decoded one by one.

// raw is an empty object of a kind as it is cached.
func raw(kind schema.GroupVersionKind) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	return u
}

// decode makes a typed object. If the spec does not fit the types, the object comes without it and the problem says
// which value is wrong.
func decode[T client.Object](u *unstructured.Unstructured, empty func() T) (T, *field.Error) {
	obj, err := into(u.Object, empty)
	if err == nil {
		return obj, nil
	}
	problem := culprit(u.Object["spec"], err, func(spec any) error {
		_, err := into(with(u.Object, "spec", spec), empty)
		return err
	})
	obj, err = into(with(u.Object, "spec", map[string]any{}), empty)
	if err != nil { // a status that we did not write
		obj, err = into(with(with(u.Object, "spec", map[string]any{}), "status", map[string]any{}), empty)
	}
	if err != nil {
		obj = empty()
		obj.GetObjectKind().SetGroupVersionKind(u.GroupVersionKind())
		obj.SetNamespace(u.GetNamespace())
		obj.SetName(u.GetName())
		obj.SetUID(u.GetUID())
		obj.SetResourceVersion(u.GetResourceVersion())
		obj.SetGeneration(u.GetGeneration())
		obj.SetDeletionTimestamp(u.GetDeletionTimestamp())
		obj.SetFinalizers(u.GetFinalizers())
	}
	return obj, problem
}

func into[T client.Object](object map[string]any, empty func() T) (T, error) {
	obj := empty()
	data, err := json.Marshal(object)
	if err != nil {
		return obj, err
	}
	return obj, utiljson.Unmarshal(data, obj)
}

// culprit finds the value without which the rest decodes: an error of the decoder often names a Go type where the user
// needs a path.
func culprit(spec any, why error, try func(any) error) *field.Error {
	path, value := field.NewPath("spec"), spec
	for key, found := guilty(value, try); found; key, found = guilty(value, try) {
		parent, inParent := value, try
		try = func(v any) error { return inParent(put(parent, key, v)) }
		value = child(parent, key)
		if _, isList := parent.([]any); isList {
			path = path.Index(position(key))
		} else {
			path = path.Child(key)
		}
	}
	return field.Invalid(path, shown(value), fmt.Sprintf("%v; correct it, nothing is changed until then", why))
}

// guilty is the child without which the parent decodes.
func guilty(parent any, try func(any) error) (string, bool) {
	switch p := parent.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(p)) {
			left := maps.Clone(p)
			delete(left, key)
			if try(left) == nil {
				return key, true
			}
		}
	case []any:
		for i := range p {
			if try(slices.Delete(slices.Clone(p), i, i+1)) == nil {
				return strconv.Itoa(i), true
			}
		}
	}
	return "", false
}

func child(parent any, key string) any {
	if list, ok := parent.([]any); ok {
		return list[position(key)]
	}
	return parent.(map[string]any)[key]
}

// put returns the parent with another child.
func put(parent any, key string, v any) any {
	if list, ok := parent.([]any); ok {
		list = slices.Clone(list)
		list[position(key)] = v
		return list
	}
	return with(parent.(map[string]any), key, v)
}

func with(object map[string]any, key string, v any) map[string]any {
	object = maps.Clone(object)
	object[key] = v
	return object
}

func position(key string) int {
	i, _ := strconv.Atoi(key) // guilty made it
	return i
}

// shown keeps messages short: a value, but not half a manifest.
func shown(v any) any {
	switch v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "list"
	}
	return v
}

// undecoded is a client whose answers to writes of objects of the kind are not decoded, which could fail after the write
// succeeded.
type undecoded struct {
	client.Client
	kind schema.GroupVersionKind
}

// Patch patches, and takes over what the answer says of the metadata.
func (u undecoded) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	answer, as, err := named(u.kind, obj, patch)
	if err != nil {
		return err
	}
	if err := u.Client.Patch(ctx, answer, as, opts...); err != nil {
		return err
	}
	obj.SetResourceVersion(answer.GetResourceVersion())
	obj.SetFinalizers(answer.GetFinalizers())
	return nil
}

// Status is the same for the status.
func (u undecoded) Status() client.SubResourceWriter {
	return undecodedStatus{u.Client.Status(), u.kind}
}

type undecodedStatus struct {
	client.SubResourceWriter
	kind schema.GroupVersionKind
}

// Patch patches the status.
func (u undecodedStatus) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	answer, as, err := named(u.kind, obj, patch)
	if err != nil {
		return err
	}
	return u.SubResourceWriter.Patch(ctx, answer, as, opts...)
}

func named(kind schema.GroupVersionKind, obj client.Object, patch client.Patch) (*unstructured.Unstructured, client.Patch, error) {
	data, err := patch.Data(obj)
	if err != nil {
		return nil, nil, fmt.Errorf("compute patch: %w", err)
	}
	u := raw(kind)
	u.SetNamespace(obj.GetNamespace())
	u.SetName(obj.GetName())
	return u, client.RawPatch(patch.Type(), data), nil
}
