package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"

	"github.com/flotilla-project/flotilla/hub/backup"
)

// tools are what the binary can do besides running the hub.
func tools() []*cobra.Command { return []*cobra.Command{backupCommand(), restoreCommand()} }

// runTool runs the tool that the first argument names, and returns its exit code: 0 when it did its work, 1 when it
// failed, 2 for wrong usage.
func runTool(args []string, out, problems io.Writer) (code int, named bool) {
	for _, c := range tools() {
		if len(args) == 0 || c.Name() != args[0] {
			continue
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		c.SilenceUsage, c.SilenceErrors = true, true
		c.Use = "hub " + c.Use
		c.SetArgs(args[1:])
		c.SetOut(out)
		c.SetErr(problems)
		err := c.ExecuteContext(ctx)
		if err == nil {
			return 0, true
		}
		_, _ = fmt.Fprintf(problems, "hub %s: %v\n", args[0], err)
		if wrong := (usageError{}); errors.As(err, &wrong) {
			return 2, true
		}
		return 1, true
	}
	return 0, false
}

// usageError is a wrong flag.
type usageError struct{ error }

func wrongFlag(_ *cobra.Command, err error) error { return usageError{err} }

// check collects everything that is wrong with the flags.
func check(e *backup.Etcd, file, flag string) error {
	problems := e.Validate()
	if file == "" {
		problems = append(problems, fmt.Errorf("--%s is missing", flag))
	}
	if len(problems) == 0 {
		return nil
	}
	return usageError{multierror.Append(nil, problems...)}
}

func backupCommand() *cobra.Command {
	var etcd backup.Etcd
	var to string
	c := &cobra.Command{
		Use:   "backup",
		Short: "Save everything the hub knows to a file",
		Long: `Save everything the hub knows to a file, as it is at one moment: all keys of its API server in etcd.

The file is written whole or not at all, read back, and readable by its owner only: the hub's Secrets are in it, as they
are stored. "hub restore" brings it back.`,
		Example: `  hub backup --etcd-endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt \
    --cert=/etc/kubernetes/pki/etcd/server.crt --key=/etc/kubernetes/pki/etcd/server.key --to=hub.backup`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := check(&etcd, to, "to"); err != nil {
				return err
			}
			summary, err := backup.Save(c.Context(), &etcd, to, time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "saved %s: %v\n", to, summary)
			return err
		},
	}
	c.SetFlagErrorFunc(wrongFlag)
	etcd.Bind(c.Flags())
	c.Flags().StringVar(&to, "to", "", "file to write")
	return c
}

func restoreCommand() *cobra.Command {
	var r backup.Restore
	c := &cobra.Command{
		Use:   "restore",
		Short: "Bring the hub back to what was saved in a file",
		Long: `Bring the hub back to what was saved in a file.

What the file holds is compared with what etcd holds now, and only what differs is written: what was deleted comes back,
what was changed is changed back, what is newer than the file is deleted. Every key is written only if it is still as it
was compared, and resourceVersions go on from where they are. The API server may run meanwhile. Stop the hub before
(kubectl -n flotilla-system scale deployment hub --replicas=0) and start it afterwards, so that it does not act on half
of the old state; with other controllers on the hub do the same.

First of all the hub gets a new history id, which is told to every cluster. Agents that see it remove nothing, and change
nothing until the work in question changes, or until its ManagedCluster is annotated with
flotilla.dev/confirm-history: <the new id>. Clusters that were joined after the backup have to join again.

Some keys stay as they are, because whoever they speak of is alive and writes them all the time: leases, events, nodes and
pods. --exclude replaces that list.`,
		Example: `  hub restore --from=hub.backup --dry-run --etcd-endpoints=https://127.0.0.1:2379 \
    --cacert=/etc/kubernetes/pki/etcd/ca.crt --cert=/etc/kubernetes/pki/etcd/server.crt --key=/etc/kubernetes/pki/etcd/server.key`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := check(&r.Etcd, r.From, "from"); err != nil {
				return err
			}
			r.Out = c.OutOrStdout()
			return r.Run(c.Context())
		},
	}
	c.SetFlagErrorFunc(wrongFlag)
	r.Bind(c.Flags())
	c.Flags().StringVar(&r.From, "from", "", "file to read")
	c.Flags().BoolVar(&r.DryRun, "dry-run", false, "only say what would change, key by key")
	c.Flags().StringSliceVar(&r.Excludes, "exclude", backup.DefaultExcludes, "parts of the keys below the prefix that stay as they are")
	c.Flags().DurationVar(&r.Announce, "announce", 15*time.Second, "how long agents have to learn of the new history before anything else changes")
	return c
}
