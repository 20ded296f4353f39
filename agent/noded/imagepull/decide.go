package imagepull

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/imageref"
	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

const (
	defaultTimeout      = 600 * time.Second
	defaultBackoffLimit = 3
	// writeEvery is the time between two writes of the status in the long run; a few may come at once. // IM-14
	writeEvery = 2 * time.Second
	writeBurst = 5

	annotationPuller = "apps.kruise.io/pulling-image-by"
	pullerName       = "kruise-daemon"
)

// Key names a pull: an image by one of its tags.
type Key struct{ Image, Tag string }

// Work is a pull as the NodeImage asks for it.
type Work struct {
	Key
	// Version is what a later one of the same key differs in.
	Version int64
	// Attempts is how often to try, Timeout how long each may take.
	Attempts int
	Timeout  time.Duration
	// Deadline ends all attempts, counted from the start; 0 is none.
	Deadline time.Duration
	// OnlyIfAbsent is satisfied with an image that is there.
	OnlyIfAbsent        bool
	Secrets             []kruisev1alpha1.ReferenceObject
	Labels, Annotations map[string]string
	// On is the NodeImage, and Owners are those who asked for the image: what events are about.
	On     corev1.ObjectReference
	Owners []corev1.ObjectReference
}

// Reference is what the runtime is asked for.
func (w Work) Reference() string { return imageref.Join(w.Image, w.Tag) }

// Task is a pull that runs or ran in this process.
type Task struct {
	Version int64
	Status  kruisev1alpha1.ImageTagStatus
}

// facts are what is known besides the NodeImage itself.
type facts struct {
	tasks map[Key]Task
	// mayWrite is false while the last writes are too recent.
	mayWrite bool
}

// plan is what to do and what to say.
type plan struct {
	stop []Key
	// start replaces a pull of another version.
	start []Work
	// adjust changes what running pulls know, such as secrets that came late.
	adjust []Work
	status kruisev1alpha1.NodeImageStatus
	write  bool
	at     time.Time
	wait   time.Duration
}

// Recheck implements loop.Plan.
func (p plan) Recheck() time.Duration { return p.wait }

// decide keeps one pull running for each tag that is not finished in the status: what is finished there is never pulled
// again, not after a restart either, unless its version changes. // IM-1, IM-3
func decide(obj *kruisev1alpha1.NodeImage, seen facts, now time.Time) plan {
	p := plan{at: now}
	wanted := map[Key]bool{}
	for _, w := range unfinished(obj) {
		wanted[w.Key] = true
		if t, runs := seen.tasks[w.Key]; runs && t.Version == w.Version {
			p.adjust = append(p.adjust, w)
		} else {
			p.start = append(p.start, w)
		}
	}
	for k := range seen.tasks {
		if !wanted[k] {
			p.stop = append(p.stop, k)
		}
	}
	slices.SortFunc(p.stop, compareKeys)
	p.status = report(obj, seen.tasks, now)
	changed := !equality.Semantic.DeepEqual(obj.Status, p.status)
	p.write = changed && seen.mayWrite
	if changed && !seen.mayWrite {
		p.wait = writeEvery
	}
	return p
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(a.Tag, b.Tag))
}

// unfinished are the pulls that the status does not show as finished, in a fixed order.
func unfinished(obj *kruisev1alpha1.NodeImage) (all []Work) {
	for _, image := range slices.Sorted(maps.Keys(obj.Spec.Images)) {
		spec := obj.Spec.Images[image]
		for _, tag := range spec.Tags {
			if _, finished := finishedInStatus(obj, image, tag); !finished {
				all = append(all, work(obj, image, tag))
			}
		}
	}
	return all
}

func finishedInStatus(obj *kruisev1alpha1.NodeImage, image string, tag kruisev1alpha1.ImageTagSpec) (kruisev1alpha1.ImageTagStatus, bool) {
	for _, t := range obj.Status.ImageStatuses[image].Tags {
		if t.Tag == tag.Tag && t.Version == tag.Version && t.CompletionTime != nil {
			return t, true
		}
	}
	return kruisev1alpha1.ImageTagStatus{}, false
}

func work(obj *kruisev1alpha1.NodeImage, image string, tag kruisev1alpha1.ImageTagSpec) Work {
	spec := obj.Spec.Images[image]
	w := Work{
		Key: Key{image, tag.Tag}, Version: tag.Version, Attempts: defaultBackoffLimit + 1, Timeout: defaultTimeout,
		OnlyIfAbsent: tag.ImagePullPolicy == kruisev1alpha1.PullIfNotPresent, // empty asks the runtime, IM-6
		Secrets:      spec.PullSecrets, Owners: tag.OwnerReferences, On: itself(obj),
		Annotations: map[string]string{annotationPuller: pullerName}, // IM-7
	}
	if c := spec.SandboxConfig; c != nil {
		w.Labels = c.Labels
		w.Annotations = maps.Clone(c.Annotations)
		if w.Annotations == nil {
			w.Annotations = map[string]string{}
		}
		w.Annotations[annotationPuller] = pullerName
	}
	if p := tag.PullPolicy; p != nil {
		if p.BackoffLimit != nil && *p.BackoffLimit >= 0 {
			w.Attempts = int(*p.BackoffLimit) + 1 // IM-5
		}
		if p.TimeoutSeconds != nil {
			w.Timeout = time.Duration(*p.TimeoutSeconds) * time.Second
		}
		if p.ActiveDeadlineSeconds != nil {
			w.Deadline = time.Duration(*p.ActiveDeadlineSeconds) * time.Second
		}
	}
	return w
}

func itself(obj *kruisev1alpha1.NodeImage) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: kruisev1alpha1.GroupVersion.String(), Kind: "NodeImage", Name: obj.Name, UID: obj.UID}
}

// report is the whole status as this daemon knows it: what is finished there is carried over, what is about to start
// counts as pulling already, for a tag nobody answers for is failed by the manager. // IM-4, IM-13
func report(obj *kruisev1alpha1.NodeImage, tasks map[Key]Task, now time.Time) kruisev1alpha1.NodeImageStatus {
	status := kruisev1alpha1.NodeImageStatus{FirstSyncStatus: obj.Status.FirstSyncStatus}
	for image, spec := range obj.Spec.Images {
		var tags []kruisev1alpha1.ImageTagStatus
		for _, tag := range spec.Tags {
			one, finished := finishedInStatus(obj, image, tag)
			if t, runs := tasks[Key{image, tag.Tag}]; !finished && runs && t.Version == tag.Version {
				one = t.Status
			} else if !finished {
				one = started(tag.Tag, tag.Version, now)
			}
			count(&status, one)
			tags = append(tags, one)
		}
		if len(tags) == 0 {
			continue
		}
		slices.SortFunc(tags, func(a, b kruisev1alpha1.ImageTagStatus) int { return cmp.Compare(a.Tag, b.Tag) })
		if status.ImageStatuses == nil {
			status.ImageStatuses = map[string]kruisev1alpha1.ImageStatus{}
		}
		status.ImageStatuses[image] = kruisev1alpha1.ImageStatus{Tags: tags}
	}
	return status
}

func count(status *kruisev1alpha1.NodeImageStatus, one kruisev1alpha1.ImageTagStatus) {
	status.Desired++
	switch one.Phase {
	case kruisev1alpha1.ImagePhaseSucceeded:
		status.Succeeded++
	case kruisev1alpha1.ImagePhaseFailed:
		status.Failed++
	default:
		status.Pulling++
	}
}

// started is a pull that begins.
func started(tag string, version int64, now time.Time) kruisev1alpha1.ImageTagStatus {
	return kruisev1alpha1.ImageTagStatus{Tag: tag, Version: version, Phase: kruisev1alpha1.ImagePhasePulling, StartTime: stamp(now)}
}

// stamp has the precision that the API stores, so that what was written equals what is known.
func stamp(t time.Time) *metav1.Time {
	return new(metav1.NewTime(t.Truncate(time.Second)))
}

// allowance is how long the next attempt may take; nothing is left when it is not positive. // IM-5
func allowance(w Work, since time.Duration) time.Duration {
	if w.Deadline == 0 {
		return w.Timeout
	}
	return min(w.Timeout, w.Deadline-since)
}

// pause is how long to wait after an attempt that failed, the first being 1. // IM-5
func pause(attempt int) time.Duration {
	return min(time.Second<<min(attempt-1, 5), 30*time.Second)
}

// bucket counts writes: a few may come at once, then one every two seconds. // IM-14
type bucket struct {
	used float64
	at   time.Time
}

// level goes down with time, whichever way a clock was set.
func (b *bucket) level(now time.Time) float64 {
	return max(0, b.used-float64(now.Sub(b.at).Abs())/float64(writeEvery))
}

func (b *bucket) has(now time.Time) bool { return b.level(now)+1 <= writeBurst }

func (b *bucket) take(now time.Time) { b.used, b.at = b.level(now)+1, now }

// progress is what the node downloads, after what it had when it was last looked at. A runtime does not say which of its
// layers belong to which image, so this is of all pulls together.
func progress(before, now cri.Download) string {
	if now.Layers == 0 {
		return "the node downloads nothing at the moment: the registry has not begun to send, or the image is being unpacked"
	}
	of := ""
	if now.Total >= now.Done && now.Total > 0 {
		of = " of " + size(now.Total)
	}
	text := fmt.Sprintf("for all its pulls the node has %s%s of %d layers", size(now.Done), of, now.Layers)
	if before == now {
		text += ", and not a byte more than when last told"
	}
	return text
}

// size is for people.
func size(bytes int64) string {
	const mebi = 1 << 20
	if bytes < mebi {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/mebi)
}
