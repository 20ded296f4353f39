package protection

import (
	"context"
	"fmt"
	"net/http"

	policy "github.com/openkruise/kruise-api/policy/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Validator is the handler for objects of Kubernetes itself that are about to be deleted.
func (g *Guard) Validator() http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*unstructured.Unstructured]) error {
		if r.Old == nil || r.SubResource != "" {
			return nil
		}
		why, err := g.refusalOf(ctx, r.Kind.Kind, r.Old)
		if err != nil || why == "" {
			return err
		}
		if r.Kind.Kind != "Service" && r.Kind.Kind != "Ingress" { // WL-7.2
			g.note(r.Request, r.Old)
		}
		return forbidden(why)
	})
}

// refusalOf says why an object may not be deleted; empty if it may. // NP-9 (DP-1)
func (g *Guard) refusalOf(ctx context.Context, kind string, o *unstructured.Unstructured) (why string, err error) {
	replicas := int32(0)
	if n, found, err := unstructured.NestedInt64(o.Object, "spec", "replicas"); found && err == nil {
		replicas = int32(min(n, 1<<30))
	}
	why = Refusal(o, &replicas)
	if why != "" || o.GetDeletionTimestamp() != nil || o.GetLabels()[policy.DeletionProtectionKey] != policy.DeletionProtectionTypeCascading {
		return why, nil
	}
	var holds string
	switch kind {
	case "Namespace":
		holds, err = g.holdings(ctx, o.GetName())
	case "CustomResourceDefinition":
		if !g.Definitions {
			return fmt.Sprintf("feature-gate DeletionProtectionForCRDCascadingGate is not enabled, and nothing else can tell whether there are objects: "+
				"remove label %s=%s first", policy.DeletionProtectionKey, policy.DeletionProtectionTypeCascading), nil
		}
		holds, err = g.objects(ctx, o)
	}
	if err != nil || holds == "" {
		return "", err
	}
	return says(policy.DeletionProtectionTypeCascading, holds+"; remove them or the label first"), nil
}

// objects says how many of a definition there are, in any namespace. // NP-9 (DP-1)
func (g *Guard) objects(ctx context.Context, definition *unstructured.Unstructured) (string, error) {
	gvk := schema.GroupVersionKind{Version: storageVersion(definition)}
	gvk.Group, _, _ = unstructured.NestedString(definition.Object, "spec", "group")
	gvk.Kind, _, _ = unstructured.NestedString(definition.Object, "spec", "names", "kind")
	var all metav1.PartialObjectMetadataList
	all.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err := g.API.List(ctx, &all); err != nil {
		return "", fmt.Errorf("list objects of %s, which its label wants to be none: %w", definition.GetName(), err)
	}
	staying := 0
	for i := range all.Items {
		if all.Items[i].DeletionTimestamp == nil {
			staying++
		}
	}
	if staying == 0 {
		return "", nil
	}
	return fmt.Sprintf("there are %d objects of it", staying), nil
}

// storageVersion is the version that objects are stored in; old definitions name but one.
func storageVersion(definition *unstructured.Unstructured) string {
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, v := range versions {
		if fields, ok := v.(map[string]any); ok && fields["storage"] == true {
			name, _ := fields["name"].(string)
			return name
		}
	}
	name, _, _ := unstructured.NestedString(definition.Object, "spec", "version")
	return name
}

// holdings names what in a namespace is in use.
func (g *Guard) holdings(ctx context.Context, namespace string) (string, error) {
	var pods corev1.PodList
	if err := g.API.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return "", fmt.Errorf("list pods of %s: %w", namespace, err)
	}
	var claims corev1.PersistentVolumeClaimList
	if err := g.API.List(ctx, &claims, client.InNamespace(namespace)); err != nil {
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
