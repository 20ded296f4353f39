package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a process we started. A pid alone proves nothing, for the kernel gives
// it to someone else later: Birth and the command line must match too.
type process struct {
	PID   int      `json:"pid"`
	Birth string   `json:"birth"`
	Args  []string `json:"args,omitempty"`
	Log   string   `json:"log,omitempty"`
}

// alive reports whether the process runs and is the one that was recorded; mark
// must be part of its command line.
func (p process) alive(mark string) bool {
	if p.PID <= 0 || p.Birth == "" {
		return false
	}
	line, birth := describe(p.PID)
	return birth != "" && birth == p.Birth && strings.Contains(line, mark)
}

// self is this process, as an owner of a fleet.
func self() process {
	_, birth := describe(os.Getpid())
	return process{PID: os.Getpid(), Birth: birth}
}

// spawner starts children from one thread that never ends: the kernel's signal at
// the parent's death goes by the thread that started the child, not by the process.
var spawner = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// launch starts a program whose output goes to the end of log. With detach it
// outlives us, else it dies when we do.
func launch(args, env []string, log string, detach bool) (process, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return process{}, fmt.Errorf("make log folder: %w", err)
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return process{}, fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = attributes(detach)
	started := make(chan error)
	spawner() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return process{}, fmt.Errorf("start %s: %w", filepath.Base(args[0]), err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // a zombie would keep its pid
		close(exited)
	}()
	return process{PID: cmd.Process.Pid, Birth: birthOf(cmd.Process.Pid, exited), Args: args, Log: log}, nil
}

// birthOf waits until the new program shows its command line, which it lacks for a
// moment after exec. A process that is gone before has no birth and never lives.
func birthOf(pid int, exited <-chan struct{}) string {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, birth := describe(pid); birth != "" {
			return birth
		}
		select {
		case <-exited:
			return ""
		case <-tick.C:
		}
	}
}

// kill ends the process if it is still the recorded one, and waits until it is gone.
func (p process) kill(ctx context.Context, mark string) error {
	return p.end(ctx, mark, syscall.SIGKILL)
}

func (p process) end(ctx context.Context, mark string, signal syscall.Signal) error {
	if !p.alive(mark) {
		return nil
	}
	if err := syscall.Kill(p.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s (pid %d): %w", p.program(), p.PID, err)
	}
	return poll(ctx, 10*time.Millisecond, func() error {
		if p.lingers() {
			return fmt.Errorf("%s (pid %d) is still there", p.program(), p.PID)
		}
		return nil
	})
}

// lingers reports whether anything of the process is left. One that is ending has given up its command line already but
// still holds its files and ports.
func (p process) lingers() bool { return remains(p.PID, p.Birth) }

// program is the name of what runs, behind the nsenter that put it in its namespace.
func (p process) program() string {
	for _, a := range p.Args {
		if base := filepath.Base(a); strings.HasPrefix(a, "/") && base != "nsenter" {
			return base
		}
	}
	if len(p.Args) > 0 {
		return filepath.Base(p.Args[0])
	}
	return "process"
}

// poll calls check until it succeeds; at the end of ctx it returns what check said.
func poll(ctx context.Context, every time.Duration, check func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
