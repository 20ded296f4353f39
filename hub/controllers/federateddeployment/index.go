package federateddeployment

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/index"
)

// Keys of the indexes; each is known to its extractor and its lookup only. A kind in front has its own ones of works and
// revisions, because a cache takes each key once.
const (
	byOwner     = "owner"
	byName      = "name"
	byCluster   = "cluster"
	byPlacement = "placement"
	byReference = "reference"
	byNeed      = "need"
)

func keyOf(kind schema.GroupVersionKind, index string) string { return kind.Kind + "." + index }

// anyCluster is the key of those that find their cluster by looking at all of them.
const anyCluster = "*"

// Index is one of a cache.
type Index struct {
	// Of objects of this type.
	Of client.Object
	// Key of the index.
	Key string
	// Extract finds the values of an object.
	Extract client.IndexerFunc
}

// Indexes are those that the controller of a front looks things up by.
func (f Front[T]) Indexes() []Index {
	kind := f.Kind
	all := []Index{
		{&appsv1.ControllerRevision{}, keyOf(kind, byOwner), index.Owners},
		{&workv1.ManifestWork{}, keyOf(kind, byOwner), makerUID},
		{&workv1.ManifestWork{}, keyOf(kind, byName), namesTaken},
		{raw(kind), keyOf(kind, byCluster), clustersUsed},
		{raw(kind), keyOf(kind, byNeed), namesNeeded},
	}
	if f.Fleet {
		all = append(all, Index{raw(kind), keyOf(kind, byPlacement), placementUsed}, Index{raw(kind), keyOf(kind, byReference), referencesMade})
	}
	return all
}

func makerUID(o client.Object) []string {
	if m, made := makerOf(o); made {
		return []string{string(m.uid)}
	}
	return nil
}

// worksOf are the works made for an object, by cluster and name. They are shared with the cache: read only.
func worksOf(ctx context.Context, r client.Reader, obj *v1alpha1.FederatedDeployment) ([]work, error) {
	var found workv1.ManifestWorkList
	err := r.List(ctx, &found, client.MatchingFields{keyOf(originOf(obj).gvk, byOwner): string(obj.UID)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list works of %s/%s: %w", obj.Namespace, obj.Name, err)
	}
	return sorted(found.Items, obj), nil
}

// sorted keeps those that are ours.
func sorted(found []workv1.ManifestWork, obj *v1alpha1.FederatedDeployment) []work {
	var works []work
	for i := range found {
		if live := &found[i]; ours(live, obj) {
			c := read(live)
			works = append(works, work{live: live, carried: c, feedback: hear(live, c)})
		}
	}
	slices.SortFunc(works, func(a, b work) int {
		return cmp.Or(cmp.Compare(a.cluster(), b.cluster()), cmp.Compare(a.live.Name, b.live.Name))
	})
	return works
}

// revisionsOf are the ControllerRevisions that an object controls. They are shared with the cache: read only.
func revisionsOf(ctx context.Context, r client.Reader, obj *v1alpha1.FederatedDeployment) ([]appsv1.ControllerRevision, error) {
	var found appsv1.ControllerRevisionList
	err := r.List(ctx, &found, client.InNamespace(obj.Namespace),
		client.MatchingFields{keyOf(originOf(obj).gvk, byOwner): string(obj.UID)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list revisions of %s/%s: %w", obj.Namespace, obj.Name, err)
	}
	var kept []appsv1.ControllerRevision
	for _, r := range found.Items {
		if metav1.IsControlledBy(&r, obj) {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

// namesNeeded are those that an object's works and workloads have or will have. With a Placement the end of each, which is
// a cluster's name, is not known yet.
func namesNeeded(o client.Object) []string {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	if len(placementUsed(o)) > 0 {
		return []string{placedKey("work/" + u.GetNamespace() + "." + u.GetName() + "."), placedKey(workloadKey(u.GetNamespace(), u.GetName(), ""))}
	}
	var names []string
	for _, subset := range subsetNamesIn(u) {
		names = append(names, "work/"+workName(u.GetNamespace(), u.GetName(), subset), workloadKey(u.GetNamespace(), u.GetName(), subset))
	}
	return names
}

// placedKey is what the names that an object with a Placement needs begin with.
func placedKey(start string) string { return "placed/" + start }

func subsetNamesIn(u *unstructured.Unstructured) (names []string) {
	subsets, _, _ := unstructured.NestedSlice(u.Object, "spec", "topology", "subsets")
	for _, s := range subsets {
		s, _ := s.(map[string]any)
		if name, _ := s["name"].(string); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// waiting are the objects that need a name which a work takes, and may have waited for it.
func (u users) waiting(ctx context.Context, w client.Object) ([]reconcile.Request, error) {
	var all []reconcile.Request
	for _, name := range namesTaken(w) {
		keys := []string{name}
		if start, ends := strings.CutSuffix(name, w.GetNamespace()); ends {
			keys = append(keys, placedKey(start))
		}
		for _, key := range keys {
			requests, err := u.by(ctx, byNeed, "", key)
			if err != nil {
				return nil, err
			}
			all = append(all, requests...)
		}
	}
	return all, nil
}

// A work takes its own name, and that of the workload it was made for.
func namesTaken(o client.Object) []string {
	taken := []string{"work/" + o.GetName()}
	if m, made := makerOf(o); made && o.GetLabels()[v1alpha1.LabelSubset] != "" {
		taken = append(taken, workloadKey(m.Namespace, m.Name, o.GetLabels()[v1alpha1.LabelSubset]))
	}
	return taken
}

func workloadKey(namespace, name, subset string) string {
	return "workload/" + namespace + "/" + workloadName(name, subset)
}

// strangersOf are works of others with names that a subset needs. They are shared with the cache: read only.
func strangersOf(ctx context.Context, r client.Reader, obj *v1alpha1.FederatedDeployment, subset string) ([]*workv1.ManifestWork, error) {
	var strangers []*workv1.ManifestWork
	for _, key := range []string{"work/" + workName(obj.Namespace, obj.Name, subset), workloadKey(obj.Namespace, obj.Name, subset)} {
		var found workv1.ManifestWorkList
		if err := r.List(ctx, &found, client.MatchingFields{keyOf(originOf(obj).gvk, byName): key}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list holders of %s: %w", key, err)
		}
		for i := range found.Items {
			if !ours(&found.Items[i], obj) {
				strangers = append(strangers, &found.Items[i])
			}
		}
	}
	return strangers, nil
}

func clustersUsed(o client.Object) []string {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	subsets, _, _ := unstructured.NestedSlice(u.Object, "spec", "topology", "subsets")
	var names []string
	for _, s := range subsets {
		s, _ := s.(map[string]any)
		name, _ := s["cluster"].(string)
		if name == "" {
			name = anyCluster
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func placementUsed(o client.Object) []string {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	name, found, _ := unstructured.NestedString(u.Object, "spec", "topology", "placementRef", "name")
	if !found {
		return nil
	}
	return []string{name}
}

// users are the objects of a kind, as they are cached.
type users struct {
	cached client.Reader
	kind   schema.GroupVersionKind
}

// by are those with a value in an index, in one namespace or in all.
func (u users) by(ctx context.Context, index, namespace, value string) ([]reconcile.Request, error) {
	found := &unstructured.UnstructuredList{}
	found.SetGroupVersionKind(u.kind)
	err := u.cached.List(ctx, found, client.InNamespace(namespace), client.MatchingFields{keyOf(u.kind, index): value}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list %ss by %s %s: %w", u.kind.Kind, index, value, err)
	}
	var requests []reconcile.Request
	for i := range found.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&found.Items[i])})
	}
	return requests, nil
}

// of are the objects that name a cluster, or look for one like it, or have works there.
func (u users) of(ctx context.Context, cluster string, searching bool) ([]reconcile.Request, error) {
	found := map[types.NamespacedName]bool{}
	keys := []string{cluster}
	if searching {
		keys = append(keys, anyCluster)
	}
	for _, key := range keys {
		requests, err := u.by(ctx, byCluster, "", key)
		if err != nil {
			return nil, err
		}
		for _, r := range requests {
			found[r.NamespacedName] = true
		}
	}
	var works workv1.ManifestWorkList
	err := u.cached.List(ctx, &works, client.InNamespace(cluster), client.HasLabels{v1alpha1.LabelSubset}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list works of cluster %s: %w", cluster, err)
	}
	for i := range works.Items {
		if m, made := makerOf(&works.Items[i]); made && m.gvk == u.kind {
			found[m.NamespacedName] = true
		}
	}
	requests := make([]reconcile.Request, 0, len(found))
	for key := range maps.Keys(found) {
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests, nil
}
