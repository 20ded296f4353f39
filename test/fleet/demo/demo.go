// Package demo tells the main job on a fleet of this machine: apply once on a hub, run on two member clusters, update
// in place, lose the hub and heal all the same. It owns the fleet in its folder and prints as it goes.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/system"
)

// patience bounds each step.
const patience = 4 * time.Minute

// Demo is one telling.
type Demo struct {
	// Dir is the state folder.
	Dir string
	// Source is the checkout to build and to apply from.
	Source string
	// Kind of the members' nodes.
	Kind fleet.Kind
	// Out is where it is told.
	Out io.Writer

	fleet  *fleet.Fleet
	system *system.System
	began  time.Time
}

// clusters of the demo: a hub without nodes, east with zones a and b, west with zone c.
func clusters(kind fleet.Kind) []fleet.Cluster {
	zone := func(region string, zones ...string) (nodes []fleet.Node) {
		for _, z := range zones {
			nodes = append(nodes, fleet.Node{Zone: z, Region: region}, fleet.Node{Zone: z, Region: region})
		}
		return nodes
	}
	return []fleet.Cluster{
		{Name: system.HubCluster},
		{Name: "east", Kind: kind, Nodes: zone("east", "a", "b")},
		{Name: "west", Kind: kind, Nodes: zone("west", "c")},
	}
}

// Up tells the whole story and leaves the fleet running.
func (d *Demo) Up(ctx context.Context) error {
	d.began = time.Now()
	for _, step := range []func(context.Context) error{d.start, d.apply, d.update, d.loseHub, d.node} {
		if err := step(ctx); err != nil {
			return d.failed(err)
		}
	}
	return d.summary(ctx)
}

func (d *Demo) failed(err error) error {
	if d.fleet == nil {
		return err
	}
	return fmt.Errorf("%w\n\nThe fleet is left as it is for a look: logs are in %s, and `make demo-down` removes it", err, filepath.Join(d.Dir, "log"))
}

func (d *Demo) start(ctx context.Context) error {
	d.headline("Three clusters on this machine, joined through the real handshake")
	var err error
	d.fleet, err = fleet.Start(ctx, fleet.Config{Dir: d.Dir, Name: "demo", Detach: true, Log: d.indented(), Clusters: clusters(d.Kind)})
	if err != nil {
		return err
	}
	d.system, err = system.Install(ctx, d.fleet, system.Options{Source: d.Source, Log: d.indented()})
	if err != nil {
		return err
	}
	return d.show(ctx, "clusters")
}

func (d *Demo) apply(ctx context.Context) error {
	d.headline("One FederatedDeployment on the hub: 10 replicas, half of them in zone c")
	manifest := filepath.Join(d.Source, "examples", "web.yaml")
	d.command("kubectl apply -f examples/web.yaml")
	if _, err := d.system.Kubectl(ctx, system.HubCluster, "apply", "-f", manifest); err != nil {
		return err
	}
	return d.follow(ctx)
}

func (d *Demo) update(ctx context.Context) error {
	d.headline("A new image, in place: the pods stay, their containers change")
	before, err := d.pods(ctx, "west")
	if err != nil {
		return err
	}
	d.command("kubectl patch fdep web ... image: registry.local/web:v2")
	_, err = d.system.Kubectl(ctx, system.HubCluster, "patch", "fdep", "web", "--type=json", "-p",
		`[{"op":"replace","path":"/spec/template/cloneSetTemplate/spec/template/spec/containers/0/image","value":"registry.local/web:v2"}]`)
	if err != nil {
		return err
	}
	if err := d.follow(ctx); err != nil {
		return err
	}
	after, err := d.pods(ctx, "west")
	if err != nil {
		return err
	}
	kept := 0
	for uid := range after {
		if _, was := before[uid]; was {
			kept++
		}
	}
	fmt.Fprintf(d.Out, "  %d of %d pods on west are the same objects as before, now with the new image\n", kept, len(after))
	if kept != len(before) {
		return fmt.Errorf("%d pods on west were replaced instead of updated in place", len(before)-kept)
	}
	return nil
}

func (d *Demo) loseHub(ctx context.Context) error {
	d.headline("The hub goes away; members heal their pods all the same")
	if err := d.fleet.Cluster(system.HubCluster).StopAPIServer(ctx); err != nil {
		return err
	}
	fmt.Fprintln(d.Out, "  the hub's API server is gone")
	before, err := d.pods(ctx, "east")
	if err != nil {
		return err
	}
	var victim string
	for _, name := range before {
		victim = name
		break
	}
	d.command("kubectl --context east delete pod " + victim)
	if _, err := d.system.Kubectl(ctx, "east", "delete", "pod", victim, "--wait=true"); err != nil {
		return err
	}
	err = d.eventually(ctx, "east has no replacement yet", func() (bool, error) {
		now, err := d.pods(ctx, "east")
		if err != nil || len(now) != len(before) {
			return false, err
		}
		for uid, name := range now {
			if _, was := before[uid]; !was {
				fmt.Fprintf(d.Out, "  %s took its place while the hub was gone\n", name)
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	if err := d.fleet.Cluster(system.HubCluster).StartAPIServer(ctx); err != nil {
		return err
	}
	fmt.Fprintln(d.Out, "  the hub's API server is back")
	return d.follow(ctx)
}

// pods maps the UIDs of the ready pods of the demo on a member to their names.
func (d *Demo) pods(ctx context.Context, member string) (map[string]string, error) {
	out, err := d.system.Kubectl(ctx, member, "get", "pods", "-l", "app=web", "-o",
		`jsonpath={range .items[*]}{.metadata.uid} {.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
	if err != nil {
		return nil, err
	}
	pods := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "True" {
			pods[f[0]] = f[1]
		}
	}
	return pods, nil
}

// follow shows the table of subsets whenever it changed, until all of the newest spec is ready.
func (d *Demo) follow(ctx context.Context) error {
	shown := ""
	return d.eventually(ctx, "not ready yet", func() (bool, error) {
		table, err := d.system.CLI(ctx, "status", "web")
		if err != nil {
			return false, err
		}
		if table != shown {
			shown = table
			fmt.Fprintln(d.indented(), strings.TrimRight(table, "\n"))
			fmt.Fprintln(d.Out)
		}
		out, err := d.system.Kubectl(ctx, system.HubCluster, "get", "fdep", "web", "-o",
			`jsonpath={.metadata.generation} {.status.observedGeneration} {.status.conditions[?(@.type=="Ready")].status}`)
		if err != nil {
			return false, err
		}
		f := strings.Fields(out)
		return len(f) == 3 && f[0] == f[1] && f[2] == "True", nil
	})
}

// eventually asks until the answer is yes. An error is news of the moment, such as an API server that is just coming back.
func (d *Demo) eventually(ctx context.Context, not string, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s after %s", not, patience))
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		yes, err := ask()
		if yes {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

func (d *Demo) show(ctx context.Context, args ...string) error {
	out, err := d.system.CLI(ctx, args...)
	fmt.Fprintln(d.indented(), strings.TrimRight(out, "\n"))
	return err
}

func (d *Demo) headline(text string) { fmt.Fprintf(d.Out, "\n== %s\n", text) }
func (d *Demo) command(text string)  { fmt.Fprintf(d.Out, "  $ %s\n", text) }

func (d *Demo) indented() io.Writer { return &indenter{to: d.Out, start: true} }

// indenter puts two spaces before every line.
type indenter struct {
	to    io.Writer
	start bool
}

func (w *indenter) Write(p []byte) (int, error) {
	for _, b := range p {
		if w.start && b != '\n' {
			if _, err := io.WriteString(w.to, "  "); err != nil {
				return 0, err
			}
		}
		w.start = b == '\n'
		if _, err := w.to.Write([]byte{b}); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (d *Demo) summary(ctx context.Context) error {
	kubectl, err := d.fleet.Program(ctx, "kubectl")
	if err != nil {
		return err
	}
	d.headline(fmt.Sprintf("Done in %s. The fleet is yours", time.Since(d.began).Round(time.Second)))
	bin, west, exec := filepath.Join(d.Dir, "flotilla", "bin"), d.fleet.Cluster("west").Kubeconfig(), ""
	if d.Kind == fleet.Real {
		exec = fmt.Sprintf("    kubectl --kubeconfig %s exec POD -- /app hello     # into a running container\n", west)
	}
	fmt.Fprintf(d.Out, `
  Kubeconfigs
`)
	for _, c := range d.fleet.Clusters() {
		fmt.Fprintf(d.Out, "    %-5s %s\n", c.Name(), c.Kubeconfig())
	}
	fmt.Fprintf(d.Out, `
  Try next
    export PATH=%s:%s:$PATH
    export KUBECONFIG=%s
    kubectl flotilla status web -w                               # one line per subset, as it changes
    kubectl scale fdep web --replicas 25                         # shares and percentages hold at every step
    kubectl get managedclusters,manifestworks -A                 # what the hub sends to whom
    kubectl --kubeconfig %s get pods -o wide
%s    make demo-down                                               # leaves nothing behind
`, bin, filepath.Dir(kubectl), d.fleet.Cluster(system.HubCluster).Kubeconfig(), west, exec)
	return nil
}
