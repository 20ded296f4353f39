// Command hub runs the hub of a Flotilla: it lets clusters join, watches over their health, and spreads workloads
// over them. It talks to the hub's API server only, never to a member. "hub backup" and "hub restore" talk to its etcd.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/flotilla-project/flotilla/hub/app"
	"github.com/flotilla-project/flotilla/pkg/cmd"
)

func main() {
	if code, named := runTool(os.Args[1:], os.Stdout, os.Stderr); named {
		os.Exit(code)
	}
	o, err := app.NewOptions()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hub:", err)
		os.Exit(1)
	}
	os.Exit(cmd.Main("hub", "Spread workloads over clusters. See also: hub backup --help, hub restore --help", o, func(ctx context.Context) error { return app.Run(ctx, o) }))
}
