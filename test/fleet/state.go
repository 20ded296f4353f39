package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// state is what a fleet writes down: enough for another process to use it, and for
// Down to find everything that was made, even after a crash half-way.
type state struct {
	// ID is derived from the folder and prefixes every host-wide name.
	ID   string `json:"id"`
	Name string `json:"name"`
	Slot int    `json:"slot"`
	// Detached fleets outlive their starter; others belong to Owner.
	Detached bool    `json:"detached,omitempty"`
	Owner    process `json:"owner"`
	// Real is set before anything that needs root is made.
	Real      bool               `json:"real,omitempty"`
	Clusters  []clusterState     `json:"clusters"`
	Processes map[string]process `json:"processes"`
	// Started lists process names in the order they were started in.
	Started []string `json:"started"`
}

// clusterState is a cluster as it was asked for.
type clusterState struct {
	Name             string `json:"name"`
	Index            int    `json:"index"`
	ControlPlaneOnly bool   `json:"controlPlaneOnly,omitempty"`
	Kind             Kind   `json:"kind"`
	Nodes            []Node `json:"nodes,omitempty"`
	// FirstNode numbers real nodes through the whole fleet, from 1: addresses and
	// interface names follow from the number.
	FirstNode int `json:"firstNode,omitempty"`
}

const stateFile = "state.json"

// fleetID names everything of a fleet outside its folder: interfaces, namespaces,
// cgroups. Eight digits leave room in the 15 characters of an interface name.
func fleetID(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:])[:8]
}

func loadState(dir string) (*state, error) {
	raw, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, fmt.Errorf("read the fleet's state: %w", err)
	}
	s := &state{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("read the fleet's state in %s: %w", dir, err)
	}
	if s.Processes == nil {
		s.Processes = map[string]process{}
	}
	return s, nil
}

func (s *state) save(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the fleet's state: %w", err)
	}
	return writeFile(filepath.Join(dir, stateFile), raw, 0o600)
}

// isFleetDir says whether a folder may be emptied: it holds a fleet, or nothing.
func isFleetDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into the state folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err != nil {
		return fmt.Errorf("state folder %s holds something that is no fleet: choose another or empty it", dir)
	}
	return nil
}

// writeFile replaces a file as a whole, so that nobody reads half of it.
func writeFile(path string, data []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(mode), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}
