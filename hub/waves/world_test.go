package waves

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

const tick = 15 * time.Second

// world is a simulated fleet: members that are slow, fail and fall silent, and a hub that sees them late.
type world struct {
	t    *testing.T
	seed int64
	rand *rand.Rand
	now  time.Time

	members  []*member
	strategy Strategy
	update   string
	resume   string
	state    State
	revs     int
	joined   int
	// trouble is how many of a hundred revisions are bad for a cluster; calm worlds have no events of their own.
	trouble int

	// what the promises are checked with
	lastBad time.Time
	changed time.Time
	writes  int
	entered map[string]bool
	log     []string
}

// member is a cluster with one subset.
type member struct {
	name     string
	replicas int32
	standIns int32
	whole    bool
	given    Target
	scale    int32 // replicas in the work
	silent   bool
	since    time.Time

	// what the cluster knows and runs
	applied     Target
	appliedSize int32
	current     string
	pods        []pod
	budget      int
	startup     time.Duration
	fates       map[string]fate

	// what it said last
	said struct {
		revision           string
		updated, available int32
	}
}

type pod struct {
	revision string
	born     time.Time
}

// fate of a revision in a cluster.
type fate int

const (
	good fate = iota
	broken
	sick // comes up and dies after a while
)

func newWorld(t *testing.T, seed int64, size int) *world {
	w := &world{
		t: t, seed: seed, rand: rand.New(rand.NewPCG(uint64(seed), 7)), now: noon, trouble: 15, entered: map[string]bool{},
	}
	for i := range size {
		m := &member{
			name: fmt.Sprintf("m%d", i), replicas: w.rand.Int32N(8), since: noon, fates: map[string]fate{}, whole: w.rand.IntN(8) == 0,
			budget: 1 + w.rand.IntN(3), startup: time.Duration(5+w.rand.IntN(40)) * time.Second,
		}
		w.members = append(w.members, m)
	}
	w.strategy = w.anyStrategy()
	w.template(w.fresh())
	return w
}

func (w *world) chance(percent int) bool { return w.rand.IntN(100) < percent }

func (w *world) anyStrategy() Strategy {
	s := Strategy{Deadline: time.Duration(2+w.rand.IntN(8)) * time.Minute, MaxFailures: intstr.FromInt(w.rand.IntN(3))}
	if w.chance(20) {
		s.OnFailure = Pause
	}
	if w.chance(20) {
		s.MaxFailures = intstr.FromString("34%")
	}
	for range w.rand.IntN(4) {
		wave := Wave{Percent: 10 * w.rand.Int32N(11), Soak: time.Duration(w.rand.IntN(4)) * 77 * time.Second, Pause: w.chance(20)}
		for _, m := range w.members {
			if w.chance(40) {
				wave.Subsets = append(wave.Subsets, m.name)
			}
		}
		s.Waves = append(s.Waves, wave)
	}
	return s
}

// fresh is a revision that nobody has seen.
func (w *world) fresh() string {
	w.revs++
	name := fmt.Sprintf("r%d", w.revs)
	for _, m := range w.members {
		m.fates[name] = good
		if w.chance(w.trouble) {
			m.fates[name] = broken + fate(w.rand.IntN(2))
		}
	}
	return name
}

func (w *world) template(revision string) {
	if w.update != revision {
		w.event("the template becomes %s", revision)
		w.update = revision
	}
}

func (w *world) event(format string, args ...any) {
	w.changed, w.writes = w.now, 0
	w.say(format, args...)
}

func (w *world) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%s  %s", w.now.Format("15:04:05"), fmt.Sprintf(format, args...)))
}

// fail ends the test with the story of how it came to it.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d: %s\n%s", w.seed, fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

// seeds is how many seeds a story is told with. FLOTILLA_TEST_SEEDS multiplies it, for a long look after a change.
func seeds(n int64) int64 {
	if times, err := strconv.ParseInt(os.Getenv("FLOTILLA_TEST_SEEDS"), 10, 64); err == nil {
		return n * times
	}
	return n
}

// happen lets users and networks do what they do.
func (w *world) happen() {
	if w.chance(1) {
		w.template(w.fresh())
	}
	if w.chance(1) {
		w.template(fmt.Sprintf("r%d", 1+w.rand.IntN(w.revs)))
	}
	m := w.members[w.rand.IntN(len(w.members))]
	if w.chance(2) {
		m.replicas = w.rand.Int32N(9)
		w.event("%s is scaled to %d", m.name, m.replicas)
	}
	if odds := map[bool]int{false: 2, true: 10}[m.silent]; w.chance(odds) {
		w.turn(m, !m.silent)
	}
	if odds := map[bool]int{false: 1, true: 10}[w.strategy.Paused]; w.chance(odds) {
		w.strategy.Paused = !w.strategy.Paused
		w.event("paused: %v", w.strategy.Paused)
	}
	if w.chance(5) && (w.state.Phase == Paused || w.state.Phase == Failed) {
		w.letGo()
	}
	if w.chance(1) && len(w.members) < 9 {
		w.join()
	}
	if w.chance(1) && w.chance(50) && len(w.members) > 1 {
		w.leave(w.rand.IntN(len(w.members)))
	}
	if w.chance(1) && w.chance(30) {
		w.strategy = w.anyStrategy()
		w.event("the strategy becomes %+v", w.strategy)
	}
}

// join adds a subset, in a cluster of its own that has nothing yet.
func (w *world) join() *member {
	w.joined++
	m := &member{name: fmt.Sprintf("j%d", w.joined), replicas: 1 + w.rand.Int32N(7), since: w.now, fates: map[string]fate{}, budget: 1 + w.rand.IntN(3), startup: 20 * time.Second}
	w.members = append(w.members, m)
	w.event("%s joins with %d replicas", m.name, m.replicas)
	return m
}

// leave takes a subset out of the spec.
func (w *world) leave(i int) {
	w.event("%s leaves", w.members[i].name)
	w.members = slices.Delete(w.members, i, i+1)
}

func (w *world) turn(m *member, silent bool) {
	m.silent, m.since = silent, w.now
	w.event("%s silent: %v", m.name, silent)
}

func (w *world) letGo() {
	w.resume = fmt.Sprintf("%s/%d", w.update, w.state.Wave)
	w.event("somebody lets %s go on", w.resume)
}

// step is a tick: clusters work and report, then the hub decides and writes.
func (w *world) step() {
	w.now = w.now.Add(tick).Add(time.Duration(w.rand.IntN(1000)) * time.Millisecond)
	for _, m := range w.members {
		m.work(w.now)
		if m.silent {
			continue
		}
		if w.chance(70) {
			m.applied, m.appliedSize = m.given, m.scale
		}
		if w.chance(70) {
			m.report(w.now)
		}
	}
	w.decide()
}

func (w *world) decide() {
	in := w.input()
	plan := Decide(in, w.now)
	if again := Decide(w.input(), w.now); !reflect.DeepEqual(plan, again) {
		w.fail("the same facts gave another plan:\n%+v\n%+v", plan, again)
	}
	w.check(in, plan)
	if plan.State.Message != w.state.Message || plan.State.Phase != w.state.Phase {
		w.say("%s: %s", plan.State.Phase, plan.State.Message)
	}
	w.state = plan.State
	w.state.WaveStarted, w.state.HealthySince = stored(w.state.WaveStarted), stored(w.state.HealthySince)
	for i, t := range plan.Targets {
		m := w.members[i]
		if (m.given != t || m.scale != m.replicas) && w.chance(90) { // a write may fail
			w.say("  %s gets %s/%d of %d frozen %v", t.Name, t.Revision, t.Partition, m.replicas, t.Frozen)
			m.given, m.scale = t, m.replicas
			w.writes++
		}
	}
}

// stored is a time as the API keeps it.
func stored(t time.Time) time.Time { return t.Truncate(time.Second) }

func (w *world) input() Input {
	in := Input{Strategy: w.strategy, Update: w.update, Resume: w.resume, State: w.state}
	in.State.Failed = slices.Clone(w.state.Failed)
	for _, m := range w.members {
		in.Subsets = append(in.Subsets, Subset{
			Name: m.name, Replicas: m.replicas, StandIns: m.standIns, Given: Given{m.given.Revision, m.scale, m.given.Partition},
			Fresh: m.said.revision == m.given.Revision && m.given.Revision != "", UpdatedAvailable: m.said.updated, Available: m.said.available,
			Silent: m.silent, Since: m.since, Whole: m.whole,
		})
	}
	return in
}

func (m *member) report(now time.Time) {
	m.said.revision = m.applied.Revision
	m.said.updated, m.said.available = 0, 0
	for _, p := range m.pods {
		if m.up(p, now) {
			m.said.available++
			if p.revision == m.applied.Revision {
				m.said.updated++
			}
		}
	}
}

func (m *member) up(p pod, now time.Time) bool {
	age := now.Sub(p.born)
	switch m.fates[p.revision] {
	case broken:
		return false
	case sick:
		return age >= m.startup && age < m.startup+4*time.Minute
	}
	return age >= m.startup
}

func (m *member) on(revision string) (n int32) {
	for _, p := range m.pods {
		if p.revision == revision {
			n++
		}
	}
	return n
}

// work does what a Set does: it scales, and updates a few pods at a time down to the partition.
func (m *member) work(now time.Time) {
	want := m.applied.Revision
	if want == "" {
		return
	}
	updates := m.appliedSize - m.applied.Partition
	for int32(len(m.pods)) > m.appliedSize {
		m.pods = m.pods[:len(m.pods)-1]
	}
	for int32(len(m.pods)) < m.appliedSize {
		p := pod{revision: want, born: now}
		if m.on(want) >= updates && m.current != "" {
			p.revision = m.current
		}
		m.pods = append(m.pods, p)
	}
	down := 0
	for _, p := range m.pods {
		if !m.up(p, now) {
			down++
		}
	}
	for i, p := range m.pods {
		if m.applied.Frozen || p.revision == want || m.on(want) >= updates {
			continue
		}
		if m.up(p, now) {
			if down >= m.budget {
				continue
			}
			down++
		}
		m.pods[i] = pod{revision: want, born: now}
	}
	if m.on(want) == m.appliedSize && m.applied.Partition == 0 {
		m.current = want
	}
}
