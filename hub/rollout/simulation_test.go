package rollout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
)

// world is a fleet on which a random strategy rolls out, with clusters that fail, recover and fall silent by luck.
type world struct {
	t        *testing.T
	luck     *rand.Rand
	strategy strategy
	clusters []Cluster
	now      time.Time
	story    []string
	silences bool
}

func newWorld(t *testing.T, seed uint64, silences bool) *world {
	w := &world{t: t, luck: rand.New(rand.NewPCG(seed, 0)), now: noon, silences: silences}
	groups := 1 + w.luck.IntN(4)
	for i := range 1 + w.luck.IntN(20) {
		c := cluster(fmt.Sprintf("c%02d", i), New)
		if index := w.luck.IntN(groups); index > 0 {
			c.Group = Group{int32(index), []string{"", "canary"}[index%2]}
		}
		c.Silent = silences && w.luck.IntN(6) == 0
		w.clusters = append(w.clusters, c)
	}
	cfg := config{MaxFailures: number(w.luck.IntN(4)), MinSuccessTime: soak(time.Duration(w.luck.IntN(3)) * time.Minute),
		ProgressDeadline: []string{"None", "5m"}[w.luck.IntN(2)]}
	var mandatory []mandate
	if w.luck.IntN(2) == 0 {
		mandatory = first("#1")
	}
	w.strategy = []strategy{progressive(number(w.luck.IntN(6)), cfg, mandatory...), perGroup(cfg, mandatory...)}[w.luck.IntN(2)]
	return w
}

func (w *world) log(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%s ", w.now.Format("15:04"))+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Fatalf(format+"\n%s", append(args, strings.Join(w.story, "\n"))...)
}

// step starts whom Next names and checks what it promises.
func (w *world) step() Result {
	r, err := Next(w.strategy, w.clusters, w.now)
	if err != nil {
		w.fail("%v", err)
	}
	if len(r.Start) > 0 {
		w.log("start %v", r.Start)
	}
	for _, name := range r.Start {
		w.checkStart(name, r)
		w.find(name).Status = ToApply
	}
	if r.Recheck < 0 || r.Recheck > recheckCap {
		w.fail("recheck in %v", r.Recheck)
	}
	w.checkConcurrency(r)
	return r
}

func (w *world) checkStart(name string, r Result) {
	c := w.find(name)
	if c.Status != New {
		w.fail("%s is started twice", name)
	}
	if r.Stopped {
		w.fail("%s is started after %d failures, %d are tolerated", name, r.Failures, r.MaxFailures)
	}
	if w.strategy.Type != clusterv1alpha1.ProgressivePerGroup {
		return
	}
	for _, other := range w.clusters {
		before := other.Group.Index < c.Group.Index && w.mandatory(other) == w.mandatory(*c) || w.mandatory(other) && !w.mandatory(*c)
		if before && (other.Status == New || w.busy(other)) {
			w.fail("%s of group %d is started while %s of group %d is %v", name, c.Group.Index, other.Name, other.Group.Index, other.Status)
		}
	}
}

func (w *world) mandatory(c Cluster) bool {
	var groups []mandate
	if w.strategy.Progressive != nil {
		groups = w.strategy.Progressive.MandatoryDecisionGroups.MandatoryDecisionGroups
	} else {
		groups = w.strategy.ProgressivePerGroup.MandatoryDecisionGroups.MandatoryDecisionGroups
	}
	return slices.ContainsFunc(groups, func(m mandate) bool { return m.GroupIndex == c.Group.Index })
}

// busy is worked out anew, not asked of what is under test.
func (w *world) busy(c Cluster) bool {
	if c.Silent && c.Status != Succeeded {
		return false
	}
	return c.Status == ToApply || c.Status == Progressing && !w.late(c) || c.Status == Succeeded && w.now.Sub(c.Since) < w.config().MinSuccessTime.Duration
}

func (w *world) late(c Cluster) bool {
	return w.config().ProgressDeadline != "None" && w.now.Sub(c.Since) >= 5*time.Minute
}

func (w *world) config() config {
	if w.strategy.Progressive != nil {
		return w.strategy.Progressive.RolloutConfig
	}
	return w.strategy.ProgressivePerGroup.RolloutConfig
}

func (w *world) checkConcurrency(r Result) {
	if w.strategy.Progressive == nil || r.Stage != "" || len(r.Start) == 0 {
		return
	}
	total, flying := 0, 0
	for _, c := range w.clusters {
		if w.mandatory(c) {
			continue
		}
		total++
		if w.busy(c) || c.Status == Failed && !c.Silent && !w.late(c) {
			flying++
		}
	}
	limit := w.strategy.Progressive.MaxConcurrency.IntValue()
	if limit <= 0 || limit > total {
		limit = total
	}
	if flying > limit {
		w.fail("%d clusters in flight after a start, %d are allowed", flying, limit)
	}
}

func (w *world) find(name string) *Cluster {
	for i := range w.clusters {
		if w.clusters[i].Name == name {
			return &w.clusters[i]
		}
	}
	w.fail("%s was never selected", name)
	return nil
}

// live lets a minute pass in the members. With bad luck off everything that was started ends well.
func (w *world) live(badLuck bool) {
	w.now = w.now.Add(time.Minute)
	for i := range w.clusters {
		c := &w.clusters[i]
		switch {
		case !badLuck:
			c.Silent = false
		case w.silences && w.luck.IntN(10) == 0:
			c.Silent = !c.Silent
		}
		if c.Silent || c.Status == New || w.luck.IntN(2) == 0 {
			continue
		}
		was := c.Status
		switch {
		case c.Status == ToApply:
			c.Status = Progressing
		case c.Status == Progressing && badLuck && w.luck.IntN(5) == 0:
			c.Status = Failed
		case c.Status == Progressing:
			c.Status = Succeeded
		case c.Status == Failed && !badLuck:
			c.Status = Succeeded
		}
		if c.Status != was {
			c.Since = w.now
			w.log("%s is %v", c.Name, c.Status)
		}
	}
}

func TestRolloutsKeepTheirPromises(t *testing.T) {
	for seed := range uint64(600) {
		w := newWorld(t, seed, seed%2 == 1)
		for range 20 {
			w.step()
			w.live(true)
		}
		for range 400 {
			w.step()
			w.live(false)
		}
		for _, c := range w.clusters {
			if c.Status != Succeeded {
				w.fail("seed %d: %s is %v although all clusters have recovered", seed, c.Name, c.Status)
			}
		}
	}
}

// The extension must not change anything for fleets that are heard from.
func TestAFleetThatIsHeardFromSeesNoExtension(t *testing.T) {
	for seed := range uint64(100) {
		w := newWorld(t, seed, false)
		for range 30 {
			r := w.step()
			if len(r.Silent)+len(r.Postponed) > 0 {
				w.fail("%v %v", r.Silent, r.Postponed)
			}
			w.live(true)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	var clusters []Cluster
	for i := range 5000 {
		clusters = append(clusters, cluster(fmt.Sprintf("c%04d", i), Status(i%4), in(int32(i/500), "")))
	}
	s := progressive(percent("10%"), config{MaxFailures: percent("5%"), ProgressDeadline: "10m"}, first("#0")...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Next(s, clusters, noon); err != nil {
			b.Fatal(err)
		}
	}
}
