// Package defaults fills in what a user left out of a pod template or a claim template, as the API server does it for the
// workloads that it knows itself. It is pure and owns nothing.
//
// It is a table of our own and does not ask the API server: what a template becomes decides about its revision, and must
// not change with the version of the server. An integration test holds it against a server (agent/integration).
package defaults

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Template fills in a pod template of a workload in group apps.kruise.io. Its containers' images are always pulled unless
// it says otherwise, whatever their tag: that is how existing objects are. // WL-0.9
func Template(t *corev1.PodTemplateSpec) {
	for i := range t.Spec.Containers {
		set(&t.Spec.Containers[i].ImagePullPolicy, corev1.PullAlways)
	}
	PodSpec(&t.Spec)
}

// PodSpec fills in what Kubernetes fills in for templates. It leaves out what conversions add to what they are given, such
// as the old name of serviceAccountName: existing objects do not have it.
func PodSpec(s *corev1.PodSpec) {
	set(&s.DNSPolicy, corev1.DNSClusterFirst)
	set(&s.RestartPolicy, corev1.RestartPolicyAlways)
	set(&s.SchedulerName, corev1.DefaultSchedulerName)
	point(&s.TerminationGracePeriodSeconds, int64(corev1.DefaultTerminationGracePeriodSeconds))
	point(&s.SecurityContext, corev1.PodSecurityContext{})
	for i := range s.Volumes {
		volume(&s.Volumes[i])
	}
	for i := range s.InitContainers {
		container(&s.InitContainers[i])
	}
	for i := range s.Containers {
		container(&s.Containers[i])
	}
	round(s.Overhead)
	if s.Resources != nil {
		round(s.Resources.Limits)
		round(s.Resources.Requests)
	}
}

// Claims fills in claim templates.
func Claims(templates []corev1.PersistentVolumeClaim) {
	for i := range templates {
		set(&templates[i].Status.Phase, corev1.ClaimPending)
		claim(&templates[i].Spec)
	}
}

func container(c *corev1.Container) {
	set(&c.ImagePullPolicy, pullPolicy(c.Image))
	set(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	set(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	for i := range c.Ports {
		set(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		env(c.Env[i].ValueFrom)
	}
	round(c.Resources.Limits)
	round(c.Resources.Requests)
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		probe(p)
	}
	if c.Lifecycle != nil {
		for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil {
				httpGet(h.HTTPGet)
			}
		}
	}
}

// pullPolicy is Always for an image that may be another one tomorrow.
func pullPolicy(image string) corev1.PullPolicy {
	name, _, digested := strings.Cut(image, "@")
	_, tag, tagged := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	if tag == "latest" || !tagged && !digested {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func env(from *corev1.EnvVarSource) {
	if from == nil {
		return
	}
	fieldRef(from.FieldRef)
	if from.FileKeyRef != nil {
		point(&from.FileKeyRef.Optional, false)
	}
}

func probe(p *corev1.Probe) {
	if p == nil {
		return
	}
	set(&p.TimeoutSeconds, 1)
	set(&p.PeriodSeconds, 10)
	set(&p.SuccessThreshold, 1)
	set(&p.FailureThreshold, 3)
	httpGet(p.HTTPGet)
	if p.GRPC != nil {
		point(&p.GRPC.Service, "")
	}
}

func httpGet(h *corev1.HTTPGetAction) {
	if h == nil {
		return
	}
	set(&h.Path, "/")
	set(&h.Scheme, corev1.URISchemeHTTP)
}

func fieldRef(r *corev1.ObjectFieldSelector) {
	if r != nil {
		set(&r.APIVersion, "v1")
	}
}

func claim(c *corev1.PersistentVolumeClaimSpec) {
	point(&c.VolumeMode, corev1.PersistentVolumeFilesystem)
	round(c.Resources.Limits)
	round(c.Resources.Requests)
}

// round drops what is finer than the API keeps.
func round(all corev1.ResourceList) {
	for name, quantity := range all {
		quantity.RoundUp(resource.Milli)
		all[name] = quantity
	}
}

func set[V comparable](field *V, value V) {
	var zero V
	if *field == zero {
		*field = value
	}
}

func point[V any](field **V, value V) {
	if *field == nil {
		*field = &value
	}
}
