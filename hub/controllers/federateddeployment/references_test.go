package federateddeployment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

func local(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

// referring needs ConfigMap settings and Secret key, and would like ConfigMap extras.
func referring(edits ...edit) *v1alpha1.FederatedDeployment {
	return web(append([]edit{func(o *v1alpha1.FederatedDeployment) {
		o.Spec.PropagateReferences = true
		pod := &o.Spec.Template.CloneSetTemplate.Spec.Template.Spec
		pod.Volumes = []corev1.Volume{{Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local("settings")}}}}
		pod.Containers[0].EnvFrom = []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local("key")}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local("extras"), Optional: new(true)}},
		}
	}}, edits...)...)
}

func settings(value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings", Labels: map[string]string{"theirs": "x"}}, Data: map[string]string{"color": value}}
}

func secret(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"key": []byte("hush")}}
}

func TestEveryReferenceOfAPodIsFound(t *testing.T) {
	optional := new(true)
	pod := corev1.PodSpec{
		ImagePullSecrets: []corev1.LocalObjectReference{local("pull")},
		InitContainers: []corev1.Container{{Env: []corev1.EnvVar{
			{Name: "plain"}, {Name: "field", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{}}},
			{Name: "a", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: local("env")}}},
		}}},
		Containers: []corev1.Container{{
			Env:     []corev1.EnvVar{{Name: "b", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: local("env"), Optional: optional}}}},
			EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local("both"), Optional: optional}}, {SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local("from")}}},
		}},
		Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local("both")}}},
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "volume", Optional: optional}}},
			{VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: &corev1.LocalObjectReference{Name: "csi"}}}},
			{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: local("projected")}}, {Secret: &corev1.SecretProjection{LocalObjectReference: local("projected")}},
			}}}},
		},
	}
	var got []string
	for key, ref := range referencesOf(pod) {
		got = append(got, fmt.Sprint(key, " ", ref.optional))
	}
	slices.Sort(got)
	want := []string{"ConfigMap/both false", "ConfigMap/env false", "ConfigMap/projected false", "Secret/csi false", "Secret/env true", "Secret/from false",
		"Secret/projected false", "Secret/pull false", "Secret/volume true"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func carriedBy(t *testing.T, h *hub, namespace, name string) *workv1.ManifestWork {
	t.Helper()
	w := &workv1.ManifestWork{}
	if err := h.Hub.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: name}, w); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestReferencesTravelBeforeTheWorkload(t *testing.T) {
	h := newHub(t, referring(), settings("red"), secret("key"), member("east", "a,b"), member("west", "c"))
	h.rounds(1)
	w := carriedBy(t, h, "west", "shop.web.c")
	var got []string
	for _, m := range w.Spec.Workload.Manifests[:3] {
		got = append(got, string(m.Raw))
	}
	want := []string{`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`,
		`{"apiVersion":"v1","data":{"color":"red"},"kind":"ConfigMap","metadata":{"name":"settings","namespace":"shop"}}`,
		`{"apiVersion":"v1","data":{"key":"aHVzaA=="},"kind":"Secret","metadata":{"name":"key","namespace":"shop"},"type":"Opaque"}`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if c := read(w); c.name != "web-c" || c.replicas != 5 {
		t.Errorf("the workload is taken to be %+v", c)
	}
	if c := w.Spec.ManifestConfigs[2]; c.ResourceIdentifier.Resource != "secrets" || c.UpdateStrategy.ServerSideApply.Force { // OCM-11.2
		t.Errorf("what belongs to others would be overwritten: %+v", c)
	}
	if writes, err := h.round(); len(writes) > 0 || err != nil {
		t.Errorf("a second round wrote %v, %v", writes, err)
	}
	blue := settings("blue")
	if err := h.Hub.Update(context.Background(), blue); err != nil {
		t.Fatal(err)
	}
	blue.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	if d := cmp.Diff([]string{"web"}, names(h.toReferring(context.Background(), blue))); d != "" {
		t.Error(d)
	}
	h.rounds(1)
	if m := carriedBy(t, h, "west", "shop.web.c").Spec.Workload.Manifests[1]; !strings.Contains(string(m.Raw), "blue") {
		t.Errorf("still %s", m.Raw)
	}
}

func TestAReferenceThatIsMissing(t *testing.T) {
	h := newHub(t, referring(), settings("red"), secret("key"), member("east", "a,b"), member("west", "c"))
	h.rounds(1)
	before := carriedBy(t, h, "west", "shop.web.c")
	if err := h.Hub.Delete(context.Background(), secret("key")); err != nil {
		t.Fatal(err)
	}
	h.rounds(2)
	if d := cmp.Diff(before, carriedBy(t, h, "west", "shop.web.c")); d != "" {
		t.Errorf("what runs does not keep its last content: %s", d)
	}
	c := condition.Find(h.web().Status.Conditions, condition.Stalled)
	if c == nil || c.Reason != v1alpha1.ReasonReferenceMissing || !strings.Contains(c.Message, `Secret shop/key, which the template refers to, is not there; create it on the hub`) {
		t.Errorf("stalled is %+v", c)
	}
	if err := h.Hub.Create(context.Background(), secret("key")); err != nil {
		t.Fatal(err)
	}
	h.rounds(1)
	if c := condition.Find(h.web().Status.Conditions, condition.Stalled); c.Status != metav1.ConditionFalse {
		t.Errorf("stalled is %+v", c)
	}
}

// The tokens of the hub stay on the hub, and a hub that was not told to reads nothing.
func TestWhatMustNotTravel(t *testing.T) {
	token := secret("key")
	token.Type = corev1.SecretTypeServiceAccountToken
	h := newHub(t, referring(), settings("red"), token, member("east", "a,b"), member("west", "c"))
	h.rounds(1)
	if len(h.works()) > 0 || !strings.Contains(stalled(h), "Secret shop/key, which the template refers to, is a token of the hub itself") {
		t.Errorf("works %v, stalled %s", h.works(), stalled(h))
	}
	h = newHub(t, referring(), settings("red"), secret("key"), member("east", "a,b"), member("west", "c"))
	h.shelf = nil
	h.rounds(1)
	if len(h.works()) > 0 || !strings.Contains(stalled(h), "start it with the feature gate PropagateReferences") {
		t.Errorf("works %v, stalled %s", h.works(), stalled(h))
	}
}

// A secret is nowhere but in the work.
func TestSecretsAreNotTold(t *testing.T) {
	h := newHub(t, referring(), settings("red"), secret("key"), member("east", "a,b"), member("west", "c"))
	h.rounds(2)
	var events []string
	for len(h.recorder.Events) > 0 {
		events = append(events, <-h.recorder.Events)
	}
	text := fmt.Sprint(events, h.web().Status)
	if strings.Contains(text, "hush") || strings.Contains(text, "aHVzaA") {
		t.Error("told: " + text)
	}
}

func stalled(h *hub) string {
	if c := condition.Find(h.web().Status.Conditions, condition.Stalled); c != nil {
		return c.Message
	}
	return ""
}

// Absence is never an order: references that cannot be read change nothing.
func TestAReadOfReferencesThatFails(t *testing.T) {
	h := newHub(t, referring(), settings("red"), secret("key"), member("east", "a,b"), member("west", "c"))
	h.rounds(1)
	h.shelf = &shelf{cached: h.Hub, live: failingReader{h.Hub}}
	h.change(image("web:v2"))
	if writes, err := h.round(); err == nil || len(writes) > 0 || strings.Contains(err.Error(), "hush") {
		t.Errorf("wrote %v, %v", writes, err)
	}
}

type failingReader struct{ client.Reader }

func (failingReader) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("no route to the API server")
}

// A subset's patch may refer to more.
func TestReferencesOfAPatch(t *testing.T) {
	h := newHub(t, referring(subset(2, func(s *v1alpha1.Subset) {
		s.Patch = &runtime.RawExtension{Raw: []byte(`{"spec":{"imagePullSecrets":[{"name":"west-pull"}]}}`)}
	})), settings("red"), secret("key"), secret("west-pull"), member("east", "a,b"), member("west", "c"))
	h.rounds(1)
	if n, m := len(carriedBy(t, h, "east", "shop.web.a").Spec.Workload.Manifests), len(carriedBy(t, h, "west", "shop.web.c").Spec.Workload.Manifests); n != 4 || m != 5 {
		t.Errorf("%d manifests on east and %d on west", n, m)
	}
}
