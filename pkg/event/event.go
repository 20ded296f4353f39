// Package event turns events into values: a decision returns them, tests compare them, and only Emit talks to the API.
package event

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
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

// Transitions are the events for every condition that changed its status or reason between before and after.
// A condition that turns Stalled is a warning, and so is Ready becoming False after it was True.
func Transitions(before, after []metav1.Condition) []Event {
	was := make(map[string]metav1.Condition, len(before))
	for _, c := range before {
		was[c.Type] = c
	}
	var events []Event
	for _, c := range after {
		old, known := was[c.Type]
		if known && old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		if !known && c.Status != metav1.ConditionTrue {
			continue // what has not become true yet is no news
		}
		kind := corev1.EventTypeNormal
		if c.Type == "Stalled" && c.Status == metav1.ConditionTrue ||
			c.Type == "Ready" && c.Status != metav1.ConditionTrue && old.Status == metav1.ConditionTrue && c.Reason != "Progressing" {
			kind = corev1.EventTypeWarning
		}
		message := c.Message
		if message == "" {
			message = fmt.Sprintf("%s is %s", c.Type, c.Status)
		}
		events = append(events, Event{kind, c.Reason, message})
	}
	return events
}

// Recorders is what a manager gives to make recorders.
type Recorders interface {
	GetEventRecorderFor(name string) record.EventRecorder
}

// Recorder records events under a source. It uses core/v1 events, because existing tools match on their source (WL-1.18).
func Recorder(m Recorders, source string) record.EventRecorder {
	return m.GetEventRecorderFor(source)
}
