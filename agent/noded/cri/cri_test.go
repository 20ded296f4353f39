package cri

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// folder has a short path, for that of a socket may hold only a hundred characters.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cri")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// CR-1
func TestSocketsAreFoundInOrder(t *testing.T) {
	dir := folder(t)
	for _, name := range []string{"crio/crio.sock", "containerd/containerd.sock"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	}
	if err := os.WriteFile(filepath.Join(dir, "containerd.sock"), nil, 0o600); err != nil { // a file, no socket
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		where Sockets
		want  []string
	}{
		"all that are there":         {Sockets{Folder: dir}, []string{"unix://" + dir + "/containerd/containerd.sock", "unix://" + dir + "/crio/crio.sock"}},
		"the named one and no other": {Sockets{Folder: dir, File: "own.sock"}, []string{"unix://" + dir + "/own.sock"}},
		"anywhere":                   {Sockets{Folder: dir, File: "own.sock", Endpoint: "/x.sock"}, []string{"unix:///x.sock"}},
		"as a URL":                   {Sockets{Endpoint: "unix:///x.sock"}, []string{"unix:///x.sock"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Detect(tc.where)
			if d := cmp.Diff(tc.want, got); d != "" || err != nil {
				t.Error(d, err)
			}
		})
	}
	if _, err := Detect(Sockets{Folder: folder(t)}); err == nil {
		t.Error("a node without a runtime is no error")
	}
}

// CR-2, CR-3, CR-4: a clear error when there are sockets and nobody behind them; one that works is enough.
func TestOneWorkingRuntimeIsEnough(t *testing.T) {
	dir := folder(t)
	dead, alive := "unix://"+dir+"/dead.sock", "unix://"+dir+"/alive.sock"
	if _, err := ConnectAll(t.Context(), []string{dead}, logr.Discard()); err == nil || !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	serve(t, alive)
	all, err := ConnectAll(t.Context(), []string{dead, alive}, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	name := all.First().Name()
	if r, ok := all.Of(name + "://abc"); len(all) != 1 || !ok || r != all.First() {
		t.Errorf("%d runtimes, the first is called %q", len(all), name)
	}
	if _, ok := all.Of("other://abc"); ok {
		t.Error("containers of a runtime that nobody serves have one")
	}
}

// CR-2: calls fail while the runtime is away, and work again when it is back, over the same connection.
func TestARuntimeThatComesBackIsUsedAgain(t *testing.T) {
	g := NewWithT(t)
	endpoint := "unix://" + folder(t) + "/r.sock"
	first := serve(t, endpoint)
	r, err := Connect(t.Context(), endpoint)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = r.Version(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	first.grpc.Stop()
	_, err = r.Version(t.Context())
	g.Expect(err).To(MatchError(ErrGone))
	serve(t, endpoint)
	g.Eventually(func() error { _, err := r.Version(context.Background()); return err }, 10*time.Second).Should(Succeed())
	_, err = r.Images(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
}

func TestPullsSayWhoAsks(t *testing.T) {
	g := NewWithT(t)
	endpoint := "unix://" + folder(t) + "/r.sock"
	s := serve(t, endpoint)
	r, err := Connect(t.Context(), endpoint)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = r.Pull(t.Context(), Pull{Image: "nginx:1", Auth: &Auth{Username: "u"}, Annotations: map[string]string{"a": "b"}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(s.pulls).To(HaveLen(1))
	g.Expect(s.pulls[0].Image.Image).To(Equal("nginx:1"))
	g.Expect(s.pulls[0].Auth.Username).To(Equal("u"))
	g.Expect(s.pulls[0].SandboxConfig.Annotations).To(HaveKeyWithValue("a", "b"))
	s.refuse = status.Error(codes.Unknown, "no space left on device")
	_, err = r.Pull(t.Context(), Pull{Image: "nginx:2"})
	g.Expect(err).To(MatchError("no space left on device"))
	s.refuse = status.Error(codes.PermissionDenied, "401 Unauthorized")
	_, err = r.Pull(t.Context(), Pull{Image: "nginx:2"})
	g.Expect(err).To(MatchError("401 Unauthorized"))
	s.refuse = status.Error(codes.NotFound, "nginx:2: not found")
	_, err = r.Pull(t.Context(), Pull{Image: "nginx:2"})
	g.Expect(err).To(MatchError("nginx:2: not found"))
	images, err := r.Images(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(images).To(Equal([]Image{{ID: "sha256:1", Tags: []string{"docker.io/library/nginx:1"}, Size: 5}}))
	_, err = r.Image(t.Context(), "nginx:none")
	g.Expect(err).To(MatchError(ErrNotFound))
}

func TestContainersOfAPodComeNewestFirst(t *testing.T) {
	g := NewWithT(t)
	endpoint := "unix://" + folder(t) + "/r.sock"
	s := serve(t, endpoint)
	add := func(id, pod string, created int64) {
		s.containers = append(s.containers, &runtimeapi.ContainerStatus{
			Id: id, Metadata: &runtimeapi.ContainerMetadata{Name: "app"}, CreatedAt: created, StartedAt: created + 1, State: runtimeapi.ContainerState_CONTAINER_RUNNING,
			Image: &runtimeapi.ImageSpec{Image: "i"}, ImageRef: "i", Labels: map[string]string{LabelPodUID: pod, LabelContainerName: "app"},
		})
	}
	add("old", "p", 1)
	add("new", "p", 2)
	add("other", "q", 3)
	r, err := Connect(t.Context(), endpoint)
	g.Expect(err).NotTo(HaveOccurred())
	list, err := r.Containers(t.Context(), "p")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(list).To(HaveLen(2))
	c, ok := Newest(list, "app")
	g.Expect(ok).To(BeTrue())
	g.Expect(c.ID).To(Equal("new"))
	if _, ok := Newest(list, "sidecar"); ok {
		t.Error("found a container that is not there")
	}
	status, err := r.Container(t.Context(), "new")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(status.StartedAt).To(Equal(time.Unix(0, 3)))
	g.Expect(status.FinishedAt.IsZero()).To(BeTrue())
	g.Expect(r.Stop(t.Context(), "new", 2*time.Second)).To(Succeed())
	status, err = r.Container(t.Context(), "new")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(status.State).To(Equal(Exited))
	g.Expect(status.ExitCode).To(Equal(int32(2))) // the grace period it was given
	_, err = r.Container(t.Context(), "none")
	g.Expect(err).To(MatchError(ErrNotFound))
	g.Expect(r.SandboxIP(t.Context(), c.SandboxID)).To(Equal("10.0.0.7"))
}

func TestACommandThatFailsIsNoError(t *testing.T) {
	g := NewWithT(t)
	endpoint := "unix://" + folder(t) + "/r.sock"
	serve(t, endpoint)
	r, err := Connect(t.Context(), endpoint)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(r.Exec(t.Context(), "a", []string{"false"}, 0)).To(Equal(Result{Stdout: []byte("out"), Stderr: []byte("err"), Code: 3}))
	_, err = r.Exec(t.Context(), "a", []string{"sleep"}, time.Second)
	g.Expect(err).To(MatchError(ErrTimeout))
}

func TestSplitID(t *testing.T) {
	for id, want := range map[string][2]string{"containerd://abc": {"containerd", "abc"}, "abc": {"", "abc"}, "": {"", ""}} {
		if scheme, bare := SplitID(id); scheme != want[0] || bare != want[1] {
			t.Errorf("%q is %q of %q", id, bare, scheme)
		}
	}
}
