package manager

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func object(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

// WL-0.8
func TestObjectsThatFailAreTriedLaterEachTime(t *testing.T) {
	limiter := DefaultRetry().Controller().RateLimiter
	for i, want := range []time.Duration{5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
		if got := limiter.When(object("web")); got != want {
			t.Errorf("failure %d: %s", i+1, got)
		}
	}
	for range 20 {
		limiter.When(object("web"))
	}
	if got := limiter.When(object("web")); got != 1000*time.Second {
		t.Errorf("after many failures: %s", got)
	}
	limiter.Forget(object("web"))
	if got := limiter.When(object("web")); got != 5*time.Millisecond {
		t.Errorf("after a success: %s", got)
	}
}

// WL-0.8
func TestObjectsThatFailTogetherShareABucket(t *testing.T) {
	limiter := Retry{Base: time.Nanosecond, Max: time.Nanosecond, QPS: 0.001, Bucket: 2}.Controller().RateLimiter
	for _, name := range []string{"a", "b"} {
		if got := limiter.When(object(name)); got > time.Second {
			t.Errorf("%s waits %s", name, got)
		}
	}
	if got := limiter.When(object("c")); got < time.Minute {
		t.Errorf("the third waits %s only", got)
	}
}

func TestRetryByFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		args     []string
		want     Retry
		problems int
	}{
		"defaults": {want: DefaultRetry()},
		"all of them": {
			args: []string{"--rate-limiter-base-delay=1s", "--rate-limiter-max-delay=1m", "--rate-limiter-qps=0.5", "--rate-limiter-bucket-size=3"},
			want: Retry{Base: time.Second, Max: time.Minute, QPS: 0.5, Bucket: 3},
		},
		"everything wrong is reported at once": {
			args: []string{"--rate-limiter-base-delay=1s", "--rate-limiter-max-delay=1ms", "--rate-limiter-qps=0", "--rate-limiter-bucket-size=0"},
			want: Retry{Base: time.Second, Max: time.Millisecond}, problems: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, flags := DefaultRetry(), pflag.NewFlagSet("test", pflag.ContinueOnError)
			r.Bind(flags)
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			if problems := r.Validate(); r != tc.want || len(problems) != tc.problems {
				t.Errorf("%+v, %v", r, problems)
			}
		})
	}
	if got := (Retry{}).Controller(); got.RateLimiter != nil {
		t.Error("a controller that asks for nothing gets a limiter of ours")
	}
}
