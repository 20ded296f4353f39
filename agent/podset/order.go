package podset

import (
	"cmp"
	"math"
	"slices"
)

// before compares by what health shows first: the pod least missed goes first
// (ActivePods order, 0.1). byAvailability, byCost and the rank are what
// scale-in adds to it (1.9.1).
type before struct {
	byAvailability, byCost, sidecars bool
}

var (
	healthOrder  = before{sidecars: true}
	crowdOrder   = before{byCost: true}
	scaleInOrder = before{byCost: true, byAvailability: true}
)

func (o before) compare(a, b *member) int {
	if c := firstTrue(a.Node == "", b.Node == ""); c != 0 {
		return c
	}
	if a.Phase != b.Phase {
		return cmp.Compare(a.Phase, b.Phase)
	}
	if o.byAvailability && a.up != b.up {
		return firstTrue(!a.up, !b.up)
	}
	if a.Ready != b.Ready {
		return firstTrue(!a.Ready, !b.Ready)
	}
	if o.byCost && a.Cost != b.Cost {
		return cmp.Compare(a.Cost, b.Cost)
	}
	if a.rank != b.rank {
		return cmp.Compare(b.rank, a.rank)
	}
	if a.Ready && a.ready != b.ready {
		return cmp.Compare(b.ready, a.ready)
	}
	if a.Restarts != b.Restarts {
		return cmp.Compare(b.Restarts, a.Restarts)
	}
	if o.sidecars && a.SidecarRestarts != b.SidecarRestarts {
		return cmp.Compare(b.SidecarRestarts, a.SidecarRestarts)
	}
	if a.created != b.created {
		return cmp.Compare(b.created, a.created)
	}
	return cmp.Compare(a.at, b.at)
}

func firstTrue(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// chooseForScaleIn picks n pods of a group, the least missed first (1.9.1).
func (v *view) chooseForScaleIn(group []*member, n int) []*member {
	if n >= len(group) {
		return group
	}
	v.rank(group)
	slices.SortFunc(group, scaleInOrder.compare)
	return group[:n]
}

// rank says how crowded each pod's place is: by the template's spread
// constraints if it has any, otherwise by node.
func (v *view) rank(group []*member) {
	for _, pods := range groupBy(group, func(m *member) string { return m.Node }) {
		slices.SortFunc(pods, crowdOrder.compare)
		for i, m := range pods {
			m.onNode = float64(len(pods) - 1 - i)
		}
	}
	if len(v.spec.Spread) == 0 {
		for _, m := range group {
			m.rank = m.onNode
		}
		return
	}
	for i, key := range v.spec.Spread {
		for _, m := range group {
			m.rank = m.onNode
			if key == hostname {
				m.rank = 0
			}
		}
		domains := groupBy(group, func(m *member) string { return m.domain(i) })
		for _, pods := range domains {
			slices.SortFunc(pods, crowdOrder.compare)
			for at, m := range pods {
				m.spread += float64(len(pods)-at) * math.Log(float64(len(domains)+2))
			}
		}
	}
	for _, m := range group {
		m.rank = m.spread
	}
}

const hostname = "kubernetes.io/hostname"

func (m *member) domain(constraint int) string {
	if constraint >= len(m.Domains) {
		return ""
	}
	return m.Domains[constraint]
}

// groupBy leaves out members without a key.
func groupBy(group []*member, key func(*member) string) map[string][]*member {
	by := map[string][]*member{}
	for _, m := range group {
		if k := key(m); k != "" {
			by[k] = append(by[k], m)
		}
	}
	return by
}

// orderUpdates sorts the pods that wait for an update (1.11).
func (v *view) orderUpdates(waiting []*member) []*member {
	slices.SortFunc(waiting, healthOrder.compare)
	if v.spec.Prioritized {
		slices.SortFunc(waiting, func(a, b *member) int {
			if c := slices.Compare(a.Priority[:], b.Priority[:]); c != 0 {
				return c
			}
			return cmp.Compare(b.at, a.at) // ties: higher index first, not the base order
		})
	}
	waiting = v.scatter(waiting)
	slices.SortStableFunc(waiting, func(a, b *member) int { return firstTrue(a.chosen(), b.chosen()) })
	return waiting
}

// chosen pods are already on their way: another one in their place would
// update more pods than the partition leaves. 1.11 step 4 names the state;
// a mark is the same for a recreate update.
func (m *member) chosen() bool { return m.Marked || m.State == PreparingUpdate }
