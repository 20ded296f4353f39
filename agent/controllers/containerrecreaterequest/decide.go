package containerrecreaterequest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

const (
	// finalizer is on requests whose pod may be marked unready; the annotation of the same name says since when it is. // CRR-10
	finalizer = kruise.ContainerRecreateRequestUnreadyAcquiredKey
	// userAgent is how our entry in the pod's condition KruisePodReady is known. // CRR-10
	userAgent = "ContainerRecreateRequest"
	// answerWithin is how long a daemon may take to notice a request. // CRR-8
	answerWithin = time.Minute
)

// plan is what to do, in the order of its fields.
type plan struct {
	// finalize adds the finalizer, mark marks the pod unready.
	finalize, mark bool
	// lift takes the mark back, release the finalizer.
	lift, release bool
	// annotate sets annotations, deactivate takes the label away that daemons select by.
	annotate   map[string]string
	deactivate bool
	// remove deletes the request.
	remove bool
	// complete says why the request is over; empty: it is not, or was before.
	complete string
	pod      *corev1.Pod
	now      time.Time
	recheck  time.Duration
}

// Recheck is when a deadline or the TTL passes.
func (p plan) Recheck() time.Duration { return p.recheck }

// Decide is one pass.
func (*steps) Decide(r *kruise.ContainerRecreateRequest, s seen, now time.Time) plan {
	p := plan{pod: s.pod, now: now}
	if r.DeletionTimestamp != nil || r.Status.CompletionTime != nil {
		p.leave(r)
		return p
	}
	if p.complete = over(r, s.pod, now); p.complete != "" {
		return p
	}
	p.recheck = nextDeadline(r, now)
	if r.Status.Phase == kruise.ContainerRecreateRequestRecreating {
		p.sync(r)
		p.makeUnready(r)
	}
	return p
}

// leave cleans up after a request that is over or is to go. // CRR-7
func (p *plan) leave(r *kruise.ContainerRecreateRequest) {
	if slices.Contains(r.Finalizers, finalizer) {
		p.release = true
		p.lift = p.pod != nil && p.pod.DeletionTimestamp == nil && hasGate(p.pod) // CRR-11
	}
	if r.DeletionTimestamp != nil {
		return
	}
	if _, active := r.Labels[kruise.ContainerRecreateRequestActiveKey]; active {
		p.deactivate = true
		return
	}
	if ttl := r.Spec.TTLSecondsAfterFinished; ttl != nil && !p.release {
		left := r.Status.CompletionTime.Add(time.Duration(*ttl) * time.Second).Sub(p.now)
		p.remove, p.recheck = left <= 0, max(left, 0)
	}
}

// over is why a request cannot be carried out any more, or empty. // CRR-8
func over(r *kruise.ContainerRecreateRequest, pod *corev1.Pod, now time.Time) string {
	age, uid := now.Sub(r.CreationTimestamp.Time), r.Labels[kruise.ContainerRecreateRequestPodUIDKey]
	switch {
	case pod == nil:
		return fmt.Sprintf("pod %s is gone", r.Spec.PodName)
	case pod.DeletionTimestamp != nil:
		return fmt.Sprintf("pod %s is being deleted", pod.Name)
	case uid == "":
		return fmt.Sprintf("label %s is missing: the request was made while no webhook was asked about it; make it again", kruise.ContainerRecreateRequestPodUIDKey)
	case string(pod.UID) != uid:
		return fmt.Sprintf("pod %s was replaced: its uid is %s, not %s", pod.Name, pod.UID, uid)
	case r.Status.Phase == "" && age >= answerWithin:
		return fmt.Sprintf("the daemon of node %s has not answered for %s: see that it runs there", r.Labels[kruise.ContainerRecreateRequestNodeNameKey], answerWithin)
	case r.Spec.ActiveDeadlineSeconds != nil && age >= deadline(r):
		return fmt.Sprintf("not done within the %s of activeDeadlineSeconds", deadline(r))
	}
	return ""
}

func deadline(r *kruise.ContainerRecreateRequest) time.Duration {
	return time.Duration(*r.Spec.ActiveDeadlineSeconds) * time.Second
}

// nextDeadline is when over may have another answer because of the time alone.
func nextDeadline(r *kruise.ContainerRecreateRequest, now time.Time) (next time.Duration) {
	age := now.Sub(r.CreationTimestamp.Time)
	if r.Status.Phase == "" {
		next = answerWithin - age
	}
	if r.Spec.ActiveDeadlineSeconds != nil && (next == 0 || deadline(r)-age < next) {
		next = deadline(r) - age
	}
	return next
}

// sync tells the daemon which of its containers are back and ready. // CRR-9
func (p *plan) sync(r *kruise.ContainerRecreateRequest) {
	raw, err := json.Marshal(statuses(r, p.pod))
	if err != nil {
		return // strings and numbers always marshal
	}
	if string(raw) != r.Annotations[kruise.ContainerRecreateRequestSyncContainerStatusesKey] {
		p.set(kruise.ContainerRecreateRequestSyncContainerStatusesKey, string(raw))
	}
}

// statuses are those of the listed containers that started since the request was made. // CRR-9
func statuses(r *kruise.ContainerRecreateRequest, pod *corev1.Pod) []kruise.ContainerRecreateRequestSyncContainerStatus {
	all := []kruise.ContainerRecreateRequestSyncContainerStatus{}
	for i := range r.Spec.Containers {
		for _, c := range pod.Status.ContainerStatuses {
			if c.Name != r.Spec.Containers[i].Name || c.State.Running == nil || c.State.Running.StartedAt.Before(&r.CreationTimestamp) {
				continue
			}
			all = append(all, kruise.ContainerRecreateRequestSyncContainerStatus{
				Name: c.Name, Ready: c.Ready, RestartCount: c.RestartCount, ContainerID: c.ContainerID,
			})
		}
	}
	return all
}

// makeUnready takes the pod out of service for a while before its containers stop. // CRR-10
func (p *plan) makeUnready(r *kruise.ContainerRecreateRequest) {
	if r.Spec.Strategy == nil || r.Spec.Strategy.UnreadyGracePeriodSeconds == nil || r.Annotations[kruise.ContainerRecreateRequestUnreadyAcquiredKey] != "" {
		return
	}
	if hasGate(p.pod) {
		p.finalize, p.mark = !slices.Contains(r.Finalizers, finalizer), true
	}
	p.set(kruise.ContainerRecreateRequestUnreadyAcquiredKey, p.now.Format(time.RFC3339))
}

func (p *plan) set(annotation, value string) {
	if p.annotate == nil {
		p.annotate = map[string]string{}
	}
	p.annotate[annotation] = value
}

func hasGate(pod *corev1.Pod) bool { return lifecycle.HasGate(pod, pub.KruisePodReadyConditionType) }
