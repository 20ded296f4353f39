package integration

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/backup"
	historycontroller "github.com/flotilla-project/flotilla/hub/controllers/history"
	"github.com/flotilla-project/flotilla/hub/history"
)

// archive is a hub with one cluster and a few works, of which backups are taken. It restores the whole hub, so no other
// test may run beside it.
type archive struct {
	server
	*WithT
	t    testing.TB
	etcd backup.Etcd
	file string
}

func archived(t testing.TB) archive {
	t.Helper()
	a := archive{server: hubServer(t), WithT: NewWithT(t), t: t, file: filepath.Join(t.TempDir(), "hub.backup")}
	endpoint, prefix := a.Etcd()
	a.etcd = backup.Etcd{Endpoints: []string{endpoint}, Prefix: prefix}
	return a
}

func (a archive) cluster(name string) *clusterv1.ManagedCluster {
	a.t.Helper()
	a.Expect(a.Admin.Create(a.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}}
	a.Expect(a.Admin.Create(a.t.Context(), c)).To(Succeed())
	return c
}

func (a archive) work(cluster, name string) *workv1.ManifestWork {
	a.t.Helper()
	w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: name}, Spec: content("one")}
	a.Expect(a.Admin.Create(a.t.Context(), w)).To(Succeed())
	return w
}

func (a archive) get(o client.Object) error {
	return a.Admin.Get(a.t.Context(), client.ObjectKeyFromObject(o), o)
}

// ids are the hub's history id, and the one that the cluster was told.
func (a archive) ids(cluster string) (kept, told string) {
	a.t.Helper()
	m := history.ConfigMap("")
	a.Expect(client.IgnoreNotFound(a.get(m))).To(Succeed())
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: cluster}}
	a.Expect(a.get(c)).To(Succeed())
	return m.Data[history.Key], c.Annotations[appsv1alpha1.AnnotationHubHistory]
}

func (a archive) restore(dry bool) string {
	a.t.Helper()
	var out bytes.Buffer
	r := backup.Restore{Etcd: a.etcd, From: a.file, Excludes: backup.DefaultExcludes, DryRun: dry, Out: &out}
	a.Expect(r.Run(a.t.Context())).To(Succeed(), out.String())
	return out.String()
}

func TestARestoredHubIsAsItWasAndHasANewHistory(t *testing.T) {
	a := archived(t)
	a.run(t, historycontroller.Register)
	a.cluster("backup-east")
	changed, deleted := a.work("backup-east", "changed"), a.work("backup-east", "deleted")
	a.Eventually(func(g Gomega) {
		kept, told := a.ids("backup-east")
		g.Expect(kept).NotTo(BeEmpty())
		g.Expect(told).To(Equal(kept))
	}, soon, interval).Should(Succeed())
	before, _ := a.ids("backup-east")

	summary, err := backup.Save(t.Context(), &a.etcd, a.file, time.Now())
	a.Expect(err).NotTo(HaveOccurred())
	a.Expect(summary.Keys).To(BeNumerically(">", 50))
	a.Expect(a.restore(true)).To(ContainSubstring("nothing else differs"))

	// An hour passes.
	newer := changed.DeepCopy()
	newer.Spec = content("two")
	a.Expect(a.Admin.Update(t.Context(), newer)).To(Succeed())
	a.Expect(a.Admin.Delete(t.Context(), deleted.DeepCopy())).To(Succeed())
	made := a.work("backup-east", "made")
	joined := a.cluster("backup-west")

	plan := a.restore(true)
	for _, line := range []string{"create /hub/work.open-cluster-management.io/manifestworks/backup-east/deleted",
		"change /hub/work.open-cluster-management.io/manifestworks/backup-east/changed",
		"delete /hub/work.open-cluster-management.io/manifestworks/backup-east/made"} {
		a.Expect(plan).To(ContainSubstring(line))
	}
	a.Expect(a.get(made)).To(Succeed(), "a dry run has changed something")

	seen, err := a.Admin.Watch(t.Context(), &workv1.ManifestWorkList{}, client.InNamespace("backup-east"))
	a.Expect(err).NotTo(HaveOccurred())
	defer seen.Stop()
	a.restore(false)

	back := changed.DeepCopy()
	a.Expect(a.get(back)).To(Succeed())
	a.Expect(back.Spec).To(Equal(changed.Spec))
	a.Expect(back.UID).To(Equal(changed.UID))
	a.Expect(later(t, back.ResourceVersion, newer.ResourceVersion)).To(BeTrue(), "resourceVersion went from %s to %s", newer.ResourceVersion, back.ResourceVersion)
	again := deleted.DeepCopy()
	a.Expect(a.get(again)).To(Succeed())
	a.Expect(again.UID).To(Equal(deleted.UID))
	a.Expect(apierrors.IsNotFound(a.get(made))).To(BeTrue())
	a.Expect(apierrors.IsNotFound(a.get(joined))).To(BeTrue())

	kept, told := a.ids("backup-east")
	a.Expect(kept).NotTo(BeEmpty())
	a.Expect(kept).NotTo(Equal(before))
	a.Expect(told).To(Equal(kept))
	a.Eventually(func() string {
		for {
			select {
			case e := <-seen.ResultChan():
				if w, ok := e.Object.(*workv1.ManifestWork); ok && e.Type == watch.Deleted && w.Name == "made" {
					return w.Name
				}
			default:
				return ""
			}
		}
	}, soon, interval).Should(Equal("made"), "those who watch are not told")

	// What is restored can be written as before, the ConfigMap with the id too, and a second restore finds nothing to do.
	a.Expect(strings.Contains(a.restore(true), "nothing else differs")).To(BeTrue(), a.restore(true))
	a.Expect(a.Admin.Update(t.Context(), newerOf(back))).To(Succeed())
	kept2, _ := a.ids("backup-east")
	a.Expect(kept2).To(Equal(kept))
}

func newerOf(w *workv1.ManifestWork) *workv1.ManifestWork {
	w = w.DeepCopy()
	w.Spec = content("three")
	return w
}

// later compares resourceVersions.
func later(t testing.TB, a, b string) bool {
	t.Helper()
	x, err := strconv.ParseUint(a, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	y, err := strconv.ParseUint(b, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x > y
}
