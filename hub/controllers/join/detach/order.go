package detach

import (
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// Order is what the annotation flotilla.dev/detach on a ManagedCluster says: "<who> <RFC 3339 time> <reason>". An
// admission policy sees to it that nobody signs for somebody else.
type Order struct {
	// Who is the user that gave it, as the hub's API server calls him.
	Who string
	// At is when.
	At time.Time
	// Why is for people; it may be empty.
	Why string
}

// String is the annotation's value.
func (o Order) String() string {
	return strings.TrimSpace(o.Who + " " + o.At.UTC().Format(time.RFC3339) + " " + strings.Join(strings.Fields(o.Why), " "))
}

// Ordered says whether somebody ordered the cluster detached, however badly put: it is no order to remove anything.
func Ordered(cluster client.Object) bool {
	_, found := cluster.GetAnnotations()[appsv1alpha1.AnnotationDetach]
	return found
}

// Of reads the order, nil when there is none.
func Of(cluster client.Object) (*Order, error) {
	value, found := cluster.GetAnnotations()[appsv1alpha1.AnnotationDetach]
	if !found {
		return nil, nil
	}
	return Parse(value)
}

// Parse reads a value of the annotation. Users may have spaces in their names, times have none.
func Parse(value string) (*Order, error) {
	words := strings.Fields(value)
	for i, word := range words {
		at, err := time.Parse(time.RFC3339, word)
		if err == nil && i > 0 {
			return &Order{Who: strings.Join(words[:i], " "), At: at, Why: strings.Join(words[i+1:], " ")}, nil
		}
	}
	return nil, fmt.Errorf("annotation %s is %q, want \"<who> <RFC 3339 time> <reason>\"; kubectl flotilla detach writes it",
		appsv1alpha1.AnnotationDetach, value)
}
