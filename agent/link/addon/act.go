package addon

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"open-cluster-management.io/api/addon/v1alpha1"
	"open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/patch"
)

const heldAgain = time.Minute // how often something that may not be taken away is thought of again

// act carries the plan out, and says when to look again if that is sooner than planned.
func (a *Agent) act(ctx context.Context, name string, seen facts, p plan) (time.Duration, error) {
	if p.beat {
		err := a.beat(ctx, seen.there.namespace)
		if err == nil && !p.verdict.good {
			return time.Millisecond, nil // what was seen is not true any more
		}
		if err != nil {
			logf.FromContext(ctx).Error(err, "Lease of the workload manager not renewed, will try again")
		}
	}
	told := a.tell(ctx, name, seen, p)
	a.tend(name, p) //nolint:contextcheck // keepers outlive the round
	again, taken := a.takeAway(ctx, name, seen, p)
	return again, errors.Join(told, taken, seen.blind)
}

// tell writes the conditions that are ours, in one patch. OCM-19.6, OCM-20.1
func (a *Agent) tell(ctx context.Context, name string, seen facts, p plan) error {
	if p.after != nil {
		want := read(p.after).driver
		if _, err := patch.Status(ctx, a.Hub, seen.there.object, p.after); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("update status of add-on: %w", err)
		}
		a.keepless = a.keepless || read(p.after).driver != want
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if seen.there == nil {
		delete(a.looked, name)
		delete(a.outcomes, name)
	} else {
		a.looked[name] = p.verdict
	}
	return nil
}

// tend has a keeper for each credential that is wanted, and none for others. Those that go have ended on return, so that
// they cannot make again what is taken away.
func (a *Agent) tend(name string, p plan) {
	a.mu.Lock()
	wanted := map[types.NamespacedName]credential{}
	for _, c := range p.wanted {
		wanted[c.secret] = c
	}
	var ending []*keeper
	for secret, k := range a.keepers {
		if c, there := wanted[secret]; k.addOn == name && !p.keep && (!there || !c.same(k.credential)) {
			k.stop()
			ending = append(ending, k)
			delete(a.keepers, secret)
		}
	}
	a.mu.Unlock()
	for _, k := range ending {
		<-k.ended
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for secret, c := range wanted {
		if a.keepers[secret] == nil && a.life.Err() == nil {
			a.keepers[secret] = a.start(c)
		}
	}
	for _, k := range a.keepers {
		if k.addOn == name {
			k.know(p.account)
		}
	}
}

// start begins to keep a credential, beyond the round in which that was decided.
func (a *Agent) start(c credential) *keeper {
	life, stop := context.WithCancel(a.life)
	k := &keeper{credential: c, agent: a, ring: make(chan struct{}, 1), stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(k.ended)
		k.run(life)
	}()
	return k
}

// takeAway deletes secrets that nobody wants any more, if that is sure.
func (a *Agent) takeAway(ctx context.Context, name string, seen facts, p plan) (time.Duration, error) {
	if len(p.remove) == 0 {
		return 0, nil
	}
	held, err := a.Held(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask whether credentials may be taken away: %w", err)
	}
	if held != "" {
		logf.FromContext(ctx).Info("Credentials of an add-on stay for now", "addOn", name, "why", held)
		return heldAgain, nil
	}
	if seen.there == nil {
		if err := a.confirm(ctx, name); err != nil {
			return 0, err
		}
	}
	var failed []error
	for _, secret := range p.remove {
		logf.FromContext(ctx).Info("Taking away credentials of an add-on", "addOn", name, "secret", secret.String())
		failed = append(failed, a.vault.remove(ctx, name, secret))
	}
	return 0, errors.Join(failed...)
}

// confirm asks the hub itself: only a list without the add-on says that it is gone.
func (a *Agent) confirm(ctx context.Context, name string) error {
	var list client.ObjectList = &v1alpha1.ManagedClusterAddOnList{}
	if a.kind.Version == v1beta1.GroupVersion.Version {
		list = &v1beta1.ManagedClusterAddOnList{}
	}
	if err := a.Hub.List(ctx, list, client.InNamespace(a.Holder.Cluster)); err != nil {
		return fmt.Errorf("list add-ons: %w", err)
	}
	return meta.EachListItem(list, func(item runtime.Object) error {
		if o, ok := item.(client.Object); ok && o.GetName() == name {
			return fmt.Errorf("add-on %s is there after all", name)
		}
		return nil
	})
}

// beat renews the lease of our own add-on: its agent is this process. OCM-19.6
func (a *Agent) beat(ctx context.Context, namespace string) error {
	if err := a.vault.room(ctx, namespace); err != nil {
		return err
	}
	now := metav1.NowMicro()
	var lease coordinationv1.Lease
	err := a.Local.Get(ctx, client.ObjectKey{Namespace: namespace, Name: WorkloadManager}, &lease)
	lease.Spec.RenewTime = &now
	switch {
	case apierrors.IsNotFound(err):
		lease.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: WorkloadManager}
		lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = new(WorkloadManager), new(int32(60))
		err = a.Local.Create(ctx, &lease)
	case err == nil:
		err = a.Local.Update(ctx, &lease)
	}
	if err != nil {
		return fmt.Errorf("renew lease %s/%s: %w", namespace, WorkloadManager, err)
	}
	return nil
}

// verbosity is of the news that an add-on has to wait: a conflict is a normal outcome.
func verbosity(err error) int {
	if apierrors.IsConflict(err) {
		return 1
	}
	return 0
}
