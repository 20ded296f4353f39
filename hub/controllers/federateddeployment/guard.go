package federateddeployment

import (
	"fmt"
	"slices"

	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// guard takes nothing away that would bring the available replicas under what is wanted in total: subsets keep what they
// have, and works that nobody asks for stay, until others have made up for it. It looks after moves that a Placement asks
// for; those that a user asks for subset by subset happen at once (WL-5.9).
func (p *Plan) guard(obj *v1alpha1.FederatedDeployment, seen facts, of map[string][]work) {
	for i := range p.shares {
		p.shares[i].goal = p.shares[i].replicas
	}
	if seen.placement == nil {
		return
	}
	b := newBudget(obj, p.shares, seen)
	p.leave(seen, &b)
	for i := range p.shares {
		s := &p.shares[i]
		has := wantedOf(of[s.name()])
		if s.replicas >= has {
			continue
		}
		if at := b.silent(of[s.name()]); at != "" {
			s.replicas, s.held = has, fmt.Sprintf("subset %s keeps %d replicas and gets %d once %s is heard again", s.name(), has, s.goal, at)
			continue
		}
		s.replicas = has - b.take(has-s.replicas, b.idle(of[s.name()]))
		if s.replicas > s.goal {
			s.held = fmt.Sprintf("subset %s keeps %d replicas and gets %d once the others make up for it: %s", s.name(), s.replicas, s.goal, b.String())
		}
	}
}

// leave says which works of clusters that a Placement no longer decides for can go.
func (p *Plan) leave(seen facts, b *budget) {
	p.stays, p.leaves = map[*workv1.ManifestWork]string{}, map[*workv1.ManifestWork]string{}
	for _, w := range seen.works {
		if w.leaving() || slices.ContainsFunc(p.shares, func(s share) bool { return s.name() == w.subset() }) {
			continue
		}
		why := fmt.Sprintf("Placement %q no longer decides for %s", seen.placement.name, w.cluster())
		state := b.String()
		if seen.placement.settling() {
			state = fmt.Sprintf("it has %d of the %d decisions that it speaks of", len(seen.placement.scores), seen.placement.selected)
		} else if b.spares(w) {
			p.leaves[w.live] = fmt.Sprintf("%s, and %s", why, state)
			continue
		}
		p.stays[w.live] = fmt.Sprintf("%s, whose %s stay until others have replaced them: %s", why, counted(int(w.replicas), "replica"), state)
	}
}

// budget is how many available replicas can be taken away.
type budget struct {
	seen        facts
	there, want int32
	left        int32
}

func newBudget(obj *v1alpha1.FederatedDeployment, shares []share, seen facts) budget {
	b := budget{seen: seen}
	for _, s := range shares {
		b.want += s.replicas
	}
	if obj.Spec.Replicas != nil {
		b.want = *obj.Spec.Replicas
	}
	for _, w := range seen.works {
		b.there += b.available(w)
	}
	b.left = max(0, b.there-b.want)
	return b
}

// available are the replicas of a work that serve now and will go on. Silence is no evidence that they do.
func (b *budget) available(w work) int32 {
	if w.leaving() || !b.seen.clusters[w.cluster()].heard {
		return 0
	}
	return min(w.feedback.available, w.replicas)
}

// idle are replicas that were asked for and do not serve, so that nobody misses them.
func (b *budget) idle(works []work) (n int32) {
	for _, w := range works {
		if !w.leaving() {
			n += max(0, w.replicas-b.available(w))
		}
	}
	return n
}

// silent is a cluster of the subset that is not heard from. What runs there is not taken away by guessing.
func (b *budget) silent(works []work) string {
	for _, w := range works {
		if c, there := b.seen.clusters[w.cluster()]; there && !c.heard {
			return w.cluster()
		}
	}
	return ""
}

// take takes up to n replicas, of which some are idle.
func (b *budget) take(n, idle int32) int32 {
	free := min(n, idle)
	paid := min(n-free, b.left)
	b.left -= paid
	return free + paid
}

// spares says that a whole work can go. What a silent cluster runs may still serve, so it goes only once nobody misses it.
func (b *budget) spares(w work) bool {
	n := b.available(w)
	if b.left < n || b.silent([]work{w}) != "" && b.there < b.want {
		return false
	}
	b.left -= n
	return true
}

func (b *budget) String() string {
	return fmt.Sprintf("%d of %d replicas are available", b.there, b.want)
}
