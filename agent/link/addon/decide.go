package addon

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/register"
)

// plan is what to do for one add-on.
type plan struct {
	wanted  []credential
	keep    bool // the keepers stay as they are
	remove  []types.NamespacedName
	after   client.Object // the object as it should be; nil: as it is
	beat    bool          // renew the lease of our own add-on first
	account string        // UID of the hub's service account
	verdict verdict
	again   time.Duration
}

// due is how long a verdict holds.
func (v verdict) due(o Options) time.Duration {
	if v.good {
		return min(o.Health, v.changes+time.Second)
	}
	return o.Unwell
}

// decide says what to do for an add-on. A deleting one keeps what it has: its agent may need it to clean up. OCM-19.4
func decide(name string, f facts, holder register.Identity, o Options, now time.Time) plan {
	if f.there == nil {
		return plan{remove: f.made}
	}
	p := plan{verdict: f.last, account: accountUID(f.there.conditions)}
	if p.keep = f.there.object.GetDeletionTimestamp() != nil; !p.keep {
		p.wanted = credentials(name, f.there, holder, o.Driver)
		p.remove = slices.DeleteFunc(slices.Clone(f.made), func(secret types.NamespacedName) bool {
			return slices.ContainsFunc(p.wanted, func(c credential) bool { return c.secret == secret })
		})
	}
	p.beat = name == WorkloadManager && o.Workloads && f.look
	p.status(name, f, holder, o, now)
	if !f.there.customized {
		p.again = max(p.verdict.due(o)-now.Sub(p.verdict.at), 0) + time.Millisecond
	}
	return p
}

// status settles the conditions that are ours, and how credentials are come by.
func (p *plan) status(name string, f facts, holder register.Identity, o Options, now time.Time) {
	after, ok := f.there.object.DeepCopyObject().(client.Object)
	if !ok {
		return
	}
	conditions := conditionsOf(after)
	changed := false
	if f.look {
		c, left := health(name, f.there.namespace, f.lease, now)
		changed = meta.SetStatusCondition(conditions, c)
		p.verdict = verdict{at: now, namespace: f.there.namespace, good: c.Status == metav1.ConditionTrue, changes: left}
	}
	for _, c := range f.outcomes {
		changed = meta.SetStatusCondition(conditions, c) || changed
	}
	if driver, user := drives(name, f.there, holder, o.Driver); !p.keep && !f.keepless && (f.there.driver != driver || user != "" && !named(f.there, user)) {
		declare(after, driver, user)
		changed = true
	}
	if changed {
		p.after = after
	}
}

// drives is the driver to declare for the hub's API server, and the user that follows from it. OCM-19.4
func drives(name string, i *installation, holder register.Identity, driver string) (string, string) {
	switch {
	case !slices.ContainsFunc(i.registrations, registration.kube):
		return "", ""
	case driver == driverToken:
		return driver, accountUser(holder.Cluster, name)
	default:
		return driver, ""
	}
}

// named reports whether every registration for the hub's API server names user and nothing else.
func named(i *installation, user string) bool {
	return !slices.ContainsFunc(i.registrations, func(r registration) bool {
		return r.kube() && (r.user != user || len(r.groups)+len(r.units) > 0)
	})
}
