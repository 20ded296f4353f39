package stories

import (
	"sync"
	"testing"
	"testing/synctest"
)

// turns orders the stories of the shared fleet: those that disturb nobody come first, side by side. One that cuts, kills or
// stops something has the fleet to itself, when none of them is left, and the machine is less busy then.
type turns struct {
	mu      sync.Mutex
	changed *sync.Cond
	calm    int // stories that disturb nobody, announced and not over
	alone   bool
}

func newTurns() *turns {
	t := &turns{}
	t.changed = sync.NewCond(&t.mu)
	return t
}

func (t *turns) announce() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calm++
}

func (t *turns) join() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.alone {
		t.changed.Wait()
	}
}

// quiet waits until none of those that disturb nobody is left.
func (t *turns) quiet() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.calm > 0 {
		t.changed.Wait()
	}
}

func (t *turns) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calm--
	t.changed.Broadcast()
}

func (t *turns) take() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.alone || t.calm > 0 {
		t.changed.Wait()
	}
	t.alone = true
}

func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alone = false
	t.changed.Broadcast()
}

func TestTurnsAreTakenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn, entered := newTurns(), make(chan string, 10)
		begin := func(name string, enter func()) {
			go func() { enter(); entered <- name }()
			synctest.Wait()
		}
		expect := func(names ...string) {
			t.Helper()
			synctest.Wait()
			seen := map[string]bool{}
			for len(entered) > 0 {
				seen[<-entered] = true
			}
			if len(seen) != len(names) {
				t.Errorf("%v entered, want %v", seen, names)
			}
			for _, name := range names {
				if !seen[name] {
					t.Errorf("%v entered, want %v", seen, names)
				}
			}
		}
		begin("first", turn.take)
		expect("first")
		turn.announce()
		begin("calm", turn.join)
		begin("rough", turn.take)
		begin("aside", turn.quiet)
		expect()
		turn.give()
		expect("calm")
		turn.announce()
		begin("another", turn.join)
		expect("another") // the rough one waits for all of them
		turn.leave()
		expect()
		turn.leave()
		expect("rough", "aside")
		turn.give()
	})
}
