package protection

import (
	"context"
	"fmt"
	"net/http"

	policy "github.com/openkruise/kruise-api/policy/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Validator is the handler for objects of Kubernetes itself that are about to be deleted.
func Validator(api client.Reader) http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*unstructured.Unstructured]) error {
		if r.Old == nil || r.SubResource != "" {
			return nil
		}
		var holds string
		if r.Kind.Kind == "Namespace" && r.Old.GetLabels()[policy.DeletionProtectionKey] == policy.DeletionProtectionTypeCascading {
			var err error
			if holds, err = holdings(ctx, api, r.Old.GetName()); err != nil {
				return err
			}
		}
		if why := RefusalOf(r.Kind.Kind, r.Old, holds); why != "" {
			return apierrors.NewForbidden(schema.GroupResource{Group: r.Resource.Group, Resource: r.Resource.Resource}, r.Old.GetName(), fmt.Errorf("%s", why))
		}
		return nil
	})
}

// RefusalOf says why an object may not be deleted; empty if it may. Holds is what a namespace still has in use. // NP-9 (DP-1)
func RefusalOf(kind string, o *unstructured.Unstructured, holds string) string {
	replicas := int32(0)
	if n, found, err := unstructured.NestedInt64(o.Object, "spec", "replicas"); found && err == nil {
		replicas = int32(min(n, 1<<30))
	}
	why := Refusal(o, &replicas)
	if why != "" || o.GetDeletionTimestamp() != nil || o.GetLabels()[policy.DeletionProtectionKey] != policy.DeletionProtectionTypeCascading {
		return why
	}
	label := policy.DeletionProtectionKey + "=" + policy.DeletionProtectionTypeCascading
	switch {
	case kind == "Namespace" && holds != "":
		return fmt.Sprintf("%s, and it is protected by label %s; remove them or the label first", holds, label)
	case kind == "CustomResourceDefinition": // without the gate that looks at its objects
		return fmt.Sprintf("it is protected by label %s; remove the label first", label)
	}
	return ""
}

// holdings names what in a namespace is in use.
func holdings(ctx context.Context, api client.Reader, namespace string) (string, error) {
	var pods corev1.PodList
	if err := api.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return "", fmt.Errorf("list pods of %s: %w", namespace, err)
	}
	var claims corev1.PersistentVolumeClaimList
	if err := api.List(ctx, &claims, client.InNamespace(namespace)); err != nil {
		return "", fmt.Errorf("list claims of %s: %w", namespace, err)
	}
	return Held(pods.Items, claims.Items), nil
}

// Held says how many active pods and bound claims there are; empty for none. // NP-9 (DP-1)
func Held(pods []corev1.Pod, claims []corev1.PersistentVolumeClaim) string {
	active, bound := 0, 0
	for i := range pods {
		p := &pods[i]
		if p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			active++
		}
	}
	for i := range claims {
		if claims[i].DeletionTimestamp == nil && claims[i].Status.Phase == corev1.ClaimBound {
			bound++
		}
	}
	if active+bound == 0 {
		return ""
	}
	return fmt.Sprintf("it has %d active pods and %d bound claims", active, bound)
}
