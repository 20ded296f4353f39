package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Names of interfaces have 15 characters at most: an id has eight.
func bridgeName(id string) string           { return "fl" + id }
func vethName(id string, number int) string { return fmt.Sprintf("fl%sn%d", id, number) }
func netnsName(id string, number int) string {
	return fmt.Sprintf("flotilla-%s-%d", id, number)
}

// makeBridge makes the network that joins the nodes, and lets the host forward for it.
func (f *Fleet) makeBridge(ctx context.Context) error {
	bridge := bridgeName(f.state.ID)
	for _, args := range [][]string{
		{"ip", "link", "add", bridge, "type", "bridge"},
		{"ip", "addr", "add", f.slot().gateway() + "/24", "dev", bridge},
		{"ip", "link", "set", bridge, "up"},
	} {
		if err := command(ctx, args...); err != nil {
			return fmt.Errorf("make the bridge: %w", err)
		}
	}
	for _, rule := range forwardRules(f.state.ID) {
		if err := command(ctx, append([]string{"iptables", "-w", "-I"}, rule...)...); err != nil {
			return fmt.Errorf("let the bridge forward: %w", err)
		}
	}
	// Three watchers per kubelet and container runtime soon use up the default.
	return errors.Join(
		atLeast("/proc/sys/net/ipv4/ip_forward", 1),
		atLeast("/proc/sys/fs/inotify/max_user_instances", 1024))
}

// forwardRules come before anything else, since a host with Docker drops what it
// does not know.
func forwardRules(id string) [][]string {
	return [][]string{
		{"FORWARD", "-i", bridgeName(id), "-j", "ACCEPT"},
		{"FORWARD", "-o", bridgeName(id), "-j", "ACCEPT"},
	}
}

// connect makes the node's namespace and its cable to the bridge.
func (n realNode) connect(ctx context.Context) error {
	gateway, service := n.cluster.fleet.slot().gateway(), fmt.Sprintf("%s:%d", n.cluster.fleet.slot().gateway(), n.cluster.port(portAPIServer))
	steps := [][]string{
		{"ip", "netns", "add", n.netns()},
		{"ip", "link", "add", n.veth(), "type", "veth", "peer", "name", "eth0", "netns", n.netns()},
		{"ip", "link", "set", n.veth(), "master", bridgeName(n.cluster.fleet.state.ID), "up"},
		{"ip", "-n", n.netns(), "addr", "add", n.ip() + "/24", "dev", "eth0"},
		{"ip", "-n", n.netns(), "link", "set", "lo", "up"},
		{"ip", "-n", n.netns(), "link", "set", "eth0", "up"},
		{"ip", "-n", n.netns(), "route", "add", "default", "via", gateway},
		{"ip", "route", "replace", n.podCIDR(), "via", n.ip()},
		n.inside("/bin/sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"),
	}
	// No proxy runs, but pods find the API server where Kubernetes promises it.
	for _, chain := range []string{"PREROUTING", "OUTPUT"} {
		steps = append(steps, n.inside("iptables", "-w", "-t", "nat", "-A", chain, "-d", serviceIP, "-p", "tcp", "--dport", "443", "-j", "DNAT", "--to-destination", service))
	}
	for _, args := range steps {
		if err := command(ctx, args...); err != nil {
			return fmt.Errorf("connect the node: %w", err)
		}
	}
	return nil
}

// removeNetwork removes all interfaces, namespaces and rules of a fleet. Addresses,
// routes and the rules inside of namespaces go with them.
func removeNetwork(ctx context.Context, id string) error {
	var errs []error
	namespaces, err := filepath.Glob("/run/netns/" + fmt.Sprintf("flotilla-%s-*", id))
	errs = append(errs, err)
	for _, path := range namespaces {
		errs = append(errs, command(ctx, "ip", "netns", "delete", filepath.Base(path)))
	}
	interfaces, err := net.Interfaces()
	errs = append(errs, err)
	for _, i := range interfaces {
		if strings.HasPrefix(i.Name, bridgeName(id)) {
			// A veth goes with the namespace of its other end, at a time of the kernel's.
			if err := command(ctx, "ip", "link", "delete", i.Name); err != nil && exists(i.Name) {
				errs = append(errs, err)
			}
		}
	}
	for _, rule := range forwardRules(id) {
		if command(ctx, append([]string{"iptables", "-w", "-C"}, rule...)...) == nil {
			errs = append(errs, command(ctx, append([]string{"iptables", "-w", "-D"}, rule...)...))
		}
	}
	return errors.Join(errs...)
}

func exists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// atLeast raises a kernel setting that is too low.
func atLeast(path string, want int) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	var have int
	if _, err := fmt.Sscan(string(raw), &have); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if have >= want {
		return nil
	}
	return os.WriteFile(path, fmt.Append(nil, want), 0o644)
}
