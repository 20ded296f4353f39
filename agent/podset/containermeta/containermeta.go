// Package containermeta is what the node daemon reports of a pod's running containers, and what the workload controllers
// compare it with: the annotation apps.kruise.io/runtime-containers-meta and the hashes in it.
//
// It owns the two hashes, so that daemon and controllers, which only have to agree with each other, cannot disagree. It
// reads and writes nothing: the daemon writes the annotation, the in-place engine reads it. // WL-4.7, NP-6
package containermeta

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/dump"
)

// Of is what was reported of the pod's containers, by name; nil when nothing was, or nothing that can be read.
func Of(pod *corev1.Pod) map[string]pub.RuntimeContainerMeta {
	set, err := pub.GetRuntimeContainerMetaSet(pod)
	if err != nil || set == nil {
		return nil
	}
	all := make(map[string]pub.RuntimeContainerMeta, len(set.Containers))
	for _, c := range set.Containers {
		all[c.Name] = c
	}
	return all
}

// Ref is a label or annotation of the pod that a container reads into its environment.
type Ref struct {
	Env        string // name of the variable
	Annotation bool   // else a label
	Key        string
}

// Refs are what the container reads from its pod's labels and annotations, by name of the variable. Variables that say
// which sidecars there are come with them, and restart nobody. // WL-4.5, CM-5
func Refs(c *corev1.Container) []Ref {
	var all []Ref
	for _, e := range c.Env {
		if e.Name == "SIDECARSET_VERSION" || e.Name == "SIDECARSET_VERSION_ALT" || e.Value != "" || e.ValueFrom == nil || e.ValueFrom.FieldRef == nil {
			continue
		}
		path := e.ValueFrom.FieldRef.FieldPath
		if key, ok := subscript(path, "metadata.labels"); ok {
			all = append(all, Ref{Env: e.Name, Key: key})
		} else if key, ok := subscript(path, "metadata.annotations"); ok {
			all = append(all, Ref{Env: e.Name, Annotation: true, Key: key})
		}
	}
	slices.SortStableFunc(all, func(a, b Ref) int { return cmp.Compare(a.Env, b.Env) })
	return all
}

// subscript is the key in path['key'].
func subscript(path, of string) (string, bool) {
	rest, ok := strings.CutPrefix(path, of+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// In is the value in the pod's present metadata.
func (r Ref) In(pod *corev1.Pod) string {
	if r.Annotation {
		return pod.Annotations[r.Key]
	}
	return pod.Labels[r.Key]
}

// EnvHash is the hash of the container's variables that come from metadata, with the values that value says; 0 for a
// container that has none. // CM-5
func EnvHash(c *corev1.Container, value func(Ref) string) uint64 {
	refs := Refs(c)
	if len(refs) == 0 {
		return 0
	}
	list := make([]corev1.EnvVar, 0, len(refs))
	for _, r := range refs {
		list = append(list, corev1.EnvVar{Name: r.Env, Value: value(r)})
	}
	return hashed(list)
}

// ExpectedEnv is the hash that the container's environment has once it was started with the pod's present metadata.
func ExpectedEnv(pod *corev1.Pod, c *corev1.Container) uint64 {
	return EnvHash(c, func(r Ref) string { return r.In(pod) })
}

// Plain is the hash that kubelets from 1.31 on give a container, from its name and image. // WL-4.7
func Plain(c *corev1.Container) uint64 {
	return hashed(map[string]string{"name": c.Name, "image": c.Image})
}

func hashed(what any) uint64 {
	text, err := json.Marshal(what)
	if err != nil {
		return 0 // strings always encode
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(dump.ForHash(text))) // a hash never fails
	return uint64(h.Sum32())
}
