package federateddeployment

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// A Placement drops clusters that are not heard from, long before anybody knows that they are gone. Where the user said
// what is to become of the replicas of a silent cluster (spec.failover), that holds and not the Placement's word: the
// cluster stays a subset, with the share that it has, while it is silent, and for a while after, in which the Placement
// may decide for it again.

// backAgain is the least time that a Placement is given to decide again for a cluster that is back.
const backAgain = time.Minute

// keepSilent adds the clusters that are to be kept to the shares.
func (p *Plan) keepSilent(obj *v1alpha1.FederatedDeployment, seen facts, now time.Time) {
	if seen.placement == nil || obj.Spec.Failover == nil || seen.placement.undecided() != "" {
		return
	}
	for _, name := range inUse(seen.works) {
		c, known := seen.clusters[name]
		asked := slices.ContainsFunc(p.shares, func(s share) bool { return s.name() == name })
		if asked || !known || c.barred() != "" {
			continue
		}
		held, until := "", c.since.Add(max(seconds(obj.Spec.Failover.ReturnAfterSeconds, backAgain), backAgain))
		switch {
		case c.heard && !now.Before(until):
			continue
		case c.heard:
			held = fmt.Sprintf("subset %s stays until %s, so that Placement %q may decide for its cluster again, which was silent", name, until.UTC().Format(time.RFC3339), seen.placement.name)
			p.recheckAt(until, now)
		}
		p.shares = append(p.shares, share{
			subset: v1alpha1.Subset{Name: name, Cluster: name}, at: fmt.Sprintf("spec.topology.placementRef (%s)", seen.placement.name), kept: true, held: held,
		})
	}
	slices.SortStableFunc(p.shares, func(a, b share) int { return strings.Compare(a.name(), b.name()) })
}

// weighAround gives clusters that are kept what they have, and lets the others share the rest.
func (p *Plan) weighAround(obj *v1alpha1.FederatedDeployment, seen facts, of map[string][]work) {
	left, lines := *obj.Spec.Replicas, standIns(obj)
	others := Plan{fits: p.fits}
	for i := range p.shares {
		s := &p.shares[i]
		if !s.kept {
			others.shares = append(others.shares, *s)
			continue
		}
		s.replicas = min(left, max(0, wantedOf(of[s.name()])-lines[s.name()].StandInReplicas))
		left -= s.replicas
	}
	rest := *obj
	rest.Spec.Replicas = &left
	others.weigh(&rest, seen, of)
	p.short = others.short
	for i, next := 0, 0; i < len(p.shares); i++ {
		if !p.shares[i].kept {
			p.shares[i].replicas = others.shares[next].replicas
			next++
		}
	}
}
