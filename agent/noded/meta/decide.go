package meta

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/podset/containermeta"
)

const (
	kruiseGroup      = "apps.kruise.io"
	sidecarSetsOfPod = "kruise.io/sidecarset-hash"
)

// facts are what the runtime knows of a pod.
type facts struct {
	// containers by their ID as the pod's status has it, with the scheme.
	containers map[string]cri.Container
	// envs are the hashes of environments seen inside, by the same ID.
	envs map[string]uint64
}

// plan is what to write and whom to restart.
type plan struct {
	// annotation is the new value; empty leaves what is there.
	annotation string
	restart    []victim
	// settled are the containers that run with what they should: their next restart is the first of another change.
	settled []string
}

// victim is a container whose environment is out of date, in the middle of an update that says so.
type victim struct {
	name      string
	id        string // as the pod's status has it
	container cri.Container
}

// considered pods are those whose owners or sidecars look at the report. // CM-1
func considered(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil || len(pod.Status.ContainerStatuses) == 0 {
		return false
	}
	if _, sidecars := pod.Annotations[sidecarSetsOfPod]; sidecars {
		return true
	}
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return false
	}
	group, _, _ := strings.Cut(owner.APIVersion, "/")
	return group == kruiseGroup
}

// due reports whether a change of a pod can have changed the report. // CM-2
func due(old, pod *corev1.Pod, envs bool) bool {
	if !considered(pod) {
		return false
	}
	recorded, statuses := containermeta.Of(pod), pod.Status.ContainerStatuses
	if len(old.Status.ContainerStatuses) != len(statuses) || len(recorded) != len(statuses) {
		return true
	}
	for _, s := range statuses { // by name: the kubelet sorts statuses, CM-8
		if recorded[s.Name].ContainerID != s.ContainerID {
			return true
		}
	}
	if !envs {
		return false
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		expected := containermeta.ExpectedEnv(pod, c)
		if expected != recorded[c.Name].Hashes.ExtractedEnvFromMetadataHash || expected != containermeta.ExpectedEnv(old, c) {
			return true
		}
	}
	return false
}

// dueAtFirst is due for a pod that the daemon sees for the first time: one without a report is left alone until its next
// update, to spare the API server when many daemons start. // CM-2
func dueAtFirst(pod *corev1.Pod, envs bool) bool {
	return containermeta.Of(pod) != nil && due(pod, pod, envs)
}

// unknownEnvs are the containers whose environment has to be looked at: it comes from metadata, and nobody has. // CM-5
func unknownEnvs(pod *corev1.Pod, containers map[string]cri.Container) (ids []string) {
	recorded := containermeta.Of(pod)
	for _, s := range pod.Status.ContainerStatuses {
		spec := specOf(pod, s.Name)
		if spec == nil || len(containermeta.Refs(spec)) == 0 || containers[s.ContainerID].State != cri.Running {
			continue
		}
		if r := recorded[s.Name]; r.ContainerID != s.ContainerID || r.Hashes.ExtractedEnvFromMetadataHash == 0 {
			ids = append(ids, s.ContainerID)
		}
	}
	return ids
}

func specOf(pod *corev1.Pod, name string) *corev1.Container {
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &pod.Spec.Containers[i]
}

// decide makes the report and picks the containers to restart.
func decide(pod *corev1.Pod, seen facts, envs bool) plan {
	items := report(pod, seen)
	p := plan{annotation: changed(pod, items)}
	if !envs {
		return p
	}
	p.restart = outdated(pod, items, seen)
	for _, item := range items {
		if spec := specOf(pod, item.Name); spec != nil && item.Hashes.ExtractedEnvFromMetadataHash == containermeta.ExpectedEnv(pod, spec) {
			p.settled = append(p.settled, item.Name)
		}
	}
	return p
}

// report has an item for each regular container that the runtime has. What is recorded of the same container stays as it
// is, except for an environment that was not known then. // CM-3
func report(pod *corev1.Pod, seen facts) []pub.RuntimeContainerMeta {
	recorded := containermeta.Of(pod)
	items := []pub.RuntimeContainerMeta{}
	for _, s := range pod.Status.ContainerStatuses {
		c, there := seen.containers[s.ContainerID]
		if !there {
			continue
		}
		item, known := recorded[s.Name]
		if !known || item.ContainerID != s.ContainerID {
			item = fresh(s, c)
		}
		if item.Hashes.ExtractedEnvFromMetadataHash == 0 {
			item.Hashes.ExtractedEnvFromMetadataHash = seen.envs[s.ContainerID]
		}
		items = append(items, item)
	}
	return items
}

func fresh(s corev1.ContainerStatus, c cri.Container) pub.RuntimeContainerMeta {
	restarts, err := strconv.ParseInt(c.Annotations[cri.AnnotationRestartCount], 10, 32)
	if err != nil {
		restarts = 0
	}
	return pub.RuntimeContainerMeta{
		Name: s.Name, ContainerID: s.ContainerID, RestartCount: int32(restarts),
		Hashes: pub.RuntimeContainerHashes{
			PlainHash:                 hexadecimal(c.Annotations[cri.AnnotationHash]),
			PlainHashWithoutResources: hexadecimal(c.Annotations[cri.AnnotationHashWithoutResources]),
		},
	}
}

// hexadecimal is how the kubelet writes hashes; what is absent or none is 0.
func hexadecimal(s string) uint64 {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0
	}
	return n
}

// changed is the annotation's new value, or nothing when it says the same already. Nothing there and nothing to say is
// no news, but a report whose containers are all gone is withdrawn.
func changed(pod *corev1.Pod, items []pub.RuntimeContainerMeta) string {
	old, err := pub.GetRuntimeContainerMetaSet(pod)
	if err == nil && old == nil && len(items) == 0 || err == nil && old != nil && slices.Equal(old.Containers, items) {
		return ""
	}
	raw, err := json.Marshal(pub.RuntimeContainerMetaSet{Containers: items})
	if err != nil {
		return "" // plain strings and numbers always encode
	}
	return string(raw)
}

// outdated containers run with an environment that is known and not the one that the pod's metadata gives now, while an
// update in place holds the pod unready. Never otherwise: metadata may change for other reasons. // CM-6
func outdated(pod *corev1.Pod, items []pub.RuntimeContainerMeta, seen facts) (all []victim) {
	if !updating(pod) {
		return nil
	}
	for _, item := range items {
		spec, c := specOf(pod, item.Name), seen.containers[item.ContainerID]
		known := item.Hashes.ExtractedEnvFromMetadataHash
		if spec == nil || known == 0 || c.State != cri.Running || known == containermeta.ExpectedEnv(pod, spec) {
			continue
		}
		all = append(all, victim{name: item.Name, id: item.ContainerID, container: c})
	}
	return all
}

func updating(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == pub.InPlaceUpdateReady && c.Status == corev1.ConditionFalse
	})
}

// valueIn is a variable's value in what `env` printed. Values may have several lines, which print like more variables;
// one that is what was expected is found whole.
func valueIn(printed, name, expected string) string {
	printed = "\n" + printed + "\n"
	if strings.Contains(printed, "\n"+name+"="+expected+"\n") {
		return expected
	}
	_, rest, _ := strings.Cut(printed, "\n"+name+"=")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}
