package work

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	toolscache "k8s.io/client-go/tools/cache"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// crowdedKind is how many objects of a kind are applied before one watch costs less than to look at each.
const crowdedKind = 20

const refusalLasts = 10 * time.Minute

// watcher tells which works have an object that changed, so that feedback is fresh without frequent polling, and
// which objects have not, so that they need no look. It watches metadata only, one informer per kind, and no more
// kinds than it may; further ones are polled.
type watcher struct {
	metadata metadata.Interface
	most     int
	changed  func(work string)

	mu      sync.Mutex
	wants   map[string][]wish               // by work
	works   map[watched]map[string]struct{} // the other way round
	kinds   map[schema.GroupVersionResource]*demand
	running map[schema.GroupVersionResource]*watch
	refused map[schema.GroupVersionResource]time.Time
}

type watched struct {
	gvr             schema.GroupVersionResource
	namespace, name string
}

// wish is an object of a work. One with rules wants its kind watched; others are glad if it is.
type wish struct {
	watched

	rules bool
}

// demand is what speaks for watching a kind.
type demand struct {
	objects, rules int
	namespaces     map[string]int
}

func (d *demand) enough() bool { return d != nil && (d.rules > 0 || d.objects >= crowdedKind) }

// scope is the namespace to watch: the one where all the objects are, or all.
func (d *demand) scope() string {
	if len(d.namespaces) == 1 {
		for namespace := range d.namespaces {
			return namespace
		}
	}
	return metav1.NamespaceAll
}

// watch is a running informer.
type watch struct {
	scope  string
	stop   context.CancelFunc
	synced func() bool
	store  toolscache.Store
}

func newWatcher(c metadata.Interface, most int, changed func(string)) *watcher {
	return &watcher{
		metadata: c, most: most, changed: changed, wants: map[string][]wish{}, works: map[watched]map[string]struct{}{},
		kinds: map[schema.GroupVersionResource]*demand{}, running: map[schema.GroupVersionResource]*watch{},
		refused: map[schema.GroupVersionResource]time.Time{},
	}
}

// want replaces what is watched for a work.
func (w *watcher) want(ctx context.Context, work string, objects []wish) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Equal(w.wants[work], objects) {
		return
	}
	for _, o := range w.wants[work] {
		delete(w.works[o.watched], work)
		if len(w.works[o.watched]) == 0 {
			delete(w.works, o.watched)
		}
		w.count(o, -1)
	}
	delete(w.wants, work)
	if len(objects) > 0 {
		w.wants[work] = objects
	}
	for _, o := range objects {
		if w.works[o.watched] == nil {
			w.works[o.watched] = map[string]struct{}{}
		}
		w.works[o.watched][work] = struct{}{}
		w.count(o, 1)
	}
	w.adjust(ctx)
}

func (w *watcher) count(o wish, by int) {
	d := w.kinds[o.gvr]
	if d == nil {
		d = &demand{namespaces: map[string]int{}}
		w.kinds[o.gvr] = d
	}
	d.objects += by
	if o.rules {
		d.rules += by
	}
	if d.namespaces[o.namespace] += by; d.namespaces[o.namespace] == 0 {
		delete(d.namespaces, o.namespace)
	}
	if d.objects == 0 {
		delete(w.kinds, o.gvr)
	}
}

// adjust starts and stops informers so that each kind in demand has one, as far as they go. Rules come first.
func (w *watcher) adjust(ctx context.Context) {
	for gvr, running := range w.running {
		// One that sees too little starts anew; one that sees too much goes on, for objects come and go.
		if d := w.kinds[gvr]; !d.enough() || running.scope != metav1.NamespaceAll && running.scope != d.scope() {
			running.stop()
			delete(w.running, gvr)
		}
	}
	var waiting []schema.GroupVersionResource
	for gvr, d := range w.kinds {
		if w.running[gvr] == nil && d.enough() && time.Since(w.refused[gvr]) > refusalLasts {
			waiting = append(waiting, gvr)
		}
	}
	slices.SortFunc(waiting, func(a, b schema.GroupVersionResource) int {
		return cmp.Or(-cmp.Compare(min(w.kinds[a].rules, 1), min(w.kinds[b].rules, 1)), strings.Compare(a.String(), b.String()))
	})
	for _, gvr := range waiting[:min(len(waiting), max(w.most-len(w.running), 0))] {
		w.start(ctx, gvr)
	}
}

func (w *watcher) start(ctx context.Context, gvr schema.GroupVersionResource) {
	ctx, cancel := context.WithCancel(ctx)
	scope := w.kinds[gvr].scope()
	informer := metadatainformer.NewFilteredMetadataInformer(w.metadata, gvr, scope, 0, toolscache.Indexers{}, nil).Informer()
	see := func(obj any) { w.see(gvr, obj) }
	err := informer.SetTransform(stub)
	if err == nil {
		err = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *toolscache.Reflector, err error) {
			if apierrors.IsForbidden(err) {
				w.refuse(gvr)
				return
			}
			toolscache.DefaultWatchErrorHandler(ctx, r, err)
		})
	}
	if err == nil {
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: see, DeleteFunc: see, UpdateFunc: func(_, obj any) { see(obj) },
		})
	}
	if err != nil {
		logf.FromContext(ctx).Error(err, "Kind not watched for feedback, it is polled", "resource", gvr.String())
		cancel()
		return
	}
	w.running[gvr] = &watch{scope: scope, stop: cancel, synced: informer.HasSynced, store: informer.GetStore()}
	go informer.RunWithContext(ctx)
}

// refuse stops watching a kind for which the agent has no right to; to ask on would be a list every few seconds.
func (w *watcher) refuse(gvr schema.GroupVersionResource) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused[gvr] = time.Now()
	if running := w.running[gvr]; running != nil {
		running.stop()
		delete(w.running, gvr)
	}
}

// still reports whether an object is watched and has the version.
func (w *watcher) still(o watched, version string) bool {
	w.mu.Lock()
	running := w.running[o.gvr]
	w.mu.Unlock()
	if running == nil || !running.synced() {
		return false
	}
	key := o.name
	if o.namespace != "" {
		key = o.namespace + "/" + o.name
	}
	obj, there, err := running.store.GetByKey(key)
	if err != nil || !there {
		return false
	}
	have, ok := obj.(*metav1.PartialObjectMetadata)
	return ok && have.ResourceVersion == version
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
	for gvr, running := range w.running {
		running.stop()
		delete(w.running, gvr)
	}
}
