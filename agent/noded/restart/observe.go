package restart

import (
	"context"
	"errors"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// steps is the part of the loop that is about one request.
type steps struct {
	runtimes cri.Runtimes
	killer   *Killer
}

var _ loop.Steps[*kruise.ContainerRecreateRequest, seen, *plan] = &steps{}

// seen is what the runtime shows.
type seen struct {
	runtime cri.Runtime
	// containers are the newest of each name.
	containers map[string]cri.Status
	// problem says why the request cannot be carried out here.
	problem string
}

// Observe looks at the pod's containers. Of a request whose turn has only come nothing has to be known yet.
func (s *steps) Observe(ctx context.Context, r *kruise.ContainerRecreateRequest) (seen, error) {
	if r.Status.Phase != kruise.ContainerRecreateRequestRecreating {
		return seen{}, nil
	}
	runtime, problem := runtimeOf(r, s.runtimes)
	if problem != "" {
		return seen{problem: problem}, nil
	}
	list, err := runtime.Containers(ctx, r.Labels[kruise.ContainerRecreateRequestPodUIDKey])
	if err != nil {
		return seen{}, fmt.Errorf("list the pod's containers: %w", err)
	}
	out := seen{runtime: runtime, containers: map[string]cri.Status{}}
	for i := range r.Spec.Containers {
		newest, found := cri.Newest(list, r.Spec.Containers[i].Name)
		if !found {
			continue
		}
		status, err := runtime.Container(ctx, newest.ID)
		if errors.Is(err, cri.ErrNotFound) {
			continue
		}
		if err != nil {
			return seen{}, fmt.Errorf("look at container %s: %w", newest.Name, err)
		}
		out.containers[newest.Name] = status
	}
	return out, nil
}

// runtimeOf is the one that runs the containers, or why there is none. // RX-5, CR-3
func runtimeOf(r *kruise.ContainerRecreateRequest, all cri.Runtimes) (found cri.Runtime, problem string) {
	if r.Labels[kruise.ContainerRecreateRequestPodUIDKey] == "" {
		return nil, fmt.Sprintf("label %s is missing", kruise.ContainerRecreateRequestPodUIDKey)
	}
	for i := range r.Spec.Containers {
		c := &r.Spec.Containers[i]
		if c.StatusContext == nil {
			return nil, fmt.Sprintf("container %s has no recorded ID: the request was made while no webhook was asked about it", c.Name)
		}
		runtime, served := all.Of(c.StatusContext.ContainerID)
		if !served {
			return nil, fmt.Sprintf("no runtime on this node serves %s of container %s", c.StatusContext.ContainerID, c.Name)
		}
		if found != nil && found.Name() != runtime.Name() {
			return nil, fmt.Sprintf("the containers are of two runtimes, %s and %s", found.Name(), runtime.Name())
		}
		found = runtime
	}
	return found, ""
}
