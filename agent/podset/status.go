package podset

import (
	"fmt"
	"strings"
	"time"
)

// Progress sums up a set.
type Progress uint8

// What a set is doing.
const (
	Settled Progress = iota // everything is as the spec wants it
	Moving                  // wait: it gets there by itself
	Stuck                   // act: it does not get there without a user
)

// Summary is what there is to say about a set: counts as observed (1.15) and
// one sentence.
type Summary struct {
	Replicas, Ready, Available              int32
	Updated, UpdatedReady, UpdatedAvailable int32
	// ExpectedUpdated is 1.15's expectedUpdatedReplicas; a kind whose
	// partition does not parse reports 0 instead.
	ExpectedUpdated int32
	// CurrentRevision is the update revision as soon as every replica has it,
	// ready or not.
	CurrentRevision string

	Progress Progress
	// Message names the culprit and the number:
	// "3 of 10 updated; 2 not ready, waiting for web-7f4 on node-2: ImagePullBackOff".
	Message string
}

// Status sums up pods against spec.
func Status(spec Spec, pods []Pod, now time.Time) Summary {
	return Summarize(spec, pods, Decide(spec, pods, now), now)
}

// Summarize is Status for a caller that has the plan already.
func Summarize(spec Spec, pods []Pod, plan Plan, now time.Time) Summary {
	v := look(&spec, pods, now)
	s := v.count()
	t := v.trouble()
	switch {
	case t.none() && plan.Empty() && s.settled(&spec):
		s.Progress = Settled
	case plan.Empty() && (len(plan.Refused) > 0 || t.blocked > 0 && t.blocked == t.notReady+t.changing && t.soaking+t.asking == 0):
		s.Progress = Stuck
	default:
		s.Progress = Moving
	}
	s.Message = v.message(&s, &plan, t)
	return s
}

func (v *view) count() Summary {
	s := Summary{
		Replicas:        int32(len(v.members)),
		ExpectedUpdated: int32(v.spec.Replicas - v.spec.Partition),
		CurrentRevision: v.spec.CurrentRevision,
	}
	for i := range v.members {
		m := &v.members[i]
		ready, up, fresh := one(m.readyForUpdate(0, v.now)), one(m.up), one(m.fresh)
		s.Ready += ready
		s.Available += up
		s.Updated += fresh
		s.UpdatedReady += ready * fresh
		s.UpdatedAvailable += up * fresh
	}
	if s.Updated == s.Replicas && int(s.Replicas) == v.spec.Replicas {
		s.CurrentRevision = v.spec.UpdateRevision
	}
	return s
}

func one(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// settled: the counts are right, and a pause is what the spec wants. That the
// pods are well is trouble's to say.
func (s *Summary) settled(spec *Spec) bool {
	return int(s.Replicas) == spec.Replicas && (spec.Paused || s.Updated >= s.ExpectedUpdated)
}

// trouble counts what keeps a set from being settled.
type trouble struct {
	notReady int // not serving
	changing int // serving, while an update in place goes on
	blocked  int // of these two, cannot become ready or be changed
	soaking  int // ready, but not yet for minReadySeconds
	hooked   int // in the middle of their lifecycle
	asking   int // their hook waits for its user
	marked   int // to be deleted
}

func (t trouble) none() bool { return t.notReady+t.changing+t.soaking+t.hooked+t.marked == 0 }

func (v *view) trouble() trouble {
	var t trouble
	for i := range v.members {
		m := &v.members[i]
		switch {
		case m.State == PreparingUpdate, m.State == PreparingDelete: // its hook may have made it not ready
			t.hooked++
		case !m.readyForUpdate(0, v.now):
			t.notReady++
			t.blocked += int(one(m.Blocked != ""))
		case m.State == Updating && !m.InPlace.Done:
			t.changing++
			t.blocked += int(one(m.Blocked != ""))
		case m.live && !m.up:
			t.soaking++
		case !m.up:
			t.hooked++
		}
		if v.hook(m) != "" {
			t.asking++
		}
		if m.Marked || m.State == PreparingDelete {
			t.marked++
		}
	}
	return t
}

func (v *view) message(s *Summary, plan *Plan, t trouble) string {
	parts := []string{v.headline(s)}
	say := func(n int, format string, args ...any) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d ", n)+fmt.Sprintf(format, args...))
		}
	}
	say(v.spec.Replicas-int(s.Replicas), "missing")
	if v.spec.MaxSurge == 0 || int(s.Updated) == int(s.Replicas) {
		say(int(s.Replicas)-v.spec.Replicas, "too many")
	}
	say(t.marked, "to be deleted")
	say(t.notReady, "not ready")
	say(t.changing, "changing while they serve")
	if t.notReady+t.changing == 0 {
		say(t.hooked, "in their lifecycle")
		if t.hooked == 0 {
			say(t.soaking, "ready for less than %s", v.spec.MinReady)
		}
	}
	if who := v.culprits(); len(who) > 0 {
		parts[len(parts)-1] += ", waiting for " + who[0].String()
	}
	if len(plan.Refused) > 0 {
		parts = append(parts, fmt.Sprintf("%d refused, first %s: %s", len(plan.Refused), plan.Refused[0].Pod, plan.Refused[0].Why))
	}
	return strings.Join(parts, "; ")
}

// headline is how far the rollout is; outside a rollout, how many pods serve.
func (v *view) headline(s *Summary) string {
	if v.spec.UpdateRevision == v.spec.CurrentRevision {
		return fmt.Sprintf("%d of %d available", s.Available, v.spec.Replicas)
	}
	line := fmt.Sprintf("%d of %d updated", s.Updated, s.ExpectedUpdated)
	if v.spec.Partition > 0 {
		line += fmt.Sprintf(", partition keeps %d", v.spec.Partition)
	}
	if v.spec.Paused && s.Updated < s.ExpectedUpdated {
		line += ", paused"
	}
	return line
}

// String is "web-7f4 on node-2: ImagePullBackOff".
func (c Culprit) String() string {
	text := c.Pod
	if c.Node != "" {
		text += " on " + c.Node
	}
	switch {
	case c.Blocked != "":
		text += ": " + c.Blocked
	case c.Hook != "":
		text += ": hook " + c.Hook
	case c.Changing != "":
		text += ": " + c.Changing
	}
	return text
}

const maxCulprits = 10

// culprits are the pods that use up the budget: blocked ones first, and of
// these the updated ones, since it is the rollout that people watch.
func (v *view) culprits() []Culprit {
	var by [4][]Culprit
	for i := range v.members {
		m := &v.members[i]
		if m.up {
			continue
		}
		kind := 0
		if m.Blocked == "" {
			kind = 2
		}
		if !m.fresh {
			kind++
		}
		if len(by[kind]) < maxCulprits {
			by[kind] = append(by[kind], m.Culprit(v.spec.Lifecycle))
		}
	}
	var all []Culprit
	for _, some := range by {
		all = append(all, some...)
	}
	return all[:min(len(all), maxCulprits)]
}

// Culprit is the pod as others wait for it.
func (p *Pod) Culprit(l *Lifecycle) Culprit {
	c := Culprit{Pod: p.Name, Node: p.Node, Blocked: p.Blocked, Hook: p.HeldBy(l)}
	if !p.InPlace.Done {
		c.Changing = p.InPlace.Why
	}
	return c
}

// hook names the hook whose user a pod waits for.
func (v *view) hook(m *member) string { return m.HeldBy(v.spec.Lifecycle) }

// HeldBy names the hook whose user the pod waits for.
func (p *Pod) HeldBy(l *Lifecycle) string {
	switch {
	case p.State == PreparingDelete && p.HookedDelete:
		return "preDelete"
	case p.State == PreparingUpdate && p.HookedUpdate, p.State == Updated && !p.AllHookedUpdate:
		return "inPlaceUpdate"
	case p.State == PreparingNormal && l != nil && l.PreNormal != nil && !p.AllHookedNormal:
		return "preNormal"
	}
	return ""
}
