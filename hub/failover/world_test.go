package failover

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/hub/allocate"
)

const tick = 10 * time.Second

// world is a simulated fleet under one workload: clusters that fall silent, run out of nodes and come back, an
// allocator and this engine in the hub, which sees all of it late.
type world struct {
	t    *testing.T
	seed int64
	rand *rand.Rand
	now  time.Time

	members  []*member
	total    int32
	elastic  bool
	adaptive bool
	policy   *Policy
	crashes  bool // pods die now and then

	writes int // since the last event
	bases  []int32
	log    []string
	seen   map[string]int
}

// member is a cluster with one subset.
type member struct {
	name     string
	min, max int32
	nodes    int32 // pods that find room
	given    int32 // in the work
	extra    int32 // of them standing in, and since when others stand in for it: the status of the subset
	over     time.Time
	silent   bool
	since    time.Time
	contact  time.Time // as the agent knows it
	confirms bool

	applied int32
	stepped bool
	pods    []time.Time // when each came up, or will
	startup time.Duration

	saidOf    int32
	available int32
	pending   int32
	badUntil  time.Time
}

func newWorld(t *testing.T, seed int64, size int) *world {
	w := &world{t: t, seed: seed, rand: rand.New(rand.NewPCG(uint64(seed), 11)), now: noon, seen: map[string]int{}}
	w.total = 2 + w.rand.Int32N(20)
	w.elastic = w.chance(60)
	w.adaptive = w.elastic && w.chance(60)
	for i := range size {
		m := &member{
			name: fmt.Sprintf("m%d", i), max: NoLimit, nodes: 1000, since: noon.Add(-time.Hour), confirms: true,
			startup: time.Duration(5+w.rand.IntN(60)) * time.Second,
		}
		if w.elastic {
			m.min = w.rand.Int32N(3)
			if i > 0 && w.chance(50) {
				m.max = m.min + 1 + w.rand.Int32N(8)
			}
		}
		w.members = append(w.members, m)
	}
	w.policy = &Policy{Mode: KeepRunning, After: 5 * time.Minute, ReturnAfter: time.Duration(w.rand.IntN(3)) * time.Minute}
	if w.chance(50) {
		w.policy.Mode = StepDown
	}
	return w
}

func (w *world) chance(percent int) bool { return w.rand.IntN(100) < percent }

func (w *world) event(format string, args ...any) {
	w.writes = 0
	w.say(format, args...)
}

func (w *world) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%s  %s", w.now.Format("15:04:05"), fmt.Sprintf(format, args...)))
}

// fail ends the test with the story of how it came to it.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d, %+v: %s\n%s", w.seed, *w.policy, fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

// seeds is how many seeds a story is told with. FLOTILLA_TEST_SEEDS multiplies it, for a long look after a change.
func seeds(n int64) int64 {
	if times, err := strconv.ParseInt(os.Getenv("FLOTILLA_TEST_SEEDS"), 10, 64); err == nil {
		return n * times
	}
	return n
}

// happen lets users, networks and nodes do what they do.
func (w *world) happen() {
	if w.chance(1) {
		w.total = w.rand.Int32N(25)
		w.event("scaled to %d", w.total)
	}
	m := w.members[w.rand.IntN(len(w.members))]
	if odds := map[bool]int{false: 2, true: 6}[m.silent]; w.chance(odds) {
		w.turn(m, !m.silent)
	}
	if w.chance(1) && w.chance(50) { // the hub is cut off, or back
		silent := !w.members[0].silent
		for _, m := range w.members {
			if m.silent != silent {
				w.turn(m, silent)
			}
		}
	}
	if w.chance(1) {
		m.nodes = w.rand.Int32N(12)
		w.event("%s has room for %d pods", m.name, m.nodes)
	}
}

func (w *world) turn(m *member, silent bool) {
	if silent {
		m.contact = w.now
	}
	m.silent, m.since = silent, w.now
	w.event("%s silent: %v", m.name, silent)
}

// step is a tick: clusters work and report, then the hub decides and writes.
func (w *world) step() {
	w.now = w.now.Add(tick).Add(time.Duration(w.rand.IntN(1000)) * time.Millisecond)
	for _, m := range w.members {
		switch {
		case m.silent:
			m.stepped = m.stepped || w.policy.Mode == StepDown && m.confirms && w.now.Sub(m.contact) >= w.policy.After
		default:
			if w.chance(80) {
				m.applied, m.stepped = m.given, false
			}
		}
		m.work(w)
		if !m.silent && (w.chance(80) || w.now.Sub(m.since) > settle) {
			m.report(w)
		}
	}
	w.decide()
}

func (m *member) work(w *world) {
	want := m.applied
	if m.stepped {
		want = 0
	}
	if int32(len(m.pods)) > want {
		m.pods = m.pods[:want] // the youngest go first, and pending ones are the youngest
	}
	for int32(len(m.pods)) < want {
		m.pods = append(m.pods, w.now.Add(m.startup))
	}
	if w.crashes && len(m.pods) > 0 && w.chance(1) {
		m.pods[w.rand.IntN(len(m.pods))] = w.now.Add(m.startup)
	}
}

func (m *member) up(now time.Time) (n int32) {
	for i, at := range m.pods {
		if int32(i) < m.nodes && !now.Before(at) {
			n++
		}
	}
	return n
}

func (m *member) report(w *world) {
	m.saidOf, m.available = m.applied, m.up(w.now)
	m.pending = max(0, int32(len(m.pods))-m.nodes)
	if m.pending > 0 && w.now.After(m.badUntil) {
		m.badUntil = w.now.Add(5 * time.Minute)
	}
}

// base is what the allocator says, as the hub is to ask it: without what stands in for others, and with silent
// clusters as they were.
func (w *world) base() []int32 {
	r := allocate.Request{Replicas: &w.total, Adaptive: w.adaptive}
	for _, m := range w.members {
		s := allocate.Subset{Name: m.name, Exists: m.given > 0, Current: m.given - m.extra, Running: m.given - m.extra}
		if w.elastic {
			low := intstr.FromInt32(m.min)
			s.Min = &low
			if m.max != NoLimit {
				high := intstr.FromInt32(m.max)
				s.Max = &high
			}
		}
		if m.unschedulable(w.now) && !m.silent {
			s.Unschedulable, s.Running = true, max(0, min(s.Running, m.given-m.stuck()-m.extra))
		}
		r.Subsets = append(r.Subsets, s)
	}
	give, err := allocate.Replicas(r)
	if err != nil {
		w.fail("allocate: %v", err)
	}
	return give
}

func (m *member) unschedulable(now time.Time) bool { return now.Before(m.badUntil) }

// stuck speaks of what was given, or says nothing.
func (m *member) stuck() int32 {
	if m.saidOf != m.given {
		return 0
	}
	return m.pending
}

func (w *world) facts(base []int32) []Subset {
	var all []Subset
	for i, m := range w.members {
		all = append(all, Subset{
			Name: m.name, Cluster: m.name, Base: base[i], Given: m.given, Max: m.max, Capacity: NoLimit, Available: m.available,
			Unschedulable: m.unschedulable(w.now), Stuck: m.stuck(), Silent: m.silent, Since: m.since, StepsDown: m.confirms, FailedOver: m.over,
		})
	}
	return all
}

func (w *world) decide() {
	base := w.base()
	facts := w.facts(base)
	plan := Decide(w.policy, facts, w.now)
	if again := Decide(w.policy, w.facts(base), w.now); !reflect.DeepEqual(plan, again) {
		w.fail("the same facts gave another plan:\n%+v\n%+v", plan, again)
	}
	w.check(facts, plan)
	w.bases = base
	for i, t := range plan.Targets {
		m := w.members[i]
		if t.FailedOver.IsZero() != m.over.IsZero() {
			w.say("%s failed over: %v", m.name, !t.FailedOver.IsZero())
		}
		m.over = t.FailedOver.Truncate(time.Second)
		if m.given == t.Replicas {
			m.extra = t.Extra
		} else if w.chance(90) { // a write may fail
			w.say("  %s gets %d, %d of them extra, instead of %d. %s", t.Name, t.Replicas, t.Extra, m.given, t.Why)
			m.given, m.extra = t.Replicas, t.Extra
			w.writes++
		}
	}
}
