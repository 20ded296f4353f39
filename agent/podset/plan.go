package podset

import "fmt"

// Lines tells the plan action by action, for logs and transcripts.
func (p Plan) Lines() []string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, r := range p.Refresh {
		say("%s: %s", r, r.Why)
	}
	for _, d := range p.Delete {
		say("delete %s: %s", d.Pod, d.Why)
	}
	for _, u := range p.Update {
		say("%s: %s", u, u.Why)
	}
	for _, c := range p.Create {
		say("create %s of %s: %s", c.Slot, c.Revision, c.Why)
	}
	for _, r := range p.Refused {
		say("refuse %s: %s", r.Pod, r.Why)
	}
	return lines
}

func (u Update) String() string {
	if u.How == MarkForRecreate {
		return fmt.Sprintf("mark %s to recreate it as %s", u.Pod, u.To)
	}
	return fmt.Sprintf("update %s to %s", u.Pod, u.To)
}

func (r Refresh) String() string {
	text := "refresh " + r.Pod
	if r.State != "" {
		text += " to " + string(r.State)
	}
	if r.Rearm {
		text += " with its hook"
	}
	if r.Step != NoStep {
		text += ", " + stepNames[r.Step]
	}
	if r.Hash {
		text += ", hash"
	}
	return text
}

var stepNames = map[Step]string{DropGrace: "drop grace", ApplyNow: "apply", NextBatch: "next batch", OpenGate: "open gate"}
