package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flotilla-project/flotilla/test/fleet"
)

func TestFlagsBecomeClusters(t *testing.T) {
	got, err := upFlags{hub: true, hubName: "hub", members: []string{"east=a,b", "west=c"}, kind: "fake", nodesPerZone: 2, region: "r"}.clusters()
	if err != nil {
		t.Fatal(err)
	}
	node := func(name, zone string) fleet.Node { return fleet.Node{Name: name, Zone: zone, Region: "r"} }
	want := []fleet.Cluster{
		{Name: "hub", Kind: fleet.Fake},
		{Name: "east", Kind: fleet.Fake, Nodes: []fleet.Node{node("east-a1", "a"), node("east-a2", "a"), node("east-b1", "b"), node("east-b2", "b")}},
		{Name: "west", Kind: fleet.Fake, Nodes: []fleet.Node{node("west-c1", "c"), node("west-c2", "c")}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestBadFlagsAreRefusedWithTheRemedy(t *testing.T) {
	for name, tc := range map[string]struct {
		flags upFlags
		want  string
	}{
		"no zones":       {upFlags{members: []string{"east"}, nodesPerZone: 1}, "write NAME=ZONE"},
		"nothing at all": {upFlags{}, "at least one"},
		"odd node kind":  {upFlags{members: []string{"east=a"}, kind: "toy", nodesPerZone: 1}, `"toy"`},
		"same name":      {upFlags{members: []string{"e=a", "e=b"}, nodesPerZone: 1}, "taken"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tc.flags.clusters(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v does not say %q", err, tc.want)
			}
		})
	}
}

func TestCommandsOnAFleetThatIsNotThere(t *testing.T) {
	for args, fails := range map[string]bool{"down": false, "status": true, "kubeconfig hub": true, "logs": true} {
		cmd := root()
		cmd.SetArgs(append(strings.Fields(args), "--dir", t.TempDir()+"/none"))
		cmd.SetOut(&bytes.Buffer{})
		cmd.SetErr(&bytes.Buffer{})
		if err := cmd.ExecuteContext(t.Context()); (err != nil) != fails {
			t.Errorf("%s: error %v, want one: %v", args, err, fails)
		}
	}
}
