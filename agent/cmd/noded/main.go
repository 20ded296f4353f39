// Command noded runs on each node of a member cluster and does what the Kubernetes API cannot: it pulls images ahead of
// time, restarts single containers, probes pods and reports what containers run with.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/flotilla-project/flotilla/agent/noded/app"
	"github.com/flotilla-project/flotilla/pkg/cmd"
)

func main() {
	o, err := app.NewOptions()
	if err != nil {
		fmt.Fprintln(os.Stderr, "noded:", err)
		os.Exit(1)
	}
	os.Exit(cmd.Main("noded", "Pull images, restart containers and probe pods on one node", o, func(ctx context.Context) error { return app.Run(ctx, o) }))
}
