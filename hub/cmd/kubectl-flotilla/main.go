// Command kubectl-flotilla is what a person needs beside kubectl on the hub: let clusters in and out, see them, and
// see where a FederatedDeployment stands. Put it into the PATH and call it as "kubectl flotilla". It acts as whoever
// the kubeconfig says, asks nothing of the hub process, and keeps nothing.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

func main() { os.Exit(untilSignal()) }

func untilSignal() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, out, complaints io.Writer) int {
	c := root() //nolint:contextcheck // commands get theirs from ExecuteContext
	c.SetArgs(args)
	c.SetOut(out)
	c.SetErr(complaints)
	if err := c.ExecuteContext(ctx); err != nil {
		c.PrintErrln("error:", explain(err))
		return 1
	}
	return 0
}

// explain adds the remedy to an error that people meet when they look at the wrong cluster.
func explain(err error) error {
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("%w\nThis cluster is not a hub. Choose the hub with --context, or make this one a hub with: kubectl apply -k deploy/hub", err)
	}
	return err
}

func root() *cobra.Command {
	k := &kube{}
	c := &cobra.Command{
		Use: "kubectl-flotilla", Short: "Let clusters join a Flotilla hub, and see what runs on them",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl flotilla"},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.PersistentFlags().StringVar(&k.kubeconfig, "kubeconfig", "", "kubeconfig of the hub; empty is what kubectl uses")
	c.PersistentFlags().StringVar(&k.context, "context", "", "context in the kubeconfig; empty is the current one")
	c.AddCommand(bootstrapCommand(k), acceptCommand(k), denyCommand(k), clustersCommand(k), statusCommand(k))
	c.AddCommand(detachCommand(k), removeCommand(k))
	c.AddCommand(rolloutCommands(k)...)
	return c
}

// kube is how the hub is reached.
type kube struct{ kubeconfig, context string }

func (k *kube) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: k.context})
}

// namespace is the one asked for, or the kubeconfig's.
func (k *kube) namespace(asked string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	found, _, err := k.loader().Namespace()
	if err != nil {
		return "", fmt.Errorf("load kubeconfig: %w", err)
	}
	return found, nil
}

func (k *kube) client() (client.WithWatch, error) {
	cfg, err := k.loader().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w", err)
	}
	cfg.UserAgent = "kubectl-flotilla"
	cfg.QPS, cfg.Burst = 50, 100
	scheme, err := kinds()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	return c, nil
}

// kinds are those that the commands read and write.
func kinds() (*runtime.Scheme, error) {
	return manager.Scheme(clientgoscheme.AddToScheme, clusterv1.Install, clusterv1beta2.Install, workv1.Install, appsv1alpha1.AddToScheme)
}
