package fleet

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/flotilla-project/flotilla/test/fleet/binaries"
)

func clientOf(t *testing.T, f *Fleet, cluster string) kubernetes.Interface {
	t.Helper()
	client, err := f.Cluster(cluster).Client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func makeConfigMap(t *testing.T, c kubernetes.Interface, namespace, name string) *corev1.ConfigMap {
	t.Helper()
	cm, err := c.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cm
}

func TestAKilledAPIServerComesBackWithItsData(t *testing.T) {
	f, g := Shared(t), NewWithT(t)
	namespace := f.Namespace(t, "hub")
	hub, other := clientOf(t, f, "hub"), clientOf(t, f, "hub2")
	want := makeConfigMap(t, hub, namespace, "kept")

	g.Expect(f.Cluster("hub").StopAPIServer(t.Context())).To(Succeed())
	short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := hub.CoreV1().ConfigMaps(namespace).Get(short, "kept", metav1.GetOptions{})
	g.Expect(err).To(HaveOccurred())
	g.Expect(apierrors.IsNotFound(err)).To(BeFalse(), "a dead server answered: %v", err)
	_, err = other.CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred(), "the other cluster must not notice")

	g.Expect(f.Cluster("hub").StartAPIServer(t.Context())).To(Succeed())
	got, err := hub.CoreV1().ConfigMaps(namespace).Get(t.Context(), "kept", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got.UID).To(Equal(want.UID))
}

func TestAWipeHitsOneClusterOnly(t *testing.T) {
	f, g := Shared(t), NewWithT(t)
	hub, other := clientOf(t, f, "hub"), clientOf(t, f, "hub2")
	makeConfigMap(t, hub, "default", "wiped")
	makeConfigMap(t, other, "default", "kept")

	g.Expect(f.Cluster("hub").Wipe(t.Context())).To(Succeed())

	_, err := hub.CoreV1().ConfigMaps("default").Get(t.Context(), "wiped", metav1.GetOptions{})
	g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "%v", err)
	_, err = other.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred(), "hub2's prefix starts like hub's and must stay")
	g.Expect(other.CoreV1().ConfigMaps("default").Delete(t.Context(), "kept", metav1.DeleteOptions{})).To(Succeed())
}

func TestCredentialsOfOneClusterMeanNothingToAnother(t *testing.T) {
	f, g := Shared(t), NewWithT(t)
	cfg := f.Cluster("hub").RESTConfig()
	cfg.Host, cfg.CAData = f.Cluster("hub2").RESTConfig().Host, f.Cluster("hub2").RESTConfig().CAData
	client, err := kubernetes.NewForConfig(cfg)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	g.Expect(apierrors.IsUnauthorized(err)).To(BeTrue(), "%v", err)
}

func TestUserConfigIsBoundByRBAC(t *testing.T) {
	f, g := Shared(t), NewWithT(t)
	for groups, allowed := range map[string]bool{"system:masters": true, "strangers": false} {
		cfg, err := f.Cluster("hub").UserConfig("someone", groups)
		g.Expect(err).NotTo(HaveOccurred())
		client, err := kubernetes.NewForConfig(cfg)
		g.Expect(err).NotTo(HaveOccurred())
		_, err = client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
		g.Expect(apierrors.IsForbidden(err)).To(Equal(!allowed), "%s: %v", groups, err)
	}
}

func TestSnapshotIsWholeAndShowsTheVersion(t *testing.T) {
	f, g := Shared(t), NewWithT(t)
	path := filepath.Join(t.TempDir(), "etcd.snapshot")
	g.Expect(f.Snapshot(t.Context(), path)).To(Succeed())
	raw, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(strings.Contains(string(raw), "/hub2/namespaces/default")).To(BeTrue(), "the snapshot of %d bytes lacks a key", len(raw))
	v, err := clientOf(t, f, "hub").Discovery().ServerVersion()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(v.GitVersion).To(Equal("v1.37.2"))
}

func TestAnotherProcessCanUseTheFleet(t *testing.T) {
	f, g := Shared(t), NewWithT(t)
	opened, err := Open(f.Dir())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(opened.Cluster("hub").StopAPIServer(t.Context())).To(Succeed())
	g.Expect(opened.Cluster("hub").StartAPIServer(t.Context())).To(Succeed())
	g.Expect(f.Cluster("hub").StopAPIServer(t.Context())).To(Succeed(), "the first one must see the new process")
	g.Expect(f.Cluster("hub").StartAPIServer(t.Context())).To(Succeed())
}

func TestStopLeavesNothing(t *testing.T) {
	g := NewWithT(t)
	f := New(t, Config{Dir: filepath.Join(t.TempDir(), "fleet"), Clusters: []Cluster{{Name: "one", ControlPlaneOnly: true}}})
	g.Expect(survivors(f.Dir(), binaries.Names())).To(HaveLen(2), "etcd and an API server")
	g.Expect(Down(t.Context(), f.Dir())).To(Succeed())
	g.Expect(survivors(f.Dir(), binaries.Names())).To(BeEmpty())
	g.Expect(f.Dir()).NotTo(BeADirectory())
	g.Expect(Down(t.Context(), f.Dir())).To(Succeed(), "doing it again does nothing")
}

func TestADirtyFolderIsCleanedFirst(t *testing.T) {
	g := NewWithT(t)
	cfg := Config{Dir: filepath.Join(t.TempDir(), "fleet"), Clusters: []Cluster{{Name: "one", ControlPlaneOnly: true}}}
	first := New(t, cfg)
	old, err := first.recorded("etcd")
	g.Expect(err).NotTo(HaveOccurred())
	makeConfigMap(t, clientOf(t, first, "one"), "default", "old")

	second := New(t, cfg)
	g.Expect(old.alive(first.Dir())).To(BeFalse())
	_, err = clientOf(t, second, "one").CoreV1().ConfigMaps("default").Get(t.Context(), "old", metav1.GetOptions{})
	g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "%v", err)
}

func TestAFailedStartNamesTheCulprit(t *testing.T) {
	need(t, Config{})
	g := NewWithT(t)
	_, err := Start(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "fleet"), Clusters: []Cluster{
		{Name: "one", ControlPlaneOnly: true, APIServerArgs: []string{"--no-such-flag"}},
	}})
	g.Expect(err).To(MatchError(And(ContainSubstring("one/kube-apiserver"), ContainSubstring("no-such-flag"))))
}
