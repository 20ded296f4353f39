package work

import (
	"fmt"
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

func TestOneNamespaceIsWatchedWhileAllObjectsAreInIt(t *testing.T) { // OCM-12.5
	g := NewWithT(t)
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	maps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	w := newWatcher(metadatafake.NewSimpleMetadataClient(scheme), 5, func(string) {})
	defer w.stop()
	in := func(namespaces ...string) (out []wish) {
		for _, n := range namespaces {
			out = append(out, wish{watched{maps, n, "c"}, true})
		}
		return out
	}
	for _, step := range []struct {
		objects []wish
		scope   string
	}{{in("a"), "a"}, {in("a", "b"), ""}, {in("b"), ""}, {nil, "none"}, {in("b"), "b"}, {in("c"), "c"}} {
		w.want(t.Context(), "web", step.objects)
		got := "none"
		if running := w.running[maps]; running != nil {
			got = running.scope
		}
		g.Expect(got).To(Equal(step.scope))
	}
}

func TestManyObjectsOfAKindAreWatchedWithoutRules(t *testing.T) {
	g := NewWithT(t)
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	maps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	live := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "c0", ResourceVersion: "7"},
	}
	c := metadatafake.NewSimpleMetadataClient(scheme, live)
	w := newWatcher(c, 5, func(string) {})
	defer w.stop()
	var objects []wish
	for i := range crowdedKind {
		g.Expect(w.running).To(BeEmpty())
		objects = append(objects, wish{watched{maps, "a", fmt.Sprintf("c%d", i)}, false})
		w.want(t.Context(), "web", objects)
	}
	g.Expect(w.running).To(HaveLen(1))
	first := objects[0].watched
	g.Eventually(func() bool { return w.still(first, "7") }).Should(BeTrue())
	g.Expect(w.still(first, "6")).To(BeFalse())
	g.Expect(w.still(objects[1].watched, "7")).To(BeFalse(), "it is not there")

	w.refuse(maps) // as when the agent may not list them
	g.Expect(w.running).To(BeEmpty())
	w.want(t.Context(), "more", objects)
	g.Expect(w.running).To(BeEmpty(), "asked for again at once")
	g.Expect(w.still(first, "7")).To(BeFalse())
}
