package change

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func fields(all field.ErrorList) (names []string) {
	for _, e := range all {
		names = append(names, e.Field)
	}
	return names
}

func TestFixed(t *testing.T) { // WL-1.2
	old := kruise.CloneSetSpec{Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}
	spec := *old.DeepCopy()
	spec.Replicas, spec.MinReadySeconds = new(int32(2)), 3
	if got := fields(Fixed(&old, &spec, "replicas", "minReadySeconds")); got != nil {
		t.Error(got)
	}
	spec.Selector.MatchLabels["a"] = "c"
	if d := cmp.Diff([]string{"spec.minReadySeconds", "spec.selector"}, fields(Fixed(&old, &spec, "replicas"))); d != "" {
		t.Error(d)
	}
	if got := fields(Fixed(&old, &kruise.CloneSetSpec{}, "replicas")); len(got) != 1 || got[0] != "spec.selector" {
		t.Error(got)
	}
}

func TestInPlaceOnly(t *testing.T) { // WL-1.2, WL-2.3
	base := corev1.PodSpec{
		Containers:     []corev1.Container{{Name: "a", Image: "a:1", ImagePullPolicy: "Always"}, {Name: "b", Image: "b:1"}},
		InitContainers: []corev1.Container{{Name: "i", Image: "i:1"}},
	}
	for name, tc := range map[string]struct {
		change       func(*corev1.PodSpec)
		refused, far bool // by the exact rule; and by the one that looks at the beginning
	}{
		"nothing":             {change: func(*corev1.PodSpec) {}},
		"images":              {change: func(s *corev1.PodSpec) { s.Containers[0].Image, s.Containers[1].Image = "a:2", "b:2" }},
		"an image taken away": {change: func(s *corev1.PodSpec) { s.Containers[0].Image = "" }, refused: true, far: true},
		"a pull policy":       {change: func(s *corev1.PodSpec) { s.Containers[0].ImagePullPolicy = "Never" }, refused: true},
		"an init container":   {change: func(s *corev1.PodSpec) { s.InitContainers[0].Image = "i:2" }, refused: true, far: true},
		"a container more":    {change: func(s *corev1.PodSpec) { s.Containers = append(s.Containers, corev1.Container{Name: "c"}) }, refused: true, far: true},
		"an address":          {change: func(s *corev1.PodSpec) { s.NodeName = "n" }, refused: true, far: true},
	} {
		t.Run(name, func(t *testing.T) {
			after := base.DeepCopy()
			tc.change(after)
			if got := InPlaceOnly(&base, after, Image); (len(got) > 0) != tc.refused {
				t.Errorf("exactly: %v", got)
			}
			if got := InPlaceOnly(&base, after, NearImage); (len(got) > 0) != tc.far {
				t.Errorf("by its beginning: %v", got)
			}
		})
	}
}
