package binaries

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// job builds the wanted programs of one upstream into one cache folder.
type job struct {
	upstream
	source, dir, version, ldflags string
	want                          []string
}

func (j job) missing() []string {
	var missing []string
	for _, name := range j.want {
		if info, err := os.Stat(filepath.Join(j.dir, name)); err != nil || !info.Mode().IsRegular() {
			missing = append(missing, name)
		}
	}
	return missing
}

// build compiles what is missing one program at a time, so that what is finished
// stays finished when the next one is interrupted.
func (j job) build(ctx context.Context, log io.Writer) error {
	if err := os.MkdirAll(j.dir, 0o755); err != nil {
		return fmt.Errorf("make cache folder: %w", err)
	}
	for _, name := range j.missing() {
		if err := j.one(ctx, log, name); err != nil {
			return fmt.Errorf("build %s %s: %w", name, j.version, err)
		}
	}
	return nil
}

func (j job) one(ctx context.Context, log io.Writer, name string) error {
	tmp, err := os.MkdirTemp(j.dir, ".build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	goTool, err := findGo()
	if err != nil {
		return err
	}
	out := filepath.Join(tmp, name)
	cmd := exec.CommandContext(ctx, goTool, "build", "-buildvcs=false", "-ldflags="+j.ldflags, "-o", out, j.programs[name])
	cmd.Dir = j.source
	cmd.Env = environ(os.Environ())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	stop := progress(log, fmt.Sprintf("building %s %s", name, j.version))
	err = cmd.Run()
	stop(err == nil)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, tail(output.String(), 20))
	}
	return os.Rename(out, filepath.Join(j.dir, name))
}

// environ is what the build runs under: the user's, without settings that would
// make other programs of it. Only -p of GOFLAGS is kept.
func environ(user []string) []string {
	env, flags := []string{}, "-mod=readonly"
	for _, kv := range user {
		key, value, _ := strings.Cut(kv, "=")
		switch key {
		case "GOFLAGS":
			if p := regexp.MustCompile(`(?:^|\s)(-p=\d+)`).FindStringSubmatch(value); p != nil {
				flags += " " + p[1]
			}
		case "GOOS", "GOARCH", "GOWORK", "CGO_ENABLED", "GOBIN", "GO111MODULE", "GOEXPERIMENT":
		default:
			env = append(env, kv)
		}
	}
	return append(env, "GOFLAGS="+flags, "GOWORK=off", "CGO_ENABLED=0", "GO111MODULE=on")
}

func findGo() (string, error) {
	if p, err := exec.LookPath("go"); err == nil {
		return p, nil
	}
	if root := os.Getenv("GOROOT"); root != "" {
		p := filepath.Join(root, "bin", "go")
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", errors.New("find the go command: it is not in PATH")
}

// progress prints the line with the time spent, again every half minute, and once
// more when it is stopped.
func progress(log io.Writer, what string) (stop func(ok bool)) {
	if log == nil {
		log = io.Discard
	}
	start, quit, quitted := time.Now(), make(chan struct{}), make(chan struct{})
	fmt.Fprintf(log, "%s ...\n", what)
	go func() {
		defer close(quitted)
		tick := time.NewTicker(30 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(log, "%s ... %s\n", what, elapsed(time.Since(start)))
			case <-quit:
				return
			}
		}
	}()
	return func(ok bool) {
		close(quit)
		<-quitted
		word := "done"
		if !ok {
			word = "failed"
		}
		fmt.Fprintf(log, "%s ... %s after %s\n", what, word, elapsed(time.Since(start)))
	}
}

// lock takes the build lock of the cache; the kernel frees it when the holder dies.
func lock(ctx context.Context, dir string, log io.Writer) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the build lock: %w", err)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for waited := false; ; waited = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("take the build lock: %w", err)
		}
		if !waited && log != nil {
			fmt.Fprintln(log, "waiting for another process that is building")
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for the build lock: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Own builds commands of this repository into dir, named after their folders. They
// are static, so that an image needs nothing else.
func Own(ctx context.Context, dir string, folders ...string) error {
	source, err := sourceDir()
	if err != nil {
		return err
	}
	return OwnOf(ctx, filepath.Join(source, "..", "..", ".."), dir, folders...)
}

// OwnOf does so from a checkout. What was linked from it before is in the cache, where
// go sees what has not changed: one fleet after the other starts with the same programs.
func OwnOf(ctx context.Context, checkout, dir string, folders ...string) error {
	goTool, err := findGo()
	if err != nil {
		return err
	}
	cache, err := CacheDir()
	if err != nil {
		return err
	}
	// Not in dir itself: a build that outlives us must not bring back a folder that
	// was removed meanwhile.
	built := filepath.Join(cache, "own")
	unlock, err := lock(ctx, built, nil)
	if err != nil {
		return err
	}
	defer unlock()
	args := []string{"build", "-buildvcs=false", "-tags=grpcnotrace", "-ldflags=-s -w", "-o", built + string(filepath.Separator)}
	for _, f := range folders {
		args = append(args, "./"+f)
	}
	cmd := exec.CommandContext(ctx, goTool, args...)
	cmd.Dir = checkout
	cmd.Env = environ(os.Environ())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", strings.Join(folders, ", "), err, tail(string(out), 20))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder for programs: %w", err)
	}
	for _, f := range folders {
		if err := install(filepath.Join(built, filepath.Base(f)), filepath.Join(dir, filepath.Base(f))); err != nil {
			return fmt.Errorf("install %s: %w", f, err)
		}
	}
	return nil
}

// install puts a program to another place, which may be on another disk. The next build makes a new file, so a program that
// runs from a link stays as it is.
func install(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	program, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o755)
}
