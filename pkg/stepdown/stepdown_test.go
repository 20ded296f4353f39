package stepdown

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// WL-1.4: the volumes of a CloneSet go with its instances.
func TestRefusal(t *testing.T) {
	for name, tc := range map[string]struct {
		kind   string
		claims []any
		want   string
	}{
		"a CloneSet":                   {kind: "CloneSet"},
		"one that keeps no claims":     {kind: "CloneSet", claims: []any{}},
		"one with volumes":             {kind: "CloneSet", claims: []any{map[string]any{}}, want: "CloneSet shop/web has volumeClaimTemplates, and without replicas its volumes would be deleted"},
		"a StatefulSet, told to keep":  {kind: "StatefulSet", claims: []any{map[string]any{}}},
		"a Deployment, which has none": {kind: "Deployment"},
	} {
		t.Run(name, func(t *testing.T) {
			u := &unstructured.Unstructured{Object: map[string]any{"kind": tc.kind, "metadata": map[string]any{"namespace": "shop", "name": "web"}, "spec": map[string]any{}}}
			if tc.claims != nil {
				u.Object["spec"] = map[string]any{"volumeClaimTemplates": tc.claims}
			}
			if got := Refusal(u); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
