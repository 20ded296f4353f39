package fleet

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// attributes gives the child a session of its own, so that no terminal reaches it.
func attributes(detach bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if !detach {
		attr.Pdeathsig = syscall.SIGKILL
	}
	return attr
}

// describe returns a process's command line and the tick it was born at; both are
// empty for one that is gone or a zombie. A process in the middle of exec has no
// command line for a moment: one that nsenter turns into a kubelet, say.
func describe(pid int) (line, birth string) {
	for deadline := time.Now().Add(100 * time.Millisecond); ; runtime.Gosched() {
		if line, birth = look(pid); line != "" || birth == "" || time.Now().After(deadline) {
			return line, birth
		}
	}
}

// look is describe at one instant.
func look(pid int) (line, birth string) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "", ""
	}
	state, birth := stat(pid)
	if state == "" || state == zombie {
		return "", ""
	}
	return strings.ReplaceAll(strings.TrimRight(string(raw), "\x00"), "\x00", " "), birth
}

const zombie = "Z"

// stat is the state of a process and the tick it was born at; both are empty when there is none.
func stat(pid int) (state, birth string) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", ""
	}
	// The second field is the name in brackets and may hold anything.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 20 {
		return "", ""
	}
	return fields[0], fields[19]
}

// remains reports whether a process still has anything. Its first thread may be a zombie while others, which are not yet
// told that it was killed, hold its ports; once it is the only one left, all is closed.
func remains(pid int, born string) bool {
	state, birth := stat(pid)
	if state == "" || birth != born {
		return false
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return state != zombie || err == nil && len(threads) > 1
}

// survivors finds processes that run one of the programs and name dir: what a crash
// left unrecorded, such as a containerd-shim. Other people's editors and shells that
// happen to name the folder are no such program.
func survivors(dir string, programs []string) []process {
	var found []process
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(filepath.Base(e))
		if err != nil {
			continue
		}
		exe, err := os.Readlink(filepath.Join(e, "exe"))
		if err != nil || !runs(exe, programs) {
			continue
		}
		if line, birth := describe(pid); strings.Contains(line, dir+"/") {
			found = append(found, process{PID: pid, Birth: birth, Args: strings.Fields(line)})
		}
	}
	return found
}

func runs(exe string, programs []string) bool {
	base := filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	for _, p := range programs {
		if base == p {
			return true
		}
	}
	return false
}
