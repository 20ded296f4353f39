// Package patch writes to a hub the way OCM-20.1 asks: JSON merge patches that carry UID and resourceVersion of
// the object that was looked at, hold only what changed, and are not sent when nothing did.
//
// A conflict is a normal outcome: the caller drops its plan and starts again from fresh data.
package patch

import (
	"context"
	"encoding/json"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Status writes what differs between the status of before and after. It reports whether it wrote; after then
// holds the server's answer.
func Status(ctx context.Context, c client.Client, before, after client.Object) (bool, error) { // OCM-20.1
	data, err := diff(before, after, "status")
	if err != nil || data == nil {
		return false, err
	}
	return true, c.Status().Patch(ctx, after, client.RawPatch(types.MergePatchType, data))
}

// Metadata writes what differs between the finalizers, labels and annotations of before and after.
func Metadata(ctx context.Context, c client.Client, before, after client.Object) (bool, error) { // OCM-20.1
	data, err := diff(before, after, "metadata")
	if err != nil || data == nil {
		return false, err
	}
	return true, c.Patch(ctx, after, client.RawPatch(types.MergePatchType, data))
}

// Spec writes what differs between the spec of before and after.
func Spec(ctx context.Context, c client.Client, before, after client.Object) (bool, error) {
	data, err := diff(before, after, "spec")
	if err != nil || data == nil {
		return false, err
	}
	return true, c.Patch(ctx, after, client.RawPatch(types.MergePatchType, data))
}

// diff returns the merge patch for one top-level field, nil when it did not change.
func diff(before, after client.Object, field string) ([]byte, error) {
	was, err := json.Marshal(before)
	if err != nil {
		return nil, fmt.Errorf("encode object before the change: %w", err)
	}
	is, err := json.Marshal(after)
	if err != nil {
		return nil, fmt.Errorf("encode object after the change: %w", err)
	}
	whole, err := jsonpatch.CreateMergePatch(was, is)
	if err != nil {
		return nil, fmt.Errorf("compare object before and after: %w", err)
	}
	changed := map[string]json.RawMessage{}
	if err := json.Unmarshal(whole, &changed); err != nil {
		return nil, fmt.Errorf("read merge patch: %w", err)
	}
	if _, ok := changed[field]; !ok {
		return nil, nil
	}
	return seal(before, field, changed[field])
}

// seal adds the preconditions, so that the patch cannot hit what came after the object we looked at.
func seal(before client.Object, field string, change json.RawMessage) ([]byte, error) {
	metadata := map[string]any{}
	out := map[string]any{"metadata": metadata}
	if field == "metadata" {
		if err := json.Unmarshal(change, &metadata); err != nil {
			return nil, fmt.Errorf("read metadata patch: %w", err)
		}
		out["metadata"] = metadata
	} else {
		out[field] = change
	}
	metadata["uid"] = before.GetUID()
	metadata["resourceVersion"] = before.GetResourceVersion()
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode merge patch: %w", err)
	}
	return data, nil
}

// Data writes what differs between the data of before and after, which are a Secret or a ConfigMap.
func Data(ctx context.Context, c client.Client, before, after client.Object) (bool, error) {
	data, err := diff(before, after, "data")
	if err != nil || data == nil {
		return false, err
	}
	return true, c.Patch(ctx, after, client.RawPatch(types.MergePatchType, data))
}
