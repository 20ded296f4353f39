// Command agent runs a member cluster of a Flotilla: it joins the hub, applies what the hub sends, and runs the
// workload controllers. Without hub credentials it is a workload manager for one cluster. "agent detach" lets go of
// what hubs had applied.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/flotilla-project/flotilla/agent/app"
	"github.com/flotilla-project/flotilla/pkg/cmd"
)

func main() {
	if code, named := runTool(os.Args[1:], os.Stdout, os.Stderr); named {
		os.Exit(code)
	}
	o, err := app.NewOptions()
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
	os.Exit(cmd.Main("agent", "Run the workloads of one cluster. See also: agent detach --help", o, func(ctx context.Context) error { return app.Run(ctx, o) }))
}
