package fleet

import (
	"context"
	"fmt"
	"strings"
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
func (f *Fleet) Kill(ctx context.Context, name string) error { return f.stopProcess(ctx, name) }

// Again starts a program that was ended, with the same arguments.
func (f *Fleet) Again(ctx context.Context, name string, ready func(context.Context) error) error {
	return f.restartProcess(ctx, name, ready)
}
