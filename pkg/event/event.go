// Package event turns events into values: a decision returns them, tests compare them, and only Emit talks to the API.
package event

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	"github.com/flotilla-project/flotilla/pkg/condition"
)

// Event is something that happened to an object and that its user should know of.
type Event struct {
	// Type is corev1.EventTypeNormal or corev1.EventTypeWarning.
	Type string
	// Reason is a constant in CamelCase.
	Reason string
	// Message is one sentence for people.
	Message string
}

// Normal is an event of the usual course of things.
func Normal(reason, format string, args ...any) Event {
	return Event{corev1.EventTypeNormal, reason, fmt.Sprintf(format, args...)}
}

// Warning is an event that somebody may have to act upon.
func Warning(reason, format string, args ...any) Event {
	return Event{corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...)}
}

// Emit records events on an object. Call it after the write that it speaks of has succeeded.
func Emit(r record.EventRecorder, on runtime.Object, events ...Event) {
	for _, e := range events {
		r.Event(on, e.Type, e.Reason, e.Message)
	}
}

// Transitions are the events for what became of conditions between before and after: what became true, how Ready
// changed, and that something is no longer stalled. What is bad news is a warning; one reason is told once.
func Transitions(before, after []metav1.Condition) []Event {
	was := make(map[string]metav1.Condition, len(before))
	for _, c := range before {
		was[c.Type] = c
	}
	var events []Event
	for _, c := range after {
		old := was[c.Type]
		if old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		if e, tell := transition(old, c); tell {
			events = once(events, e)
		}
	}
	return events
}

func transition(old, c metav1.Condition) (Event, bool) {
	message := c.Message
	if message == "" {
		message = fmt.Sprintf("%s is %s", c.Type, c.Status)
	}
	e := Event{corev1.EventTypeNormal, c.Reason, message}
	is, had := c.Status == metav1.ConditionTrue, old.Status == metav1.ConditionTrue
	switch {
	case c.Type == condition.Stalled && is, c.Type == condition.Ready && !is && had && c.Reason != "Progressing":
		e.Type = corev1.EventTypeWarning
	case is, c.Type == condition.Ready:
	case c.Type == condition.Stalled && had:
		e.Message = "no longer stalled"
	default:
		return e, false // what has not become true is no news
	}
	return e, true
}

// once adds an event, unless its reason was told already; a warning takes the place of its like.
func once(events []Event, e Event) []Event {
	for i := range events {
		if events[i].Reason == e.Reason {
			if e.Type == corev1.EventTypeWarning {
				events[i] = e
			}
			return events
		}
	}
	return append(events, e)
}

// Recorders is what a manager gives to make recorders.
type Recorders interface {
	GetEventRecorderFor(name string) record.EventRecorder
}

// Recorder records events under a source. It uses core/v1 events, because existing tools match on their source (WL-1.18).
func Recorder(m Recorders, source string) record.EventRecorder {
	return m.GetEventRecorderFor(source)
}
