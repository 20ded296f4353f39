package ordinal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// Summary is what there is to say about a set: counts as observed (2.14) and one sentence.
type Summary struct {
	Replicas, Ready, Available, Current     int32
	Updated, UpdatedReady, UpdatedAvailable int32
	// CurrentRevision is the update revision as soon as every pod there is has it and is ready.
	CurrentRevision string

	Progress podset.Progress
	// Message names the culprit and the number: "1 of 3 updated; waiting for web-2 on node-1: ImagePullBackOff to be available".
	Message string
}

// Summarize sums up pods against spec and the plan that was made from them.
func Summarize(spec Spec, pods []Pod, plan Plan, now time.Time) Summary {
	v := look(&spec, pods, now)
	s := v.count()
	t := v.trouble()
	switch {
	case t.none() && plan.Empty() && v.rolledOut():
		s.Progress = podset.Settled
	case plan.Empty() && (len(plan.Refused) > 0 || t.blocked > 0 && t.blocked == t.notUp+t.changing):
		s.Progress = podset.Stuck
	default:
		s.Progress = podset.Moving
	}
	s.Message = v.message(&s, &plan, t)
	return s
}

// count is 2.14; a terminating pod is still there, but of no revision.
func (v *view) count() Summary {
	s := Summary{CurrentRevision: v.spec.CurrentRevision}
	for i := range v.members {
		m := &v.members[i]
		ready, up := one(m.running()), one(m.up)
		s.Replicas++
		s.Ready += ready
		s.Available += up
		if m.Terminating {
			continue
		}
		s.Current += one(m.Revision == v.spec.CurrentRevision)
		fresh := one(m.fresh)
		s.Updated += fresh
		s.UpdatedReady += fresh * ready
		s.UpdatedAvailable += fresh * up
	}
	if !v.spec.OnDelete && s.Updated == s.Replicas && s.Ready == s.Replicas && !v.owesOld() { // WL-2.14
		s.Current, s.CurrentRevision = s.Updated, v.spec.UpdateRevision
	}
	return s
}

// owesOld says that the partition keeps a place at the current revision whose pod has yet to be made. Without this, pods that
// were lost while a partition held would come back of the revision that it holds off.
func (v *view) owesOld() bool {
	return slices.ContainsFunc(v.seats, func(s seat) bool { return s.pod == nil && s.revision != v.spec.UpdateRevision })
}

func one(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// trouble counts what keeps a set from being settled.
type trouble struct {
	missing, condemned, marked int
	notUp                      int // there, and not available
	changing                   int // available, while an update in place goes on
	blocked                    int // of these two, cannot become ready or be changed by themselves
	growing                    int // their claims are being resized
}

func (t trouble) none() bool { return t.missing+t.condemned+t.marked+t.notUp+t.changing+t.growing == 0 }

func (v *view) trouble() trouble {
	t := trouble{condemned: len(v.condemned)}
	for _, s := range v.seats {
		switch {
		case s.pod == nil:
			t.missing++
		case !s.pod.up || !s.pod.healthy:
			t.notUp++
			t.blocked += int(one(s.pod.Blocked != ""))
		case !s.pod.InPlace.Done:
			t.changing++
			t.blocked += int(one(s.pod.Blocked != ""))
		}
		if s.pod != nil && v.spec.Resize && s.pod.Claims.Growing {
			t.growing++
		}
		if s.pod != nil && s.pod.Marked && !v.spec.Paused && !v.spec.OnDelete {
			t.marked++
		}
	}
	return t
}

// rolledOut: the partition keeps what it keeps, and a pause is what the spec wants.
func (v *view) rolledOut() bool {
	return v.spec.Paused || v.spec.OnDelete || v.outdated(v.targets()) == 0
}

func (v *view) message(s *Summary, plan *Plan, t trouble) string {
	parts := []string{v.headline(s)}
	say := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	say(t.missing, "missing")
	say(t.condemned, "to be removed")
	say(t.marked, "marked for deletion")
	say(t.notUp, "not available")
	say(t.changing, "changing while they serve")
	say(t.growing, "with claims that are being resized")
	switch who := v.culprits(); {
	case plan.Held != "":
		parts = append(parts, "waiting for "+plan.Held)
	case len(who) > 0:
		parts = append(parts, "waiting for "+who[0].String())
	}
	if len(plan.Refused) > 0 {
		parts = append(parts, fmt.Sprintf("refused %s: %s", plan.Refused[0].Pod, plan.Refused[0].Why))
	}
	return strings.Join(parts, "; ")
}

// headline is how far the rollout is; outside a rollout, how many pods serve.
func (v *view) headline(s *Summary) string {
	if v.spec.UpdateRevision == v.spec.CurrentRevision {
		return fmt.Sprintf("%d of %d available", s.Available, v.spec.Replicas)
	}
	line := fmt.Sprintf("%d of %d updated", s.Updated, max(v.spec.Replicas-v.spec.Partition, 0))
	switch {
	case v.spec.OnDelete:
		line += ", the others when they are deleted"
	case v.spec.Partition > 0:
		line += fmt.Sprintf(", partition keeps %d", min(v.spec.Partition, v.spec.Replicas))
	}
	if v.spec.Paused {
		line += ", paused"
	}
	return line
}

const maxCulprits = 10

// culprits are the pods that others wait for, blocked ones first.
func (v *view) culprits() []podset.Culprit {
	var all []podset.Culprit
	for i := range v.members {
		if m := &v.members[i]; !m.up || !m.healthy || !m.InPlace.Done {
			all = append(all, m.culprit(v.spec))
		}
	}
	slices.SortStableFunc(all, byTrouble)
	return all[:min(len(all), maxCulprits)]
}

func (m *member) culprit(spec *Spec) podset.Culprit {
	return m.Culprit(spec.Lifecycle)
}
