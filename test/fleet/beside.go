package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Beside runs a program of the caller's as part of the fleet: it is recorded, logged and stopped like the fleet's own.
// Down recognises it by the state folder in its command line, so args must hold a path below Dir, a kubeconfig say.
// It returns when ready says nil; a nil ready does not wait.
func (f *Fleet) Beside(ctx context.Context, name string, args []string, ready func(context.Context) error) error {
	if !strings.Contains(strings.Join(args, " "), f.dir) {
		return fmt.Errorf("run %s beside the fleet: no argument holds a path below %s, so it could not be found again", name, f.dir)
	}
	return f.run(ctx, component{name: name, args: args}, ready)
}

// Kill ends a program started by Beside at once, as a crash would.
func (f *Fleet) Kill(ctx context.Context, name string) error {
	return f.signal(ctx, name, syscall.SIGKILL)
}

// Terminate asks a program started by Beside to end, and waits for it.
func (f *Fleet) Terminate(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("it did not end within 30s of SIGTERM"))
	defer cancel()
	return f.signal(ctx, name, syscall.SIGTERM)
}

func (f *Fleet) signal(ctx context.Context, name string, signal syscall.Signal) error {
	p, err := f.recorded(name)
	if err != nil {
		return err
	}
	return p.end(ctx, f.dir, signal)
}

// Again starts a program that was ended, with the same arguments.
func (f *Fleet) Again(ctx context.Context, name string, ready func(context.Context) error) error {
	return f.restartProcess(ctx, name, ready)
}

// Alive says whether a program started by Beside runs.
func (f *Fleet) Alive(name string) bool {
	p, err := f.recorded(name)
	return err == nil && p.alive(f.dir)
}
