package failover

// place gives every subset its own share and spreads what is due elsewhere.
func (r *round) place() {
	r.extra = make([]int32, len(r.subsets))
	if r.moving {
		r.present()
	}
	switch surplus := r.standing() - r.most; {
	case !r.moving || r.hold != "":
	case surplus > 0:
		r.withdraw(surplus)
	default:
		r.plan.Missing = r.add(r.least-r.standing(), 0)
		r.moveOn()
	}
	for i, s := range r.subsets {
		t := Target{Name: s.Name, Replicas: s.Base + r.extra[i], Extra: r.extra[i]}
		if s.Silent { // absence is never an order, so what it was given stays
			t.Replicas = max(s.Given, s.Base)
			t.Extra = r.extra[i]
		}
		r.plan.Targets[i] = t
	}
	for i := range r.subsets {
		r.remember(i)
	}
}

// present finds the replicas that stand in for others: what a subset was given over its own share, within its maximum.
func (r *round) present() {
	for i, s := range r.subsets {
		r.extra[i] = max(0, s.Given-s.Base)
		if !s.Silent {
			r.extra[i] = min(r.extra[i], max(0, s.Max-s.Base))
		}
	}
}

// standing counts them where they are taken to run: everywhere but in clusters whose own replicas are due elsewhere.
func (r *round) standing() int32 {
	sum := int32(0)
	for i, n := range r.extra {
		if r.states[i] != away {
			sum += n
		}
	}
	return sum
}

// withdraw takes away up to n of them, the last subset first, as far as enough others are available: what is available
// where we hear of it never falls below what all subsets together shall have.
func (r *round) withdraw(n int32) {
	spare := r.spare()
	for i := len(r.subsets) - 1; i >= 0 && n > 0; i-- {
		s := r.subsets[i]
		if s.Silent || r.extra[i] == 0 {
			continue
		}
		down := max(0, s.Base+r.extra[i]-s.Available) // these are missed by nobody
		take := min(r.extra[i], n, down+spare)
		spare -= max(0, take-down)
		r.extra[i] -= take
		n -= take
	}
}

// spare is how many available replicas there are over the promise.
func (r *round) spare() int32 {
	available, promise := int32(0), int32(0)
	for i, s := range r.subsets {
		promise += s.Base
		if !s.Silent {
			available += min(s.Available, s.Base+r.extra[i])
		}
	}
	return max(0, available-promise)
}

// add gives n replicas to the subsets that can take them, from one on in their order, and answers how many have no place.
func (r *round) add(n int32, from int) int32 {
	for i := from; i < len(r.subsets) && n > 0; i++ {
		if r.refusal(i) == "" {
			more := min(n, r.room(i))
			r.extra[i] += more
			n -= more
		}
	}
	return max(0, n)
}

func (r *round) room(i int) int32 {
	s := r.subsets[i]
	return max(0, min(s.Max, s.Capacity)-s.Base-r.extra[i])
}

// moveOn brings stand-ins that find no node to subsets further down, as far as there is room. They never move up again,
// so this ends.
func (r *round) moveOn() {
	for i, s := range r.subsets {
		if stuck := min(r.extra[i], s.Stuck); !s.Silent && s.Unschedulable && stuck > 0 {
			r.extra[i] -= stuck - r.add(stuck, i+1)
		}
	}
}
