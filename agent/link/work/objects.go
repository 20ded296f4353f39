package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	discoverycache "k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	workv1 "open-cluster-management.io/api/work/v1"
)

const (
	refreshGap = time.Second // between two looks at discovery: a work full of unknown kinds must not cause a storm
	localQPS   = 100
)

// objects reaches any object of the local cluster through plain clients: what works contain is not known before,
// and a cache per kind would be paid for by every node.
type objects struct {
	config *rest.Config
	mapper meta.ResettableRESTMapper

	mu        sync.Mutex
	refreshed time.Time
	clients   map[string]dynamic.Interface // by the user they act as; "" is the agent itself
}

func newObjects(config *rest.Config) (*objects, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst, config.UserAgent = localQPS, 2*localQPS, "flotilla-agent (work-agent)"
	asks, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("prepare discovery: %w", err)
	}
	return &objects{
		config: config, clients: map[string]dynamic.Interface{},
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(discoverycache.NewMemCacheClient(asks)),
	}, nil
}

// as returns the client that acts as a work's executor; without one, as the agent. An executor that is set but
// cannot be read is refused: an empty name never means ourselves.
func (o *objects) as(executor *workv1.ManifestWorkExecutor) (dynamic.Interface, error) {
	config, user := o.config, ""
	if executor != nil {
		account := executor.Subject.ServiceAccount
		if executor.Subject.Type != workv1.ExecutorSubjectTypeServiceAccount || account == nil || account.Namespace == "" || account.Name == "" {
			return nil, errors.New("the work's executor names no service account")
		}
		if systemAccount(account.Namespace) {
			return nil, fmt.Errorf("the work's executor is of namespace %s, whose service accounts are the cluster's own", account.Namespace)
		}
		// The server adds a service account's groups by itself. To name them would take the right to impersonate any
		// group, system:masters as well.
		user = userOf(account)
		config = rest.CopyConfig(config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, ok := o.clients[user]; ok {
		return c, nil
	}
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("prepare client: %w", err)
	}
	o.clients[user] = c
	return c, nil
}

// mapping finds the resource of a kind, and looks again at what the server offers when it does not know it: a
// CRD and its first object may come in one work. OCM-10
func (o *objects) mapping(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	m, err := o.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err == nil || !meta.IsNoMatchError(err) || !o.refresh() {
		return m, err
	}
	return o.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
}

func (o *objects) refresh() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.refreshed) < refreshGap {
		return false
	}
	o.refreshed = time.Now()
	o.mapper.Reset()
	return true
}

// in is the place of one object.
func in(c dynamic.Interface, gvr schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return c.Resource(gvr)
	}
	return c.Resource(gvr).Namespace(namespace)
}

// setOwners replaces the owner references of the object that was looked at, by itself: so it conflicts with
// nobody's fields. OCM-11.2
func setOwners(ctx context.Context, place dynamic.ResourceInterface, live *unstructured.Unstructured, owners []metav1.OwnerReference) (*unstructured.Unstructured, error) {
	if owners == nil {
		owners = []metav1.OwnerReference{}
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": live.GetUID(), "resourceVersion": live.GetResourceVersion(), "ownerReferences": owners,
	}})
	if err != nil {
		return nil, fmt.Errorf("encode owner references: %w", err)
	}
	out, err := place.Patch(ctx, live.GetName(), types.MergePatchType, data, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return nil, fmt.Errorf("set owner reference: %w", err)
	}
	return out, nil
}
