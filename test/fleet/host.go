package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/flotilla-project/flotilla/test/fleet/binaries"
)

// debianPackages are what real nodes need beside what we build: package by the file
// that shows that it is there. An empty folder means "anywhere in PATH".
var debianPackages = map[string]string{
	"runc":                        "runc",
	"iproute2":                    "ip",
	"iptables":                    "iptables",
	"conntrack":                   "conntrack",
	"containernetworking-plugins": "",
}

// maxUnixPath is what the kernel takes as the path of a socket.
const maxUnixPath = 107

// prepareHost makes what the real nodes of a fleet share: the bridge and the registry.
func (f *Fleet) prepareHost(ctx context.Context) error {
	longest := filepath.Join(f.dir, "nodes", "200", "kubelet", "device-plugins", "kubelet.sock")
	if len(longest) > maxUnixPath {
		return fmt.Errorf("state folder %s is %d characters too long for the sockets of real nodes", f.dir, len(longest)-maxUnixPath)
	}
	if err := f.installTools(ctx); err != nil {
		return err
	}
	if err := f.makeBridge(ctx); err != nil {
		return err
	}
	return f.startRegistry(ctx)
}

// installTools installs the Debian packages that are missing, and says so.
func (f *Fleet) installTools(ctx context.Context) error {
	var missing []string
	for pkg, tool := range debianPackages {
		if tool == "" {
			if cniDir() == "" {
				missing = append(missing, pkg)
			}
		} else if _, err := findTool(tool); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("real nodes need %s: install them, there is no apt-get here to do it with", strings.Join(missing, ", "))
	}
	fmt.Fprintf(f.log, "installing Debian packages for real nodes: %s\n", strings.Join(missing, " "))
	install := append([]string{"apt-get", "install", "-y", "-qq", "--no-install-recommends"}, missing...)
	if command(ctx, install...) == nil {
		return nil
	}
	// The package lists may be missing or old.
	return errors.Join(command(ctx, "apt-get", "update", "-qq"), command(ctx, install...))
}

// findTool also looks where root's PATH may not.
func findTool(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return filepath.Join(dir, name), nil
		}
	}
	return "", fmt.Errorf("find %s: it is not installed", name)
}

// cniDir is where the network plugins are: Debian's place or upstream's.
func cniDir() string {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir
		}
	}
	return ""
}

// command runs a tool of the host and returns what it said when it failed.
func command(ctx context.Context, args ...string) error {
	path, err := findTool(args[0])
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func (f *Fleet) registryAddress() string {
	return net.JoinHostPort(f.slot().gateway(), strconv.Itoa(f.slot().port(portRegistry)))
}

// Programs is the folder of static programs for which the registry of real nodes serves images of their names.
func (f *Fleet) Programs() string { return filepath.Join(f.dir, "programs") }

// startRegistry builds our own small programs and serves images of them.
func (f *Fleet) startRegistry(ctx context.Context) error {
	bin := filepath.Join(f.dir, "bin")
	if err := binaries.Own(ctx, bin, "test/fleet/testapp", "test/fleet/cmd/registry"); err != nil {
		return err
	}
	registry := component{name: "registry", args: []string{
		filepath.Join(bin, "registry"), "-addr", f.registryAddress(), "-app", filepath.Join(bin, "testapp"),
		"-programs", f.Programs(),
	}}
	return f.run(ctx, registry, func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", f.registryAddress())
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// StopRegistry kills the image registry of real nodes; nothing can be pulled.
func (f *Fleet) StopRegistry(ctx context.Context) error { return f.stopProcess(ctx, "registry") }

// StartRegistry brings it back.
func (f *Fleet) StartRegistry(ctx context.Context) error {
	return f.restartProcess(ctx, "registry", nil)
}

// removeHost removes what real nodes left on the machine: processes in their cgroups,
// mounts, interfaces, namespaces. Everything is found by the fleet's id or folder.
func removeHost(ctx context.Context, s *state, dir string) error {
	sockets := shimSockets(dir)
	err := errors.Join(killCgroup(ctx, cgroupName(s.ID)), unmountBelow(dir), removeNetwork(ctx, s.ID), removeCgroup(ctx, cgroupName(s.ID)))
	for _, path := range sockets {
		_ = os.Remove(path)
	}
	removeTraces(dir)
	return err
}

// removeTraces removes files that containerd and kubelet keep in fixed places.
func removeTraces(dir string) {
	results, _ := filepath.Glob("/var/lib/cni/results/*")
	for _, path := range results {
		if raw, err := os.ReadFile(path); err == nil && bytes.Contains(raw, []byte(dir+"/")) {
			_ = os.Remove(path)
		}
	}
	links, _ := filepath.Glob("/var/log/containers/*.log")
	for _, path := range links {
		if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, dir+"/") {
			_ = os.Remove(path)
		}
	}
	if plugins := "/var/lib/kubelet/device-plugins/kubelet.sock"; deaf(plugins) {
		_ = os.Remove(plugins)
	}
	// Folders that are empty now were made for us, or nobody misses them.
	for _, path := range []string{
		"/var/log/containers", "/var/lib/cni/results", "/var/lib/cni", "/run/containerd/s", "/run/containerd",
		"/var/lib/kubelet/device-plugins", "/var/lib/kubelet",
	} {
		_ = os.Remove(path)
	}
}

// deaf says that nobody listens on a socket any more.
func deaf(path string) bool {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
