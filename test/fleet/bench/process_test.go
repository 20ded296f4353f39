package bench

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-project/flotilla/test/fleet"
)

// What a process holds in memory, as the kernel calls it.
const (
	held = "VmRSS"
	peak = "VmHWM"
)

func pidOf(b testing.TB, f *fleet.Fleet, process string) int {
	b.Helper()
	for _, p := range f.Processes() {
		if p.Name == process {
			return p.PID
		}
	}
	b.Fatalf("%s does not run", process)
	return 0
}

// cpuOf is the processor time that a process has used since it was started.
func cpuOf(b testing.TB, pid int) time.Duration {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	kernel, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+kernel) * 10 * time.Millisecond // the kernel counts in hundredths
}

// memoryOf is the memory of a process in bytes: what is held, or the peak since it was started.
func memoryOf(b testing.TB, pid int, what string) int {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == what+":" {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				b.Fatal(err)
			}
			return kib << 10
		}
	}
	b.Fatalf("process %d has no %s", pid, what)
	return 0
}
