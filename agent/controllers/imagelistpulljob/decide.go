package imagelistpulljob

import (
	"cmp"
	"context"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/controllers/imagepulljob"
	"github.com/flotilla-project/flotilla/agent/fanout"
	"github.com/flotilla-project/flotilla/pkg/index"
)

// seen is what there is of a list, shared with the cache.
type seen struct{ children []kruise.ImagePullJob }

// Observe reads the children. // IL-4
func (s *steps) Observe(ctx context.Context, list *kruise.ImageListPullJob) (seen, error) {
	var found kruise.ImagePullJobList
	if err := index.Children(ctx, s.local, list, &found); err != nil {
		return seen{}, err
	}
	var children []kruise.ImagePullJob
	for i := range found.Items {
		if metav1.IsControlledBy(&found.Items[i], list) && found.Items[i].DeletionTimestamp == nil {
			children = append(children, found.Items[i])
		}
	}
	return seen{children}, nil
}

// soon is the round after one that wrote the list itself, whose status would be refused now, or that ended it.
const soon = time.Millisecond

// plan is what one round does.
type plan struct {
	now     time.Time
	wrong   string // why the spec cannot be right; then nothing is done about it
	over    bool
	remove  bool
	hash    string // that the list is labelled with first; empty when it is
	create  []*kruise.ImagePullJob
	delete  []*kruise.ImagePullJob
	counts  kruise.ImageListPullJobStatus
	recheck time.Duration
}

// Recheck is when time alone changes the plan.
func (p *plan) Recheck() time.Duration { return p.recheck }

// Decide compares images with children. // IL-5
func (s *steps) Decide(list *kruise.ImageListPullJob, found seen, now time.Time) *plan {
	p := &plan{now: now}
	list = Default(list)
	switch {
	case list.DeletionTimestamp != nil: // its children follow it
		p.over = true
	case list.Status.CompletionTime != nil: // IL-7
		p.over = true
		p.expire(list)
	default:
		if errs := Validate(list); len(errs) > 0 {
			p.wrong = errs.ToAggregate().Error()
			return p
		}
		if hash := hashOf(&list.Spec.ImagePullJobTemplate); list.Labels[hashLabel] != hash {
			p.hash, p.recheck = hash, soon
			return p
		}
		p.fan(list, found)
		p.count(list, found)
	}
	return p
}

func (p *plan) expire(list *kruise.ImageListPullJob) {
	ttl := list.Spec.CompletionPolicy.TTLSecondsAfterFinished
	if ttl == nil {
		return
	}
	at := list.Status.CompletionTime.Add(time.Duration(*ttl) * time.Second)
	if p.remove = !p.now.Before(at); !p.remove {
		p.recheck = at.Sub(p.now)
	}
}

func (p *plan) fan(list *kruise.ImageListPullJob, found seen) {
	hash := list.Labels[hashLabel]
	wanted, existing := map[string]*kruise.ImagePullJob{}, map[string]*kruise.ImagePullJob{}
	for _, image := range list.Spec.Images {
		wanted[image] = child(list, image, hash)
	}
	for i := range found.children {
		c := &found.children[i]
		if first := existing[c.Spec.Image]; first != nil {
			p.delete = append(p.delete, c) // a second one for the image
			continue
		}
		existing[c.Spec.Image] = c
	}
	diff := fanout.Diff(wanted, existing, same)
	p.create = diff.Create
	for _, pair := range diff.Change {
		p.create, p.delete = append(p.create, pair.Want), append(p.delete, pair.Is)
	}
	p.delete = append(p.delete, diff.Delete...)
}

// child is the job for an image. // IL-4
func child(list *kruise.ImageListPullJob, image, hash string) *kruise.ImagePullJob {
	return &kruise.ImagePullJob{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: list.Namespace, GenerateName: list.Name + "-", Labels: map[string]string{hashLabel: hash},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(list, gvk)},
		},
		Spec: kruise.ImagePullJobSpec{Image: image, ImagePullJobTemplate: *list.Spec.ImagePullJobTemplate.DeepCopy()},
	}
}

// same: one without the label is taken by what it says. // IL-5
func same(want, is *kruise.ImagePullJob) bool {
	if hash, labelled := is.Labels[hashLabel]; labelled {
		return hash == want.Labels[hashLabel]
	}
	return equality.Semantic.DeepEqual(imagepulljob.Default(want).Spec.ImagePullJobTemplate, imagepulljob.Default(is).Spec.ImagePullJobTemplate)
}

// count sums up the children that have begun, but for those that go now. // IL-6
func (p *plan) count(list *kruise.ImageListPullJob, found seen) {
	p.counts = kruise.ImageListPullJobStatus{Desired: int32(len(list.Spec.Images)), StartTime: list.Status.StartTime}
	if p.counts.StartTime == nil {
		p.counts.StartTime = p.second()
	}
	for i := range found.children {
		c := &found.children[i]
		if c.Status.StartTime == nil || slices.Contains(p.delete, c) {
			continue
		}
		s := c.Status
		if s.Active > 0 {
			p.counts.Active++
		}
		if s.Desired == s.Failed+s.Succeeded {
			p.counts.Completed++
		}
		if s.Desired == s.Succeeded {
			p.counts.Succeeded++
		}
		if s.Failed > 0 {
			p.counts.FailedImageStatuses = append(p.counts.FailedImageStatuses, &kruise.FailedImageStatus{ImagePullJob: c.Name, Name: c.Spec.Image, Message: s.Message})
		}
	}
	slices.SortFunc(p.counts.FailedImageStatuses, func(a, b *kruise.FailedImageStatus) int { return cmp.Compare(a.Name, b.Name) })
	if list.Spec.CompletionPolicy.Type == kruise.Always && p.counts.Desired == p.counts.Completed {
		p.counts.CompletionTime, p.recheck = p.second(), soon // to see when it goes; its own status is no news
	}
}

// second is now, as exactly as the API server keeps it.
func (p *plan) second() *metav1.Time { return &metav1.Time{Time: p.now.Truncate(time.Second)} }
