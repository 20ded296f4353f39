package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestProbe(t *testing.T) { // PM-14
	always := corev1.ContainerRestartPolicyAlways
	marker := func(name, app string, probes ...kruise.PodContainerProbe) kruise.PodProbeMarker {
		return kruise.PodProbeMarker{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: kruise.PodProbeMarkerSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, Probes: probes}}
	}
	probe := func(container, name, condition string) kruise.PodContainerProbe {
		return kruise.PodContainerProbe{ContainerName: container, Name: name, PodConditionType: condition, MarkerPolicy: make([]kruise.ProbeMarkerPolicy, 1)}
	}
	const one = `[{"name":"idle","containerName":"main","probe":{},"podConditionType":"a/idle"}]`
	for name, tc := range map[string]struct {
		preset       string
		markers      []kruise.PodProbeMarker
		probes, list string
	}{
		"a marker":                  {markers: []kruise.PodProbeMarker{marker("m", "web", probe("main", "idle", "a/idle"))}, probes: one, list: "m"},
		"one of others":             {markers: []kruise.PodProbeMarker{marker("m", "db", probe("main", "idle", "a/idle"))}},
		"one that is named":         {preset: "x,m", markers: []kruise.PodProbeMarker{marker("m", "db", probe("main", "idle", "a/idle")), marker("n", "web", probe("main", "busy", "a/busy"))}, probes: one, list: "m"},
		"no such container":         {markers: []kruise.PodProbeMarker{marker("m", "web", probe("none", "idle", "a/idle"), probe("first", "x", "a/x"))}},
		"no condition":              {markers: []kruise.PodProbeMarker{marker("m", "web", probe("main", "idle", ""))}},
		"a condition that is taken": {markers: []kruise.PodProbeMarker{marker("n", "web", probe("main", "other", "a/idle")), marker("m", "web", probe("main", "idle", "a/idle"))}, probes: one, list: "m"},
		"a name that is taken":      {markers: []kruise.PodProbeMarker{marker("m", "web", probe("main", "idle", "a/idle"), probe("main", "idle", "a/other"))}, probes: one, list: "m"},
		"a sidecar of two markers": {markers: []kruise.PodProbeMarker{marker("b", "web", probe("proxy", "y", "a/y")), marker("a", "web", probe("proxy", "x", "a/x"), probe("main", "x", "a/z"))},
			probes: `[{"name":"x","containerName":"proxy","probe":{},"podConditionType":"a/x"},{"name":"x","containerName":"main","probe":{},"podConditionType":"a/z"},{"name":"y","containerName":"proxy","probe":{},"podConditionType":"a/y"}]`, list: "a,b"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: "main"}}, InitContainers: []corev1.Container{{Name: "first"}, {Name: "proxy", RestartPolicy: &always}}}}
			if tc.preset != "" {
				pod.Annotations = map[string]string{"kruise.io/podprobemarker-list": tc.preset}
			}
			if err := Probe(pod, tc.markers); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.probes, pod.Annotations["kruise.io/podprobe"]); d != "" {
				t.Error(d)
			}
			if got := pod.Annotations["kruise.io/podprobemarker-list"]; got != tc.list && (tc.probes != "" || got != tc.preset) {
				t.Error(got)
			}
		})
	}
}
