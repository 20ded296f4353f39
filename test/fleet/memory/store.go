// Package memory is a member cluster that exists in memory alone: enough of a Kubernetes API for the hub's side of an
// agent, reached through a transport without sockets, so that a thousand of them fit into one process. Workloads become
// ready the moment they are written. It is for measuring, never for proving: nothing is validated, defaulted or admitted.
package memory

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/yaml"
)

// key names an object.
type key struct {
	resource        schema.GroupResource
	namespace, name string
}

// store holds objects and tells watchers of each change.
type store struct {
	mu       sync.Mutex
	version  int64
	objects  map[key]*unstructured.Unstructured
	watchers map[*watcher]bool
}

type watcher struct {
	of     schema.GroupResource
	events chan watch.Event
}

func newStore() *store {
	return &store{objects: map[key]*unstructured.Unstructured{}, watchers: map[*watcher]bool{}}
}

// put creates or replaces an object; the caller holds the lock.
func (s *store) put(k key, o *unstructured.Unstructured, now metav1.Time) *unstructured.Unstructured {
	old, kind := s.objects[k], watch.Modified
	o = o.DeepCopy()
	switch {
	case old == nil:
		kind = watch.Added
		o.SetUID(types.UID(fmt.Sprintf("%s/%s/%s/%d", k.resource, k.namespace, k.name, s.version)))
		o.SetCreationTimestamp(now)
		o.SetGeneration(1)
	case equality.Semantic.DeepEqual(old.Object, o.Object):
		return old
	default:
		o.SetUID(old.GetUID())
		o.SetCreationTimestamp(old.GetCreationTimestamp())
		o.SetGeneration(old.GetGeneration())
		if !equality.Semantic.DeepEqual(old.Object["spec"], o.Object["spec"]) {
			o.SetGeneration(old.GetGeneration() + 1)
		}
	}
	ready(o)
	if o.GetDeletionTimestamp() != nil && len(o.GetFinalizers()) == 0 {
		s.remove(k)
		return o
	}
	s.stamp(o)
	s.objects[k] = o
	s.tell(watch.Event{Type: kind, Object: o}, k.resource)
	return o
}

// remove forgets an object; the caller holds the lock.
func (s *store) remove(k key) {
	o := s.objects[k]
	if o == nil {
		return
	}
	delete(s.objects, k)
	gone := o.DeepCopy()
	s.stamp(gone)
	s.tell(watch.Event{Type: watch.Deleted, Object: gone}, k.resource)
}

func (s *store) stamp(o *unstructured.Unstructured) {
	s.version++
	o.SetResourceVersion(strconv.FormatInt(s.version, 10))
}

func (s *store) tell(e watch.Event, of schema.GroupResource) {
	for w := range s.watchers {
		if w.of == of {
			w.events <- e
		}
	}
}

// ready says of a workload that all its pods run what is wanted.
func ready(o *unstructured.Unstructured) {
	replicas, found, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
	if err != nil || !found {
		return
	}
	status := map[string]any{"observedGeneration": o.GetGeneration()}
	for _, name := range []string{"replicas", "readyReplicas", "availableReplicas", "updatedReplicas", "updatedReadyReplicas", "updatedAvailableReplicas"} {
		status[name] = replicas
	}
	o.Object["status"] = status
}

// patch applies one of the kinds of patch that clients send. Server-side apply is taken for a merge: nobody else owns fields.
func patch(old *unstructured.Unstructured, kind types.PatchType, body []byte) (*unstructured.Unstructured, error) {
	before := []byte("{}")
	if old != nil {
		var err error
		if before, err = json.Marshal(old); err != nil {
			return nil, err
		}
	}
	var after []byte
	var err error
	switch kind {
	case types.JSONPatchType:
		var p jsonpatch.Patch
		if p, err = jsonpatch.DecodePatch(body); err == nil {
			after, err = p.Apply(before)
		}
	case types.ApplyPatchType:
		if body, err = yaml.YAMLToJSON(body); err == nil {
			after, err = jsonpatch.MergePatch(before, body)
		}
	default:
		after, err = jsonpatch.MergePatch(before, body)
	}
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	o := &unstructured.Unstructured{}
	return o, utiljson.Unmarshal(after, &o.Object)
}

// matching are the objects of a list, in the order of their names.
func (s *store) matching(of schema.GroupResource, keep func(*unstructured.Unstructured) bool) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for k, o := range maps.All(s.objects) {
		if k.resource == of && keep(o) {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int {
		if a.GetNamespace()+"/"+a.GetName() < b.GetNamespace()+"/"+b.GetName() {
			return -1
		}
		return 1
	})
	return all
}

func notFound(k key) *apierrors.StatusError { return apierrors.NewNotFound(k.resource, k.name) }
