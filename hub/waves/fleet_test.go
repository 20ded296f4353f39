package waves

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/hub/allocate"
	"github.com/flotilla-project/flotilla/hub/failover"
)

// fleet is a world in which the allocator and failover say how many replicas every subset has.
type fleet struct {
	*world
	total  int32
	policy failover.Policy
	over   []time.Time
	// short is set from when a cluster has stepped down until enough replicas are available again.
	short bool
}

func newFleet(t *testing.T, seed int64) *fleet {
	w := newWorld(t, seed, 3+int(seed%4))
	f := &fleet{world: w, total: 6 + w.rand.Int32N(20), over: make([]time.Time, len(w.members))}
	f.policy = failover.Policy{Mode: failover.KeepRunning, After: 5 * time.Minute, ReturnAfter: time.Minute}
	if w.chance(50) {
		f.policy.Mode = failover.StepDown
	}
	w.trouble, w.strategy = 0, w.anyStrategy()
	w.strategy.Deadline, w.strategy.MaxFailures = 20*time.Minute, intstr.FromInt(w.rand.IntN(2))
	for i := range w.strategy.Waves {
		w.strategy.Waves[i].Pause = false
	}
	for _, m := range w.members {
		m.budget, m.whole = 1, false
	}
	w.update = w.fresh()
	return f
}

// step lets the hub say how many replicas there are to be where, before everything else happens.
func (f *fleet) step() {
	r := allocate.Request{Replicas: &f.total}
	for _, m := range f.members {
		r.Subsets = append(r.Subsets, allocate.Subset{Name: m.name, Exists: m.scale > 0, Current: m.scale - m.standIns})
	}
	base, err := allocate.Replicas(r)
	if err != nil {
		f.fail("allocate: %v", err)
	}
	var facts []failover.Subset
	for i, m := range f.members {
		facts = append(facts, failover.Subset{
			Name: m.name, Cluster: m.name, Base: base[i], Given: m.scale, Max: failover.NoLimit, Capacity: failover.NoLimit,
			Available: m.said.available, Silent: m.silent, Since: m.since, StepsDown: true, FailedOver: f.over[i],
		})
	}
	plan := failover.Decide(&f.policy, facts, f.now)
	for i, t := range plan.Targets {
		m := f.members[i]
		if m.replicas != t.Replicas {
			f.say("%s shall have %d, %d stand in. %s", m.name, t.Replicas, t.Extra, t.Why)
		}
		m.replicas, m.standIns, f.over[i] = t.Replicas, t.Extra, t.FailedOver
	}
	for _, m := range f.members {
		if f.policy.Mode == failover.StepDown && m.silent && m.appliedSize > 0 && f.now.Sub(m.since) >= f.policy.After {
			m.appliedSize, f.short = 0, true
			f.say("%s steps down", m.name)
		}
	}
	f.world.step()
}

// madeUp says that the clusters that are heard from have all replicas, but for one each.
func (f *fleet) madeUp() bool {
	sum := int32(0)
	for _, m := range f.members {
		if m.silent {
			continue
		}
		if sum += m.replicas; m.running(f.now) < m.replicas-1 {
			return false
		}
	}
	return sum >= f.total
}

// available counts what really runs, silent clusters included.
func (f *fleet) available() (n int32) {
	for _, m := range f.members {
		n += m.running(f.now)
	}
	return n
}

func (m *member) running(now time.Time) (n int32) {
	for _, p := range m.pods {
		if m.up(p, now) {
			n++
		}
	}
	return n
}

func (f *fleet) until(what string, done func() bool) {
	f.t.Helper()
	for range 2000 {
		if done() {
			return
		}
		f.step()
	}
	f.fail("%s never came: %s, %s", what, f.state.Phase, f.state.Message)
}

// A cluster is cut off in the middle of an update and comes back later. Its replicas are moved and return, the update
// goes out and never back, and all the while no more is unavailable than the clusters' own budgets of one pod each; but for
// the time between stepping down and starting elsewhere.
func TestAnUpdateAndAFailoverGetAlong(t *testing.T) {
	for seed := range seeds(150) {
		f := newFleet(t, seed)
		f.until("the first revision", func() bool { return f.state.Phase == Complete })
		for range 40 {
			f.step()
		}
		f.template(f.fresh())
		gone := f.members[f.rand.IntN(len(f.members))]
		cut, back := f.rand.IntN(60), 60+f.rand.IntN(120)
		for i := range 1200 {
			switch i {
			case cut:
				f.turn(gone, true)
			case back:
				f.turn(gone, false)
			}
			f.step()
			if f.state.Phase == RollingBack {
				f.fail("a cluster is cut off, and a good revision goes back")
			}
			f.short = f.short && !f.madeUp()
			if n, least := f.available(), f.total-int32(len(f.members)); n < least && !f.short {
				f.fail("%d of %d available, %d may be missing", n, f.total, len(f.members))
			}
		}
		if f.state.Phase != Complete {
			f.fail("the update has not gone out: %s", f.state.Message)
		}
		sum := int32(0)
		for i, m := range f.members {
			sum += m.on(f.update)
			if !f.over[i].IsZero() || m.standIns > 0 {
				f.fail("%s is still failed over, or stands in with %d", m.name, m.standIns)
			}
		}
		if sum != f.total {
			f.fail("%d of %d replicas on %s in the end", sum, f.total, f.update)
		}
	}
}
