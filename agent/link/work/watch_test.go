package work

import (
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metadatafake "k8s.io/client-go/metadata/fake"
)

func TestWatcherTellsWhoseObjectChangedAndKeepsItsLimit(t *testing.T) { // OCM-12.5
	g := NewWithT(t)
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	daemons := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	thing := func(name, version string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name, ResourceVersion: version},
		}
	}
	c := metadatafake.NewSimpleMetadataClient(scheme, thing("web", "1"), thing("foreign", "1"))
	var mu sync.Mutex
	var told []string
	heard := func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(told) }
	w := newWatcher(c, 1, func(work string) { mu.Lock(); defer mu.Unlock(); told = append(told, work) })
	defer w.stop()

	ruled := func(gvr schema.GroupVersionResource, name string) wish { return wish{watched{gvr, "a", name}, true} }
	w.want(t.Context(), "first", []wish{ruled(deployments, "web")})
	w.want(t.Context(), "second", []wish{ruled(deployments, "web"), ruled(daemons, "d")})
	g.Expect(w.running).To(HaveLen(1), "one informer is the limit")
	g.Eventually(heard).Should(ContainElements("first", "second"))

	w.want(t.Context(), "first", nil)
	before := len(heard())
	g.Expect(c.Tracker().Update(deployments, thing("foreign", "2"), "a")).To(Succeed())
	g.Expect(c.Tracker().Update(deployments, thing("web", "2"), "a")).To(Succeed())
	g.Eventually(func() []string { return heard()[before:] }).Should(Equal([]string{"second"}))
	g.Consistently(func() []string { return heard()[before:] }, 200*time.Millisecond).Should(Equal([]string{"second"}))

	w.want(t.Context(), "second", []wish{ruled(daemons, "d")})
	g.Expect(w.running).To(And(HaveLen(1), HaveKey(daemons)), "a kind nobody wants makes room")
	w.want(t.Context(), "second", nil)
	g.Expect(w.running).To(BeEmpty())
}

func TestStubKeepsTheNameAlone(t *testing.T) {
	in := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b", UID: "u", ResourceVersion: "1",
		Labels: map[string]string{"x": "y"}, ManagedFields: []metav1.ManagedFieldsEntry{{}}}}
	out, err := stub(in)
	if err != nil {
		t.Fatal(err)
	}
	got := out.(*metav1.PartialObjectMetadata)
	if got.Labels != nil || got.ManagedFields != nil || got.Name != "b" || got.ResourceVersion != "1" {
		t.Errorf("%+v", got)
	}
}
