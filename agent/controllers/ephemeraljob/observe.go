package ephemeraljob

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// seen is what there is for a job.
type seen struct {
	pods  []pod // that the job selects and that are active, oldest first, then by name
	wrong error // the selector cannot be read
}

// pod is what is decided on of a pod.
type pod struct {
	name    string
	uid     types.UID
	created time.Time
	had     []string // names of its ephemeral containers
	own     bool     // has a container of the job
	foreign bool     // has a container of a name of the job's that is not the job's
	state   state
	waits   string
}

// state is how far the job is in a pod. // EJ-6
type state uint8

const (
	unknown state = iota
	waiting
	running
	succeeded
	failed
)

// Observe reads the cache.
func (s *steps) Observe(ctx context.Context, job *kruise.EphemeralJob) (found seen, err error) {
	if job.DeletionTimestamp != nil || job.Status.CompletionTime != nil {
		return found, nil
	}
	selector, wrong := metav1.LabelSelectorAsSelector(job.Spec.Selector)
	if wrong != nil {
		found.wrong = fmt.Errorf("read spec.selector: %w", wrong)
		return found, nil
	}
	var pods corev1.PodList
	err = s.local.List(ctx, &pods, client.InNamespace(job.Namespace), client.MatchingLabelsSelector{Selector: selector}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return found, fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		if activePod(&pods.Items[i]) {
			found.pods = append(found.pods, factsOf(job, &pods.Items[i]))
		}
	}
	slices.SortFunc(found.pods, func(a, b pod) int { return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.name, b.name)) }) // EJ-5
	return found, nil
}

func activePod(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

func factsOf(job *kruise.EphemeralJob, p *corev1.Pod) pod {
	f := pod{name: p.Name, uid: p.UID, created: p.CreationTimestamp.Time}
	names := namesOf(job)
	for _, c := range p.Spec.EphemeralContainers {
		f.had = append(f.had, c.Name)
		if slices.Contains(names, c.Name) {
			ours := isOurs(job, c)
			f.own, f.foreign = f.own || ours, f.foreign || !ours
		}
	}
	f.state, f.waits = stateOf(names, p.Status.EphemeralContainerStatuses)
	return f
}

func namesOf(job *kruise.EphemeralJob) (names []string) {
	for _, c := range job.Spec.Template.EphemeralContainers {
		names = append(names, c.Name)
	}
	return names
}

// isOurs goes by the UID that every container of a job carries, not by its name. // EJ-5
func isOurs(job *kruise.EphemeralJob, c corev1.EphemeralContainer) bool {
	return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool {
		return e.Name == kruise.EphemeralContainerEnvKey && e.Value == string(job.UID)
	})
}

// stateOf sums containers up, and says what keeps one from running. // EJ-6
func stateOf(names []string, statuses []corev1.ContainerStatus) (sum state, waits string) {
	count := map[state]int{}
	for _, status := range statuses {
		if !slices.Contains(names, status.Name) {
			continue
		}
		count[stateOfContainer(status.State)]++
		if w := status.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			waits = w.Reason
		}
	}
	if waits == "ErrImagePull" { // it comes and goes with the next
		waits = "ImagePullBackOff"
	}
	switch {
	case count[failed] > 0:
		return failed, waits
	case len(names) > 0 && count[succeeded] == len(names):
		return succeeded, ""
	case count[running] > 0:
		return running, waits
	case count[waiting] > 0:
		return waiting, waits
	}
	return unknown, ""
}

func stateOfContainer(s corev1.ContainerState) state {
	switch {
	case s.Terminated != nil && s.Terminated.ExitCode != 0:
		return failed
	case s.Terminated != nil && !s.Terminated.FinishedAt.IsZero():
		return succeeded
	case s.Waiting != nil && s.Waiting.Reason == "RunContainerError":
		return failed
	case s.Waiting != nil:
		return waiting
	case s.Running != nil:
		return running
	}
	return unknown
}
