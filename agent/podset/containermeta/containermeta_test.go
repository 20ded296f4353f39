package containermeta

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func from(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

// WL-4.5, CM-5
func TestRefsAreWhatComesFromMetadata(t *testing.T) {
	c := &corev1.Container{Env: []corev1.EnvVar{
		from("TEAM", "metadata.annotations['team']"), from("APP", "metadata.labels['app']"),
		from("NODE", "spec.nodeName"), from("SIDECARSET_VERSION", "metadata.annotations['v']"), from("SIDECARSET_VERSION_ALT", "metadata.annotations['w']"),
		{Name: "LITERAL", Value: "metadata.labels['app']"}, {Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}},
		from("ALL", "metadata.labels"), from("OPEN", "metadata.labels['app"),
	}}
	want := []Ref{{Env: "APP", Key: "app"}, {Env: "TEAM", Annotation: true, Key: "team"}}
	if d := cmp.Diff(want, Refs(c)); d != "" {
		t.Error(d)
	}
}

// CM-5: daemon and controllers agree, and a value that changed changes the hash.
func TestEnvHash(t *testing.T) {
	c := &corev1.Container{Env: []corev1.EnvVar{from("TEAM", "metadata.annotations['team']"), from("APP", "metadata.labels['app']")}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"team": "a"}}}
	inside := map[string]string{"APP": "web", "TEAM": "a"}
	seen := func(r Ref) string { return inside[r.Env] }
	if got, want := EnvHash(c, seen), ExpectedEnv(pod, c); got != want || got == 0 {
		t.Errorf("inside %d, expected %d", got, want)
	}
	inside["APP"] = "shop"
	if EnvHash(c, seen) == ExpectedEnv(pod, c) {
		t.Error("another value has the same hash")
	}
	if got := ExpectedEnv(pod, &corev1.Container{Name: "plain"}); got != 0 {
		t.Errorf("a container that reads nothing has %d", got)
	}
}

// WL-4.7: what a kubelet of 1.31 or newer writes into io.kubernetes.container.hash for this container.
func TestPlainIsTheKubeletsHash(t *testing.T) {
	c := &corev1.Container{Name: "main", Image: "web:1", Command: []string{"run"}}
	if Plain(c) != Plain(&corev1.Container{Name: "main", Image: "web:1"}) || Plain(c) == Plain(&corev1.Container{Name: "main", Image: "web:2"}) {
		t.Error("the hash is not one of name and image")
	}
	if Plain(c) != kubeletHash {
		t.Errorf("%#x", Plain(c))
	}
}

func TestOf(t *testing.T) {
	pod := &corev1.Pod{}
	if Of(pod) != nil {
		t.Error("nothing was reported")
	}
	pod.Annotations = map[string]string{pub.RuntimeContainerMetaKey: `{"containers":[{"name":"main","containerID":"containerd://1","restartCount":2,` +
		`"hashes":{"plainHash":5,"plainHashWithoutResources":0,"extractedEnvFromMetadataHash":7}}]}`}
	want := map[string]pub.RuntimeContainerMeta{"main": {Name: "main", ContainerID: "containerd://1", RestartCount: 2,
		Hashes: pub.RuntimeContainerHashes{PlainHash: 5, ExtractedEnvFromMetadataHash: 7}}}
	if d := cmp.Diff(want, Of(pod)); d != "" {
		t.Error(d)
	}
	pod.Annotations[pub.RuntimeContainerMetaKey] = "{"
	if Of(pod) != nil {
		t.Error("what cannot be read counts")
	}
}

// kubeletHash is FNV-32a over the dump of {"image":"web:1","name":"main"}, as HashContainer of kubelet 1.37 computes it.
const kubeletHash = 0x23a68fbe
