package brake

import (
	"fmt"
	"strings"
	"time"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// OwnerShare is how many percent of an owner's works may go at once because something else than the owner changed: a
// Placement, a label, a taint. Whoever changed that thought of clusters and perhaps not of all that runs in them.
const OwnerShare = 30

// shown is how many clusters a message names.
const shown = 5

// Shrink is what an owner's works would come down to though the owner itself was not changed.
type Shrink struct {
	// Kind, Namespace and Name of the owner, the kind as kubectl wants it.
	Kind, Namespace, Name string
	// Annotations of the owner, which may confirm the removal for a while.
	Annotations map[string]string
	// Clusters that lose their work, and the number of works that the owner has now.
	Clusters []string
	Total    int
	// Because says what changed, such as "placement web no longer selects them".
	Because string
}

// Limit is how many may go unconfirmed. A few always may, or small fleets would be asked for each cluster.
func (s Shrink) Limit() int { return max(FewOwned, s.Total*OwnerShare/100) }

// Confirmed says that the owner lets any number of works go for now.
func (s Shrink) Confirmed(now time.Time) bool {
	until, err := ConfirmedUntil(s.Annotations)
	return err == nil && now.Before(until)
}

// Held says why all works stay, with the numbers and what to do; empty when they may go. The text changes once an hour.
func (s Shrink) Held(now time.Time) string {
	if len(s.Clusters) <= s.Limit() || s.Confirmed(now) {
		return ""
	}
	return fmt.Sprintf("%d of %d works (%s) would be removed at once because %s; more than %d look like a mistake, so all stay. If they shall go, run: %s",
		len(s.Clusters), s.Total, named(s.Clusters), s.Because, s.Limit(), s.Command(now))
}

// Command confirms the removal.
func (s Shrink) Command(now time.Time) string {
	what := s.Kind
	if s.Namespace != "" {
		what += " -n " + s.Namespace
	}
	return fmt.Sprintf("kubectl annotate %s %s --overwrite %s=%s", what, s.Name,
		appsv1alpha1.AnnotationConfirmMassRemoval, now.UTC().Truncate(time.Hour).Add(2*time.Hour).Format(time.RFC3339))
}

func named(clusters []string) string {
	if more := len(clusters) - shown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(clusters[:shown], " "), more)
	}
	return strings.Join(clusters, " ")
}
