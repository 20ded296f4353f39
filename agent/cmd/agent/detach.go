package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/flotilla-project/flotilla/agent/link"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// runTool runs "agent detach" if that is what the arguments ask for, and returns its exit code: 0 when everything was
// let go, 1 when something was not.
func runTool(args []string, out, problems io.Writer) (code int, named bool) {
	if len(args) == 0 || args[0] != "detach" {
		return 0, false
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := detachCommand()
	c.SetArgs(args[1:])
	c.SetOut(out)
	c.SetErr(problems)
	if err := c.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintf(problems, "agent detach: %v\n", err)
		return 1, true
	}
	return 0, true
}

func detachCommand() *cobra.Command {
	kubeconfig, o := "", link.Defaults()
	c := &cobra.Command{
		Use: "agent detach", Short: "Let go of all that hubs had applied here, and leave it running. Stop the agent first.",
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := manager.Config(kubeconfig)
			if err != nil {
				return err
			}
			return link.Detach(c.Context(), config, o, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the member cluster; empty is the pod's service account, or what kubectl uses")
	f.StringVar(&o.AgentID, "agent-id", o.AgentID, "id of the installation to detach; empty: the hash of the hub that the stored credentials are for")
	f.StringVar(&o.AgentNamespace, "agent-namespace", o.AgentNamespace, "namespace of the credential secret")
	f.StringVar(&o.HubKubeconfigSecret, "hub-kubeconfig-secret", o.HubKubeconfigSecret, "the credential secret")
	f.StringVar(&o.HubKubeconfigDir, "hub-kubeconfig-dir", o.HubKubeconfigDir, "folder with the same, for when there is no secret")
	return c
}
