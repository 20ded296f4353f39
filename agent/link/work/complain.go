package work

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

const longestNote = 1024 // of an event

func failing(work *workv1.ManifestWork) bool {
	return meta.IsStatusConditionFalse(work.Status.Conditions, workv1.WorkApplied)
}

// complain leaves an event beside a work that began to fail. It says no more than the status and may get lost.
func (a *Agent) complain(ctx context.Context, work *workv1.ManifestWork, manifests []*manifest) {
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	if err := a.deps.Hub.Create(ctx, failedEvent(work, manifests)); err != nil {
		logf.FromContext(ctx).V(1).Info("Event not written", "cause", err.Error())
	}
}

// failedEvent says how many manifests could not be applied, and why not the first. OCM-20.3
func failedEvent(work *workv1.ManifestWork, manifests []*manifest) *eventsv1.Event {
	failed, first := 0, ""
	for _, m := range manifests {
		if m.failed == nil {
			continue
		}
		if failed++; first == "" {
			first = fmt.Sprintf("manifest %d, %s %s: %v", m.meta.Ordinal, m.meta.Kind, placeOf(m.meta), m.failed)
		}
	}
	note := fmt.Sprintf("%d of %d manifests could not be applied; first %s", failed, len(manifests), first)
	return &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: work.Namespace, GenerateName: work.Name + "-"},
		EventTime:           metav1.NowMicro(),
		ReportingController: "klusterlet-agent", ReportingInstance: "flotilla-agent",
		Action: "Apply", Reason: workv1.AppliedManifestFailed, Type: corev1.EventTypeWarning, Note: note[:min(len(note), longestNote)],
		Regarding: corev1.ObjectReference{
			APIVersion: workv1.GroupVersion.String(), Kind: "ManifestWork", Namespace: work.Namespace, Name: work.Name, UID: work.UID,
		},
	}
}

func placeOf(meta workv1.ManifestResourceMeta) string {
	if meta.Namespace == "" {
		return meta.Name
	}
	return meta.Namespace + "/" + meta.Name
}
