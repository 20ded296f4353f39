package fleet

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Logs lists all log files of the fleet.
func (f *Fleet) Logs() []string { return LogFiles(f.dir) }

// LogFiles lists the log files of the fleet in dir, running or not.
func LogFiles(dir string) []string { return logFiles(filepath.Join(dir, "log")) }

func logFiles(folder string) []string {
	var paths []string
	_ = filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return nil
	})
	return paths
}

// LogTail returns the last lines of a log, indented, for an error or a failed test.
func LogTail(path string, lines int) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	all = all[max(0, len(all)-lines):]
	for i, l := range all {
		if len(l) > 300 {
			l = l[:300] + " ..."
		}
		all[i] = "    " + l
	}
	return strings.Join(all, "\n")
}

// Process is a process of a fleet as others may see it.
type Process struct {
	Name, Log string
	PID       int
	Running   bool
}

// Processes lists the fleet's processes in the order they were started in.
func (f *Fleet) Processes() []Process {
	s, err := loadState(f.dir)
	if err != nil {
		return nil
	}
	all := make([]Process, 0, len(s.Started))
	for _, name := range slices.Compact(s.Started) {
		p := s.Processes[name]
		all = append(all, Process{Name: name, Log: p.Log, PID: p.PID, Running: p.alive(f.dir)})
	}
	return all
}
