package manifestwork

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/brake"
)

// recount is how long to wait until the kind of works is looked for once more.
const recount = time.Second

// Brake holds removals of works that are too many at once. It is a runnable of the manager, in every replica: it counts
// the works that there are and the removals that others let pass.
type Brake struct {
	// Works that an owner on the hub wants are counted by themselves.
	single, owned *brake.Ledger
	now           clock.PassiveClock

	hub     client.Reader
	works   cache.Informers
	counted atomic.Bool
}

// NewBrake lets a share of the works, in percent, go in a short time.
func NewBrake(share int, hub client.Reader, works cache.Informers, now clock.PassiveClock) *Brake {
	return &Brake{
		single: brake.NewLedger(brake.Few, share, now), owned: brake.NewLedger(brake.FewOwned, share, now),
		now: now, hub: hub, works: works,
	}
}

// NeedLeaderElection says that all replicas count.
func (*Brake) NeedLeaderElection() bool { return false }

// Start counts works until ctx ends. It waits while there is no such kind.
func (b *Brake) Start(ctx context.Context) error {
	var informer cache.Informer
	err := wait.PollUntilContextCancel(ctx, recount, true, func(ctx context.Context) (bool, error) {
		var err error
		if informer, err = b.works.GetInformer(ctx, &workv1.ManifestWork{}, cache.BlockUntilSynced(false)); err != nil && !meta.IsNoMatchError(err) {
			log.FromContext(ctx).Error(err, "count works")
		}
		return err == nil, nil
	})
	if err != nil {
		return nil //nolint:nilerr // the end came first
	}
	watching, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { b.see(ctx, nil, o) },
		UpdateFunc: func(old, o any) { b.see(ctx, old, o) },
		DeleteFunc: func(o any) { b.gone(ctx, o) },
	})
	if err != nil {
		return fmt.Errorf("watch works: %w", err)
	}
	select {
	case <-ctx.Done():
	case <-watching.HasSyncedChecker().Done():
		b.counted.Store(true)
	}
	<-ctx.Done()
	return nil
}

// ledger is the one that counts a work, and what it counts.
func (b *Brake) ledger(w *workv1.ManifestWork) (ledger, other *brake.Ledger, counted string) {
	if brake.Owned(w) {
		return b.owned, b.single, "the fleet that owners on the hub look after"
	}
	return b.single, b.owned, "the fleet"
}

// see notes a work that is there, and its removal when that began.
func (b *Brake) see(ctx context.Context, was, is any) {
	w, ok := is.(*workv1.ManifestWork)
	if !ok {
		return
	}
	ledger, other, _ := b.ledger(w)
	ledger.There(w.UID, w.CreationTimestamp.Time)
	other.Gone(w.UID)
	old, _ := was.(*workv1.ManifestWork)
	switch {
	case !w.DeletionTimestamp.IsZero() && (old == nil || old.DeletionTimestamp.IsZero()):
		b.left(ctx, w, w.DeletionTimestamp.Time)
	case old != nil && brake.Shrinks(old, w):
		b.left(ctx, w, b.now.Now())
	}
}

func (b *Brake) gone(ctx context.Context, was any) {
	if unknown, ok := was.(toolscache.DeletedFinalStateUnknown); ok {
		was = unknown.Obj
	}
	w, ok := was.(*workv1.ManifestWork)
	if !ok {
		return
	}
	if w.DeletionTimestamp.IsZero() { // nothing kept it, so its removal was never seen to begin
		b.left(ctx, w, b.now.Now())
	}
	b.single.Gone(w.UID)
	b.owned.Gone(w.UID)
}

// left notes a removal that some replica let pass, unless it counts for nobody.
func (b *Brake) left(ctx context.Context, w *workv1.ManifestWork, at time.Time) {
	excuse, until, err := b.excuse(ctx, w)
	if err == nil && excuse == "" && !at.Before(until) {
		ledger, _, _ := b.ledger(w)
		ledger.Left(w.UID, at)
	}
}

// judge refuses a removal, or an update that is as good as one, when too many went lately.
func (b *Brake) judge(ctx context.Context, old, work *workv1.ManifestWork, rehearsal bool) error {
	removal := old == work
	if b == nil || old == nil || !removal && !brake.Shrinks(old, work) || !old.DeletionTimestamp.IsZero() {
		return nil
	}
	if !b.counted.Load() && brake.Excuse(work) == "" {
		return apierrors.NewServiceUnavailable("the hub is still counting its works; try again")
	}
	excuse, until, err := b.excuse(ctx, work)
	if err != nil {
		return err
	}
	if !removal && excuse == "" && b.asTemplated(ctx, work) {
		excuse = "the template of its set holds no more"
	}
	ledger, _, counted := b.ledger(old)
	ledger.There(old.UID, old.CreationTimestamp.Time) // the watch may not have told us yet
	v := ledger.Judge(work.UID, excuse, until, rehearsal)
	if !v.Refused {
		return nil
	}
	log.FromContext(ctx).Info("hold removal", "work", client.ObjectKeyFromObject(work), "wanted", v.Wanted, "limit", v.Limit)
	return brake.Refuse(work, v.Message(counted, work.Namespace, work.Name, b.now.Now()))
}

// addOnGone says that a work belongs to an installation of an add-on that is deleted, which takes its works along: through
// the garbage collector, which could confirm nothing. What cannot be read says nothing.
func (b *Brake) addOnGone(ctx context.Context, w *workv1.ManifestWork) bool {
	name := w.Labels[addonv1alpha1.AddonLabelKey]
	if name == "" {
		return false
	}
	installation := &addonv1alpha1.ManagedClusterAddOn{}
	key := client.ObjectKey{Namespace: cmp.Or(w.Labels[addonv1alpha1.AddonNamespaceLabelKey], w.Namespace), Name: name}
	if err := b.hub.Get(ctx, key, installation); err != nil {
		return apierrors.IsNotFound(err)
	}
	return !installation.DeletionTimestamp.IsZero()
}

// asTemplated says that a work shrinks to what its ManifestWorkReplicaSet asks for, which is an order of that one's author.
// What cannot be read says nothing.
func (b *Brake) asTemplated(ctx context.Context, w *workv1.ManifestWork) bool {
	namespace, name, named := strings.Cut(w.Labels[workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey], ".")
	if !named {
		return false
	}
	set := &workv1alpha1.ManifestWorkReplicaSet{}
	if err := b.hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, set); err != nil {
		log.FromContext(ctx).V(1).Info("cannot tell what a work shall hold", "set", namespace+"/"+name, "cause", err.Error())
		return false
	}
	return len(set.Spec.ManifestWorkTemplate.Workload.Manifests) == len(w.Spec.Workload.Manifests)
}

// excuse says why a removal needs no second word, and until when none does.
func (b *Brake) excuse(ctx context.Context, w *workv1.ManifestWork) (string, time.Time, error) {
	if excuse := brake.Excuse(w); excuse != "" {
		return excuse, time.Time{}, nil
	}
	cluster := &clusterv1.ManagedCluster{}
	err := b.hub.Get(ctx, client.ObjectKey{Name: w.Namespace}, cluster)
	if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
		return "", time.Time{}, fmt.Errorf("get cluster %s: %w", w.Namespace, err)
	}
	if cluster.Annotations[appsv1alpha1.AnnotationDetach] != "" {
		return "its cluster is being detached", time.Time{}, nil
	}
	if b.addOnGone(ctx, w) {
		return "its add-on was removed", time.Time{}, nil
	}
	home := &corev1.Namespace{}
	if err := b.hub.Get(ctx, client.ObjectKey{Name: brake.Namespace}, home); client.IgnoreNotFound(err) != nil {
		return "", time.Time{}, fmt.Errorf("get namespace %s: %w", brake.Namespace, err)
	}
	until, err := brake.ConfirmedUntil(home.Annotations)
	if err != nil {
		log.FromContext(ctx).Info("ignore confirmation", "because", err.Error())
	}
	return "", until, nil
}
