package binaries

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryProgramIsPinnedAndNamedInItsModule(t *testing.T) {
	for _, u := range upstreams {
		j, err := newJob(u, ".", t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(filepath.Base(j.dir), u.folder+"-"+j.version+"-") {
			t.Errorf("cache folder %q does not name module and version", j.dir)
		}
		tools, err := os.ReadFile(filepath.Join(u.folder, "tools.go"))
		if err != nil {
			t.Fatal(err)
		}
		for name, pkg := range u.programs {
			if !strings.Contains(string(tools), `_ "`+pkg+`"`) {
				t.Errorf("%s/tools.go does not import %s for %s", u.folder, pkg, name)
			}
		}
	}
}

func TestVersionsAreTheWantedOnes(t *testing.T) {
	want := map[string]string{"etcd": "v3.7.3", "kubernetes": "v1.37.2", "kwok": "v0.8.0", "containerd": "v2.4.2", "ocm": "v1.2.0"}
	for _, u := range upstreams {
		if j, err := newJob(u, ".", t.TempDir(), nil); err != nil || j.version != want[u.folder] {
			t.Errorf("%s is pinned to %q (%v), want %s", u.folder, j.version, err, want[u.folder])
		}
	}
}

func TestPinned(t *testing.T) {
	mod := "module x\n\nrequire a.b/c v1.2.3\n\nrequire (\n\ta.b/cd v2.0.0 // indirect\n)\n\nreplace a.b/r => a.b/x v9.9.9\n"
	for module, want := range map[string]string{"a.b/c": "v1.2.3", "a.b/cd": "v2.0.0", "a.b/r": ""} {
		got, err := pinned(mod, module)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("pinned(%s) = %q, %v, want %q", module, got, err, want)
		}
	}
}

func TestPlanBuildsOnlyWhatIsAsked(t *testing.T) {
	jobs, set, err := plan(".", t.TempDir(), []string{"etcd", "kube-apiserver"})
	if err != nil {
		t.Fatal(err)
	}
	if len(jobs) != 2 || len(set) != 2 || complete(jobs) {
		t.Errorf("jobs %v, set %v, complete %v", jobs, set, complete(jobs))
	}
	if _, _, err := plan(".", t.TempDir(), []string{"etcdd"}); err == nil || !strings.Contains(err.Error(), `"etcdd"`) {
		t.Errorf("an unknown program gives %v", err)
	}
}

func TestNothingIsBuiltTwice(t *testing.T) {
	cache := t.TempDir()
	jobs, set, err := plan(".", cache, []string{"kwok"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(set["kwok"]), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(set["kwok"], nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if !complete(jobs) {
		t.Errorf("%v are missing though they are cached", jobs[0].missing())
	}
}

func TestBuildIgnoresTheUsersGoSettings(t *testing.T) {
	env := environ([]string{"HOME=/h", "GOFLAGS=-mod=vendor -p=2 -race", "GOOS=windows", "CGO_ENABLED=1", "GOWORK=/w"})
	want := []string{"HOME=/h", "GOFLAGS=-mod=readonly -p=2", "GOWORK=off", "CGO_ENABLED=0", "GO111MODULE=on"}
	if !slices.Equal(env, want) {
		t.Errorf("environ = %q, want %q", env, want)
	}
}

func TestOneBuildAtATime(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var log bytes.Buffer
	if _, err := lock(ctx, dir, &log); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a held lock gives %v", err)
	}
	if !strings.Contains(log.String(), "waiting for another process") {
		t.Errorf("log %q does not say that it waits", log.String())
	}
	unlock()
	again, err := lock(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestKubernetesVersionIsStampedInBothPlaces(t *testing.T) {
	flags := strings.Join(kubernetesVersion("v1.37.2"), " ")
	for _, want := range []string{
		"-X k8s.io/component-base/version.gitVersion=v1.37.2",
		"-X k8s.io/client-go/pkg/version.gitVersion=v1.37.2",
		"-X k8s.io/component-base/version.gitMinor=37",
	} {
		if !strings.Contains(flags, want) {
			t.Errorf("%q is missing in %q", want, flags)
		}
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("FLOTILLA_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", "/x")
	if dir, err := CacheDir(); err != nil || dir != "/x/flotilla" {
		t.Errorf("CacheDir = %q, %v", dir, err)
	}
	t.Setenv("FLOTILLA_CACHE", "/f")
	if dir, err := CacheDir(); err != nil || dir != "/f" {
		t.Errorf("CacheDir = %q, %v", dir, err)
	}
}

func TestElapsed(t *testing.T) {
	if got := elapsed(192 * time.Second); got != "3:12" {
		t.Errorf("elapsed = %q", got)
	}
}

func TestUnavailableSaysWhy(t *testing.T) {
	t.Setenv("FLOTILLA_CACHE", t.TempDir())
	if why := Unavailable("kwok"); why != "" {
		t.Errorf("with Go there it says %q", why)
	}
	t.Setenv("PATH", "")
	t.Setenv("GOROOT", t.TempDir())
	if why := Unavailable("kwok"); !strings.Contains(why, "kwok") || !strings.Contains(why, "go command") {
		t.Errorf("without Go it says %q", why)
	}
}

func TestOwnProgramsAreBuiltAndRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bin")
	if err := Own(t.Context(), dir, "test/fleet/testapp"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "testapp"), "hello", "you").Output()
	if err != nil || !strings.HasPrefix(string(out), "hello you") {
		t.Errorf("the program says %q, %v", out, err)
	}
}

// A program that runs must not change under its own feet when the next fleet builds.
func TestOwnProgramsAreBuiltOnceAndNeverWrittenTo(t *testing.T) {
	t.Setenv("FLOTILLA_CACHE", t.TempDir())
	checkout := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(checkout, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.com/own\n\ngo 1.26\n")
	if err := os.Mkdir(filepath.Join(checkout, "says"), 0o755); err != nil {
		t.Fatal(err)
	}
	build := func(word string) (program string) {
		write("says/main.go", "package main\n\nfunc main() { print(\""+word+"\") }\n")
		dir := t.TempDir()
		if err := OwnOf(t.Context(), checkout, dir, "says"); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, "says")
	}
	stat := func(path string) os.FileInfo {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first, again := build("one"), build("one")
	if !os.SameFile(stat(first), stat(again)) {
		t.Error("it was built twice")
	}
	second := build("two")
	for program, want := range map[string]string{first: "one", second: "two"} {
		if out, err := exec.CommandContext(t.Context(), program).CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("it says %q, %v; want %q", out, err, want)
		}
	}
}
