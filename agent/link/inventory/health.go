package inventory

import (
	"context"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

// OCM-4.2
const (
	failurePersists = 20 * time.Second
	failureRecheck  = 5 * time.Second
	probeTimeout    = 5 * time.Second

	reasonAvailable   = "ManagedClusterAvailable"
	reasonUnavailable = "ManagedClusterKubeAPIServerUnavailable"
)

// Probe is one look at the local API server.
type Probe struct {
	OK      bool
	Message string
}

// Ask calls /livez, and /healthz where that is refused or unknown. OCM-4.2
func Ask(ctx context.Context, local rest.Interface) Probe {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	code, err := get(ctx, local, "/livez")
	if code == http.StatusForbidden || code == http.StatusNotFound {
		code, err = get(ctx, local, "/healthz")
	}
	if code == http.StatusOK {
		return Probe{OK: true, Message: "Managed cluster is available"}
	}
	message := fmt.Sprintf("The kube-apiserver is not ok, status code: %d", code)
	if err != nil {
		message += ", " + err.Error()
	}
	return Probe{Message: message}
}

func get(ctx context.Context, local rest.Interface, path string) (int, error) {
	var code int
	result := local.Get().AbsPath(path).Do(ctx).StatusCode(&code)
	return code, result.Error()
}

// Health remembers since when probes fail.
type Health struct {
	failing time.Time
}

// Judge turns a probe into the condition to write, nil to keep the one there is. One failure proves nothing:
// only what lasted is told. recheck is when to look again, 0 means as usual.
func (h *Health) Judge(p Probe, now time.Time, generation int64) (condition *metav1.Condition, recheck time.Duration) {
	c := metav1.Condition{
		Type: clusterv1.ManagedClusterConditionAvailable, Message: p.Message, ObservedGeneration: generation,
		Status: metav1.ConditionTrue, Reason: reasonAvailable,
	}
	if p.OK {
		h.failing = time.Time{}
		return &c, 0
	}
	if h.failing.IsZero() {
		h.failing = now
	}
	if now.Sub(h.failing) < failurePersists {
		return nil, failureRecheck
	}
	c.Status, c.Reason = metav1.ConditionFalse, reasonUnavailable
	return &c, failureRecheck
}
