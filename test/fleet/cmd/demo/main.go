// Command demo runs the main job on this machine: `demo up [fake|real]` tells it and leaves the fleet running,
// `demo down` removes all of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/demo"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := folder()
	if err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "down":
		if err := fleet.Down(ctx, dir); err != nil {
			return err
		}
		fmt.Println("the demo is gone: no process, mount, namespace or bridge of it is left")
		return nil
	case len(args) == 2 && args[0] == "up":
		kind := fleet.Kind(args[1])
		if kind != fleet.Fake && kind != fleet.Real {
			return fmt.Errorf("NODES=%s: choose fake or real", kind)
		}
		if kind == fleet.Real {
			if why := fleet.RealNodesUnavailable(); why != "" {
				return errors.New(why)
			}
		}
		source, err := os.Getwd()
		if err != nil {
			return err
		}
		d := demo.Demo{Dir: dir, Source: source, Kind: kind, Out: os.Stdout}
		return d.Up(ctx)
	}
	return errors.New("usage: demo up fake|real, or demo down")
}

// folder is where the demo lives: one per user.
func folder() (string, error) {
	if dir := os.Getenv("FLOTILLA_DEMO"); dir != "" {
		return filepath.Abs(dir)
	}
	cache := os.Getenv("FLOTILLA_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "flotilla")
	}
	return filepath.Join(cache, "demo"), nil
}
