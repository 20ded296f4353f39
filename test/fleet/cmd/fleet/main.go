// Command fleet starts, shows and stops fleets of real Kubernetes clusters on this
// machine, without Docker. See package fleet for what it owns and promises.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:          "fleet",
		Short:        "Real Kubernetes clusters on one machine, without Docker",
		SilenceUsage: true,
	}
	cmd.AddCommand(buildCommand())
	return cmd
}
