package advancedcronjob

import (
	"cmp"
	"context"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/index"
)

// scheduledAt is the annotation of a child that says which time it was made for. // CJ-9
const scheduledAt = "apps.kruise.io/scheduled-at"

// seen is what there is of an AdvancedCronJob.
type seen struct {
	children []child // by name
	unserved bool    // it wants BroadcastJobs and the cluster has none
}

// child is what is decided on of a job.
type child struct {
	object  client.Object // shared with the cache and never changed
	slot    time.Time     // zero if it says none
	started time.Time
	state   state
}

type state uint8

const (
	active state = iota
	succeeded
	failed
)

// Observe reads the cache.
func (s *steps) Observe(ctx context.Context, acj *kruise.AdvancedCronJob) (found seen, err error) {
	if kindOf(acj) == kruise.BroadcastJobTemplate {
		found.unserved = !s.broadcast
		found.children, err = s.broadcastJobs(ctx, acj)
	} else {
		found.children, err = s.jobs(ctx, acj)
	}
	slices.SortFunc(found.children, func(a, b child) int { return cmp.Compare(a.object.GetName(), b.object.GetName()) })
	return found, err
}

func (s *steps) jobs(ctx context.Context, acj *kruise.AdvancedCronJob) (children []child, err error) {
	jobs, err := index.JobsOf(ctx, s.local, acj)
	for i := range jobs {
		job := &jobs[i]
		if !metav1.IsControlledBy(job, acj) {
			continue
		}
		c := newChild(job, job.Status.StartTime)
		for _, condition := range job.Status.Conditions {
			c.ended(string(condition.Type), condition.Status)
		}
		children = append(children, c)
	}
	return children, err
}

func (s *steps) broadcastJobs(ctx context.Context, acj *kruise.AdvancedCronJob) (children []child, err error) {
	if !s.broadcast {
		return nil, nil
	}
	jobs, err := index.BroadcastJobsOf(ctx, s.local, acj)
	for i := range jobs {
		job := &jobs[i]
		if !metav1.IsControlledBy(job, acj) {
			continue
		}
		c := newChild(job, job.Status.StartTime)
		for _, condition := range job.Status.Conditions {
			c.ended(string(condition.Type), condition.Status)
		}
		children = append(children, c)
	}
	return children, err
}

func newChild(o client.Object, started *metav1.Time) child {
	c := child{object: o}
	if started != nil {
		c.started = started.Time
	}
	if at, err := time.Parse(time.RFC3339, o.GetAnnotations()[scheduledAt]); err == nil {
		c.slot = at
	}
	return c
}

// ended reads the conditions that both kinds have. // CJ-8
func (c *child) ended(kind string, status corev1.ConditionStatus) {
	switch {
	case status != corev1.ConditionTrue:
	case kind == string(batchv1.JobComplete):
		c.state = succeeded
	case kind == string(batchv1.JobFailed):
		c.state = failed
	}
}

// kindOf is what it makes. // CJ-1
func kindOf(acj *kruise.AdvancedCronJob) kruise.TemplateKind {
	if acj.Spec.Template.JobTemplate != nil {
		return kruise.JobTemplate
	}
	return kruise.BroadcastJobTemplate
}
