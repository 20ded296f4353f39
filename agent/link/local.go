package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/inventory"
)

// localCluster is the member as the link sees it: direct clients for what is written and what must be fresh,
// and a small cache of nodes (only what is summed up), claims, AppliedManifestWorks and the credential secret.
type localCluster struct {
	config    *rest.Config
	client    client.Client
	cache     cache.Cache
	discovery *discovery.DiscoveryClient

	begun     chan struct{} // closed when the cache runs, before which nothing can be read from it
	inventory *bell         // nodes or claims changed: tell the hub
	claims    *bell         // nodes changed: our own claims
	secret    *bell         // the credential secret changed

	properties bool // ClusterProperties are claims too
}

func newLocal(config *rest.Config, scheme *runtime.Scheme, o Options) (*localCluster, error) {
	config = rest.CopyConfig(config)
	if config.QPS == 0 { // 5 a second otherwise: an agent with 2000 works would look for their records for minutes
		config.QPS, config.Burst = 100, 200
	}
	local, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("prepare local client: %w", err)
	}
	reader, err := cache.New(config, cache.Options{
		Scheme: scheme, DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Node{}: {Transform: stripNode},
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{
				o.AgentNamespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", o.HubKubeconfigSecret)},
			}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("prepare local cache: %w", err)
	}
	asks, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("prepare local discovery: %w", err)
	}
	return &localCluster{
		config: config, client: local, cache: reader, discovery: asks,
		begun: make(chan struct{}), inventory: newBell(), claims: newBell(), secret: newBell(),
		properties: o.ClusterProperties,
	}, nil
}

// stripNode keeps what is summed up and compared; a node's images alone can be 50 kB.
func stripNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	return &corev1.Node{
		TypeMeta: node.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion, Labels: node.Labels,
		},
		Spec:   corev1.NodeSpec{Unschedulable: node.Spec.Unschedulable},
		Status: corev1.NodeStatus{Capacity: node.Status.Capacity, Allocatable: node.Status.Allocatable},
	}, nil
}

// run keeps the cache and the agent's own claims, and ends with ctx.
func (l *localCluster) run(ctx context.Context, period time.Duration) {
	var all sync.WaitGroup
	all.Go(func() {
		if err := l.cache.Start(ctx); err != nil {
			logf.FromContext(ctx).Error(err, "Local cache ended")
		}
	})
	l.cache.WaitForCacheSync(ctx) // nothing is watched yet, so this is until it runs
	close(l.begun)
	all.Go(func() { l.watch(ctx) })
	all.Go(func() { l.inventoryOf().KeepClaims(ctx, period, l.claims.rings()) })
	all.Wait()
}

func (l *localCluster) inventoryOf() inventory.Local {
	return inventory.Local{Client: l.client, Reader: l.cache, Discovery: l.discovery}
}

// watch rings the bells. A kind that is not served yet is tried again, because its CRD may come with the agent.
func (l *localCluster) watch(ctx context.Context) {
	type watched struct {
		object client.Object
		differ func(old, new any) bool
		bells  []*bell
	}
	all := []watched{
		{&corev1.Node{}, nodesDiffer, []*bell{l.inventory, l.claims}},
		{&clusterv1alpha1.ClusterClaim{}, nil, []*bell{l.inventory}},
		{&corev1.Secret{}, nil, []*bell{l.secret}},
	}
	if l.properties {
		property := &unstructured.Unstructured{}
		property.SetGroupVersionKind(inventory.ClusterProperty)
		all = append(all, watched{property, nil, []*bell{l.inventory}})
	}
	for _, w := range all {
		go l.follow(ctx, w.object, w.differ, w.bells)
	}
}

func (l *localCluster) follow(ctx context.Context, object client.Object, differ func(old, new any) bool, bells []*bell) {
	ring := func() {
		for _, b := range bells {
			b.ring()
		}
	}
	handler := toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { ring() },
		DeleteFunc: func(any) { ring() },
		UpdateFunc: func(old, new any) {
			if differ == nil || differ(old, new) {
				ring()
			}
		},
	}
	for ctx.Err() == nil {
		informer, err := l.cache.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err == nil {
			_, err = informer.AddEventHandler(handler)
		}
		if err == nil {
			return
		}
		logf.FromContext(ctx).V(1).Info("Not watching yet", "kind", fmt.Sprintf("%T", object), "cause", err.Error())
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
}

func nodesDiffer(old, new any) bool {
	a, ok := old.(*corev1.Node)
	b, fine := new.(*corev1.Node)
	return !ok || !fine || !equality.Semantic.DeepEqual(a.Labels, b.Labels) || a.Spec.Unschedulable != b.Spec.Unschedulable ||
		!equality.Semantic.DeepEqual(a.Status, b.Status)
}

// bell is a signal that does not count: rung twice before anybody listens, it still rings once.
type bell struct{ c chan struct{} }

func newBell() *bell { return &bell{c: make(chan struct{}, 1)} }

func (b *bell) ring() {
	select {
	case b.c <- struct{}{}:
	default:
	}
}

func (b *bell) rings() <-chan struct{} { return b.c }
