package cri

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-logr/logr"
)

// sockets of runtimes below the folder of runtimes, the one that pulls images first. // CR-1
var sockets = []string{
	"containerd.sock",
	"containerd/containerd.sock",
	"crio.sock",
	"crio/crio.sock",
	"cri-dockerd.sock",
	"cri-dockerd/cri-dockerd.sock",
}

// Sockets says where to look.
type Sockets struct {
	// Folder holds the host's runtimes, as this process sees it.
	Folder string
	// File is the one socket to use, below Folder; empty looks for all that are known.
	File string
	// Endpoint is the one socket to use, anywhere: a path or unix://path. It wins over File.
	Endpoint string
}

// Detect lists the endpoints to try, in order.
func Detect(s Sockets) ([]string, error) {
	switch {
	case s.Endpoint != "":
		return []string{unix(s.Endpoint)}, nil
	case s.File != "":
		return []string{unix(filepath.Join(s.Folder, s.File))}, nil
	}
	var found []string
	for _, name := range sockets {
		path := filepath.Join(s.Folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			found = append(found, unix(path))
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("find a container runtime: none of %s is in %s; name one with --cri-socket", strings.Join(sockets, ", "), s.Folder)
	}
	return found, nil
}

func unix(path string) string {
	if strings.Contains(path, "://") {
		return path
	}
	return "unix://" + path
}

// ConnectAll connects to every endpoint that works. It fails when none does, with what each said. // CR-2, CR-4
func ConnectAll(ctx context.Context, endpoints []string, log logr.Logger) (Runtimes, error) {
	var all Runtimes
	var failures []error
	for _, endpoint := range endpoints {
		r, err := Connect(ctx, endpoint)
		if err != nil {
			log.Info("skipping a runtime's socket", "endpoint", endpoint, "error", err.Error())
			failures = append(failures, err)
			continue
		}
		log.Info("connected to a container runtime", "endpoint", endpoint, "runtime", r.Name())
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no container runtime can be used: %w", errors.Join(failures...))
	}
	return all, nil
}
