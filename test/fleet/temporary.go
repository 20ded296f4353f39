package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// DefaultDir is the state folder of a fleet that is known by its name.
func DefaultDir(name string) (string, error) {
	if !nameRE.MatchString(name) {
		return "", fmt.Errorf("fleet name %q: use lower case letters, digits and dashes, 50 at most", name)
	}
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the state folder: %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "flotilla", name), nil
}

// temporaryRoot holds the fleets that nobody gave a folder: those of tests.
func temporaryRoot() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("flotilla-fleets-%d", os.Getuid()))
}

// temporaryDir makes a new state folder, after removing fleets whose owner died.
// The path is short, because sockets below it may not exceed 107 characters.
func temporaryDir(ctx context.Context) (string, error) {
	root := temporaryRoot()
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("make a state folder: %w", err)
	}
	if err := sweep(ctx, root); err != nil {
		return "", fmt.Errorf("clean up after fleets whose owner died: %w", err)
	}
	return os.MkdirTemp(root, "")
}

// sweep takes down the fleets below root that nobody owns any more. Logs that a
// failed start left go with them.
func sweep(ctx context.Context, root string) error {
	unlock, err := lockFile(ctx, filepath.Join(root, ".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		s, err := loadState(dir)
		if err != nil || s.Detached || s.Owner.alive("") {
			continue
		}
		if err := Down(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}
