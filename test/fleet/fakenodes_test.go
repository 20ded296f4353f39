package fleet

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// podWorld is a namespace with one pod, and what tests of nodes ask about it.
type podWorld struct {
	t         *testing.T
	g         *WithT
	client    kubernetes.Interface
	namespace string
}

func (w podWorld) create(name, image string, change ...func(*corev1.Pod)) {
	w.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}, {Name: "side", Image: "side:1"}}},
	}
	for _, c := range change {
		c(pod)
	}
	_, err := w.client.CoreV1().Pods(w.namespace).Create(w.t.Context(), pod, metav1.CreateOptions{})
	w.g.Expect(err).NotTo(HaveOccurred())
}

func (w podWorld) get(g Gomega, name string) *corev1.Pod {
	pod, err := w.client.CoreV1().Pods(w.namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	return pod
}

func (w podWorld) setImage(name, image string) {
	w.t.Helper()
	patch := `{"spec":{"containers":[{"name":"app","image":"` + image + `"}]}}`
	_, err := w.client.CoreV1().Pods(w.namespace).Patch(w.t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	w.g.Expect(err).NotTo(HaveOccurred())
}

func (w podWorld) setGate(name, gate, status string) {
	w.t.Helper()
	patch := `{"status":{"conditions":[{"type":"` + gate + `","status":"` + status + `"}]}}`
	_, err := w.client.CoreV1().Pods(w.namespace).Patch(w.t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	w.g.Expect(err).NotTo(HaveOccurred())
}

// eventually waits until the pod passes the check, and returns it as it was then.
func (w podWorld) eventually(name string, check func(Gomega, *corev1.Pod)) *corev1.Pod {
	w.t.Helper()
	var pod *corev1.Pod
	w.g.Eventually(func(g Gomega) {
		pod = w.get(g, name)
		check(g, pod)
	}).WithTimeout(time.Minute).WithPolling(50 * time.Millisecond).Should(Succeed())
	return pod
}

func ready(g Gomega, pod *corev1.Pod) {
	g.Expect(condition(pod, corev1.PodReady)).To(Equal("True"), "%+v", pod.Status.Conditions)
	g.Expect(pod.Status.Phase).To(Equal(corev1.PodRunning))
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return string(c.Status)
		}
	}
	return ""
}

func app(pod *corev1.Pod) corev1.ContainerStatus {
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == "app" {
			return s
		}
	}
	return corev1.ContainerStatus{}
}

func TestFakeNodes(t *testing.T) {
	f := New(t, Config{Name: "fake", Clusters: []Cluster{{Name: "east", Nodes: []Node{
		{Zone: "a", Region: "r1"}, {Zone: "b", Region: "r1", Labels: map[string]string{"disk": "ssd"}},
	}}}})
	world := func(t *testing.T) podWorld {
		return podWorld{t: t, g: NewWithT(t), client: clientOf(t, f, "east"), namespace: f.Namespace(t, "east")}
	}

	t.Run("nodes carry their place, and only theirs", func(t *testing.T) {
		w := world(t)
		n, err := w.client.CoreV1().Nodes().Get(t.Context(), "east-n2", metav1.GetOptions{})
		w.g.Expect(err).NotTo(HaveOccurred())
		w.g.Expect(n.Labels).To(And(
			HaveKeyWithValue(corev1.LabelTopologyZone, "b"), HaveKeyWithValue(corev1.LabelTopologyRegion, "r1"),
			HaveKeyWithValue(corev1.LabelHostname, "east-n2"), HaveKeyWithValue("disk", "ssd")))
		w.g.Expect(n.Status.Allocatable.Cpu().String()).To(Equal("32"))
	})

	t.Run("a pod runs in the zone it selects", func(t *testing.T) {
		w := world(t)
		w.create("web", "web:1", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelTopologyZone: "b"} })
		pod := w.eventually("web", ready)
		w.g.Expect(pod.Spec.NodeName).To(Equal("east-n2"))
		w.g.Expect(pod.Status.PodIP).NotTo(BeEmpty())
		w.g.Expect(app(pod).ImageID).To(HavePrefix("sha256:"))
		w.g.Expect(app(pod).RestartCount).To(BeZero())
	})

	t.Run("another image restarts the container in place", func(t *testing.T) {
		w := world(t)
		w.create("web", "web:1")
		before := w.eventually("web", ready)
		w.setImage("web", "web:2")
		after := w.eventually("web", func(g Gomega, p *corev1.Pod) {
			ready(g, p)
			g.Expect(app(p).Image).To(Equal("web:2"))
		})
		w.g.Expect(after.Status.ObservedGeneration).To(Equal(after.Generation))
		w.g.Expect(after.UID).To(Equal(before.UID))
		w.g.Expect(after.Status.PodIP).To(Equal(before.Status.PodIP))
		w.g.Expect(app(after).ImageID).NotTo(Equal(app(before).ImageID))
		w.g.Expect(app(after).ContainerID).NotTo(Equal(app(before).ContainerID))
		w.g.Expect(app(after).RestartCount).To(Equal(int32(1)))
		for _, s := range after.Status.ContainerStatuses {
			if s.Name == "side" {
				w.g.Expect(s.RestartCount).To(BeZero(), "the other container must not restart")
			}
		}
	})

	t.Run("a bad image waits, and going back heals it", func(t *testing.T) {
		w := world(t)
		w.create("web", "web:1")
		before := w.eventually("web", ready)
		w.setImage("web", "web:bad")
		stuck := w.eventually("web", func(g Gomega, p *corev1.Pod) {
			g.Expect(app(p).State.Waiting).NotTo(BeNil())
			g.Expect(app(p).State.Waiting.Reason).To(Equal("ImagePullBackOff"))
		})
		w.g.Expect(condition(stuck, corev1.PodReady)).To(Equal("False"))
		w.g.Expect(app(stuck).ImageID).To(Equal(app(before).ImageID), "the container that ran last is the old one")
		w.setImage("web", "web:1")
		healed := w.eventually("web", ready)
		w.g.Expect(app(healed).RestartCount).To(Equal(int32(1)))
	})

	t.Run("a pod that starts with a bad image never runs until it gets a good one", func(t *testing.T) {
		w := world(t)
		w.create("web", "invalid/web:1")
		stuck := w.eventually("web", func(g Gomega, p *corev1.Pod) {
			g.Expect(app(p).State.Waiting).NotTo(BeNil())
			g.Expect(app(p).State.Waiting.Message).To(ContainSubstring("invalid/web:1"))
		})
		w.g.Expect(condition(stuck, corev1.ContainersReady)).To(Equal("False"))
		w.setImage("web", "web:1")
		w.eventually("web", ready)
	})

	t.Run("readiness gates hold Ready back, and let go of it again", func(t *testing.T) {
		w := world(t)
		w.create("web", "web:1", func(p *corev1.Pod) {
			p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "gate.test/open"}}
		})
		w.eventually("web", func(g Gomega, p *corev1.Pod) {
			g.Expect(condition(p, corev1.ContainersReady)).To(Equal("True"))
			g.Expect(condition(p, corev1.PodReady)).To(Equal("False"))
		})
		for _, status := range []string{"True", "False", "True"} {
			w.setGate("web", "gate.test/open", status)
			w.eventually("web", func(g Gomega, p *corev1.Pod) {
				g.Expect(condition(p, corev1.PodReady)).To(Equal(status))
			})
		}
	})

	t.Run("deletion is prompt whatever the grace", func(t *testing.T) {
		w := world(t)
		w.create("web", "web:1", func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(600)) })
		w.eventually("web", ready)
		w.g.Expect(w.client.CoreV1().Pods(w.namespace).Delete(t.Context(), "web", metav1.DeleteOptions{})).To(Succeed())
		w.g.Eventually(func() bool {
			_, err := w.client.CoreV1().Pods(w.namespace).Get(t.Context(), "web", metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}).WithTimeout(10 * time.Second).Should(BeTrue())
	})

	t.Run("a wipe makes the nodes anew", func(t *testing.T) {
		g := NewWithT(t)
		g.Expect(f.Cluster("east").Wipe(t.Context())).To(Succeed())
		w := world(t)
		w.create("web", "web:1")
		w.eventually("web", ready)
	})
}

func TestFakeStagesAreFilledIn(t *testing.T) {
	got := string(fakeStages(1500 * time.Millisecond))
	if !strings.Contains(got, "durationMilliseconds: 1500") || strings.Contains(got, "durationMilliseconds: DELAY") {
		t.Error("the delay is not filled in")
	}
}
