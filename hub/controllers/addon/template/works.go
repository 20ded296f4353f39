package template

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
)

const (
	// renderedAs is the hash of a work's content as it was rendered, beside which defaults of the schema make no difference.
	renderedAs = "flotilla.dev/rendered-as"
	// limit of the manifests of one work; admission refuses more than 500 KiB. OCM-9.3
	limit = 400 * 1024
)

// worksOf are the works that deploy an add-on, each with as many manifests as fit, and the one that is run before it is
// deleted, or nil. OCM-19.5
func worksOf(obj *installation, in input, all []manifest) (deploy []*workv1.ManifestWork, hook *workv1.ManifestWork, err error) {
	var now, last []manifest
	for _, m := range all {
		if m.hook {
			last = append(last, m)
		} else {
			now = append(now, m)
		}
	}
	for i, part := range parts(now) {
		w, err := work(obj, in, fmt.Sprint(catalog.DeployPrefix(obj.Name), i), part)
		if err != nil {
			return nil, nil, err
		}
		deploy = append(deploy, w)
	}
	if len(last) > 0 {
		hook, err = work(obj, in, catalog.HookName(obj.Name), last)
	}
	return deploy, hook, err
}

func parts(all []manifest) (split [][]manifest) {
	size := 0
	for _, m := range all {
		if len(split) == 0 || size+len(m.raw) > limit {
			split, size = append(split, nil), 0
		}
		size += len(m.raw)
		split[len(split)-1] = append(split[len(split)-1], m)
	}
	return split
}

// work goes with its installation.
func work(obj *installation, in input, name string, manifests []manifest) (*workv1.ManifestWork, error) {
	w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: obj.Namespace, Name: name,
		Labels:          map[string]string{catalog.NameLabel: obj.Name},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(obj, catalog.GroupVersion.WithKind("ManagedClusterAddOn"))}},
		Spec: *in.template.Spec.AgentSpec.DeepCopy()}
	w.Spec.Workload.Manifests = nil
	var orphans []workv1.OrphaningRule
	for _, m := range manifests {
		w.Spec.Workload.Manifests = append(w.Spec.Workload.Manifests, workv1.Manifest{RawExtension: runtime.RawExtension{Raw: m.raw}})
		if feedsBack(m) && !slices.ContainsFunc(w.Spec.ManifestConfigs, func(c workv1.ManifestConfigOption) bool { return c.ResourceIdentifier == m.id }) {
			w.Spec.ManifestConfigs = append(w.Spec.ManifestConfigs, workv1.ManifestConfigOption{ResourceIdentifier: m.id, FeedbackRules: []workv1.FeedbackRule{{Type: workv1.WellKnownStatusType}}})
		}
		if m.orphan {
			orphans = append(orphans, workv1.OrphaningRule{Group: m.id.Group, Resource: m.id.Resource, Namespace: m.id.Namespace, Name: m.id.Name})
		}
	}
	if len(orphans) > 0 && w.Spec.DeleteOption == nil {
		w.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: workv1.DeletePropagationPolicyTypeSelectivelyOrphan, SelectivelyOrphan: &workv1.SelectivelyOrphan{OrphaningRules: orphans}}
	}
	return w, annotate(w, obj)
}

// feedsBack: what health and hooks are judged by. OCM-12.5
func feedsBack(m manifest) bool {
	switch m.kind {
	case "Deployment", "DaemonSet":
		return m.id.Group == "apps"
	case "Job":
		return m.id.Group == "batch"
	case "Pod":
		return m.id.Group == ""
	}
	return false
}

// annotate says which configurations the work was rendered with, and what it was rendered as. OCM-19.5
func annotate(w *workv1.ManifestWork, obj *installation) error {
	hashes := map[string]string{}
	for _, r := range obj.Status.ConfigReferences {
		if r.DesiredConfig != nil {
			hashes[catalog.ConfigKey(r)] = r.DesiredConfig.SpecHash
		}
	}
	encoded, err := json.Marshal(hashes)
	if err != nil {
		return fmt.Errorf("encode configuration hashes: %w", err)
	}
	spec, err := json.Marshal(w.Spec)
	if err != nil {
		return fmt.Errorf("encode work %s: %w", w.Name, err)
	}
	sum := sha256.Sum256(spec)
	w.Annotations = map[string]string{workv1.ManifestConfigSpecHashAnnotationKey: string(encoded), renderedAs: hex.EncodeToString(sum[:])}
	return nil
}

// same says whether a work is as it was rendered. Manifests are compared by meaning: the API server orders their keys.
func same(live, want *workv1.ManifestWork) bool {
	for key, value := range want.Annotations {
		if live.Annotations[key] != value {
			return false
		}
	}
	return live.Labels[catalog.NameLabel] == want.Labels[catalog.NameLabel] &&
		slices.EqualFunc(live.Spec.Workload.Manifests, want.Spec.Workload.Manifests, func(a, b workv1.Manifest) bool {
			return reflect.DeepEqual(meaning(a.Raw), meaning(b.Raw))
		})
}

func meaning(raw []byte) any {
	var o map[string]any
	if err := utiljson.Unmarshal(raw, &o); err != nil {
		return string(raw)
	}
	return o
}

// finished says whether everything in a hook has run to its end, and otherwise what has not. OCM-19.5
func finished(hook *workv1.ManifestWork) (bool, string) {
	if hook == nil {
		return false, "it has not been made yet"
	}
	if len(hook.Status.ResourceStatus.Manifests) < len(hook.Spec.Workload.Manifests) {
		return false, "its cluster has not answered yet"
	}
	for _, m := range hook.Status.ResourceStatus.Manifests {
		name, want := "", ""
		switch m.ResourceMeta.Kind {
		case "Job":
			name, want = "JobComplete", "True"
		case "Pod":
			name, want = "PodPhase", "Succeeded"
		default:
			continue // what a job needs to run
		}
		if !slices.ContainsFunc(m.StatusFeedbacks.Values, func(v workv1.FeedbackValue) bool {
			return v.Name == name && v.Value.String != nil && *v.Value.String == want
		}) {
			return false, fmt.Sprintf("%s %s/%s has not completed", m.ResourceMeta.Kind, m.ResourceMeta.Namespace, m.ResourceMeta.Name)
		}
	}
	return true, ""
}
