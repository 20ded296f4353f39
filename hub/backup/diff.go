package backup

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/flotilla-project/flotilla/hub/history"
)

// DefaultExcludes are parts of a hub's keys that are beaten or made all the time by those who are alive. Older ones would
// be wrong the moment they are back.
var DefaultExcludes = []string{"leases/", "events/", "masterleases/", "minions/", "pods/"}

// Parts of the keys that carry the hub's history.
const (
	clusterKeys = "cluster.open-cluster-management.io/managedclusters/"
	historyKey  = "configmaps/" + history.Namespace + "/" + history.Name
)

// change is a key to write; without a value it is deleted.
type change struct {
	key   string
	value []byte // nil deletes
	mod   int64  // the revision it was compared at; 0 is that it was not there
}

// Plan is what a restore does, in order.
type Plan struct {
	// ID is the new history id.
	ID string
	// announce comes first and tells of the new history; rest is everything else, deletions last.
	announce, rest []change
	// unmarked are ManagedClusters that cannot be marked here, and will be by the hub.
	unmarked []string
	root     string
}

// live is the state that a restore starts from.
type live map[string]entry

// compare makes the plan that turns the live keys into the saved ones. Nothing below an excluded part is looked at.
func compare(root string, saved map[string][]byte, now live, excludes []string, id string) (Plan, error) {
	p := Plan{ID: id, root: root}
	if err := p.announceTo(now); err != nil {
		return Plan{}, err
	}
	skip := func(key string) bool {
		below := strings.TrimPrefix(key, root)
		return below == historyKey || slices.ContainsFunc(excludes, func(e string) bool { return strings.HasPrefix(below, e) })
	}
	for _, key := range slices.Sorted(maps.Keys(saved)) {
		if skip(key) {
			continue
		}
		value, there := p.marked(key, saved[key]), now[key]
		if there.mod == 0 || !bytes.Equal(value, there.value) && !bytes.Equal(value, p.marked(key, there.value)) {
			p.rest = append(p.rest, change{key, value, there.mod})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if _, stays := saved[key]; !stays && !skip(key) {
			p.rest = append(p.rest, change{key, nil, now[key].mod})
		}
	}
	return p, nil
}

// announceTo writes the new id into the ConfigMap and on every ManagedCluster there is.
func (p *Plan) announceTo(now live) error {
	kept, err := historyObject(p.ID)
	if err != nil {
		return err
	}
	key := p.root + historyKey
	p.announce = append(p.announce, change{key, kept, now[key].mod})
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if !strings.HasPrefix(key, p.root+clusterKeys) {
			continue
		}
		marked, err := history.Mark(now[key].value, p.ID)
		if err != nil {
			p.unmarked = append(p.unmarked, strings.TrimPrefix(key, p.root+clusterKeys))
			continue
		}
		p.announce = append(p.announce, change{key, marked, now[key].mod})
	}
	return nil
}

// marked is a saved value as it will be written: ManagedClusters carry the new id, everything else is as it was.
func (p *Plan) marked(key string, value []byte) []byte {
	if !strings.HasPrefix(key, p.root+clusterKeys) {
		return value
	}
	if marked, err := history.Mark(value, p.ID); err == nil {
		return marked
	}
	return value
}

// counts are the changes of one kind of keys.
type counts struct{ create, change, remove int }

// Print lists what is going to change: numbers for every kind, and with all the single keys too.
func (p Plan) Print(out io.Writer, all bool) error {
	by := map[string]*counts{}
	for _, c := range p.rest {
		kind := kindOf(strings.TrimPrefix(c.key, p.root))
		if by[kind] == nil {
			by[kind] = &counts{}
		}
		switch {
		case c.value == nil:
			by[kind].remove++
		case c.mod == 0:
			by[kind].create++
		default:
			by[kind].change++
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "new history id %s, told to %d clusters\n", p.ID, len(p.announce)-1)
	if len(p.unmarked) > 0 {
		fmt.Fprintf(&text, "not told, because their stored form is not JSON, and left to the hub's history controller: %s\n", strings.Join(p.unmarked, " "))
	}
	for _, kind := range slices.Sorted(maps.Keys(by)) {
		n := by[kind]
		fmt.Fprintf(&text, "%-60s %6d come back  %6d change  %6d are deleted\n", kind, n.create, n.change, n.remove)
	}
	if len(p.rest) == 0 {
		text.WriteString("nothing else differs\n")
	}
	if all {
		for _, c := range p.rest {
			fmt.Fprintf(&text, "%s %s\n", c.verb(), c.key)
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func (c change) verb() string {
	switch {
	case c.value == nil:
		return "delete"
	case c.mod == 0:
		return "create"
	}
	return "change"
}

// kindOf is the part of a key that names the kind: the resource, after its group if it has one.
func kindOf(key string) string {
	parts := strings.SplitN(key, "/", 3)
	if len(parts) > 1 && strings.Contains(parts[0], ".") {
		return cmp.Or(parts[1]+"."+parts[0], parts[0])
	}
	return parts[0]
}
