// Package predownload lets nodes pull the images of an update before its pods get there: it decides which ImagePullJobs a
// set should have and carries that out.
//
// It owns the ImagePullJobs that a set controls and two labels on the set's update revision, which remember that its images
// were dealt with. It promises that a revision is dealt with once, that no update waits for it or fails by it, and that the
// jobs go when the update is done. Decide is pure; Hands writes.
package predownload

import (
	"maps"
	"strconv"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/agent/podset/revision"
)

// Labels of a revision whose images were dealt with. // WL-1.18
const (
	CreatedLabel = "apps.kruise.io/pre-predownload-created"
	IgnoredLabel = "apps.kruise.io/image-predownload-ignored"
)

// What the jobs say of themselves. // WL-1.14
const (
	parallelism    = 1
	backoffLimit   = 1
	timeoutSeconds = 300
	ttlSeconds     = 600
)

// Ask is what a set tells of its update.
type Ask struct {
	// Set is the set, of which its namespace and annotations count, and Ref the owner of its jobs.
	Set metav1.Object
	Ref metav1.OwnerReference
	// Selector of the set's pods.
	Selector *metav1.LabelSelector
	// Update is the revision that pods are brought to.
	Update *appsv1.ControllerRevision
	// Old are the revisions that pods come from; one that cannot be read has no image that we know.
	Old []*appsv1.ControllerRevision
	// Done says that no pod is left to update.
	Done bool
	// Ready is how many pods are updated and ready, and Replicas how many there shall be.
	Ready, Replicas int
	// Needless is why the update gains nothing from it; empty when it does.
	Needless string
}

// Plan is what to do.
type Plan struct {
	Create []*kruise.ImagePullJob
	Delete []kruise.ImagePullJob
	// Label is put on the revision once the jobs are there; empty is none.
	Label string
	// Revision that is labelled.
	Revision *appsv1.ControllerRevision
}

// Decide finds the jobs that are missing, or no longer needed. // WL-1.14
func Decide(ask Ask, jobs []kruise.ImagePullJob) Plan {
	if ask.Done {
		return Plan{Delete: staying(jobs)}
	}
	if ask.Ready < threshold(ask) || dealtWith(ask.Update) {
		return Plan{}
	}
	plan := Plan{Revision: ask.Update, Label: IgnoredLabel}
	template, err := revision.Template(ask.Update.Data.Raw)
	if ask.Needless != "" || err != nil {
		return plan
	}
	plan.Label = CreatedLabel
	for _, c := range changed(template, ask.Old) {
		plan.Create = append(plan.Create, job(ask, template, c))
	}
	return plan
}

func staying(jobs []kruise.ImagePullJob) (stay []kruise.ImagePullJob) {
	for i := range jobs {
		if jobs[i].DeletionTimestamp == nil {
			stay = append(stay, jobs[i])
		}
	}
	return stay
}

func dealtWith(r *appsv1.ControllerRevision) bool {
	_, created := r.Labels[CreatedLabel]
	_, ignored := r.Labels[IgnoredLabel]
	return created || ignored
}

// threshold is how many updated pods have to be ready first; what cannot be read is 0.
func threshold(ask Ask) int {
	text := ask.Set.GetAnnotations()[kruise.ImagePreDownloadMinUpdatedReadyPods]
	if text == "" {
		return 0
	}
	value := intstr.Parse(text)
	n, err := intstr.GetScaledValueFromIntOrPercent(&value, ask.Replicas, true) // WL-0.4
	if err != nil {
		return 0
	}
	return n
}

// changed are the containers whose image is another than in any of the old revisions, or which are in none of them.
func changed(template *corev1.PodTemplateSpec, old []*appsv1.ControllerRevision) (all []corev1.Container) {
	before := map[string]map[string]bool{} // images by container
	for _, r := range old {
		from, err := revision.Template(r.Data.Raw)
		if err != nil {
			continue
		}
		for _, c := range from.Spec.Containers {
			if before[c.Name] == nil {
				before[c.Name] = map[string]bool{}
			}
			before[c.Name][c.Image] = true
		}
	}
	for _, c := range template.Spec.Containers {
		images := before[c.Name]
		if len(images) != 1 || !images[c.Image] {
			all = append(all, c)
		}
	}
	return all
}

// job is the ImagePullJob for one container. // WL-1.14, SJ-6.6 (IP-18)
func job(ask Ask, template *corev1.PodTemplateSpec, c corev1.Container) *kruise.ImagePullJob {
	labels := map[string]string{}
	maps.Copy(labels, template.Labels)
	labels[revision.HashLabel] = hashOf(ask.Update)
	annotations := ask.Set.GetAnnotations()
	return &kruise.ImagePullJob{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ask.Set.GetNamespace(), Name: ask.Update.Name + "-" + c.Name, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{ask.Ref},
		},
		Spec: kruise.ImagePullJobSpec{Image: c.Image, ImagePullJobTemplate: kruise.ImagePullJobTemplate{
			PullSecrets: secrets(template),
			PodSelector: outdated(ask),
			Parallelism: new(intstr.FromInt32(number(annotations[kruise.ImagePreDownloadParallelismKey], parallelism))),
			PullPolicy: &kruise.PullPolicy{
				BackoffLimit:   new(int32(backoffLimit)),
				TimeoutSeconds: new(number(annotations[kruise.ImagePreDownloadTimeoutSecondsKey], timeoutSeconds)),
			},
			CompletionPolicy: kruise.CompletionPolicy{Type: kruise.Always, TTLSecondsAfterFinished: new(int32(ttlSeconds))},
			SandboxConfig:    &kruise.SandboxConfig{Labels: maps.Clone(labels), Annotations: maps.Clone(template.Annotations)},
		}},
	}
}

// hashOf is the revision's hash; revisions of DaemonSets keep it under the name that their pods have.
func hashOf(r *appsv1.ControllerRevision) string {
	if hash := r.Labels[revision.HashLabel]; hash != "" {
		return hash
	}
	return r.Labels[appsv1.ControllerRevisionHashLabelKey]
}

func secrets(template *corev1.PodTemplateSpec) (names []string) {
	for _, s := range template.Spec.ImagePullSecrets {
		names = append(names, s.Name)
	}
	return names
}

// outdated selects the pods of the set that are not of the update revision, whichever form their label has.
func outdated(ask Ask) *kruise.ImagePullJobPodSelector {
	selector := metav1.LabelSelector{}
	if ask.Selector != nil {
		selector = *ask.Selector.DeepCopy()
	}
	selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: appsv1.ControllerRevisionHashLabelKey, Operator: metav1.LabelSelectorOpNotIn,
		Values: []string{ask.Update.Name, revision.Short(ask.Update.Name)},
	})
	return &kruise.ImagePullJobPodSelector{LabelSelector: selector}
}

// number reads an annotation; what cannot be read is ignored.
func number(text string, otherwise int32) int32 {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return otherwise
	}
	return int32(n)
}
