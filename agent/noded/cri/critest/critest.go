// Package critest is a container runtime in memory, for faults that a real one cannot be asked for: slow, gone, full,
// or answering with a given error. What it does, real ones are asked for in test/fleet.
package critest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

// Runtime implements cri.Runtime. The zero value has no images and no containers, and every pull succeeds.
type Runtime struct {
	// Called is what Name says; empty is containerd.
	Called string
	// OnPull decides a pull; nil succeeds at once. It is called without the lock.
	OnPull func(ctx context.Context, what cri.Pull) error
	// OnExec decides a command; nil succeeds silently.
	OnExec func(ctx context.Context, id string, command []string, timeout time.Duration) (cri.Result, error)
	// OnStop decides a stop; nil ends the container.
	OnStop func(ctx context.Context, id string, grace time.Duration) error
	// OnDownloads tells what is being fetched; nil tells nothing.
	OnDownloads func() (cri.Download, error)

	mu         sync.Mutex
	gone       error
	images     []cri.Image
	containers []cri.Status
	ips        map[string]string
	pulls      []cri.Pull
	stops      []string
}

var _ cri.Runtime = &Runtime{}

// Gone makes every call fail as if the runtime had stopped, until Back.
func (r *Runtime) Gone() { r.fail(fmt.Errorf("%w: connection refused", cri.ErrGone)) }

// Back ends Gone.
func (r *Runtime) Back() { r.fail(nil) }

func (r *Runtime) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = err
}

// AddImage puts an image there.
func (r *Runtime) AddImage(i cri.Image) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.images = append(r.images, i)
}

// SetContainer adds a container, or replaces the one with its ID.
func (r *Runtime) SetContainer(c cri.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.containers = slices.DeleteFunc(r.containers, func(old cri.Status) bool { return old.ID == c.ID })
	r.containers = append(r.containers, c)
}

// SetIP gives a sandbox an address.
func (r *Runtime) SetIP(sandbox, ip string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ips == nil {
		r.ips = map[string]string{}
	}
	r.ips[sandbox] = ip
}

// Pulls are those that were asked for, in order.
func (r *Runtime) Pulls() []cri.Pull {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.pulls)
}

// Stops are the containers that were stopped, each with its grace period, in order: "abc 30s".
func (r *Runtime) Stops() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.stops)
}

// Name implements cri.Runtime.
func (r *Runtime) Name() string { return cmp.Or(r.Called, "containerd") }

// Version implements cri.Runtime.
func (r *Runtime) Version(context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return "test", r.gone
}

// Images implements cri.Runtime.
func (r *Runtime) Images(context.Context) ([]cri.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.images), r.gone
}

// Image implements cri.Runtime.
func (r *Runtime) Image(ctx context.Context, reference string) (cri.Image, error) {
	all, err := r.Images(ctx)
	if err != nil {
		return cri.Image{}, err
	}
	for _, i := range all {
		if i.ID == reference || slices.Contains(i.Tags, reference) || slices.Contains(i.Digests, reference) {
			return i, nil
		}
	}
	return cri.Image{}, fmt.Errorf("%w: image %s", cri.ErrNotFound, reference)
}

// Pull implements cri.Runtime.
func (r *Runtime) Pull(ctx context.Context, what cri.Pull) (string, error) {
	r.mu.Lock()
	gone := r.gone
	if gone == nil {
		r.pulls = append(r.pulls, what)
	}
	r.mu.Unlock()
	if gone != nil {
		return "", gone
	}
	if r.OnPull != nil {
		if err := r.OnPull(ctx, what); err != nil {
			return "", err
		}
	}
	i := cri.Image{ID: "sha256:" + strings.Repeat("1", 64), Size: 1}
	if strings.Contains(what.Image, "@") {
		i.Digests = []string{what.Image}
	} else {
		i.Tags = []string{what.Image}
	}
	r.AddImage(i)
	return i.ID, nil
}

// Downloads implements cri.Downloader.
func (r *Runtime) Downloads(context.Context) (cri.Download, error) {
	if r.OnDownloads == nil {
		return cri.Download{}, errors.New("it does not tell")
	}
	return r.OnDownloads()
}

// Containers implements cri.Runtime.
func (r *Runtime) Containers(_ context.Context, podUID string) (found []cri.Container, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if podUID == "" || c.PodUID == podUID {
			found = append(found, c.Container)
		}
	}
	slices.SortStableFunc(found, func(a, b cri.Container) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return found, r.gone
}

// Container implements cri.Runtime.
func (r *Runtime) Container(_ context.Context, id string) (cri.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone != nil {
		return cri.Status{}, r.gone
	}
	for _, c := range r.containers {
		if c.ID == id {
			return c, nil
		}
	}
	return cri.Status{}, fmt.Errorf("%w: container %s", cri.ErrNotFound, id)
}

// Stop implements cri.Runtime.
func (r *Runtime) Stop(ctx context.Context, id string, grace time.Duration) error {
	if _, err := r.Container(ctx, id); err != nil {
		return err
	}
	if r.OnStop != nil {
		if err := r.OnStop(ctx, id, grace); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stops = append(r.stops, fmt.Sprintf("%s %s", id, grace))
	for i := range r.containers {
		if r.containers[i].ID == id {
			r.containers[i].State = cri.Exited
		}
	}
	return nil
}

// Exec implements cri.Runtime.
func (r *Runtime) Exec(ctx context.Context, id string, command []string, timeout time.Duration) (cri.Result, error) {
	if _, err := r.Container(ctx, id); err != nil {
		return cri.Result{}, err
	}
	if r.OnExec == nil {
		return cri.Result{}, nil
	}
	return r.OnExec(ctx, id, command, timeout)
}

// SandboxIP implements cri.Runtime.
func (r *Runtime) SandboxIP(_ context.Context, sandbox string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone != nil {
		return "", r.gone
	}
	ip, found := r.ips[sandbox]
	if !found {
		return "", fmt.Errorf("%w: sandbox %s", cri.ErrNotFound, sandbox)
	}
	return ip, nil
}
