package work

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/agent/link/brake"
)

// warn leaves an event on the member, for those who see only it. Cluster-scoped objects have theirs in default.
func (a *Agent) warn(ctx context.Context, record *workv1.AppliedManifestWork, note string) error {
	if err := a.deps.Local.Create(ctx, heldEvent(record, note)); err != nil {
		return fmt.Errorf("create event on AppliedManifestWork: %w", err)
	}
	return nil
}

// heldEvent says that a work's objects were kept.
func heldEvent(record *workv1.AppliedManifestWork, note string) *eventsv1.Event {
	return &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, GenerateName: "removal-held-"},
		EventTime:           metav1.NowMicro(),
		ReportingController: "klusterlet-agent", ReportingInstance: "flotilla-agent",
		Action: "Hold", Reason: brake.ReasonHeld, Type: corev1.EventTypeWarning, Note: note,
		Regarding: corev1.ObjectReference{
			APIVersion: workv1.GroupVersion.String(), Kind: recordKind, Name: record.Name, UID: record.UID,
		},
	}
}
