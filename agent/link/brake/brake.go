// Package brake decides whether a work that left the hub, deleted or vanished, may take its objects with it.
//
// Deleting a namespace on the hub deletes every work in it, a mistaken selector deletes many, and a hub that was
// restored lacks some; nobody who slips means a fleet's workloads. So before anything is removed the hub is asked
// whether the work's namespace is going as well, how many works left together is counted, and the hub's history
// must be the one we know. If something is wrong, everything stays until somebody confirms. If the hub cannot
// tell, everything stays.
package brake

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

const (
	// Confirm is the annotation, on the ManifestWork or its AppliedManifestWork, that lets a held work go on.
	// Its value must be the work's name: a confirmation does not carry over to what else is in a manifest.
	Confirm = appsv1alpha1.AnnotationConfirmRemoval
	// ReasonHeld is the reason of the work's condition while it is held.
	ReasonHeld = "HeldByBrake"

	// settle is how far apart two answers that nothing is wrong must be. The server that answers may have
	// heard of the work's deletion before it heard of its namespace's.
	settle  = time.Second
	recheck = time.Minute // while held; a confirmation is seen at once
	again   = 10 * time.Second
)

// Answer is what the hub says of the work's namespace.
type Answer string

// The answers; an error counts as none of them.
const (
	Alive       Answer = "Alive"
	Terminating Answer = "Terminating"
)

// Ask finds out with a dry-run create, for which the agent has the right (OCM-3.6), whether namespace is going.
func Ask(ctx context.Context, hub client.Client, namespace string) (Answer, error) {
	err := hub.Create(ctx, question(namespace), client.DryRunAll)
	switch {
	case err == nil:
		return Alive, nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return Terminating, nil
	default:
		return "", fmt.Errorf("ask the hub whether namespace %s is going: %w", namespace, err)
	}
}

func question(namespace string) *eventsv1.Event {
	return &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: namespace, GenerateName: "removal-check-"},
		EventTime:           metav1.NowMicro(),
		ReportingController: "klusterlet-agent", ReportingInstance: "flotilla-agent",
		Action: "Remove", Reason: "RemovalCheck", Type: corev1.EventTypeNormal,
		Regarding: corev1.ObjectReference{Kind: "Namespace", Namespace: namespace, Name: namespace, APIVersion: "v1"},
		Note:      "dry run: is this namespace going?",
	}
}

// Confirmed reports whether one of the objects carries the confirmation for work.
func Confirmed(work string, objects ...client.Object) bool {
	for _, o := range objects {
		if work != "" && o.GetAnnotations()[Confirm] == work {
			return true
		}
	}
	return false
}

// Facts are what the decision rests on.
type Facts struct {
	Work       string
	Namespace  string
	Objects    int       // that would be removed
	Confirmed  bool      // by annotation, this work or all that left together
	History    string    // why the hub's history cannot be trusted; empty: it can
	Crowd      Crowd     // how many left together, when that is too many
	Before     string    // why this removal was held for its crowd before: that lasts until it is confirmed
	Answer     Answer    // empty: the hub could not tell
	AliveSince time.Time // first of the unbroken answers that the namespace is alive; zero: none yet
}

// Verdict is what to do with the objects of a work that is being deleted.
type Verdict struct {
	Go      bool          // remove them
	Held    string        // why they are held, for the user; empty when not held
	Lasting bool          // held until confirmed, also once the reason has passed
	After   time.Duration // ask again then, unless Go
}

// Decide says go only on a confirmation, or when nothing is suspicious and two answers say the namespace is alive.
func Decide(f Facts, now time.Time) Verdict {
	switch {
	case f.Objects == 0 || f.Confirmed:
		return Verdict{Go: true}
	case f.History != "":
		return Verdict{Held: f.History, After: recheck}
	case f.Before != "":
		return Verdict{Held: f.Before, Lasting: true, After: recheck}
	case f.Crowd.Count > 0:
		return Verdict{Held: crowded(f), Lasting: true, After: recheck}
	case f.Answer == Terminating:
		return Verdict{Held: held(f), After: recheck}
	case f.Answer != Alive:
		return Verdict{After: again}
	case f.AliveSince.IsZero():
		return Verdict{After: settle}
	case now.Sub(f.AliveSince) < settle:
		return Verdict{After: f.AliveSince.Add(settle).Sub(now)}
	default:
		return Verdict{Go: true}
	}
}

func held(f Facts) string {
	return fmt.Sprintf("namespace %s is being deleted on the hub; %d objects left running; to remove them annotate this work %s=%s",
		f.Namespace, f.Objects, Confirm, f.Work)
}
