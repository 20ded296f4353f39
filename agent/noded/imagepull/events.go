package imagepull

import (
	"time"

	"github.com/flotilla-project/flotilla/pkg/event"
)

// Reasons of events. The first two are fixed, and other software matches on them. // IM-12
const (
	ReasonSucceeded = "PullImageSucceed"
	ReasonFailed    = "PullImageFailed"
	ReasonRetrying  = "PullImageRetrying"
	ReasonSlow      = "PullImageSlow"
)

func pulled(w Work, took time.Duration) event.Event {
	return event.Normal(ReasonSucceeded, "pulled image %s in %s", w.Reference(), took.Round(time.Millisecond))
}

func alreadyThere(w Work) event.Event {
	return event.Normal(ReasonSucceeded, "image %s is already there", w.Reference())
}

func failed(w Work, message string) event.Event {
	return event.Warning(ReasonFailed, "pull image %s: %s", w.Reference(), message)
}

func retrying(w Work, message string) event.Event {
	return event.Warning(ReasonRetrying, "pull image %s: %s", w.Reference(), message)
}

func slow(w Work, message string) event.Event {
	return event.Warning(ReasonSlow, "pull image %s: %s", w.Reference(), message)
}
