package ephemeraljob

import (
	"context"
	"strings"
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/pkg/webhook/webhooktest"
)

func job(changes ...func(*corev1.EphemeralContainer)) *kruise.EphemeralJob {
	c := corev1.EphemeralContainer{TargetContainerName: "whoever", EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "tool", Image: "tool:1", ImagePullPolicy: corev1.PullIfNotPresent, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		Command: []string{"sh"}, Args: []string{"-c"}, WorkingDir: "/", Env: []corev1.EnvVar{{Name: "A"}}, EnvFrom: []corev1.EnvFromSource{{}},
		VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}, VolumeDevices: []corev1.VolumeDevice{{Name: "disk", DevicePath: "/dev/x"}},
		TerminationMessagePath: "/x", SecurityContext: &corev1.SecurityContext{}, Stdin: true, StdinOnce: true, TTY: true,
	}}
	for _, change := range changes {
		change(&c)
	}
	return &kruise.EphemeralJob{
		ObjectMeta: metav1.ObjectMeta{Name: "debug", Namespace: "users"},
		Spec: kruise.EphemeralJobSpec{
			Selector: &metav1.LabelSelector{}, Template: kruise.EphemeralContainerTemplateSpec{EphemeralContainers: []corev1.EphemeralContainer{c}},
		},
	}
}

func TestValidate(t *testing.T) { // EJ-1
	for wrong, change := range map[string]func(*corev1.EphemeralContainer){
		"":                            func(*corev1.EphemeralContainer) {},
		"name":                        func(c *corev1.EphemeralContainer) { c.Name = "A.b" },
		"image":                       func(c *corev1.EphemeralContainer) { c.Image = "" },
		"image#blanks":                func(c *corev1.EphemeralContainer) { c.Image = " tool:1" },
		"imagePullPolicy":             func(c *corev1.EphemeralContainer) { c.ImagePullPolicy = "" },
		"imagePullPolicy#unknown":     func(c *corev1.EphemeralContainer) { c.ImagePullPolicy = "Maybe" },
		"terminationMessagePolicy":    func(c *corev1.EphemeralContainer) { c.TerminationMessagePolicy = "" },
		"ports":                       func(c *corev1.EphemeralContainer) { c.Ports = []corev1.ContainerPort{{ContainerPort: 80}} },
		"resources":                   func(c *corev1.EphemeralContainer) { c.Resources.Limits = corev1.ResourceList{"cpu": {}} },
		"livenessProbe":               func(c *corev1.EphemeralContainer) { c.LivenessProbe = &corev1.Probe{} },
		"readinessProbe":              func(c *corev1.EphemeralContainer) { c.ReadinessProbe = &corev1.Probe{} },
		"startupProbe":                func(c *corev1.EphemeralContainer) { c.StartupProbe = &corev1.Probe{} },
		"lifecycle":                   func(c *corev1.EphemeralContainer) { c.Lifecycle = &corev1.Lifecycle{} },
		"restartPolicy":               func(c *corev1.EphemeralContainer) { c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways) },
		"volumeMounts[0].subPath":     func(c *corev1.EphemeralContainer) { c.VolumeMounts[0].SubPath = "x" },
		"volumeMounts[0].subPathExpr": func(c *corev1.EphemeralContainer) { c.VolumeMounts[0].SubPathExpr = "x" },
	} {
		where, _, _ := strings.Cut(wrong, "#")
		got := Validate(job(change))
		if (len(got) == 0) != (wrong == "") || len(got) > 0 && got[0].Field != "spec.template.ephemeralContainers[0]."+where {
			t.Errorf("%s: %v", wrong, got)
		}
	}
	twice := job()
	twice.Spec.Template.EphemeralContainers = append(twice.Spec.Template.EphemeralContainers, twice.Spec.Template.EphemeralContainers...)
	if got := Validate(twice); len(got) != 1 || got[0].Type != field.ErrorTypeDuplicate {
		t.Errorf("%v", got)
	}
}

// judge remembers what it was asked.
type judge struct {
	says  field.ErrorList
	asked *corev1.PodTemplateSpec
}

func (j *judge) Judge(_ context.Context, _ string, t *corev1.PodTemplateSpec) (field.ErrorList, error) {
	j.asked = t
	return j.says, nil
}

func TestValidator(t *testing.T) { // EJ-1
	says := field.ErrorList{field.Invalid(field.NewPath("spec", "template", "spec", "containers").Index(0).Child("env").Index(0).Child("name"), "=", "")}
	empty := job()
	empty.Spec.Template.EphemeralContainers = nil
	for name, tc := range map[string]struct {
		operation admissionv1.Operation
		old, now  *kruise.EphemeralJob
		says      field.ErrorList
		code      int32
		want      string
	}{
		"a good one":           {operation: "CREATE", now: job(), code: 200},
		"a bad one":            {operation: "CREATE", now: job(func(c *corev1.EphemeralContainer) { c.Name = "" }), code: 400, want: "ephemeralContainers[0].name"},
		"the server's word":    {operation: "CREATE", now: job(), says: says, code: 400, want: "spec.template.ephemeralContainers[0].env[0].name"},
		"no containers":        {operation: "CREATE", now: empty, says: says, code: 200}, // it ends in phase Error // EJ-1
		"one that stays wrong": {operation: "UPDATE", old: job(), now: job(), says: says, code: 200},
		"one that goes wrong":  {operation: "UPDATE", old: empty, now: job(), says: says, code: 400, want: "env[0].name"},
	} {
		t.Run(name, func(t *testing.T) {
			got := webhooktest.Ask(t, Validator(&judge{says: tc.says}), tc.operation, tc.old, tc.now)
			if got.Result.Code != tc.code || !strings.Contains(got.Result.Message, tc.want) {
				t.Errorf("%+v", got.Result)
			}
		})
	}
	j := &judge{}
	webhooktest.Ask(t, Validator(j), admissionv1.Create, nil, job())
	if len(j.asked.Spec.Containers) != 1 || len(j.asked.Spec.Volumes) != 2 {
		t.Errorf("it asked about %+v", j.asked)
	}
}
