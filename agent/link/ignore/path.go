package ignore

import (
	"cmp"
	"slices"
)

// path leads to one value: keys of objects and indexes of lists.
type path []any

// plain reports whether no list is on the way, so that the path means the same in every object.
func (p path) plain() bool {
	return !slices.ContainsFunc(p, func(e any) bool { _, index := e.(int); return index })
}

// in reports whether the value is there.
func (p path) in(root any) bool {
	_, ok := p.get(root)
	return ok
}

func (p path) get(root any) (any, bool) {
	at := root
	for _, e := range p {
		next, ok := step(at, e)
		if !ok {
			return nil, false
		}
		at = next
	}
	return at, true
}

func step(at, element any) (any, bool) {
	switch e := element.(type) {
	case string:
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		v, ok := m[e]
		return v, ok
	case int:
		l, ok := at.([]any)
		if !ok || e < 0 || e >= len(l) {
			return nil, false
		}
		return l[e], true
	}
	return nil, false
}

// set puts a value where the path leads, if what it leads through is there.
func (p path) set(root any, value any) bool {
	parent, ok := p[:len(p)-1].get(root)
	if !ok {
		return false
	}
	switch e := p[len(p)-1].(type) {
	case string:
		if m, ok := parent.(map[string]any); ok {
			m[e] = value
			return true
		}
	case int:
		if l, ok := parent.([]any); ok && e < len(l) {
			l[e] = value
			return true
		}
	}
	return false
}

// remove takes the value away. Of several paths into one list the last has to come first.
func (p path) remove(root any) {
	parent, ok := p[:len(p)-1].get(root)
	if !ok {
		return
	}
	switch e := p[len(p)-1].(type) {
	case string:
		if m, ok := parent.(map[string]any); ok {
			delete(m, e)
		}
	case int:
		if l, ok := parent.([]any); ok && e < len(l) {
			p[:len(p)-1].set(root, slices.Delete(slices.Clone(l), e, e+1))
		}
	}
}

// deepestFirst orders paths so that taking one away moves none of the others, and drops doubles.
func deepestFirst(paths []path) []path {
	out := slices.Clone(paths)
	slices.SortFunc(out, func(a, b path) int { return -compare(a, b) })
	return slices.CompactFunc(out, func(a, b path) bool { return compare(a, b) == 0 })
}

func compare(a, b path) int {
	for i := range min(len(a), len(b)) {
		if c := compareElements(a[i], b[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareElements(a, b any) int {
	i, aIndex := a.(int)
	j, bIndex := b.(int)
	if aIndex && bIndex {
		return cmp.Compare(i, j)
	}
	s, _ := a.(string)
	t, _ := b.(string)
	return cmp.Compare(s, t)
}
