// Package cri is the container runtime of this node in the daemon's words. It owns the connections to the runtime's
// sockets, reads images and containers, pulls images, runs commands in containers and stops them; it makes and removes
// nothing.
//
// It promises that a runtime which goes away comes back by itself: calls fail with ErrGone until then.
package cri

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

var (
	// ErrGone is a runtime that does not answer: it is restarting, or was stopped.
	ErrGone = errors.New("the container runtime does not answer")
	// ErrNotFound is an image, container or sandbox that the runtime does not have.
	ErrNotFound = errors.New("the container runtime does not have it")
	// ErrTimeout is a command that took longer than it was given.
	ErrTimeout = errors.New("timed out")
)

// What the kubelet writes onto containers and sandboxes, and what the daemon reads of it. // RX-5
const (
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelContainerName = "io.kubernetes.container.name"

	AnnotationHash                     = "io.kubernetes.container.hash"
	AnnotationHashWithoutResources     = "io.kubernetes.container.hashWithoutResources"
	AnnotationRestartCount             = "io.kubernetes.container.restartCount"
	AnnotationPreStopHandler           = "io.kubernetes.container.preStopHandler"
	AnnotationPorts                    = "io.kubernetes.container.ports"
	AnnotationTerminationMessagePath   = "io.kubernetes.container.terminationMessagePath"
	AnnotationTerminationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy"
	AnnotationPodGracePeriod           = "io.kubernetes.pod.terminationGracePeriod"
	AnnotationPodDeletionGracePeriod   = "io.kubernetes.pod.deletionGracePeriod"
)

// Image is one that the runtime has.
type Image struct {
	// ID is the digest of its configuration.
	ID string
	// Tags are references by tag, Digests such by digest, as the runtime spells them: docker.io/library/nginx:1.
	Tags, Digests []string
	// Size in bytes, unpacked or not as the runtime counts.
	Size uint64
}

// Auth are credentials for one registry.
type Auth struct{ Username, Password, Auth, ServerAddress, IdentityToken, RegistryToken string }

// Pull is an image to pull.
type Pull struct {
	// Image is name:tag or name@digest.
	Image string
	// Auth is nil for an anonymous pull.
	Auth *Auth
	// Labels and Annotations make the sandbox configuration, from which a runtime can tell who asked.
	Labels, Annotations map[string]string
}

// State of a container.
type State string

// States of containers.
const (
	Created State = "Created"
	Running State = "Running"
	Exited  State = "Exited"
	Unknown State = "Unknown"
)

// Container is what the runtime knows of one.
type Container struct {
	// ID without a scheme.
	ID string
	// Name is that of the pod's specification.
	Name string
	// PodUID, PodName and PodNamespace are from the kubelet's labels.
	PodUID, PodName, PodNamespace string
	// SandboxID is for SandboxIP.
	SandboxID string
	State     State
	// CreatedAt is when it was made; of several with one name the last made counts.
	CreatedAt time.Time
	// Attempt counts from 0.
	Attempt             uint32
	Labels, Annotations map[string]string
}

// Status is a container with what only its status tells.
type Status struct {
	Container
	// StartedAt and FinishedAt are zero when it has not.
	StartedAt, FinishedAt time.Time
	ExitCode              int32
	Reason, Message       string
}

// Result is what a command printed and how it ended.
type Result struct {
	Stdout, Stderr []byte
	Code           int
}

// Runtime is one container runtime. All calls end with their context at the latest.
type Runtime interface {
	// Name is what the runtime calls itself, and the scheme of its container IDs: containerd, cri-o, docker.
	Name() string
	// Version is the runtime's own.
	Version(ctx context.Context) (string, error)
	// Images lists what is there.
	Images(ctx context.Context) ([]Image, error)
	// Image is one of them, by any reference; ErrNotFound if it is not there.
	Image(ctx context.Context, reference string) (Image, error)
	// Pull returns the runtime's reference of what it pulled. Its error holds the registry's own words.
	Pull(ctx context.Context, what Pull) (reference string, err error)
	// Containers are those of a pod in any state, the newest first; an empty uid is all of the node.
	Containers(ctx context.Context, podUID string) ([]Container, error)
	// Container is one with its status; ErrNotFound if it is not there.
	Container(ctx context.Context, id string) (Status, error)
	// Stop signals a container, waits for the grace period in whole seconds, and kills it.
	Stop(ctx context.Context, id string, grace time.Duration) error
	// Exec runs a command to its end; ErrTimeout if that takes longer, in whole seconds. A command that fails is no error.
	Exec(ctx context.Context, id string, command []string, timeout time.Duration) (Result, error)
	// SandboxIP is the first address of a pod; ErrNotFound if its sandbox is not there, and empty on the host's network.
	SandboxIP(ctx context.Context, sandboxID string) (string, error)
}

// Newest is the container of that name that was made last, from a list as Containers gives it.
func Newest(containers []Container, name string) (Container, bool) {
	i := slices.IndexFunc(containers, func(c Container) bool { return c.Name == name })
	if i < 0 {
		return Container{}, false
	}
	return containers[i], true
}

// SplitID takes a container ID of a pod's status apart: containerd://abc.
func SplitID(id string) (scheme, bare string) {
	scheme, bare, found := strings.Cut(id, "://")
	if !found {
		return "", id
	}
	return scheme, bare
}

// Runtimes are those of this node, in the order of their sockets.
type Runtimes []Runtime

// First pulls images and runs probes.
func (r Runtimes) First() Runtime { return r[0] }

// Of is the runtime that a container ID of a pod's status belongs to: by its name, not by its socket. // CR-3
func (r Runtimes) Of(containerID string) (Runtime, bool) {
	scheme, _ := SplitID(containerID)
	i := slices.IndexFunc(r, func(one Runtime) bool { return one.Name() == scheme })
	if i < 0 {
		return nil, false
	}
	return r[i], true
}
