package federateddeployment

import (
	"fmt"
	"slices"
	"strings"
	"time"

	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/brake"
)

// brake keeps the works that a Placement no longer decides for, if they are many and the object does not confirm it.
// Who changed the Placement may have thought of other things that it places.
func (p *Plan) brake(obj *v1alpha1.FederatedDeployment, seen facts, braked bool, now time.Time) {
	if seen.placement == nil || len(p.leaves)+len(p.stays) == 0 {
		return
	}
	s := brake.Shrink{
		Kind: strings.ToLower(originOf(obj).gvk.Kind), Namespace: obj.Namespace, Name: obj.Name, Annotations: obj.Annotations,
		Because: fmt.Sprintf("Placement %q no longer decides for their clusters", seen.placement.name),
	}
	for _, w := range seen.works {
		if w.leaving() {
			continue
		}
		s.Total++
		if p.dropped(w.live) && !goes(seen.clusters[w.cluster()]) {
			s.Clusters = append(s.Clusters, w.cluster())
		}
	}
	slices.Sort(s.Clusters)
	p.confirm, p.confirmed = s.Command(now), s.Confirmed(now)
	held := s.Held(now)
	if !braked || held == "" || seen.placement.settling() {
		return
	}
	for _, w := range seen.works {
		if why, may := p.leaves[w.live]; may && !goes(seen.clusters[w.cluster()]) {
			delete(p.leaves, w.live)
			p.stays[w.live] = why + ", but too many would go at once"
		}
	}
	p.problems = append(p.problems, problem{reason: v1alpha1.ReasonRemovalHeld, message: held, soft: true})
	p.recheckAt(now.Truncate(time.Hour).Add(time.Hour), now) // the command in the message is for a while only
}

// goes says that a cluster is being removed or detached, which is an order about all that it has.
func goes(c cluster) bool { return c.leaving || c.detaching }

// dropped says that a Placement asked for a work once, and does no longer.
func (p *Plan) dropped(w *workv1.ManifestWork) bool {
	_, leaves := p.leaves[w]
	_, stays := p.stays[w]
	return leaves || stays
}

// drop removes a work that a Placement no longer decides for. That is an order only where somebody confirmed it, or
// deleted the cluster.
func (p *Plan) drop(w work, why string, at cluster) {
	r := removal{work: w, why: why, ordered: p.confirmed || at.leaving}
	if !r.ordered {
		r.confirm = p.confirm
	}
	p.remove = append(p.remove, r)
}
