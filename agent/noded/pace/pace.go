// Package pace says how the daemon's parts try again.
package pace

import (
	"math/rand/v2"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	first  = 500 * time.Millisecond
	last   = 50 * time.Second
	spread = 5 * time.Second
)

// Retry waits half a second after the first failure of an object, then twice as long each time, at most 50 to 55
// seconds: drawn once, so that the nodes of a cluster do not come back to an API server all at once. // ND-4
func Retry() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](first, last+rand.N(spread))
}
