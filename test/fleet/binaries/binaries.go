// Package binaries builds the programs a fleet runs - Kubernetes components, etcd,
// kwok, containerd - from Go modules pinned in the nested modules beside it. It
// owns the folders `bin` and `own` in Flotilla's cache and promises that a program is built
// once per version and settings, that two processes never build at the same time
// and that what is in the cache is complete. It needs Go and nothing else.
package binaries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// upstream is a nested module and the programs it pins.
type upstream struct {
	folder   string
	module   string
	ldflags  func(version string) []string
	programs map[string]string // name: package
}

var upstreams = []upstream{
	{folder: "etcd", module: "go.etcd.io/etcd/server/v3", programs: map[string]string{
		"etcd": "go.etcd.io/etcd/server/v3",
	}},
	{folder: "kubernetes", module: "k8s.io/kubernetes", ldflags: kubernetesVersion, programs: map[string]string{
		"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
		"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
		"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
		"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
		"kubelet":                 "k8s.io/kubernetes/cmd/kubelet",
	}},
	{folder: "kwok", module: "sigs.k8s.io/kwok", programs: map[string]string{
		"kwok": "sigs.k8s.io/kwok/cmd/kwok",
	}},
	{folder: "containerd", module: "github.com/containerd/containerd/v2", programs: map[string]string{
		"containerd":              "github.com/containerd/containerd/v2/cmd/containerd",
		"containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
		"ctr":                     "github.com/containerd/containerd/v2/cmd/ctr",
	}},
	// What we must be able to stand beside. 1.2.0 is the newest release whose checksum is in the public database.
	{folder: "ocm", module: "open-cluster-management.io/ocm", programs: map[string]string{
		"ocm-registration": "open-cluster-management.io/ocm/cmd/registration",
		"ocm-work":         "open-cluster-management.io/ocm/cmd/work",
		"ocm-placement":    "open-cluster-management.io/ocm/cmd/placement",
	}},
}

// Names returns all programs there are, sorted.
func Names() []string {
	var all []string
	for _, u := range upstreams {
		all = append(all, slices.Collect(maps.Keys(u.programs))...)
	}
	slices.Sort(all)
	return all
}

// Set maps program names to paths.
type Set map[string]string

// Ensure returns the paths of the programs, building what the cache lacks.
// Progress goes to log, one line per step.
func Ensure(ctx context.Context, log io.Writer, names ...string) (Set, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	source, err := sourceDir()
	if err != nil {
		return nil, err
	}
	jobs, set, err := plan(source, cache, names)
	if err != nil || complete(jobs) {
		return set, err
	}
	unlock, err := lock(ctx, filepath.Join(cache, "bin"), log)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, j := range jobs {
		if err := j.build(ctx, log); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// Unavailable says why the programs are neither cached nor can be built here; empty:
// Ensure is worth a try.
func Unavailable(names ...string) string {
	cache, err := CacheDir()
	if err != nil {
		return err.Error()
	}
	source, err := sourceDir()
	if err != nil {
		return err.Error()
	}
	jobs, _, err := plan(source, cache, names)
	if err != nil || complete(jobs) {
		return ""
	}
	if _, err := findGo(); err != nil {
		return fmt.Sprintf("%s are not built yet, and there is nothing to build with: %v", strings.Join(names, ", "), err)
	}
	return ""
}

// CacheDir is Flotilla's cache folder: $FLOTILLA_CACHE, or flotilla in the user's.
func CacheDir() (string, error) {
	if dir := os.Getenv("FLOTILLA_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "flotilla"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(home, ".cache", "flotilla"), nil
}

// plan groups the wanted programs into one job per upstream.
func plan(source, cache string, names []string) ([]job, Set, error) {
	set, known := Set{}, map[string]bool{}
	var jobs []job
	for _, u := range upstreams {
		var want []string
		for name := range u.programs {
			known[name] = true
			if slices.Contains(names, name) {
				want = append(want, name)
			}
		}
		if len(want) == 0 {
			continue
		}
		slices.Sort(want)
		j, err := newJob(u, source, cache, want)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range want {
			set[name] = filepath.Join(j.dir, name)
		}
		jobs = append(jobs, j)
	}
	for _, name := range names {
		if !known[name] {
			return nil, nil, fmt.Errorf("program %q is unknown, there are %s", name, strings.Join(Names(), ", "))
		}
	}
	return jobs, set, nil
}

func complete(jobs []job) bool {
	return !slices.ContainsFunc(jobs, func(j job) bool { return len(j.missing()) > 0 })
}

// newJob derives the cache folder from everything that makes the programs what
// they are, so a change of versions or settings never finds an old build.
func newJob(u upstream, source, cache string, want []string) (job, error) {
	j := job{upstream: u, source: filepath.Join(source, u.folder), want: want}
	mod, err := os.ReadFile(filepath.Join(j.source, "go.mod"))
	if err != nil {
		return job{}, fmt.Errorf("read pinned versions: %w", err)
	}
	sum, err := os.ReadFile(filepath.Join(j.source, "go.sum"))
	if err != nil {
		return job{}, fmt.Errorf("read pinned checksums: %w", err)
	}
	if j.version, err = pinned(string(mod), u.module); err != nil {
		return job{}, err
	}
	j.ldflags = "-s -w"
	if u.ldflags != nil {
		j.ldflags += " " + strings.Join(u.ldflags(j.version), " ")
	}
	h := sha256.New()
	for _, part := range []string{string(mod), string(sum), j.ldflags, runtime.GOOS, runtime.GOARCH} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	id := hex.EncodeToString(h.Sum(nil))[:10]
	j.dir = filepath.Join(cache, "bin", u.folder+"-"+j.version+"-"+id)
	return j, nil
}

// pinned returns the version that a go.mod requires of a module.
func pinned(mod, module string) (string, error) {
	for line := range strings.Lines(mod) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("go.mod does not require %s", module)
}

// kubernetesVersion stamps the version: unstamped components call themselves
// v0.0.0, which some clients refuse.
func kubernetesVersion(version string) []string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			"-X "+pkg+".gitVersion="+version,
			"-X "+pkg+".gitMajor="+major,
			"-X "+pkg+".gitMinor="+minor,
			"-X "+pkg+".gitTreeState=clean",
			"-X "+pkg+".buildDate=1970-01-01T00:00:00Z")
	}
	return flags
}

// sourceDir finds the nested modules: where this file was compiled from, or below
// the working folder's module when the binary was moved or built with -trimpath.
func sourceDir() (string, error) {
	var tried []string
	if dir := os.Getenv("FLOTILLA_SOURCE"); dir != "" {
		tried = append(tried, filepath.Join(dir, "test", "fleet", "binaries"))
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		tried = append(tried, filepath.Dir(file))
	}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			tried = append(tried, filepath.Join(dir, "test", "fleet", "binaries"))
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, dir := range tried {
		if _, err := os.Stat(filepath.Join(dir, "kubernetes", "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("find test/fleet/binaries: run inside the repository or set FLOTILLA_SOURCE to it")
}

// elapsed formats like 3:12.
func elapsed(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
