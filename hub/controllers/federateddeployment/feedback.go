package federateddeployment

import (
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
)

// Names of the values that agents feed back.
const (
	valueContent           = "content"
	valueGeneration        = "generation"
	valueObserved          = "observedGeneration"
	valueReplicas          = "replicas"
	valueReady             = "readyReplicas"
	valueAvailable         = "availableReplicas"
	valueUpdated           = "updatedReplicas"
	valueUpdatedReady      = "updatedReadyReplicas"
	valueUpdatedAvailable  = "updatedAvailableReplicas"
	valueCurrentRevision   = "currentRevision"
	valueUpdateRevision    = "updateRevision"
	valueUnschedulable     = "unschedulableReplicas"
	valueMessage           = "message"
	valueStalled           = "stalled"
	valueProgress          = "progress"
	stalledStatusPath      = `.status.conditions[?(@.type=="Stalled")].status`
	stalledMessagePath     = `.status.conditions[?(@.type=="Stalled")].message`
	reconcilingMessagePath = `.status.conditions[?(@.type=="Reconciling")].message`
)

// feedback is what a cluster said of a workload last.
type feedback struct {
	// heard is false until the cluster has said anything.
	heard                bool
	content              string
	generation, observed int64

	replicas, ready, available, updated, updatedReady, updatedAvailable int32
	// unschedulable are the pods that have found no node for too long.
	unschedulable     int32
	message, progress string
}

// fresh says that the numbers speak of that content, and that the controller on the member has seen it.
func (f feedback) fresh(content string) bool {
	return f.heard && content != "" && f.content == content && f.observed >= f.generation
}

// feedbackRule asks for the values of a kind, and for pods without a node where that is acted upon.
func feedbackRule(k kind, nodeless bool) workv1.FeedbackRule {
	paths := []workv1.JsonPath{
		{Name: valueContent, Path: `.metadata.annotations.apps\.flotilla\.dev/content`},
		{Name: valueGeneration, Path: ".metadata.generation"},
	}
	for _, value := range k.status {
		paths = append(paths, workv1.JsonPath{Name: value, Path: ".status." + value})
	}
	if k.conditions {
		paths = append(paths, workv1.JsonPath{Name: valueStalled, Path: stalledStatusPath},
			workv1.JsonPath{Name: valueMessage, Path: stalledMessagePath},
			workv1.JsonPath{Name: valueProgress, Path: reconcilingMessagePath})
	}
	if nodeless {
		paths = append(paths, workv1.JsonPath{Name: valueUnschedulable, Path: `.metadata.annotations.apps\.flotilla\.dev/unschedulable-replicas`})
	}
	return workv1.FeedbackRule{Type: workv1.JSONPathsType, JsonPaths: paths}
}

// hear reads the feedback of the workload that a work carries. What was not said is 0.
func hear(w *workv1.ManifestWork, c carried) feedback {
	var f feedback
	for _, manifest := range w.Status.ResourceStatus.Manifests {
		m := manifest.ResourceMeta
		if m.Kind != c.kind || m.Group != c.group || m.Name != c.name {
			continue
		}
		numbers, texts := map[string]int64{}, map[string]string{}
		for _, v := range manifest.StatusFeedbacks.Values {
			if v.Value.Integer != nil {
				numbers[v.Name] = *v.Value.Integer
			}
			if v.Value.String != nil {
				texts[v.Name] = *v.Value.String
			}
			f.heard = true
		}
		number := func(name string) int32 { return int32(numbers[name]) }
		f.content, f.progress = texts[valueContent], texts[valueProgress]
		if texts[valueStalled] != string(metav1.ConditionFalse) {
			f.message = texts[valueMessage]
		}
		f.generation, f.observed = numbers[valueGeneration], numbers[valueObserved]
		f.replicas, f.ready, f.available = number(valueReplicas), number(valueReady), number(valueAvailable)
		f.updated, f.updatedReady = number(valueUpdated), number(valueUpdatedReady)
		f.unschedulable = number(valueUnschedulable)
		if n, err := strconv.ParseInt(texts[valueUnschedulable], 10, 32); err == nil { // annotations are text
			f.unschedulable = int32(n)
		}
		f.updatedAvailable = number(valueUpdatedAvailable)
		if _, said := numbers[valueUpdatedAvailable]; !said {
			f.updatedAvailable = min(f.updated, max(0, f.available-max(0, f.replicas-f.updated)))
		}
		if _, said := numbers[valueUpdatedReady]; !said {
			// Kinds that do not say: so many of the ready pods must be updated ones, as there are no more old ones.
			f.updatedReady = min(f.updated, max(0, f.ready-max(0, f.replicas-f.updated)))
		}
	}
	return f
}
