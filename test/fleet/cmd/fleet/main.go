// Command fleet starts, shows and stops fleets of real Kubernetes clusters on this
// machine, without Docker. See package fleet for what it owns and promises.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/flotilla-project/flotilla/test/fleet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

// options are what all commands on a fleet share.
type options struct{ name, dir string }

// folder is where the fleet's state is.
func (o options) folder() (string, error) {
	if o.dir != "" {
		return filepath.Abs(o.dir)
	}
	return fleet.DefaultDir(o.name)
}

func (o options) open() (*fleet.Fleet, error) {
	dir, err := o.folder()
	if err != nil {
		return nil, err
	}
	return fleet.Open(dir)
}

func root() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:          "fleet",
		Short:        "Real Kubernetes clusters on one machine, without Docker",
		SilenceUsage: true,
	}
	cmd.PersistentFlags().StringVar(&o.name, "name", "demo", "name of the fleet")
	cmd.PersistentFlags().StringVar(&o.dir, "dir", "", "state folder (default: flotilla/NAME in the user's state folder)")
	cmd.AddCommand(buildCommand(), upCommand(&o), downCommand(&o), statusCommand(&o),
		kubeconfigCommand(&o), logsCommand(&o), snapshotCommand(&o))
	return cmd
}
