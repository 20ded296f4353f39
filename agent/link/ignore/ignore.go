// Package ignore decides what of a manifest is applied when some of its fields are to be left alone (OCM-11.3).
//
// It is pure: manifest and live object in, plan out. What it promises: the first creation carries every field; a
// field that is left alone keeps its live value, whoever owns it; a path that cannot be read is an error and not
// an empty one, because applying all the same would overwrite what was to stay; and a path costs a second at most.
package ignore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	workv1 "open-cluster-management.io/api/work/v1"
)

// Plan is what to send to the member.
type Plan struct {
	Skip  bool                       // the manifest is what it was: nothing to apply
	Apply *unstructured.Unstructured // carries the live object's version where a value of it is sent back
}

// Decide plans the apply of want, by manager, over live, nil for an object that is not there.
func Decide(ctx context.Context, fields []workv1.IgnoreField, want, live *unstructured.Unstructured, manager string) (Plan, error) {
	if len(fields) == 0 {
		return Plan{Apply: want}, nil
	}
	present, onChange, err := split(ctx, fields, want)
	if err != nil {
		return Plan{}, err
	}
	hash, err := hashOf(want, present)
	if err != nil {
		return Plan{}, err
	}
	if live != nil && onChange && live.GetAnnotations()[workv1.ManifestConfigSpecHashAnnotationKey] == hash {
		return Plan{Skip: true}, nil
	}
	out := want.DeepCopy()
	if live != nil {
		if err := leaveOut(ctx, fields, want, out, live, present, manager); err != nil {
			return Plan{}, err
		}
	}
	annotations := out.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[workv1.ManifestConfigSpecHashAnnotationKey] = hash
	out.SetAnnotations(annotations)
	return Plan{Apply: out}, nil
}

// split finds the fields that stay once they are present. Those that stay until the hub changes something need no
// more than a look at the hash, but what is wrong with their paths is said as well.
func split(ctx context.Context, fields []workv1.IgnoreField, want *unstructured.Unstructured) (present []path, onChange bool, err error) {
	for _, f := range fields {
		found, err := find(ctx, f, want.Object)
		if err != nil {
			return nil, false, err
		}
		switch f.Condition {
		case workv1.IgnoreFieldsConditionOnSpokeChange:
			onChange = true
		case workv1.IgnoreFieldsConditionOnSpokePresent, "":
			present = append(present, found...)
		default:
			return nil, false, fmt.Errorf("ignoreFields condition %q is unknown", f.Condition)
		}
	}
	return present, onChange, nil
}

// hashOf is the manifest's, without the fields that stay.
func hashOf(want *unstructured.Unstructured, without []path) (string, error) {
	counted := want.DeepCopy()
	for _, p := range deepestFirst(without) {
		p.remove(counted.Object)
	}
	data, err := json.Marshal(counted.Object)
	if err != nil {
		return "", fmt.Errorf("encode manifest: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// leaveOut takes the fields out of what is applied. A field that nobody but ourselves owns would be deleted by
// that, so its live value is sent back instead, bound to the version it was read in.
func leaveOut(ctx context.Context, fields []workv1.IgnoreField, want, out, live *unstructured.Unstructured, present []path, manager string) error {
	owned := soleOwner(live.GetManagedFields(), manager)
	pinned := false
	for _, p := range deepestFirst(present) {
		value, ours := owned.value(p, want.Object, live.Object)
		if !ours {
			p.remove(out.Object)
			continue
		}
		p.set(out.Object, value)
		pinned = true
	}
	more, err := onlyLive(ctx, fields, out, live)
	if err != nil {
		return err
	}
	for _, p := range more {
		if value, ours := owned.value(p, out.Object, live.Object); ours && p.set(out.Object, value) {
			pinned = true
		}
	}
	if pinned {
		out.SetResourceVersion(live.GetResourceVersion())
	}
	return nil
}

// onlyLive finds fields that stay and that the manifest does not name any more.
func onlyLive(ctx context.Context, fields []workv1.IgnoreField, out, live *unstructured.Unstructured) ([]path, error) {
	var more []path
	for _, f := range fields {
		if f.Condition == workv1.IgnoreFieldsConditionOnSpokeChange {
			continue
		}
		found, err := find(ctx, f, live.Object)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			if p.plain() && !p.in(out.Object) {
				more = append(more, p)
			}
		}
	}
	return more, nil
}
