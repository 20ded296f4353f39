package federateddeployment

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/index"
)

// Keys of the indexes; each is known to its extractor and its lookup only.
const (
	byOwner   = "federateddeployment.owner"
	byName    = "federateddeployment.name"
	byCluster = "federateddeployment.cluster"
)

// anyCluster is the key of those that find their cluster by looking at all of them.
const anyCluster = "*"

// indexes are the field indexes that this controller looks things up by.
var indexes = []struct {
	of      client.Object
	key     string
	extract client.IndexerFunc
}{
	{&appsv1.ControllerRevision{}, index.Key, index.Owners},
	{&workv1.ManifestWork{}, byOwner, func(o client.Object) []string { return []string{o.GetLabels()[v1alpha1.LabelFederatedDeploymentUID]} }},
	{&workv1.ManifestWork{}, byName, namesTaken},
	{raw(), byCluster, clustersUsed},
}

// worksOf are the works made for an object, by cluster and name. They are shared with the cache: read only.
func worksOf(ctx context.Context, r client.Reader, obj *v1alpha1.FederatedDeployment) ([]work, error) {
	var found workv1.ManifestWorkList
	err := r.List(ctx, &found, client.MatchingFields{byOwner: string(obj.UID)}, client.UnsafeDisableDeepCopy)
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

// A work takes its own name, and that of the workload it was made for.
func namesTaken(o client.Object) []string {
	taken := []string{"work/" + o.GetName()}
	if l := o.GetLabels(); l[v1alpha1.LabelSubset] != "" {
		taken = append(taken, workloadKey(l[v1alpha1.LabelFederatedDeploymentNamespace], l[v1alpha1.LabelFederatedDeployment], l[v1alpha1.LabelSubset]))
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
		if err := r.List(ctx, &found, client.MatchingFields{byName: key}, client.UnsafeDisableDeepCopy); err != nil {
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

// usersOf are the objects that name a cluster, or look for one like it, or have works there.
func usersOf(ctx context.Context, r client.Reader, cluster string, searching bool) ([]reconcile.Request, error) {
	users := map[types.NamespacedName]bool{}
	keys := []string{cluster}
	if searching {
		keys = append(keys, anyCluster)
	}
	for _, key := range keys {
		found := &unstructured.UnstructuredList{}
		found.SetGroupVersionKind(gvk)
		if err := r.List(ctx, found, client.MatchingFields{byCluster: key}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list users of cluster %s: %w", cluster, err)
		}
		for i := range found.Items {
			users[client.ObjectKeyFromObject(&found.Items[i])] = true
		}
	}
	var works workv1.ManifestWorkList
	err := r.List(ctx, &works, client.InNamespace(cluster), client.HasLabels{v1alpha1.LabelFederatedDeployment}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list works of cluster %s: %w", cluster, err)
	}
	for i := range works.Items {
		users[maker(&works.Items[i])] = true
	}
	var requests []reconcile.Request
	for user := range users {
		requests = append(requests, reconcile.Request{NamespacedName: user})
	}
	return requests, nil
}

// maker is whom a work's labels name.
func maker(w client.Object) types.NamespacedName {
	l := w.GetLabels()
	return types.NamespacedName{Namespace: l[v1alpha1.LabelFederatedDeploymentNamespace], Name: l[v1alpha1.LabelFederatedDeployment]}
}
