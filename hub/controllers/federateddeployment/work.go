package federateddeployment

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/stepdown"
)

// maxWorkName leaves room for what agents add to make a name on the member (OCM-9.4).
const maxWorkName = 150

// workName is the same for ever, so making a work twice makes one.
func workName(namespace, name, subset string) string {
	full := namespace + "." + name + "." + subset
	if len(full) <= maxWorkName {
		return full
	}
	h := fnv.New64a()
	h.Write([]byte(full))
	suffix := "-" + strconv.FormatUint(h.Sum64(), 36)
	return full[:maxWorkName-len(suffix)] + suffix
}

// manifestWork is the work that carries a share: its namespace, which is made but never changed or deleted, what travels
// with the workload, and the workload.
func manifestWork(obj *v1alpha1.FederatedDeployment, s share, materials map[string]material) (*workv1.ManifestWork, string, error) {
	object, content, err := workload(obj, s)
	if err != nil {
		return nil, "", err
	}
	bags, err := luggage(obj, object, materials)
	if err != nil {
		return nil, "", err
	}
	namespace := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": obj.Namespace}}
	manifests, err := encode(slices.Concat([]map[string]any{namespace}, bags, []map[string]any{object})...)
	if err != nil {
		return nil, "", err
	}
	return &workv1.ManifestWork{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.cluster, Name: workName(obj.Namespace, obj.Name, s.name()),
			Labels: originOf(obj).labels(obj, s.name()), Annotations: annotations(obj, s),
		},
		Spec: workv1.ManifestWorkSpec{
			Workload: workv1.ManifestsTemplate{Manifests: manifests},
			DeleteOption: &workv1.DeleteOption{
				PropagationPolicy: workv1.DeletePropagationPolicyTypeSelectivelyOrphan,
				SelectivelyOrphan: &workv1.SelectivelyOrphan{OrphaningRules: []workv1.OrphaningRule{{Resource: "namespaces", Name: obj.Namespace}}},
			},
			ManifestConfigs: manifestConfigs(obj, s, bags),
		},
	}, content, nil
}

func annotations(obj *v1alpha1.FederatedDeployment, s share) map[string]string {
	all := map[string]string{v1alpha1.AnnotationRevision: s.revision, v1alpha1.AnnotationClusterChoice: choiceOf(s.subset)}
	if after := stepDown(obj); after != "" {
		all[v1alpha1.AnnotationStepDownAfter] = after
	}
	return all
}

// manifestConfigs say how each manifest is applied. What the schema would fill in is said here, or every work would differ
// from what was asked for.
func manifestConfigs(obj *v1alpha1.FederatedDeployment, s share, bags []map[string]any) []workv1.ManifestConfigOption {
	k, _, _ := kindOf(s.template)
	all := []workv1.ManifestConfigOption{{
		ResourceIdentifier: workv1.ResourceIdentifier{Resource: "namespaces", Name: obj.Namespace},
		UpdateStrategy:     &workv1.UpdateStrategy{Type: workv1.UpdateStrategyTypeCreateOnly},
		FeedbackScrapeType: workv1.FeedbackPollType,
	}}
	for _, bag := range bags {
		all = append(all, carry(bag))
	}
	return append(all, workv1.ManifestConfigOption{
		ResourceIdentifier: workv1.ResourceIdentifier{
			Group: k.group, Resource: k.resource, Namespace: obj.Namespace, Name: workloadName(obj.Name, s.name()),
		},
		UpdateStrategy: &workv1.UpdateStrategy{
			Type:            workv1.UpdateStrategyTypeServerSideApply,
			ServerSideApply: &workv1.ServerSideApplyConfig{Force: true, FieldManager: workv1.DefaultFieldManager},
		},
		FeedbackRules:      []workv1.FeedbackRule{feedbackRule(k, adaptive(obj))},
		FeedbackScrapeType: workv1.FeedbackWatchType,
	})
}

func encode(objects ...map[string]any) ([]workv1.Manifest, error) {
	manifests := make([]workv1.Manifest, len(objects))
	for i, o := range objects {
		data, err := json.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("encode manifest %d: %w", i, err)
		}
		manifests[i] = workv1.Manifest{RawExtension: runtime.RawExtension{Raw: data}}
	}
	return manifests, nil
}

// carried is what a work brings to its cluster.
type carried struct {
	group, kind, name string
	replicas          int32
	partition         int32
	content           string
	// stepDown is what the workload says about it, and unfenced why it cannot.
	stepDown, unfenced string
}

// read finds the workload in a work: the one manifest that is not of the core group.
func read(w *workv1.ManifestWork) carried {
	for _, m := range w.Spec.Workload.Manifests {
		var object unstructured.Unstructured
		if err := utiljson.Unmarshal(m.Raw, &object.Object); err != nil || object.GetAPIVersion() == "v1" {
			continue
		}
		replicas, _, _ := unstructured.NestedInt64(object.Object, "spec", "replicas")
		return carried{
			group: schema.FromAPIVersionAndKind(object.GetAPIVersion(), "").Group, kind: object.GetKind(), name: object.GetName(),
			replicas: int32(replicas), partition: partitionIn(object.Object), content: object.GetAnnotations()[v1alpha1.AnnotationContent],
			stepDown: object.GetAnnotations()[v1alpha1.AnnotationStepDownAfter], unfenced: stepdown.Refusal(&object),
		}
	}
	return carried{}
}

// partitionIn is how many replicas keep the revision that they have, wherever the kind says that.
func partitionIn(object map[string]any) int32 {
	for _, path := range [][]string{{"spec", "updateStrategy", "partition"}, {"spec", "updateStrategy", "rollingUpdate", "partition"}} {
		if n, found, err := unstructured.NestedInt64(object, path...); found && err == nil {
			return int32(n)
		}
	}
	return 0
}

// agrees says that a work already asks for what is wanted, whatever others have added to its metadata.
func agrees(live, want *workv1.ManifestWork) bool {
	for key, value := range want.Labels {
		if live.Labels[key] != value {
			return false
		}
	}
	for key, value := range want.Annotations {
		if live.Annotations[key] != value {
			return false
		}
	}
	if live.Annotations[v1alpha1.AnnotationStepDownAfter] != want.Annotations[v1alpha1.AnnotationStepDownAfter] {
		return false
	}
	a, b := live.Spec, want.Spec
	if !sameManifests(a.Workload.Manifests, b.Workload.Manifests) {
		return false
	}
	a.Workload, b.Workload = workv1.ManifestsTemplate{}, workv1.ManifestsTemplate{}
	return equality.Semantic.DeepEqual(a, b)
}

// sameManifests compares meanings: the API server keeps neither the order of keys nor, in older releases, metadata
// without a null time.
func sameManifests(a, b []workv1.Manifest) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if bytes.Equal(a[i].Raw, b[i].Raw) {
			continue
		}
		x, err := meaning(a[i])
		if err != nil {
			return false
		}
		y, err := meaning(b[i])
		if err != nil || !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

func meaning(m workv1.Manifest) (map[string]any, error) {
	var object map[string]any
	if err := utiljson.Unmarshal(m.Raw, &object); err != nil {
		return nil, err
	}
	if metadata, ok := object["metadata"].(map[string]any); ok && metadata["creationTimestamp"] == nil {
		delete(metadata, "creationTimestamp")
	}
	return object, nil
}
