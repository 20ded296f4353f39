package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

const (
	// slimAfter is when the daemon has started, listed and begun its work.
	slimAfter = 30 * time.Second
	// pageOut is MADV_PAGEOUT, since Linux 5.4: the kernel takes the pages back and keeps what they hold.
	pageOut = 21
)

// slim gives back the parts of the program that were needed to start it, once. Three quarters of what an idle daemon holds
// is its own program, and most of that are tables and types of APIs that only the start goes through; what is needed after
// all is read again. A kernel that does not do it is no worse than before.
func slim() manager.Runnable {
	return manager.RunnableFunc(func(ctx context.Context) error {
		timer := time.NewTimer(slimAfter)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
			_ = giveBack()
		}
		return nil
	})
}

// giveBack does it for every part of the program that is only read.
func giveBack() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer func() { _ = maps.Close() }()
	var failures []error
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		from, to, ok := readOnlyPart(lines.Text(), program)
		if !ok {
			continue
		}
		if _, _, no := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, pageOut); no != 0 {
			failures = append(failures, fmt.Errorf("give back the program's memory: %w", no))
		}
	}
	return errors.Join(failures...)
}

// readOnlyPart is the range of a line of maps, if it is of the program and cannot be written.
func readOnlyPart(line, program string) (from, to uintptr, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || f[5] != program || !strings.HasPrefix(f[1], "r-") {
		return 0, 0, false
	}
	begin, end, _ := strings.Cut(f[0], "-")
	a, err1 := strconv.ParseUint(begin, 16, 64)
	b, err2 := strconv.ParseUint(end, 16, 64)
	return uintptr(a), uintptr(b), err1 == nil && err2 == nil && a < b
}
