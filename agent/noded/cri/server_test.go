package cri

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// server speaks CRI on a socket, as far as the tests ask.
type server struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	runtimeapi.UnimplementedImageServiceServer
	grpc *grpc.Server
	name string

	mu         sync.Mutex
	pulls      []*runtimeapi.PullImageRequest
	refuse     error
	containers []*runtimeapi.ContainerStatus
}

// serve runs a runtime behind a real socket.
func serve(t *testing.T, endpoint string) *server {
	t.Helper()
	return serveWith(t, endpoint, func(*server) {})
}

// serveWith changes it before it begins.
func serveWith(t *testing.T, endpoint string, change func(*server), options ...grpc.ServerOption) *server {
	t.Helper()
	path := strings.TrimPrefix(endpoint, "unix://")
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{grpc: grpc.NewServer(options...), name: "testrun"}
	runtimeapi.RegisterRuntimeServiceServer(s.grpc, s)
	runtimeapi.RegisterImageServiceServer(s.grpc, s)
	change(s)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.grpc.Serve(l) }()
	t.Cleanup(func() { s.grpc.Stop(); <-ended })
	return s
}

func (s *server) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{Version: "0.1.0", RuntimeName: s.name, RuntimeVersion: "7", RuntimeApiVersion: "v1"}, nil
}

func (s *server) ImageFsInfo(context.Context, *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	return &runtimeapi.ImageFsInfoResponse{}, nil
}

func (s *server) ListImages(context.Context, *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return &runtimeapi.ListImagesResponse{Images: []*runtimeapi.Image{{Id: "sha256:1", RepoTags: []string{"docker.io/library/nginx:1"}, Size: 5}}}, nil
}

func (s *server) ImageStatus(context.Context, *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	return &runtimeapi.ImageStatusResponse{}, nil
}

func (s *server) PullImage(_ context.Context, r *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulls = append(s.pulls, r)
	return &runtimeapi.PullImageResponse{ImageRef: "sha256:1"}, s.refuse
}

func (s *server) ListContainers(_ context.Context, r *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &runtimeapi.ListContainersResponse{}
	for _, c := range s.containers {
		if pod, asked := r.GetFilter().GetLabelSelector()[LabelPodUID]; !asked || c.Labels[LabelPodUID] == pod {
			answer.Containers = append(answer.Containers, &runtimeapi.Container{Id: c.Id, PodSandboxId: "s", Metadata: c.Metadata, State: c.State, CreatedAt: c.CreatedAt, Labels: c.Labels})
		}
	}
	return answer, nil
}

func (s *server) ContainerStatus(_ context.Context, r *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.containers {
		if c.Id == r.ContainerId {
			return &runtimeapi.ContainerStatusResponse{Status: c}, nil
		}
	}
	return nil, status.Error(codes.NotFound, "no such container")
}

func (s *server) StopContainer(_ context.Context, r *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.containers {
		if c.Id == r.ContainerId {
			c.State, c.ExitCode, c.FinishedAt = runtimeapi.ContainerState_CONTAINER_EXITED, int32(r.Timeout), 9
		}
	}
	return &runtimeapi.StopContainerResponse{}, nil
}

func (s *server) ExecSync(_ context.Context, r *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	if r.Cmd[0] == "sleep" {
		return nil, status.Errorf(codes.DeadlineExceeded, "timeout %ds exceeded", r.Timeout)
	}
	return &runtimeapi.ExecSyncResponse{Stdout: []byte("out"), Stderr: []byte("err"), ExitCode: 3}, nil
}

func (s *server) PodSandboxStatus(_ context.Context, r *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	return &runtimeapi.PodSandboxStatusResponse{Status: &runtimeapi.PodSandboxStatus{
		Id: r.PodSandboxId, CreatedAt: 1, Metadata: &runtimeapi.PodSandboxMetadata{Name: "p", Namespace: "n", Uid: "u"},
		Network: &runtimeapi.PodSandboxNetworkStatus{Ip: "10.0.0.7"},
	}}, nil
}

// mixedCodec sends bytes as they are and messages as protobuf.
type mixedCodec struct{}

func (mixedCodec) Name() string { return "proto" }

func (mixedCodec) Marshal(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return proto.Marshal(m)
	}
	return bytesCodec{}.Marshal(v)
}

func (mixedCodec) Unmarshal(raw []byte, v any) error {
	if m, ok := v.(proto.Message); ok {
		return proto.Unmarshal(raw, m)
	}
	return bytesCodec{}.Unmarshal(raw, v)
}
