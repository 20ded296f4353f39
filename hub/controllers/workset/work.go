package workset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
)

// AnnotationGivenAt on a work is when its content was replaced last (RFC 3339): conditions that stay True do not move
// when it is, so a soak would be over before it began.
const AnnotationGivenAt = "flotilla.dev/content-given-at"

// template is what a set wants in every cluster.
type template struct {
	set    *set
	labels map[string]string
	// reportsProgress: a condition rule yields Progressing, so success is not told from anything else. OCM-18.4
	reportsProgress bool
	meanings        []any // of its manifests; nil until asked for
}

func newTemplate(obj *set) template {
	labels := maps.Clone(obj.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey] = labelOf(obj)
	delete(labels, workv1alpha1.ManifestWorkReplicaSetPlacementNameLabelKey) // each work has its own
	rule := func(r workv1.ConditionRule) bool { return r.Condition == workv1.WorkProgressing }
	return template{
		set: obj, labels: labels,
		reportsProgress: slices.ContainsFunc(obj.Spec.ManifestWorkTemplate.ManifestConfigs, func(c workv1.ManifestConfigOption) bool {
			return slices.ContainsFunc(c.ConditionRules, rule)
		}),
	}
}

// work is a new one for a cluster. Its name follows from what it stands for, so that a create that comes twice is
// refused, instead of being two works. OCM-18.2
func (t template) work(placement, cluster string, predecessors []string) *workv1.ManifestWork {
	labels := maps.Clone(t.labels)
	labels[workv1alpha1.ManifestWorkReplicaSetPlacementNameLabelKey] = placement
	sum := sha256.Sum256([]byte(strings.Join(append([]string{string(t.set.UID), placement}, predecessors...), "/")))
	return &workv1.ManifestWork{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cluster, GenerateName: t.set.Name, Name: t.set.Name + hex.EncodeToString(sum[:])[:8], Labels: labels,
		},
		Spec: *t.set.Spec.ManifestWorkTemplate.DeepCopy(),
	}
}

// updated is a work with the template in it; what others added to its metadata stays.
func (t template) updated(live *workv1.ManifestWork, now time.Time) *workv1.ManifestWork {
	want, changed := t.relabelled(live)
	if !changed {
		want = live.DeepCopy()
	}
	if want.Annotations == nil {
		want.Annotations = map[string]string{}
	}
	want.Annotations[AnnotationGivenAt] = now.UTC().Format(time.RFC3339)
	want.Spec = *t.set.Spec.ManifestWorkTemplate.DeepCopy()
	return want
}

// relabelled is a work with the labels of the set, if it lacks any.
func (t template) relabelled(live *workv1.ManifestWork) (*workv1.ManifestWork, bool) {
	lacks := false
	for key, value := range t.labels {
		if has, ok := live.Labels[key]; !ok || has != value {
			lacks = true
		}
	}
	if !lacks {
		return nil, false
	}
	want := live.DeepCopy()
	maps.Copy(want.Labels, t.labels)
	return want, true
}

// givenAt is when a work got its content.
func givenAt(w *workv1.ManifestWork) time.Time {
	at := w.CreationTimestamp.Time
	if t, err := time.Parse(time.RFC3339, w.Annotations[AnnotationGivenAt]); err == nil && t.After(at) {
		return t
	}
	return at
}

// carriedBy compares meanings: neither the order of keys nor what the schema fills in makes a difference.
func (t *template) carriedBy(w *workv1.ManifestWork) bool {
	a, b := w.Spec, t.set.Spec.ManifestWorkTemplate
	if len(a.Workload.Manifests) != len(b.Workload.Manifests) {
		return false
	}
	for i, m := range a.Workload.Manifests {
		if !bytes.Equal(m.Raw, b.Workload.Manifests[i].Raw) && !t.means(i, m.Raw) {
			return false
		}
	}
	a.Workload, b.Workload = workv1.ManifestsTemplate{}, workv1.ManifestsTemplate{}
	return equality.Semantic.DeepEqual(a, b) || equality.Semantic.DeepEqual(filled(a), filled(b))
}

func (t *template) means(i int, raw []byte) bool {
	if t.meanings == nil {
		for _, m := range t.set.Spec.ManifestWorkTemplate.Workload.Manifests {
			t.meanings = append(t.meanings, meaning(m.Raw))
		}
	}
	return t.meanings[i] != nil && reflect.DeepEqual(t.meanings[i], meaning(raw))
}

// meaning of what is no JSON is nil.
func meaning(raw []byte) any {
	var m map[string]any
	if err := utiljson.Unmarshal(raw, &m); err != nil {
		return nil
	}
	return m
}

// filled has the defaults of the schema, which one of the two kinds may have been stored without. OCM-9.1
func filled(spec workv1.ManifestWorkSpec) workv1.ManifestWorkSpec {
	spec = *spec.DeepCopy()
	if spec.DeleteOption != nil && spec.DeleteOption.PropagationPolicy == "" {
		spec.DeleteOption.PropagationPolicy = workv1.DeletePropagationPolicyTypeForeground
	}
	for i := range spec.ManifestConfigs {
		c := &spec.ManifestConfigs[i]
		if c.FeedbackScrapeType == "" {
			c.FeedbackScrapeType = workv1.FeedbackPollType
		}
		if c.UpdateStrategy != nil && c.UpdateStrategy.Type == "" {
			c.UpdateStrategy.Type = workv1.UpdateStrategyTypeUpdate
		}
		if s := c.UpdateStrategy; s != nil && s.ServerSideApply != nil && s.ServerSideApply.FieldManager == "" {
			s.ServerSideApply.FieldManager = workv1.DefaultFieldManager
		}
	}
	return spec
}
