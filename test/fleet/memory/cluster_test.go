package memory

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func connect(t *testing.T, c *Cluster) client.Client {
	t.Helper()
	cl, err := client.New(c.Config(), client.Options{Scheme: clientgoscheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func cloneSet(replicas int64) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "spec": map[string]any{"replicas": replicas},
	}}
	o.SetNamespace("default")
	o.SetName("web")
	return o
}

func TestAWorkloadIsReadyTheMomentItIsApplied(t *testing.T) {
	g := NewWithT(t)
	c := New("a")
	cl := connect(t, c)
	for generation, replicas := range []int64{3, 5} {
		g.Expect(cl.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(cloneSet(replicas)), client.FieldOwner("x"))).To(Succeed())
		got := cloneSet(0)
		g.Expect(cl.Get(t.Context(), client.ObjectKeyFromObject(got), got)).To(Succeed())
		g.Expect(got.Object["status"]).To(HaveKeyWithValue("readyReplicas", replicas))
		g.Expect(got.GetGeneration()).To(Equal(int64(generation + 1)))
	}
	g.Expect(c.Writes()).To(Equal(int64(2)))
}

func TestFinalizersHoldADeletion(t *testing.T) {
	g := NewWithT(t)
	cl := connect(t, New("a"))
	o := cloneSet(1)
	o.SetFinalizers([]string{"x/y"})
	g.Expect(cl.Create(t.Context(), o)).To(Succeed())
	g.Expect(cl.Create(t.Context(), o.DeepCopy())).To(MatchError(apierrors.IsAlreadyExists, "AlreadyExists"))
	g.Expect(cl.Delete(t.Context(), o)).To(Succeed())
	g.Expect(cl.Get(t.Context(), client.ObjectKeyFromObject(o), o)).To(Succeed())
	g.Expect(o.GetDeletionTimestamp()).NotTo(BeNil())
	g.Expect(cl.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))).To(Succeed())
	g.Expect(cl.Get(t.Context(), client.ObjectKeyFromObject(o), o)).To(MatchError(apierrors.IsNotFound, "NotFound"))
}

func TestACacheFollowsItAndMetadataIsServedAlone(t *testing.T) {
	g := NewWithT(t)
	c := New("z")
	watching, err := cache.New(c.Config(), cache.Options{Scheme: clientgoscheme.Scheme})
	g.Expect(err).NotTo(HaveOccurred())
	go func() { _ = watching.Start(t.Context()) }()
	g.Expect(watching.WaitForCacheSync(t.Context())).To(BeTrue())
	var nodes corev1.NodeList
	g.Expect(watching.List(t.Context(), &nodes)).To(Succeed())
	g.Expect(nodes.Items).To(HaveLen(1))
	g.Expect(nodes.Items[0].Labels).To(HaveKeyWithValue("topology.kubernetes.io/zone", "z"))

	cl := connect(t, c)
	second := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-2"}}
	g.Expect(cl.Create(t.Context(), second)).To(Succeed())
	g.Eventually(func() int {
		_ = watching.List(t.Context(), &nodes)
		return len(nodes.Items)
	}, 5*time.Second).Should(Equal(2))
	g.Expect(cl.Delete(t.Context(), second)).To(Succeed())
	g.Eventually(func() int {
		_ = watching.List(t.Context(), &nodes)
		return len(nodes.Items)
	}, 5*time.Second).Should(Equal(1))

	names, err := metadata.NewForConfig(c.Config())
	g.Expect(err).NotTo(HaveOccurred())
	list, err := names.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}).List(t.Context(), metav1.ListOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(list.Items).To(HaveLen(1))
	g.Expect(c.Reads()).To(BeNumerically(">", 0))
}

func TestItSaysWhatItServes(t *testing.T) {
	g := NewWithT(t)
	asks, err := discovery.NewDiscoveryClientForConfig(New("a").Config())
	g.Expect(err).NotTo(HaveOccurred())
	version, err := asks.ServerVersion()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(version.GitVersion).To(Equal("v1.37.2"))
	_, all, err := asks.ServerGroupsAndResources()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(all).To(HaveLen(len(kinds)))
	_, err = asks.ServerResourcesForGroupVersion("no.such/v1")
	g.Expect(err).To(MatchError(apierrors.IsNotFound, "NotFound"))
}
