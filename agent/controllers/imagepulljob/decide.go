package imagepulljob

import (
	"fmt"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/imageref"
)

// plan is what one round does.
type plan struct {
	job     *kruise.ImagePullJob // with its defaults
	now     time.Time
	wait    string // what is wrong with the job or its surroundings; then nothing is asked of nodes
	secrets secrets
	order   order    // what each of nodes is asked for
	nodes   []string // that are asked now
	counts  counts
	end     string // the message of a job that ends now
	protect bool   // the finalizer is missing
	release bool   // the finalizer is to go
	remove  bool   // its time is over
	recheck time.Duration
}

// counts is how far the nodes are. // IP-13
type counts struct {
	desired, active, succeeded int32
	failed, waiting, pulling   []string
}

// Recheck is when time alone changes the plan.
func (p *plan) Recheck() time.Duration { return p.recheck }

// Decide counts the nodes and asks the next ones. // SJ-6
func (s *steps) Decide(job *kruise.ImagePullJob, found seen, now time.Time) *plan {
	p := &plan{job: Default(job), now: now}
	switch {
	case job.DeletionTimestamp != nil:
		p.finish(found)
	case job.Status.CompletionTime != nil:
		p.finish(found)
		p.expire()
	case found.wrong != "":
		p.wait = found.wrong
	case found.homeless: // IP-8
		p.wait = fmt.Sprintf("namespace %s for pull secrets does not exist; create it", s.options.ConfigNamespace)
	default:
		p.pull(s.options.ConfigNamespace, found)
	}
	return p
}

// finish lets go of what the job holds. // IP-16
func (p *plan) finish(found seen) {
	p.secrets = release(p.job, found.copies)
	p.release = slices.Contains(p.job.Finalizers, Finalizer)
}

// expire removes the job when its time has come. // IP-16
func (p *plan) expire() {
	ttl := p.job.Spec.CompletionPolicy.TTLSecondsAfterFinished
	if ttl == nil {
		return
	}
	at := p.job.Status.CompletionTime.Add(time.Duration(*ttl) * time.Second)
	if p.remove = !p.now.Before(at); !p.remove {
		p.recheck = at.Sub(p.now)
	}
}

// soon is the round after one that wrote the job itself, whose status would be refused now, or that ended it.
const soon = time.Millisecond

func (p *plan) pull(home string, found seen) {
	if len(p.job.Spec.PullSecrets) > 0 && !slices.Contains(p.job.Finalizers, Finalizer) {
		p.protect, p.recheck = true, soon
		return
	}
	p.secrets = share(p.job, found.sources, found.copies, home)
	name, tag, _ := imageref.Parse(p.job.Spec.Image) // validated
	p.order = newOrder(p.job, name, tag, p.secrets.refs, p.now, found.luck)
	p.count(found)
	if p.ends() {
		p.recheck = soon // to let go of what it holds; its own status is no news
		return
	}
	room := parallelism(p.job) - int(p.counts.active)
	p.nodes = p.counts.waiting[:min(max(room, 0), len(p.counts.waiting))]
	p.counts.active += int32(len(p.nodes))
}

// parallelism: a percentage reads as 0, and nothing happens. // IP-10
func parallelism(job *kruise.ImagePullJob) int {
	if job.Spec.Parallelism == nil {
		return defaultParallelism
	}
	return int(job.Spec.Parallelism.IntVal)
}

// count looks at each node. What is on its way to a node counts as pulling, so that nobody is asked twice. // IP-13
func (p *plan) count(found seen) {
	p.counts.desired = int32(len(found.targets))
	for _, node := range found.targets {
		switch stateOf(node, p.job, &p.order) {
		case succeeded:
			p.counts.succeeded++
		case failed:
			p.counts.failed = append(p.counts.failed, node.Name)
		case pulling:
			p.counts.pulling = append(p.counts.pulling, node.Name)
		case unsynced:
			if found.ordered.Has(node.Name) {
				p.counts.pulling = append(p.counts.pulling, node.Name)
			} else {
				p.counts.waiting = append(p.counts.waiting, node.Name)
			}
		}
	}
	p.counts.active = int32(len(p.counts.pulling))
}

type state int

const (
	unsynced state = iota
	pulling
	succeeded
	failed
)

// stateOf is how far a node is with the job. // IP-13
func stateOf(node *kruise.NodeImage, job *kruise.ImagePullJob, o *order) state {
	spec, known := node.Spec.Images[o.name]
	if !known || len(missing(spec.PullSecrets, o.secrets)) > 0 {
		return unsynced
	}
	i := slices.IndexFunc(spec.Tags, func(t kruise.ImageTagSpec) bool { return t.Tag == o.tag && ownedBy(&t, job) })
	if i < 0 {
		return unsynced
	}
	for _, is := range node.Status.ImageStatuses[o.name].Tags {
		if is.Tag != o.tag || is.Version != spec.Tags[i].Version {
			continue
		}
		switch is.Phase {
		case kruise.ImagePhaseSucceeded:
			return succeeded
		case kruise.ImagePhaseFailed:
			return failed
		}
	}
	return pulling
}

func ownedBy(tag *kruise.ImageTagSpec, job *kruise.ImagePullJob) bool {
	return slices.ContainsFunc(tag.OwnerReferences, func(ref corev1.ObjectReference) bool { return ref.UID == job.UID })
}

func missing(have, want []kruise.ReferenceObject) (lacking []kruise.ReferenceObject) {
	for _, ref := range want {
		if !slices.Contains(have, ref) {
			lacking = append(lacking, ref)
		}
	}
	return lacking
}

// ends tells whether the job completes now: all nodes are through, or its time is. // IP-14
func (p *plan) ends() bool {
	if p.job.Spec.CompletionPolicy.Type != kruise.Always {
		return false
	}
	if p.counts.succeeded+int32(len(p.counts.failed)) == p.counts.desired {
		p.end = "job has completed"
		return true
	}
	at, limited := deadline(p.job, p.start().Time)
	switch {
	case !limited:
	case p.now.Before(at):
		p.recheck = max(at.Sub(p.now), time.Second)
	default:
		p.end = "job exceeds activeDeadlineSeconds"
		p.counts.failed = slices.Concat(p.counts.failed, p.counts.pulling, p.counts.waiting)
		p.counts.active = 0
		return true
	}
	return false
}

func (p *plan) start() *metav1.Time {
	if p.job.Status.StartTime != nil {
		return p.job.Status.StartTime
	}
	return &metav1.Time{Time: p.now.Truncate(time.Second)} // the API server keeps no more
}
