package statefulset

import (
	"encoding/json"
	"fmt"
	"net/http"

	alpha "github.com/openkruise/kruise-api/apps/v1alpha1"
	beta "github.com/openkruise/kruise-api/apps/v1beta1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Definition has two versions.
const Definition = "statefulsets.apps.kruise.io"

// onlyBeta are the fields that v1alpha1 does not have. All others are the same in both versions, so that converting is
// leaving these out, and a field that our types do not know is not lost. // WL-2.2
var onlyBeta = [][]string{
	{"spec", "reserveOrdinals"}, {"spec", "lifecycle"}, {"spec", "scaleStrategy"}, {"spec", "ordinals"},
	{"spec", "persistentVolumeClaimRetentionPolicy"}, {"spec", "volumeClaimUpdateStrategy"},
	{"status", "updatedReadyReplicas"}, {"status", "updatedAvailableReplicas"}, {"status", "volumeClaims"},
}

// Converter is the handler that converts.
func Converter() http.Handler { return webhook.Converter(Convert) }

// Convert turns a StatefulSet into the other version. What only v1beta1 has is gone after the way through v1alpha1, as users
// of v1alpha1 know it: keeping it in an annotation would show, and would bring back what they meant to replace. // WL-2.2
func Convert(raw []byte, apiVersion string) (any, error) {
	var set map[string]any
	if err := utiljson.Unmarshal(raw, &set); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	from := fmt.Sprint(set["apiVersion"])
	if set["kind"] != "StatefulSet" || !served(from) || !served(apiVersion) {
		return nil, fmt.Errorf("convert %v of %s to %s: there is no way", set["kind"], from, apiVersion)
	}
	if from != apiVersion {
		for _, path := range onlyBeta {
			unstructured.RemoveNestedField(set, path...)
		}
	}
	set["apiVersion"] = apiVersion
	return set, nil
}

func served(apiVersion string) bool {
	return apiVersion == alpha.SchemeGroupVersion.String() || apiVersion == beta.SchemeGroupVersion.String()
}

// toBeta is nil for nil.
func toBeta(set *alpha.StatefulSet) (*beta.StatefulSet, error) {
	if set == nil {
		return nil, nil
	}
	out := &beta.StatefulSet{}
	return out, through(set, out)
}

// toAlpha leaves out what v1alpha1 does not know.
func toAlpha(set *beta.StatefulSet) (*alpha.StatefulSet, error) {
	out := &alpha.StatefulSet{}
	return out, through(set, out)
}

// through converts by the names of fields.
func through(from, to any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return fmt.Errorf("encode StatefulSet: %w", err)
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("decode StatefulSet: %w", err)
	}
	return nil
}
