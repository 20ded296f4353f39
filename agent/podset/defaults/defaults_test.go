package defaults

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestTemplate(t *testing.T) { // WL-0.9
	got := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		ServiceAccountName: "web",
		InitContainers:     []corev1.Container{{Name: "init", Image: "init:1"}, {Name: "newest", Image: "init"}},
		Containers: []corev1.Container{{
			Name: "main", Image: "web:1",
			Ports:         []corev1.ContainerPort{{ContainerPort: 80}},
			Resources:     corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("1.0001")}},
			LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80)}}},
		}, {Name: "other", Image: "web:1", ImagePullPolicy: corev1.PullNever}},
		Volumes: []corev1.Volume{{Name: "tmp"}},
	}}
	Template(got)
	want := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		ServiceAccountName: "web", // and nothing in the field of its old name
		DNSPolicy:          "ClusterFirst", RestartPolicy: "Always", SchedulerName: "default-scheduler",
		TerminationGracePeriodSeconds: new(int64(30)), SecurityContext: &corev1.PodSecurityContext{},
		InitContainers: []corev1.Container{
			{Name: "init", Image: "init:1", ImagePullPolicy: "IfNotPresent", TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: "File"},
			{Name: "newest", Image: "init", ImagePullPolicy: "Always", TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: "File"},
		},
		Containers: []corev1.Container{{
			Name: "main", Image: "web:1", ImagePullPolicy: "Always", TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: "File",
			Ports:     []corev1.ContainerPort{{ContainerPort: 80, Protocol: "TCP"}},
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("1001m")}},
			LivenessProbe: &corev1.Probe{
				ProbeHandler:   corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80), Path: "/", Scheme: "HTTP"}},
				TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
			},
		}, {Name: "other", Image: "web:1", ImagePullPolicy: "Never", TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: "File"}},
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	again := got.DeepCopy()
	Template(again)
	if d := cmp.Diff(got, again); d != "" {
		t.Errorf("the second time changes it: %s", d)
	}
}

func TestVolumes(t *testing.T) {
	got := []corev1.Volume{
		{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}},
		{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{DefaultMode: new(int32(0o400))}}},
		{VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/a"}}},
		{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}},
		}}}},
		{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "data@sha256:0"}}},
	}
	for i := range got {
		volume(&got[i])
	}
	want := []corev1.Volume{
		{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{DefaultMode: new(int32(0o644))}}},
		{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{DefaultMode: new(int32(0o400))}}},
		{VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/a", Type: new(corev1.HostPathUnset)}}},
		{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: new(int32(0o644)), Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(3600))}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name", APIVersion: "v1"}}}}},
		}}}},
		{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "data@sha256:0", PullPolicy: "IfNotPresent"}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestClaims(t *testing.T) {
	got := []corev1.PersistentVolumeClaim{{}}
	Claims(got)
	if got[0].Status.Phase != corev1.ClaimPending || got[0].Spec.VolumeMode == nil || *got[0].Spec.VolumeMode != corev1.PersistentVolumeFilesystem {
		t.Errorf("%+v", got[0])
	}
}

func TestPullPolicy(t *testing.T) {
	for image, want := range map[string]corev1.PullPolicy{
		"web": "Always", "web:latest": "Always", "web:1": "IfNotPresent", "host:5000/web": "Always", "host:5000/web:1": "IfNotPresent",
		"web@sha256:0": "IfNotPresent", "web:latest@sha256:0": "Always",
	} {
		if got := pullPolicy(image); got != want {
			t.Errorf("%s: %s", image, got)
		}
	}
}
