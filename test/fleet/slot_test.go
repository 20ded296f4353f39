package fleet

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func claim(t *testing.T, claims, dir string) slot {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var got slot
	if err := claimSlot(t.Context(), claims, dir, func(s slot) error {
		got = s
		return (&state{Slot: int(s)}).save(dir)
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFleetsGetSlotsOfTheirOwn(t *testing.T) {
	root, claims := t.TempDir(), filepath.Join(t.TempDir(), "claims")
	taken := map[slot]bool{}
	for i := range 12 {
		taken[claim(t, claims, filepath.Join(root, fmt.Sprint(i)))] = true
	}
	if len(taken) != 12 {
		t.Errorf("12 fleets got %d slots", len(taken))
	}
}

func TestTheSlotOfAFleetThatIsGoneIsFree(t *testing.T) {
	root, claims := t.TempDir(), filepath.Join(t.TempDir(), "claims")
	dir := filepath.Join(root, "a")
	first := claim(t, claims, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if again := claim(t, claims, dir); again != first {
		t.Errorf("slot %d after %d: the claim of a removed fleet still counts", again, first)
	}
}

func TestASlotWithATakenPortIsNotFree(t *testing.T) {
	s := claim(t, filepath.Join(t.TempDir(), "claims"), filepath.Join(t.TempDir(), "a"))
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", s.clusterPort(3, portKwok)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if s.free() {
		t.Errorf("slot %d counts as free though %s is taken", s, l.Addr())
	}
}

func TestPortsOfASlotDoNotOverlap(t *testing.T) {
	s, seen := slot(3), map[int]bool{}
	for _, p := range []int{portEtcd, portPeer, portRegistry} {
		seen[s.port(p)] = true
	}
	for i := range maxClusters {
		for what := portAPIServer; what <= portKwok; what++ {
			seen[s.clusterPort(i, what)] = true
		}
	}
	if len(seen) != 3+maxClusters*perCluster {
		t.Errorf("%d different ports for %d uses", len(seen), 3+maxClusters*perCluster)
	}
	for p := range seen {
		if p < s.port(0) || p >= slot(4).port(0) {
			t.Errorf("port %d is outside of the slot", p)
		}
	}
}
