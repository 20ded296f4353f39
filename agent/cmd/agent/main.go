// Command agent runs a member cluster of a Flotilla: it joins the hub, applies what the hub sends, and runs the
// workload controllers. Without hub credentials it is a workload manager for one cluster.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/flotilla-project/flotilla/agent/app"
	"github.com/flotilla-project/flotilla/pkg/cmd"
)

func main() {
	o, err := app.NewOptions()
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
	os.Exit(cmd.Main("agent", "Run the workloads of one cluster", o, func(ctx context.Context) error { return app.Run(ctx, o) }))
}
