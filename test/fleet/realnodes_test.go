package fleet

import (
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/test/fleet/binaries"
)

func TestRealNodes(t *testing.T) {
	f := New(t, Config{Name: "real", Clusters: []Cluster{
		{Name: "east", Kind: Real, Nodes: []Node{{Zone: "a", Region: "r1"}, {Zone: "b", Region: "r1"}}},
		{Name: "west", Kind: Real, Nodes: []Node{{Zone: "c", Region: "r2"}}},
	}})
	world := func(t *testing.T, cluster string) podWorld {
		return podWorld{t: t, g: NewWithT(t), client: clientOf(t, f, cluster), namespace: f.Namespace(t, cluster)}
	}
	inZone := func(zone string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelTopologyZone: zone} }
	}
	kubectl, err := f.Program(t.Context(), "kubectl")
	if err != nil {
		t.Fatal(err)
	}
	run := func(w podWorld, cluster string, args ...string) string {
		args = append([]string{"--kubeconfig", f.Cluster(cluster).Kubeconfig(), "-n", w.namespace}, args...)
		out, err := exec.CommandContext(t.Context(), kubectl, args...).CombinedOutput()
		w.g.Expect(err).NotTo(HaveOccurred(), "%s: %s", strings.Join(args, " "), out)
		return string(out)
	}

	t.Run("containers run, speak and can be entered", func(t *testing.T) {
		w := world(t, "east")
		w.create("web", "web:1", inZone("b"), func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] })
		pod := w.eventually("web", ready)
		w.g.Expect(pod.Spec.NodeName).To(Equal("east-n2"))
		w.g.Expect(run(w, "east", "exec", "web", "--", "/app", "hello", "you")).To(Equal("hello you from web\n"))
		w.g.Expect(run(w, "east", "exec", "web", "--", "/app", "version")).To(ContainSubstring("web:1"))
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", net.JoinHostPort(pod.Status.PodIP, "8080"))
		w.g.Expect(err).NotTo(HaveOccurred(), "the host must reach pods")
		w.g.Expect(conn.Close()).To(Succeed())
	})

	t.Run("another image restarts the container in place", func(t *testing.T) {
		w := world(t, "west")
		sleeper := func(p *corev1.Pod) { p.Spec.Containers[1].Command = []string{"sleep", "infinity"} }
		w.create("web", "web:1", sleeper)
		before := w.eventually("web", ready)
		w.setImage("web", "web:2")
		after := w.eventually("web", func(g Gomega, p *corev1.Pod) {
			ready(g, p)
			g.Expect(app(p).ImageID).NotTo(Equal(app(before).ImageID))
			g.Expect(app(p).RestartCount).To(Equal(int32(1)))
		})
		w.g.Expect(after.UID).To(Equal(before.UID))
		w.g.Expect(after.Status.PodIP).To(Equal(before.Status.PodIP))
		w.g.Expect(run(w, "west", "exec", "web", "-c", "app", "--", "/app", "version")).To(ContainSubstring("web:2"))
	})

	t.Run("a bad image cannot be pulled, and going back heals the pod", func(t *testing.T) {
		w := world(t, "west")
		w.create("web", "web:bad", func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] })
		w.eventually("web", func(g Gomega, p *corev1.Pod) {
			g.Expect(app(p).State.Waiting).NotTo(BeNil())
			g.Expect(app(p).State.Waiting.Reason).To(BeElementOf("ErrImagePull", "ImagePullBackOff"))
		})
		w.setImage("web", "web:good")
		w.eventually("web", ready)
	})

	t.Run("a pod is gone soon after its deletion", func(t *testing.T) {
		w := world(t, "west")
		w.create("web", "web:1", func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] })
		w.eventually("web", ready)
		w.g.Expect(w.client.CoreV1().Pods(w.namespace).Delete(t.Context(), "web", metav1.DeleteOptions{})).To(Succeed())
		w.g.Eventually(func() bool {
			_, err := w.client.CoreV1().Pods(w.namespace).Get(t.Context(), "web", metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}).WithTimeout(20 * time.Second).Should(BeTrue())
	})

	t.Run("down leaves nothing", func(t *testing.T) {
		w := world(t, "east")
		w.create("left", "web:1", func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] })
		w.eventually("left", ready)
		id := f.state.ID
		w.g.Expect(cgroupPids(cgroupName(id))).NotTo(BeEmpty())
		sockets := shimSockets(f.Dir())
		w.g.Expect(sockets).NotTo(BeEmpty())
		w.g.Expect(Down(t.Context(), f.Dir())).To(Succeed())

		w.g.Expect(survivors(f.Dir(), binaries.Names())).To(BeEmpty())
		w.g.Expect(cgroupPids(cgroupName(id))).To(BeEmpty())
		for _, pattern := range []string{
			f.Dir(), "/run/netns/flotilla-" + id + "*", "/sys/fs/cgroup/*/flotilla-" + id, "/sys/fs/cgroup/flotilla-" + id,
			"/var/lib/cni/results/*", "/var/log/containers/*" + w.namespace + "*",
		} {
			left, err := filepath.Glob(pattern)
			w.g.Expect(err).NotTo(HaveOccurred())
			w.g.Expect(left).To(BeEmpty(), pattern)
		}
		for _, s := range sockets {
			w.g.Expect(s).NotTo(BeAnExistingFile())
		}
		interfaces, err := net.Interfaces()
		w.g.Expect(err).NotTo(HaveOccurred())
		w.g.Expect(slices.ContainsFunc(interfaces, func(i net.Interface) bool { return strings.HasPrefix(i.Name, bridgeName(id)) })).To(BeFalse())
		rules, err := exec.CommandContext(t.Context(), "iptables-save").Output()
		w.g.Expect(err).NotTo(HaveOccurred())
		w.g.Expect(string(rules)).NotTo(ContainSubstring(bridgeName(id)))
	})
}
