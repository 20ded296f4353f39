// Package ephemeraljob is admission for EphemeralJobs. Nothing is filled in: what an ephemeral container needs has to be said. It
// reads and writes nothing.
package ephemeraljob

import (
	"context"
	"net/http"
	"slices"
	"strings"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/agent/webhooks/change"
	"github.com/flotilla-project/flotilla/agent/webhooks/template"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Validator is the handler that judges an EphemeralJob.
func Validator(judge template.Judge) http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*kruise.EphemeralJob]) error {
		if r.Old != nil && equality.Semantic.DeepEqual(r.Old.Spec.Template, r.New.Spec.Template) {
			return nil
		}
		problems := Validate(r.New)
		if len(problems) == 0 && len(r.New.Spec.Template.EphemeralContainers) > 0 {
			problems = judged(ctx, judge, r.Namespace, r.New)
		}
		if len(problems) == 0 {
			return nil
		}
		return webhook.BadRequest("%v", problems.ToAggregate())
	})
}

func path() *field.Path { return field.NewPath("spec", "template", "ephemeralContainers") }

// Validate lists what is wrong with the containers of an EphemeralJob, as far as it concerns ephemeral ones only. // EJ-1
func Validate(job *kruise.EphemeralJob) (all field.ErrorList) {
	names := map[string]bool{}
	for i, c := range job.Spec.Template.EphemeralContainers {
		at := path().Index(i)
		all = append(all, named(c.Name, at.Child("name"))...)
		if names[c.Name] {
			all = append(all, field.Duplicate(at.Child("name"), c.Name))
		}
		names[c.Name] = true
		switch {
		case c.Image == "":
			all = append(all, field.Required(at.Child("image"), ""))
		case strings.TrimSpace(c.Image) != c.Image:
			all = append(all, field.Invalid(at.Child("image"), c.Image, "must not begin or end with blanks"))
		}
		all = append(all, explicit(&c.EphemeralContainerCommon, at)...)
		all = append(all, forbidden(&c.EphemeralContainerCommon, at)...)
	}
	return all
}

func named(name string, at *field.Path) (all field.ErrorList) {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	for _, text := range apivalidation.IsDNS1123Label(name) {
		all = append(all, field.Invalid(at, name, text))
	}
	return all
}

// explicit is what nobody fills in. // EJ-1
func explicit(c *corev1.EphemeralContainerCommon, at *field.Path) (all field.ErrorList) {
	pulls := []corev1.PullPolicy{corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever}
	if c.ImagePullPolicy == "" {
		all = append(all, field.Required(at.Child("imagePullPolicy"), "it has no default here"))
	} else if !slices.Contains(pulls, c.ImagePullPolicy) {
		all = append(all, field.NotSupported(at.Child("imagePullPolicy"), c.ImagePullPolicy, pulls))
	}
	messages := []corev1.TerminationMessagePolicy{corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError}
	if c.TerminationMessagePolicy == "" {
		all = append(all, field.Required(at.Child("terminationMessagePolicy"), "it has no default here"))
	} else if !slices.Contains(messages, c.TerminationMessagePolicy) {
		all = append(all, field.NotSupported(at.Child("terminationMessagePolicy"), c.TerminationMessagePolicy, messages))
	}
	return all
}

// allowed are the fields that an ephemeral container may have. // EJ-1
var allowed = []string{
	"name", "image", "command", "args", "workingDir", "env", "envFrom", "volumeMounts", "volumeDevices", "terminationMessagePath",
	"terminationMessagePolicy", "imagePullPolicy", "securityContext", "stdin", "stdinOnce", "tty",
}

func forbidden(c *corev1.EphemeralContainerCommon, at *field.Path) (all field.ErrorList) {
	for _, p := range change.Fixed(&corev1.EphemeralContainerCommon{}, c, allowed...) {
		name := strings.TrimPrefix(p.Field, "spec.")
		all = append(all, field.Forbidden(at.Child(name), "an ephemeral container cannot have it"))
	}
	for i, m := range c.VolumeMounts {
		if m.SubPath != "" {
			all = append(all, field.Forbidden(at.Child("volumeMounts").Index(i).Child("subPath"), "an ephemeral container cannot have it"))
		}
		if m.SubPathExpr != "" {
			all = append(all, field.Forbidden(at.Child("volumeMounts").Index(i).Child("subPathExpr"), "an ephemeral container cannot have it"))
		}
	}
	return all
}

// judged has the API server judge the containers as those of a pod that has whatever they mount. // EJ-1
func judged(ctx context.Context, judge template.Judge, namespace string, job *kruise.EphemeralJob) (problems field.ErrorList) {
	for _, p := range template.Add(ctx, judge, namespace, asPod(job), nil) {
		moved := *p
		moved.Field = path().String() + strings.TrimPrefix(p.Field, "spec.template.spec.containers")
		problems = append(problems, &moved)
	}
	return problems
}

func asPod(job *kruise.EphemeralJob) *corev1.PodTemplateSpec {
	t := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{}}
	volumes := map[string]corev1.VolumeSource{}
	for _, c := range job.Spec.DeepCopy().Template.EphemeralContainers {
		t.Spec.Containers = append(t.Spec.Containers, corev1.Container(c.EphemeralContainerCommon))
		for _, m := range c.VolumeMounts {
			volumes[m.Name] = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}
		for _, d := range c.VolumeDevices {
			volumes[d.Name] = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "any"}}
		}
	}
	for name, source := range volumes {
		t.Spec.Volumes = append(t.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	}
	return t
}
