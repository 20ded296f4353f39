package history

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// confirmation is the annotation on the ManagedCluster.
const confirmation = appsv1alpha1.AnnotationConfirmHistory

// Memory is what an agent knows of one hub's history. The zero value is a hub that it has never heard.
type Memory struct {
	ID      string // last history id, empty for a hub that has none
	Version string // highest resourceVersion
	Held    string // why nothing goes on; empty: it does
	Since   string // when that was noticed, as RFC 3339
	// Stale is a confirmation that was there before there was anything to confirm: it may come from the backup.
	Stale string
}

// Seen is what the hub shows now, all of one moment.
type Seen struct {
	Cluster   string // name of the ManagedCluster
	UID       string // of the ManagedCluster
	ID        string // flotilla.dev/hub-history, empty for a stock hub
	Version   string // of the hub as a whole
	Confirmed string // flotilla.dev/confirm-history
	At        time.Time
	Evidence  string // what else speaks of a jump, such as a work whose generation went back
}

// Judge returns what to remember from now on. A hub without an id is judged by its versions alone, and an id that is
// missing is no other id: somebody may have taken the annotation away.
func Judge(m Memory, s Seen) Memory {
	if m.Held == "" {
		why := jump(m, s)
		if why == "" || fresh(m, s) {
			return Memory{ID: known(s.ID, m.ID), Version: s.Version}
		}
		m.Held, m.Since, m.Stale = why+advice(s), s.At.UTC().Format(time.RFC3339), s.Confirmed
		return m
	}
	if s.Confirmed != m.Stale {
		m.Stale = ""
	}
	if s.Confirmed != "" && m.Stale == "" && (s.Confirmed == s.ID || s.Confirmed == s.UID) {
		return Memory{ID: known(s.ID, m.ID), Version: s.Version}
	}
	return m
}

func known(now, before string) string {
	if now == "" {
		return before
	}
	return now
}

// fresh reports a jump that was confirmed before it was seen. Only a new id can be confirmed so, as no backup holds it.
func fresh(m Memory, s Seen) bool { return s.ID != "" && s.ID != m.ID && s.Confirmed == s.ID }

func jump(m Memory, s Seen) string {
	switch {
	case m.ID != "" && s.ID != "" && s.ID != m.ID:
		return fmt.Sprintf("the hub's history id changed from %s to %s", m.ID, s.ID)
	case older(s.Version, m.Version):
		return fmt.Sprintf("the hub's versions went back from %s to %s", m.Version, s.Version)
	case s.Evidence != "":
		return s.Evidence
	}
	return ""
}

// older is false for versions that cannot be compared.
func older(now, before string) bool {
	order, err := resourceversion.CompareResourceVersion(now, before)
	return err == nil && order < 0
}

func advice(s Seen) string {
	value := known(s.ID, s.UID)
	how := fmt.Sprintf("annotate ManagedCluster %s %s=%s", s.Cluster, confirmation, value)
	if s.Confirmed == value {
		how += " (take the present annotation away first)"
	}
	return ": it was restored from a backup or replaced; on this cluster nothing is removed, and works are applied again only as they change; " +
		"to accept what the hub says now, " + how
}
