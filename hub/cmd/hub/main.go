// Command hub runs the hub of a Flotilla: it lets clusters join, watches over their health, and spreads workloads
// over them. It talks to the hub's API server only, never to a member.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/flotilla-project/flotilla/hub/app"
	"github.com/flotilla-project/flotilla/pkg/cmd"
)

func main() {
	o, err := app.NewOptions()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hub:", err)
		os.Exit(1)
	}
	os.Exit(cmd.Main("hub", "Spread workloads over clusters", o, func(ctx context.Context) error { return app.Run(ctx, o) }))
}
