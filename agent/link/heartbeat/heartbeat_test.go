package heartbeat

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestOf(t *testing.T) { // OCM-4.1
	accepted := []metav1.Condition{{Type: "HubAcceptedManagedCluster", Status: metav1.ConditionTrue}}
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		want    Beat
	}{
		"unreadable":       {want: Beat{}},
		"not accepted":     {cluster: &clusterv1.ManagedCluster{}, want: Beat{Period: time.Minute}},
		"0 counts as 60":   {cluster: &clusterv1.ManagedCluster{Status: clusterv1.ManagedClusterStatus{Conditions: accepted}}, want: Beat{Accepted: true, Period: time.Minute}},
		"its own duration": {cluster: &clusterv1.ManagedCluster{Spec: clusterv1.ManagedClusterSpec{LeaseDurationSeconds: 5}, Status: clusterv1.ManagedClusterStatus{Conditions: accepted}}, want: Beat{Accepted: true, Period: 5 * time.Second}},
	} {
		if got := Of(tc.cluster); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// world is a hub with a lease, and the times at which it was renewed.
type world struct {
	beats    chan Beat
	mu       sync.Mutex
	renewals []time.Time
	creates  int
	tries    []bool // what was told of each try
	fail     atomic.Bool
	gets     int
	hub      client.Client // the same, behind the counters
	back     chan struct{} // closed when the hub answers again; nil: it does
}

func (w *world) note() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renewals = append(w.renewals, time.Now())
}

func (w *world) tried(_ time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries = append(w.tries, err == nil)
}

func (w *world) told() []bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tries)
}

func (w *world) renewed() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.renewals)
}

func start(t *testing.T) *world {
	t.Helper()
	s := runtime.NewScheme()
	if err := coordinationv1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "managed-cluster-lease"}}
	w := &world{beats: make(chan Beat)}
	store := fake.NewClientBuilder().WithScheme(s).WithObjects(lease).Build()
	w.hub = store
	hub := interceptor.NewClient(store, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			w.gets++
			return c.Get(ctx, key, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			w.note()
			if w.fail.Load() {
				return errors.New("hub is away")
			}
			return c.Update(ctx, o, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			w.creates++
			return c.Create(ctx, o, opts...)
		},
	})
	go Run(t.Context(), hub, "east", w.beats, func(ctx context.Context) bool {
		if w.back == nil {
			return false
		}
		select {
		case <-w.back:
			return true
		case <-ctx.Done():
			return false
		}
	}, w.tried)
	return w
}

// pass lets time pass, and everybody come to rest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestRenewsOnlyWhileAccepted(t *testing.T) { // OCM-4.1
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.beats <- Beat{Period: time.Minute}
		pass(10 * time.Minute)
		if len(w.renewed()) != 0 {
			t.Fatalf("renewed %d times without being accepted", len(w.renewed()))
		}
		began := time.Now()
		w.beats <- Beat{Accepted: true, Period: time.Minute}
		pass(10 * time.Minute)
		if n := len(w.renewed()); n < 8 || n > 11 || !w.renewed()[0].Equal(began) {
			t.Errorf("%d renewals in 10 minutes, the first after %s", n, w.renewed()[0].Sub(began))
		}
		for i := 1; i < len(w.renewed()); i++ {
			if gap := w.renewed()[i].Sub(w.renewed()[i-1]); gap < time.Minute || gap > 75*time.Second {
				t.Errorf("gap of %s", gap)
			}
		}
		w.beats <- Beat{}
		n := len(w.renewed())
		pass(10 * time.Minute)
		if len(w.renewed()) != n || w.creates != 0 {
			t.Errorf("%d renewals and %d creates after it was denied", len(w.renewed())-n, w.creates)
		}
	})
}

func TestAChangedPeriodCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.beats <- Beat{Accepted: true, Period: time.Hour}
		pass(time.Minute)
		w.beats <- Beat{Accepted: true, Period: time.Hour} // the same again changes nothing
		pass(time.Minute)
		if len(w.renewed()) != 1 {
			t.Fatalf("%d renewals", len(w.renewed()))
		}
		w.beats <- Beat{Accepted: true, Period: 10 * time.Second}
		pass(time.Minute)
		if n := len(w.renewed()); n < 5 || n > 8 {
			t.Errorf("%d renewals after the period became 10s", n)
		}
	})
}

func TestAnOutageIsTriedMoreAndMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.fail.Store(true)
		w.beats <- Beat{Accepted: true, Period: time.Minute}
		pass(time.Minute)
		if n := len(w.renewed()); n < 5 || n > 7 {
			t.Errorf("%d tries in the first minute", n)
		}
		w.fail.Store(false)
		pass(2 * time.Minute)
		n := len(w.renewed())
		pass(10 * time.Minute)
		if got := len(w.renewed()) - n; got < 7 || got > 11 {
			t.Errorf("%d renewals in 10 minutes after the outage", got)
		}
		if told := w.told(); len(told) != len(w.renewed()) || told[0] || !told[len(told)-1] {
			t.Errorf("told of tries %v", told)
		}
	})
}

func TestTheLeaseIsRenewedAsSoonAsTheHubIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.back = make(chan struct{})
		w.fail.Store(true)
		w.beats <- Beat{Accepted: true, Period: time.Minute}
		pass(time.Hour)
		if len(w.renewed()) != 1 {
			t.Errorf("%d tries while the hub was known to be away", len(w.renewed()))
		}
		w.fail.Store(false)
		close(w.back)
		pass(time.Second)
		if len(w.renewed()) != 2 {
			t.Errorf("not renewed within a second of the hub's return")
		}
	})
}

// DESIGN: an idle fleet costs a request per lease.
func TestARenewalIsOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.beats <- Beat{Accepted: true, Period: time.Minute}
		pass(10 * time.Minute)
		if w.gets != 1 {
			t.Errorf("read the lease %d times", w.gets)
		}
		touch := func(change func(lease *coordinationv1.Lease) error) {
			t.Helper()
			var lease coordinationv1.Lease
			if err := w.hub.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "managed-cluster-lease"}, &lease); err != nil {
				t.Fatal(err)
			}
			if err := change(&lease); err != nil {
				t.Fatal(err)
			}
		}
		touch(func(lease *coordinationv1.Lease) error {
			lease.Labels = map[string]string{"by": "somebody"}
			return w.hub.Update(t.Context(), lease)
		})
		pass(2 * time.Minute)
		touch(func(lease *coordinationv1.Lease) error {
			if lease.Labels["by"] != "somebody" {
				t.Error("undid what somebody else wrote")
			}
			if err := w.hub.Delete(t.Context(), lease); err != nil {
				return err
			}
			return w.hub.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: lease.Name}})
		})
		pass(2 * time.Minute)
		touch(func(lease *coordinationv1.Lease) error {
			if lease.Spec.RenewTime == nil || lease.Labels != nil {
				t.Errorf("the lease that was made anew is %+v", lease)
			}
			return nil
		})
		if w.gets != 3 || slices.Contains(w.told(), false) {
			t.Errorf("read the lease %d times; told %v", w.gets, w.told())
		}
	})
}
