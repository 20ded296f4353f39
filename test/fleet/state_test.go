package fleet

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStateSurvivesSaving(t *testing.T) {
	dir := t.TempDir()
	want := &state{ID: fleetID(dir), Name: "n", Slot: 7, Owner: process{PID: 1, Birth: "2"}, Processes: map[string]process{"etcd": {PID: 3}},
		Clusters: []clusterState{{Name: "east", Index: 1, Kind: Fake, Nodes: []Node{{Name: "n1", Zone: "a"}}}}, Started: []string{"etcd"}}
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAFolderThatIsNoFleetIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "thesis.tex")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), dir); err == nil {
		t.Error("Down accepts a folder with other things in it")
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestAStrangerWithARecordedPidLives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fleet")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	for name, tc := range map[string]struct {
		args  []string
		wrong func(*process)
		dies  bool
	}{
		"ours":                    {[]string{"/bin/tail", "-f", filepath.Join(dir, stateFile)}, func(*process) {}, true},
		"born at another time":    {[]string{"/bin/tail", "-f", filepath.Join(dir, stateFile)}, func(p *process) { p.Birth = "1" }, false},
		"without the folder":      {[]string{"/bin/sleep", "600"}, func(*process) {}, false},
		"recorded without a time": {[]string{"/bin/tail", "-f", filepath.Join(dir, stateFile)}, func(p *process) { p.Birth = "" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(tc.args[0]); err != nil {
				t.Skipf("SKIP: %v", err)
			}
			s := &state{ID: fleetID(dir), Slot: -1, Processes: map[string]process{}, Started: []string{"x"}}
			if err := s.save(dir); err != nil {
				t.Fatal(err)
			}
			p, err := launch(tc.args, nil, log, false)
			if err != nil {
				t.Fatal(err)
			}
			recorded := p
			tc.wrong(&recorded)
			s.Processes["x"] = recorded
			if err := killAll(t.Context(), s, dir); err != nil {
				t.Fatal(err)
			}
			if alive := p.alive(""); alive == tc.dies {
				t.Errorf("alive is %v, want %v", alive, !tc.dies)
			}
			if err := p.kill(t.Context(), ""); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAProgramThatEndsAtOnceIsNotAlive(t *testing.T) {
	p, err := launch([]string{"/bin/true"}, nil, filepath.Join(t.TempDir(), "log"), false)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := poll(ctx, time.Millisecond, func() error {
		if p.alive("") {
			return os.ErrExist
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
