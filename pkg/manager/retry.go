package manager

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/time/rate"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Retry says how soon an object whose round failed is tried again. The zero value leaves it to controller-runtime.
type Retry struct {
	// Base is the first delay of an object, which doubles with each failure up to Max.
	Base, Max time.Duration
	// QPS is how many failed objects of a controller are tried in a second on the whole, and Bucket how many at once.
	QPS    float64
	Bucket int
}

// DefaultRetry is what OpenKruise defaults to. // WL-0.8
func DefaultRetry() Retry {
	return Retry{Base: 5 * time.Millisecond, Max: 1000 * time.Second, QPS: 10, Bucket: 100}
}

// Bind adds the flags, with the present values as defaults. // WL-0.8, NP-11.1
func (r *Retry) Bind(flags *pflag.FlagSet) {
	flags.DurationVar(&r.Base, "rate-limiter-base-delay", r.Base, "how soon an object that failed is tried again; doubles with each failure")
	flags.DurationVar(&r.Max, "rate-limiter-max-delay", r.Max, "how late at the most")
	flags.Float64Var(&r.QPS, "rate-limiter-qps", r.QPS, "objects that failed which a controller tries again in a second")
	flags.IntVar(&r.Bucket, "rate-limiter-bucket-size", r.Bucket, "objects that failed which a controller tries again at once")
}

// Validate lists everything that is wrong.
func (r *Retry) Validate() (problems []error) {
	if r.Base <= 0 || r.Max < r.Base {
		problems = append(problems, fmt.Errorf("--rate-limiter-base-delay=%s must be above 0 and not above --rate-limiter-max-delay=%s", r.Base, r.Max))
	}
	if r.QPS <= 0 || r.Bucket < 1 {
		problems = append(problems, fmt.Errorf("--rate-limiter-qps=%v and --rate-limiter-bucket-size=%d must be above 0", r.QPS, r.Bucket))
	}
	return problems
}

// Controller are the options of a controller that retries like this. Each has a bucket of its own.
func (r Retry) Controller() controller.Options {
	if r == (Retry{}) {
		return controller.Options{}
	}
	return controller.Options{RateLimiter: workqueue.NewTypedMaxOfRateLimiter(
		workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](r.Base, r.Max),
		&workqueue.TypedBucketRateLimiter[reconcile.Request]{Limiter: rate.NewLimiter(rate.Limit(r.QPS), r.Bucket)},
	)}
}
