package work

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	toolscache "k8s.io/client-go/tools/cache"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// watcher tells which works have an object that changed, so that feedback is fresh without frequent polling. It
// watches metadata only, one informer per kind, and no more kinds than it may; further ones are polled.
type watcher struct {
	metadata metadata.Interface
	most     int
	changed  func(work string)

	mu      sync.Mutex
	wants   map[string][]watched            // by work
	works   map[watched]map[string]struct{} // the other way round
	running map[schema.GroupVersionResource]context.CancelFunc
}

type watched struct {
	gvr             schema.GroupVersionResource
	namespace, name string
}

func newWatcher(c metadata.Interface, most int, changed func(string)) *watcher {
	return &watcher{
		metadata: c, most: most, changed: changed, wants: map[string][]watched{},
		works: map[watched]map[string]struct{}{}, running: map[schema.GroupVersionResource]context.CancelFunc{},
	}
}

// want replaces what is watched for a work.
func (w *watcher) want(ctx context.Context, work string, objects []watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Equal(w.wants[work], objects) {
		return
	}
	for _, o := range w.wants[work] {
		delete(w.works[o], work)
		if len(w.works[o]) == 0 {
			delete(w.works, o)
		}
	}
	delete(w.wants, work)
	if len(objects) > 0 {
		w.wants[work] = objects
	}
	for _, o := range objects {
		if w.works[o] == nil {
			w.works[o] = map[string]struct{}{}
		}
		w.works[o][work] = struct{}{}
	}
	w.adjust(ctx)
}

// adjust starts and stops informers so that each wanted kind has one, as far as they go.
func (w *watcher) adjust(ctx context.Context) {
	kinds := map[schema.GroupVersionResource]bool{}
	for o := range w.works {
		kinds[o.gvr] = true
	}
	for gvr, stop := range w.running {
		if !kinds[gvr] {
			stop()
			delete(w.running, gvr)
		}
	}
	for _, gvr := range slices.SortedFunc(maps.Keys(kinds), func(a, b schema.GroupVersionResource) int {
		return strings.Compare(a.String(), b.String())
	}) {
		if w.running[gvr] == nil && len(w.running) < w.most {
			w.start(ctx, gvr)
		}
	}
}

func (w *watcher) start(ctx context.Context, gvr schema.GroupVersionResource) {
	ctx, cancel := context.WithCancel(ctx)
	informer := metadatainformer.NewFilteredMetadataInformer(w.metadata, gvr, metav1.NamespaceAll, 0, toolscache.Indexers{}, nil).Informer()
	if err := informer.SetTransform(stub); err != nil {
		logf.FromContext(ctx).Error(err, "Kind not watched for feedback, it is polled", "resource", gvr.String())
		cancel()
		return
	}
	see := func(obj any) { w.see(gvr, obj) }
	_, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: see, DeleteFunc: see, UpdateFunc: func(_, obj any) { see(obj) },
	})
	if err != nil {
		logf.FromContext(ctx).Error(err, "Kind not watched for feedback, it is polled", "resource", gvr.String())
		cancel()
		return
	}
	w.running[gvr] = cancel
	go informer.RunWithContext(ctx)
}

// stub keeps the name only: thousands of objects may be of a kind of which we applied one.
func stub(obj any) (any, error) {
	o, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	return &metav1.PartialObjectMetadata{
		TypeMeta: o.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.Namespace, Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion,
		},
	}, nil
}

func (w *watcher) see(gvr schema.GroupVersionResource, obj any) {
	if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	o, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	w.mu.Lock()
	works := slices.Collect(maps.Keys(w.works[watched{gvr, o.Namespace, o.Name}]))
	w.mu.Unlock()
	for _, work := range works {
		w.changed(work)
	}
}

// stop ends all informers.
func (w *watcher) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for gvr, cancel := range w.running {
		cancel()
		delete(w.running, gvr)
	}
}
