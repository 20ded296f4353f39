package nodeimage

import (
	"fmt"
	"maps"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// patience is how long the daemon may take to answer, and to end after the deadline. // NI-6, NI-7
	patience = 10 * time.Minute
	// slack is how much longer than its TTL a tag may stay, so that those which end about the same time end in one write: a
	// part of the TTL, and no more than a minute.
	slack, atMost = 10, time.Minute
)

// plan is what one round does: at most one of its three.
type plan struct {
	remove  bool                  // the node is gone
	spec    *kruise.NodeImageSpec // nil when it stays
	labels  map[string]string     // nil when they stay
	silent  []silence             // tags that the daemon says nothing of
	status  *kruise.NodeImageStatus
	recheck time.Duration
}

// silence is a tag that is given up for the node.
type silence struct {
	image, tag, message string
	owners              []corev1.ObjectReference
}

// Recheck is when time alone changes the plan.
func (p *plan) Recheck() time.Duration { return p.recheck }

// Decide follows the node, then cleans the spec, then the status. // SJ-8
func (s *steps) Decide(image *kruise.NodeImage, found seen, now time.Time) *plan {
	if image.DeletionTimestamp != nil {
		return &plan{}
	}
	_, fake := image.Labels[FakeLabel]
	if found.node == nil || found.node.DeletionTimestamp != nil {
		if !fake { // NI-3
			return &plan{remove: true}
		}
	} else if !virtual(found.node) && !maps.Equal(image.Labels, found.node.Labels) { // NI-4
		labels := maps.Clone(found.node.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		p := &plan{labels: labels}
		p.cleanSpec(image, found, now)
		return p
	}
	p := &plan{}
	if p.cleanSpec(image, found, now); p.spec != nil {
		return p // NI-10
	}
	p.giveUp(image, now)
	p.wake(image, now, found.jitter)
	return p
}

// cleanSpec takes out what nobody wants any more. // NI-5
func (p *plan) cleanSpec(image *kruise.NodeImage, found seen, now time.Time) {
	changed := false
	images := map[string]kruise.ImageSpec{}
	for name, spec := range image.Spec.Images {
		kept := make([]kruise.ImageTagSpec, 0, len(spec.Tags))
		for _, tag := range spec.Tags {
			owners := left(tag.OwnerReferences, found)
			if len(owners) < len(tag.OwnerReferences) {
				changed = true
			}
			orphaned := len(tag.OwnerReferences) > 0 && len(owners) == 0
			if orphaned || tag.CreatedAt == nil || expired(image, name, &tag, now) {
				changed = true
				continue
			}
			tag.OwnerReferences = owners
			kept = append(kept, tag)
		}
		if len(kept) == 0 {
			changed = true
			continue
		}
		spec.Tags = kept
		images[name] = spec
	}
	if changed {
		p.spec = &kruise.NodeImageSpec{Images: images}
	}
}

func left(owners []corev1.ObjectReference, found seen) []corev1.ObjectReference {
	return slices.DeleteFunc(slices.Clone(owners), func(ref corev1.ObjectReference) bool {
		return ofJob(ref) && !found.jobs[ref.UID]
	})
}

func expired(image *kruise.NodeImage, name string, tag *kruise.ImageTagSpec, now time.Time) bool {
	at, ends := endOf(image, name, tag)
	return ends && !now.Before(at)
}

// endOf is when the tag's TTL passes: never, when ok is false.
func endOf(image *kruise.NodeImage, name string, tag *kruise.ImageTagSpec) (at time.Time, ok bool) {
	is := statusOf(image, name, tag)
	if is == nil || is.CompletionTime == nil || tag.PullPolicy == nil || tag.PullPolicy.TTLSecondsAfterFinished == nil {
		return time.Time{}, false
	}
	return is.CompletionTime.Add(time.Duration(*tag.PullPolicy.TTLSecondsAfterFinished) * time.Second), true
}

// statusOf is what the daemon says of this version of the tag.
func statusOf(image *kruise.NodeImage, name string, tag *kruise.ImageTagSpec) *kruise.ImageTagStatus {
	tags := image.Status.ImageStatuses[name].Tags
	for i := range tags {
		if tags[i].Tag == tag.Tag && tags[i].Version == tag.Version {
			return &tags[i]
		}
	}
	return nil
}

// giveUp writes off the tags that the daemon should have answered by now. // NI-6, NI-7
func (p *plan) giveUp(image *kruise.NodeImage, now time.Time) {
	status := image.Status.DeepCopy()
	for _, name := range slices.Sorted(maps.Keys(image.Spec.Images)) {
		tags := image.Spec.Images[name].Tags
		for i := range tags {
			at, message, waits := giveUpAt(image, name, &tags[i])
			if !waits || now.Before(at) {
				continue
			}
			p.silent = append(p.silent, silence{name, tags[i].Tag, message, tags[i].OwnerReferences})
			fail(status, name, &tags[i], message, now)
		}
	}
	if len(p.silent) > 0 { // NI-9
		count(image.Spec, status)
		p.status = status
	}
}

// giveUpAt is when a tag is written off, and why.
func giveUpAt(image *kruise.NodeImage, name string, tag *kruise.ImageTagSpec) (at time.Time, message string, waits bool) {
	if tag.CreatedAt == nil {
		return at, "", false
	}
	is := statusOf(image, name, tag)
	switch {
	case is == nil:
		return tag.CreatedAt.Add(patience), fmt.Sprintf("node has not responded for %d minutes; look at its node daemon", int(patience.Minutes())), true
	case is.CompletionTime == nil && tag.PullPolicy != nil && tag.PullPolicy.ActiveDeadlineSeconds != nil:
		deadline := time.Duration(*tag.PullPolicy.ActiveDeadlineSeconds) * time.Second
		return tag.CreatedAt.Add(deadline + patience), fmt.Sprintf("pulling is not over %v after activeDeadlineSeconds of %v; look at the node daemon", patience, deadline), true
	}
	return at, "", false
}

func fail(status *kruise.NodeImageStatus, name string, tag *kruise.ImageTagSpec, message string, now time.Time) {
	failed := kruise.ImageTagStatus{
		Tag: tag.Tag, Version: tag.Version, Phase: kruise.ImagePhaseFailed, Message: message, CompletionTime: &metav1.Time{Time: now},
	}
	if status.ImageStatuses == nil {
		status.ImageStatuses = map[string]kruise.ImageStatus{}
	}
	tags := status.ImageStatuses[name].Tags
	i := slices.IndexFunc(tags, func(t kruise.ImageTagStatus) bool { return t.Tag == tag.Tag })
	if i < 0 {
		tags = append(tags, failed)
	} else {
		failed.StartTime = tags[i].StartTime
		tags[i] = failed
	}
	slices.SortFunc(tags, func(a, b kruise.ImageTagStatus) int { return compare(a.Tag, b.Tag) })
	status.ImageStatuses[name] = kruise.ImageStatus{Tags: tags}
}

// count drops what is not asked for, and counts the rest anew. // NI-9
func count(spec kruise.NodeImageSpec, status *kruise.NodeImageStatus) {
	status.Desired, status.Succeeded, status.Failed, status.Pulling = 0, 0, 0, 0
	for name, image := range status.ImageStatuses {
		asked := map[string]bool{}
		for _, tag := range spec.Images[name].Tags {
			asked[tag.Tag] = true
		}
		image.Tags = slices.DeleteFunc(image.Tags, func(t kruise.ImageTagStatus) bool { return !asked[t.Tag] })
		if status.ImageStatuses[name] = image; len(image.Tags) == 0 {
			delete(status.ImageStatuses, name)
		}
		for _, tag := range image.Tags {
			switch tag.Phase {
			case kruise.ImagePhaseSucceeded:
				status.Succeeded++
			case kruise.ImagePhaseFailed:
				status.Failed++
			default:
				status.Pulling++
			}
		}
	}
	for _, image := range spec.Images {
		status.Desired += int32(len(image.Tags))
	}
}

// wake finds the nearest time at which something ends by itself. // NI-10
func (p *plan) wake(image *kruise.NodeImage, now time.Time, least time.Duration) {
	for name, spec := range image.Spec.Images {
		for i := range spec.Tags {
			tag := &spec.Tags[i]
			if at, ends := endOf(image, name, tag); ends {
				ttl := time.Duration(*tag.PullPolicy.TTLSecondsAfterFinished) * time.Second
				p.wakeAt(at.Add(min(ttl/slack, atMost)), now, least)
			} else if at, _, waits := giveUpAt(image, name, tag); waits && at.After(now) {
				p.wakeAt(at, now, least)
			}
		}
	}
}

func (p *plan) wakeAt(at, now time.Time, least time.Duration) {
	if wait := max(at.Sub(now), least); p.recheck == 0 || wait < p.recheck {
		p.recheck = wait
	}
}
