package pernode

import (
	"fmt"
	"slices"

	"github.com/flotilla-project/flotilla/agent/podset"
)

const maxCulprits = 10

// explain says what the set waits for: "3 of 10 down, waiting for web-7f4 on node-2: ImagePullBackOff".
func (d *decision) explain() {
	culprits := d.culprits()
	if len(culprits) == 0 {
		return
	}
	d.plan.Waiting.Culprits = culprits
	c := d.plan.Counts
	text := fmt.Sprintf("%d of %d down", c.Unavailable, c.Desired)
	if d.spec.Rolling && c.Updated < c.Desired {
		text = fmt.Sprintf("%d of %d updated, %d down", c.Updated, c.Desired, c.Unavailable)
	}
	d.plan.Message = fmt.Sprintf("%s, waiting for %s", text, culprits[0])
	if more := len(culprits) - 1; more > 0 {
		d.plan.Message += fmt.Sprintf(" and %d more", more)
	}
}

// culprits are the pods that the set waits for: those that cannot become ready first, then those whose hook waits for its
// user.
func (d *decision) culprits() []podset.Culprit {
	var by [3][]podset.Culprit
	for _, p := range d.places {
		for _, pod := range p.pods {
			c, waits := d.culprit(p, pod)
			if !waits {
				continue
			}
			kind := 2
			switch {
			case c.Blocked != "":
				kind = 0
			case c.Hook != "":
				kind = 1
			}
			by[kind] = append(by[kind], c)
		}
	}
	all := slices.Concat(by[0], by[1], by[2])
	return all[:min(len(all), maxCulprits)]
}

// culprit says whether and why the pod is waited for.
func (d *decision) culprit(p *place, pod *Pod) (podset.Culprit, bool) {
	c := pod.Culprit(nil)
	c.Node = p.Name
	switch {
	case c.Hook != "":
		return c, true
	case pod.Terminating:
		c.Blocked, c.Changing = "", "it is on its way out"
		return c, p.Run && p.fresh == nil && p.old == nil
	case pod.Phase == podset.Finished && d.now.Before(pod.KeepUntil):
		c.Blocked = "it failed, as others before it; the next one comes at " + pod.KeepUntil.UTC().Format("15:04:05 MST")
		return c, true
	case pod.Phase == podset.Finished:
		return c, false // deleted now
	case !pod.Pod.InPlace.Done && c.Blocked != "":
		return c, true
	}
	return c, p.Run && (!d.spec.available(pod, d.now) || pod.GateClosed)
}
