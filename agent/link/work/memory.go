package work

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// memory is what the agent remembers of its works between rounds. It holds nothing that matters: an agent that
// lost it applies everything once more, which changes nothing.
type memory struct {
	resync time.Duration // for new states
	mu     sync.Mutex
	works  map[string]*state
}

// state of one work. Only the worker that has the work at the moment uses it, but for touched.
type state struct {
	uid        types.UID
	generation int64
	labels     map[string]string
	applied    bool // this generation was applied once, whatever came of it
	nextApply  time.Time
	nextStatus time.Time
	resync     time.Duration // shortest time between rounds without a reason; 0: as in the contract
	failures   int
	removals   int
	aliveSince time.Time
	warned     bool
	frozen     bool      // the hub's history is in doubt: nothing that left the work is removed
	returning  bool      // the hub was heard again after the replicas were stopped
	held       string    // what was last said of a removal that is held
	wrote      time.Time // last write to the hub
	version    string    // resourceVersion that came of it
	hashes     map[objectKey]applied
	seen       map[objectKey]string // versions of the objects that the hub was told of
	told       int64                // for which generation
	looked     time.Time            // when all objects were read last

	touched bool // an applied object changed since the last look; under memory.mu
}

func newMemory(resync time.Duration) *memory {
	return &memory{resync: resync, works: map[string]*state{}}
}

// of returns the state of a work; another UID or none is a fresh state.
func (m *memory) of(name string, uid types.UID) *state {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.works[name]
	if s == nil || s.uid != uid {
		s = &state{uid: uid, resync: m.resync, hashes: map[objectKey]applied{}, seen: map[objectKey]string{}}
		m.works[name] = s
	}
	return s
}

func (m *memory) drop(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.works, name)
}

// touch notes that an applied object changed.
func (m *memory) touch(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.works[name]; s != nil {
		s.touched = true
	}
}

// look takes the note away, before looking: what changes meanwhile is noted anew.
func (m *memory) look(s *state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.touched = false
}

func (m *memory) isTouched(s *state) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.touched
}
