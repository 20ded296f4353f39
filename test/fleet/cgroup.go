package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

func cgroupName(id string) string { return "flotilla-" + id }

// hierarchies lists where cgroups are: the one folder of version 2, or one per
// controller of version 1.
func hierarchies() (paths []string, unified bool) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}, true
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, false
	}
	for _, e := range entries {
		// Links like cpu,cpuacct lead to the same hierarchy again.
		if e.IsDir() {
			paths = append(paths, filepath.Join(cgroupRoot, e.Name()))
		}
	}
	return paths, false
}

// makeCgroup makes a cgroup in every hierarchy, ready to hold others: kubelet only
// uses what is there.
func makeCgroup(name string) error {
	paths, unified := hierarchies()
	for _, h := range paths {
		dir := h
		for part := range strings.SplitSeq(name, "/") {
			if unified {
				if err := delegate(dir); err != nil {
					return err
				}
			}
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("make cgroup: %w", err)
			}
			if err := inheritCPUs(parent, dir); err != nil {
				return err
			}
		}
		if unified {
			if err := delegate(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// inheritCPUs fills in what version 1 leaves empty: no process may enter such a cgroup.
func inheritCPUs(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) || len(bytes.TrimSpace(have)) > 0 {
			continue
		}
		inherited, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil || len(bytes.TrimSpace(inherited)) == 0 {
			continue // version 2 inherits by itself
		}
		if err := os.WriteFile(filepath.Join(dir, file), inherited, 0o644); err != nil {
			return fmt.Errorf("fill in %s: %w", file, err)
		}
	}
	return nil
}

// delegate lets the children of a version 2 cgroup use its controllers.
func delegate(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read cgroup controllers: %w", err)
	}
	var wanted []string
	for c := range strings.FieldsSeq(string(raw)) {
		if slices.Contains([]string{"cpu", "cpuset", "memory", "pids", "io", "hugetlb"}, c) {
			wanted = append(wanted, "+"+c)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(strings.Join(wanted, " ")), 0o644); err != nil {
		return fmt.Errorf("delegate cgroup controllers: %w", err)
	}
	return nil
}

// killCgroup kills all processes below a cgroup: containers whose runtime is gone.
func killCgroup(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("containers did not end"))
	defer cancel()
	return poll(ctx, 20*time.Millisecond, func() error {
		pids := cgroupPids(name)
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill container process %d: %w", pid, err)
			}
		}
		if len(pids) > 0 {
			return fmt.Errorf("processes %v are still in cgroup %s", pids, name)
		}
		return nil
	})
}

func cgroupPids(name string) []int {
	var pids []int
	paths, _ := hierarchies()
	for _, h := range paths {
		_ = filepath.WalkDir(filepath.Join(h, name), func(path string, d fs.DirEntry, err error) error {
			if d == nil || d.Name() != "cgroup.procs" {
				return nil // what cannot be read has ended, and the walk goes on
			}
			raw, _ := os.ReadFile(path) // a group that ends meanwhile has no processes
			for field := range strings.FieldsSeq(string(raw)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
					pids = append(pids, pid)
				}
			}
			return nil
		})
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// removeCgroup removes a cgroup and all below, deepest first. The kernel takes a
// moment to let go of one whose last process has just died.
func removeCgroup(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("cgroups stay busy"))
	defer cancel()
	paths, _ := hierarchies()
	return poll(ctx, 50*time.Millisecond, func() error {
		var errs []error
		for _, h := range paths {
			var dirs []string
			_ = filepath.WalkDir(filepath.Join(h, name), func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for _, dir := range slices.Backward(dirs) {
				if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, syscall.ENOENT) {
					errs = append(errs, fmt.Errorf("remove cgroup %s: %w", dir, err))
				}
			}
		}
		return errors.Join(errs...)
	})
}
