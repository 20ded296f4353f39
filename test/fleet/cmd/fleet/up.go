package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-project/flotilla/test/fleet"
)

// upFlags describe a fleet on the command line.
type upFlags struct {
	hub          bool
	hubName      string
	members      []string
	kind         string
	nodesPerZone int
	region       string
}

func upCommand(o *options) *cobra.Command {
	var u upFlags
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Start a fleet, and leave it running",
		Example: "  fleet up --hub --member east=a,b --member west=c --nodes fake --nodes-per-zone 2",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			clusters, err := u.clusters()
			if err != nil {
				return err
			}
			dir, err := o.folder()
			if err != nil {
				return err
			}
			f, err := fleet.Start(cmd.Context(), fleet.Config{
				Dir: dir, Name: o.name, Clusters: clusters, Log: cmd.ErrOrStderr(), Detach: true,
			})
			if err != nil {
				return err
			}
			for _, c := range f.Clusters() {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", c.Name(), c.Kubeconfig())
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&u.hub, "hub", false, "start a hub, a cluster without nodes")
	cmd.Flags().StringVar(&u.hubName, "hub-name", "hub", "name of the hub")
	cmd.Flags().StringArrayVar(&u.members, "member", nil, "start a member NAME=ZONE[,ZONE...]; may be repeated")
	cmd.Flags().StringVar(&u.kind, "nodes", string(fleet.Fake), "kind of the nodes: fake, or real (root on Linux)")
	cmd.Flags().IntVar(&u.nodesPerZone, "nodes-per-zone", 1, "nodes in each zone")
	cmd.Flags().StringVar(&u.region, "region", "local", "region of all nodes")
	return cmd
}

// clusters translates the flags. A node is called after its cluster, zone and place.
func (u upFlags) clusters() ([]fleet.Cluster, error) {
	var all []fleet.Cluster
	if u.hub {
		all = append(all, fleet.Cluster{Name: u.hubName, Kind: fleet.Kind(u.kind)})
	}
	for _, m := range u.members {
		name, zones, _ := strings.Cut(m, "=")
		c := fleet.Cluster{Name: name, Kind: fleet.Kind(u.kind)}
		for zone := range strings.SplitSeq(zones, ",") {
			if zone == "" {
				return nil, fmt.Errorf("--member %s: write NAME=ZONE[,ZONE...]", m)
			}
			for i := range u.nodesPerZone {
				c.Nodes = append(c.Nodes, fleet.Node{
					Name: fmt.Sprintf("%s-%s%d", name, zone, i+1), Zone: zone, Region: u.region,
				})
			}
		}
		all = append(all, c)
	}
	return all, fleet.Config{Clusters: all}.Validate()
}
