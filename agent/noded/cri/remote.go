package cri

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	criclient "k8s.io/cri-client/pkg"
	"k8s.io/klog/v2"
	utilexec "k8s.io/utils/exec"
)

// How long a runtime may take to answer what it knows by heart; pulls, commands and stops have limits of their own. // CR-2
const (
	imageTimeout   = 10 * time.Second
	runtimeTimeout = 5 * time.Second
	// clientVersion is what we say we speak.
	clientVersion = "0.1.0"
)

// remote is a runtime behind a socket. Both connections dial again by themselves, at most three seconds apart.
type remote struct {
	name       string
	images     internalapi.ImageManagerService
	containers internalapi.RuntimeService
	// content is containerd's own API; it connects when asked.
	content *grpc.ClientConn
}

// Connect opens a runtime's socket and asks who is there. // CR-2
func Connect(ctx context.Context, endpoint string) (Runtime, error) {
	// The client logs every failed call as an error, also those that we try again; callers say what matters.
	ctx = quiet(ctx)
	images, err := criclient.NewRemoteImageServiceBuilder().WithEndpoint(endpoint).WithConnectionTimeout(imageTimeout).WithTracerProvider(nil).Build(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the images of %s: %w", endpoint, translate(err))
	}
	if _, err := images.ListImages(ctx, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("list images of %s: %w", endpoint, translate(err)), images.Close(ctx))
	}
	containers, err := criclient.NewRemoteRuntimeServiceBuilder().WithEndpoint(endpoint).WithConnectionTimeout(runtimeTimeout).WithTracerProvider(nil).Build(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the containers of %s: %w", endpoint, translate(err)), images.Close(ctx))
	}
	version, err := containers.Version(ctx, clientVersion)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask %s for its version: %w", endpoint, translate(err)), images.Close(ctx), containers.Close(ctx))
	}
	content, err := dialContent(endpoint)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", endpoint, err), images.Close(ctx), containers.Close(ctx))
	}
	return &remote{name: version.RuntimeName, images: images, containers: containers, content: content}, nil
}

func quiet(ctx context.Context) context.Context { return klog.NewContext(ctx, logr.Discard()) }

// translate turns gRPC's errors into ours; the message is the runtime's, without the wrapping.
func translate(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch s.Code() {
	case codes.Unavailable:
		return fmt.Errorf("%w: %s", ErrGone, s.Message())
	case codes.NotFound:
		return fmt.Errorf("%w: %s", ErrNotFound, s.Message())
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %s", ErrTimeout, s.Message())
	default:
		return errors.New(s.Message())
	}
}

func (r *remote) Name() string { return r.name }

func (r *remote) Version(ctx context.Context) (string, error) {
	v, err := r.containers.Version(quiet(ctx), clientVersion)
	if err != nil {
		return "", translate(err)
	}
	return v.RuntimeVersion, nil
}

func (r *remote) Images(ctx context.Context) ([]Image, error) {
	list, err := r.images.ListImages(quiet(ctx), nil)
	if err != nil {
		return nil, translate(err)
	}
	all := make([]Image, 0, len(list))
	for _, i := range list {
		all = append(all, image(i))
	}
	return all, nil
}

func (r *remote) Image(ctx context.Context, reference string) (Image, error) {
	answer, err := r.images.ImageStatus(quiet(ctx), &runtimeapi.ImageSpec{Image: reference, Annotations: map[string]string{}}, false)
	if err != nil {
		return Image{}, translate(err)
	}
	if answer.GetImage() == nil {
		return Image{}, fmt.Errorf("%w: image %s", ErrNotFound, reference)
	}
	return image(answer.Image), nil
}

func image(i *runtimeapi.Image) Image {
	return Image{ID: i.Id, Tags: i.RepoTags, Digests: i.RepoDigests, Size: i.Size}
}

func (r *remote) Pull(ctx context.Context, what Pull) (string, error) {
	spec := &runtimeapi.ImageSpec{Image: what.Image, Annotations: map[string]string{}}
	sandbox := &runtimeapi.PodSandboxConfig{Labels: what.Labels, Annotations: what.Annotations}
	var auth *runtimeapi.AuthConfig
	if a := what.Auth; a != nil {
		auth = &runtimeapi.AuthConfig{Username: a.Username, Password: a.Password, Auth: a.Auth,
			ServerAddress: a.ServerAddress, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
	}
	reference, err := r.images.PullImage(quiet(ctx), spec, auth, sandbox)
	if s, ok := status.FromError(err); ok && s.Code() == codes.NotFound {
		return "", errors.New(s.Message()) // it is the registry that does not have it
	}
	return reference, translate(err)
}

func (r *remote) Containers(ctx context.Context, podUID string) ([]Container, error) {
	var filter *runtimeapi.ContainerFilter
	if podUID != "" {
		filter = &runtimeapi.ContainerFilter{LabelSelector: map[string]string{LabelPodUID: podUID}}
	}
	list, err := r.containers.ListContainers(quiet(ctx), filter)
	if err != nil {
		return nil, translate(err)
	}
	all := make([]Container, 0, len(list))
	for _, c := range list {
		all = append(all, labelled(Container{
			ID: c.Id, SandboxID: c.PodSandboxId, State: state(c.State), CreatedAt: at(c.CreatedAt),
			Attempt: c.GetMetadata().GetAttempt(), Labels: c.Labels, Annotations: c.Annotations,
		}))
	}
	slices.SortStableFunc(all, func(a, b Container) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return all, nil
}

// labelled fills in what the kubelet wrote into the labels.
func labelled(c Container) Container {
	c.Name, c.PodUID = c.Labels[LabelContainerName], c.Labels[LabelPodUID]
	c.PodName, c.PodNamespace = c.Labels[LabelPodName], c.Labels[LabelPodNamespace]
	return c
}

// at is zero for what has not happened.
func at(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds)
}

func state(s runtimeapi.ContainerState) State {
	switch s {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return Created
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return Running
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		return Exited
	default:
		return Unknown
	}
}

func (r *remote) Container(ctx context.Context, id string) (Status, error) {
	answer, err := r.containers.ContainerStatus(quiet(ctx), id, false)
	if err != nil {
		return Status{}, translate(err)
	}
	c := answer.Status
	return Status{
		Container: labelled(Container{ID: c.Id, State: state(c.State), CreatedAt: at(c.CreatedAt),
			Attempt: c.GetMetadata().GetAttempt(), Labels: c.Labels, Annotations: c.Annotations}),
		StartedAt: at(c.StartedAt), FinishedAt: at(c.FinishedAt), ExitCode: c.ExitCode, Reason: c.Reason, Message: c.Message,
	}, nil
}

func (r *remote) Stop(ctx context.Context, id string, grace time.Duration) error {
	return translate(r.containers.StopContainer(quiet(ctx), id, int64(grace.Seconds())))
}

func (r *remote) Exec(ctx context.Context, id string, command []string, timeout time.Duration) (Result, error) {
	// What is below a second would be no limit at all.
	stdout, stderr, err := r.containers.ExecSync(quiet(ctx), id, command, max(timeout, time.Second))
	if exit, ok := errors.AsType[utilexec.CodeExitError](err); ok {
		return Result{Stdout: stdout, Stderr: stderr, Code: exit.Code}, nil
	}
	if errors.Is(err, criclient.ErrCommandTimedOut) {
		return Result{}, fmt.Errorf("%w: command took longer than %s", ErrTimeout, timeout)
	}
	return Result{Stdout: stdout, Stderr: stderr}, translate(err)
}

func (r *remote) SandboxIP(ctx context.Context, sandboxID string) (string, error) {
	answer, err := r.containers.PodSandboxStatus(quiet(ctx), sandboxID, false)
	if err != nil {
		return "", translate(err)
	}
	return answer.GetStatus().GetNetwork().GetIp(), nil
}
