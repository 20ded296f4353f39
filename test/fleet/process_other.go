//go:build !linux

package fleet

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// attributes gives the child a session of its own. There is no signal at the
// parent's death here: what a killed test leaves goes when the next one sweeps.
func attributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func describe(pid int) (line, birth string) {
	out, err := exec.Command("ps", "-ww", "-o", "stat=,lstart=,command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return "", ""
	}
	fields := strings.Fields(string(out))
	if len(fields) < 7 || strings.HasPrefix(fields[0], "Z") {
		return "", ""
	}
	return strings.Join(fields[6:], " "), strings.Join(fields[1:6], " ")
}

func survivors(string, []string) []process { return nil }

// remains reports whether a process is still there.
func remains(pid int, born string) bool {
	_, birth := describe(pid)
	return birth != "" && birth == born
}
