package pernode

import "time"

// count is 3.10: of a node's pods the oldest speaks for the node.
func (d *decision) count() (c Counts) {
	for _, p := range d.places {
		switch {
		case p.Run:
			c.Desired++
			if len(p.pods) > 0 {
				c.Current++
				c.add(d.spec, p.pods[0], d.now)
			}
		case len(p.pods) > 0:
			c.Misscheduled++
		}
	}
	c.Unavailable = c.Desired - c.Available
	return c
}

func (c *Counts) add(spec *Spec, p *Pod, now time.Time) {
	if p.Ready {
		c.Ready++
	}
	if spec.available(p, now) {
		c.Available++
	}
	if p.Fresh {
		c.Updated++
	}
}
