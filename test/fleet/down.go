package fleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-multierror"

	"github.com/flotilla-project/flotilla/test/fleet/binaries"
)

// Down stops whatever fleet lived in dir and removes all it left, also after a
// crash at any point. Doing it again does nothing.
func Down(ctx context.Context, dir string) error { return down(ctx, dir, false) }

// halt is down for a fleet in use; logs may stay for someone to read.
func (f *Fleet) halt(ctx context.Context, keepLogs bool) error {
	return down(ctx, f.dir, keepLogs)
}

func down(ctx context.Context, dir string, keepLogs bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := isFleetDir(dir); err != nil {
		return err
	}
	s, err := loadState(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Nothing was started: the state is written before anything else is made.
		return removeAll(dir)
	case err != nil:
		return err
	}
	if err := killAll(ctx, s, dir); err != nil {
		return fmt.Errorf("stop fleet %s: %w", s.Name, err)
	}
	if s.Real {
		if err := removeHost(ctx, s, dir); err != nil {
			return fmt.Errorf("clean up after fleet %s: %w", s.Name, err)
		}
	}
	if keepLogs {
		return keepOnlyLogs(dir)
	}
	// The state goes last, so that a failure before leaves something to try again with.
	return removeAll(dir)
}

// killAll ends everything that was recorded, newest first and all at once, and then
// what is not recorded: a crash may have come between a start and its record.
func killAll(ctx context.Context, s *state, dir string) error {
	var group multierror.Group
	for _, name := range slices.Backward(s.Started) {
		group.Go(func() error { return s.Processes[name].kill(ctx, dir) })
	}
	if err := group.Wait().ErrorOrNil(); err != nil {
		return err
	}
	var errs []error
	for _, p := range survivors(dir, binaries.Names()) {
		errs = append(errs, p.kill(ctx, dir+"/"))
	}
	return errors.Join(errs...)
}

// removeAll removes a state folder, its state file last.
func removeAll(dir string) error {
	if err := removeExcept(dir, stateFile); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// keepOnlyLogs empties a folder of a stopped fleet, and of the state that would make
// it look like one that runs: its slot becomes free.
func keepOnlyLogs(dir string) error {
	if err := removeExcept(dir, "log", stateFile); err != nil {
		return err
	}
	s, err := loadState(dir)
	if err != nil {
		return err
	}
	s.Slot, s.Processes, s.Started, s.Real = -1, nil, nil, false
	return s.save(dir)
}

func removeExcept(dir string, keep ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("empty the state folder: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !slices.Contains(keep, e.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
