package register

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/patch"
)

// OCM-3.8, OCM-6.1
const (
	conditionRotated = "ClusterCertificateRotated"
	reasonUpdated    = "ClientCertificateUpdated"
	reasonFailed     = "ClientCertificateUpdateFailed"
)

// Rotator keeps the certificate of a connected agent fresh.
type Rotator struct {
	Registrar Registrar
	Hub       client.WithWatch
	Holder    Identity
	Period    time.Duration // how often to look; 0 is the five minutes of OCM-6.1
	Changed   <-chan struct{}
	Rotated   func() // called after new files are in place
}

// Run renews the certificate when it is due, until ctx ends. The first failure is told to the hub, and what
// comes after it is tried again with back-off.
func (r Rotator) Run(ctx context.Context) {
	period := r.Period
	if period == 0 {
		period = 5 * time.Minute
	}
	look := func(threshold float64) time.Duration { return min(period-rand.N(period/10+1), r.due(threshold)) }
	Tend(ctx, look, period, r.Changed, r.check)
}

// due is when the certificate would have to be renewed. The files are asked, which are there also while the local API
// server is not.
func (r Rotator) due(threshold float64) time.Duration {
	files, err := r.Registrar.Store.Files()
	if err != nil {
		return math.MaxInt64
	}
	return DueIn(files, threshold, time.Now())
}

// Tend looks after a credential until ctx ends: at once, whenever it may have changed, and as often as look says. The
// threshold that check and look get is drawn anew after each success; failures are tried again with back-off, at least
// every retry. OCM-6.1
func Tend(ctx context.Context, look func(threshold float64) time.Duration, retry time.Duration, changed <-chan struct{},
	check func(ctx context.Context, threshold float64) error,
) {
	threshold := Threshold()
	fresh := wait.Backoff{Duration: 5 * time.Second, Factor: 2, Jitter: 0.2, Steps: 12, Cap: retry}
	backoff := fresh
	for {
		var next time.Duration
		if err := check(ctx, threshold); err != nil && ctx.Err() == nil {
			next = backoff.Step()
			logf.FromContext(ctx).Error(err, "Credentials not renewed, will try again", "after", next.String())
		} else {
			backoff, threshold = fresh, Threshold()
			next = look(threshold)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(next):
		}
	}
}

func (r Rotator) check(ctx context.Context, threshold float64) error {
	have, err := r.Registrar.Store.Load(ctx)
	if err != nil {
		return err
	}
	if err := r.Registrar.Store.saveSecret(ctx, have); err != nil { // somebody may have deleted it
		return err
	}
	kubeconfig := have.Kubeconfig
	if boot, err := ReadBootstrap(r.Registrar.Kubeconfig); err == nil {
		if kubeconfig, err = boot.Hub.Kubeconfig(); err != nil {
			return err
		}
	}
	why := Due(have, r.Holder, kubeconfig, threshold, time.Now())
	if why == "" {
		return nil
	}
	logf.FromContext(ctx).Info("Renewing the certificate", "why", why)
	err = r.renew(ctx, kubeconfig)
	if told := r.tell(ctx, err); told != nil {
		logf.FromContext(ctx).V(1).Info("Outcome of the renewal not told", "cause", told.Error())
	}
	return err
}

func (r Rotator) renew(ctx context.Context, kubeconfig []byte) error {
	cert, key, err := r.Holder.Request(r.Registrar.Expiration).Obtain(ctx, r.Hub)
	if err != nil {
		return err
	}
	made := Credentials{Identity: r.Holder, Cert: cert, Key: key, Kubeconfig: kubeconfig}
	if err := made.Usable(r.Holder, nil, time.Now()); err != nil {
		return fmt.Errorf("check the certificate the hub issued: %w", err)
	}
	if err := r.Registrar.Store.Save(ctx, made); err != nil {
		return fmt.Errorf("store credentials: %w", err)
	}
	r.Rotated()
	return nil
}

// tell writes the outcome to the ManagedCluster, after the secret is safe. OCM-6.1
func (r Rotator) tell(ctx context.Context, renewed error) error {
	var cluster clusterv1.ManagedCluster
	if err := r.Hub.Get(ctx, client.ObjectKey{Name: r.Holder.Cluster}, &cluster); err != nil {
		return fmt.Errorf("get ManagedCluster: %w", err)
	}
	next := cluster.DeepCopy()
	if !setRotated(next, renewed) {
		return nil
	}
	_, err := patch.Status(ctx, r.Hub, &cluster, next)
	return err
}

// setRotated writes the condition; it refuses while the hub holds our clock for wrong. OCM-4.3
func setRotated(cluster *clusterv1.ManagedCluster, renewed error) bool {
	if meta.IsStatusConditionFalse(cluster.Status.Conditions, clusterv1.ManagedClusterConditionClockSynced) {
		return false
	}
	c := metav1.Condition{
		Type: conditionRotated, Status: metav1.ConditionTrue, Reason: reasonUpdated,
		Message: "client certificate rotated", ObservedGeneration: cluster.Generation,
	}
	if renewed != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonFailed, renewed.Error()
	}
	return meta.SetStatusCondition(&cluster.Status.Conditions, c)
}
