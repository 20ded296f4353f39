package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/flotilla-project/flotilla/test/fleet"
)

func downCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop a fleet and remove all it left, also after a crash",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := o.folder()
			if err != nil {
				return err
			}
			return fleet.Down(cmd.Context(), dir)
		},
	}
}

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the fleet's processes; fails when one is not running",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := o.open()
			if err != nil {
				return err
			}
			dead := 0
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "PROCESS\tPID\tSTATE\tLOG")
			for _, p := range f.Processes() {
				word := "running"
				if !p.Running {
					word = "stopped"
					dead++
				}
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", p.Name, p.PID, word, p.Log)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if dead > 0 {
				return fmt.Errorf("%d of the fleet's processes are not running", dead)
			}
			return nil
		},
	}
}

func kubeconfigCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "kubeconfig CLUSTER",
		Short: "Print the path of a cluster's kubeconfig",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := o.open()
			if err != nil {
				return err
			}
			c := f.Cluster(args[0])
			if c == nil {
				var names []string
				for _, c := range f.Clusters() {
					names = append(names, c.Name())
				}
				return fmt.Errorf("fleet %s has no cluster %q, it has %s", f.Name(), args[0], strings.Join(names, ", "))
			}
			fmt.Fprintln(cmd.OutOrStdout(), c.Kubeconfig())
			return nil
		},
	}
}

func logsCommand(o *options) *cobra.Command {
	var lines int
	cmd := &cobra.Command{
		Use:     "logs [PART]",
		Short:   "Print the end of each log whose name holds PART (default: all), also of a fleet that failed to start",
		Example: "  fleet logs east/kube-scheduler",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := o.folder()
			if err != nil {
				return err
			}
			found := false
			for _, path := range fleet.LogFiles(dir) {
				if rel, err := filepath.Rel(dir, path); len(args) > 0 && (err != nil || !strings.Contains(rel, args[0])) {
					continue
				}
				found = true
				fmt.Fprintf(cmd.OutOrStdout(), "==> %s\n%s\n", path, fleet.LogTail(path, lines))
			}
			if !found {
				return errors.New("there is no such log")
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&lines, "lines", 20, "lines of each log")
	return cmd
}

func snapshotCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "snapshot FILE",
		Short: "Save the etcd of all clusters to a file",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := o.open()
			if err != nil {
				return err
			}
			if err := f.Snapshot(cmd.Context(), args[0]); err != nil {
				return err
			}
			info, err := os.Stat(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes\n", args[0], info.Size())
			return nil
		},
	}
}
