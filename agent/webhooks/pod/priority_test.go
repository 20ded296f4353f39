package pod

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOrder(t *testing.T) { // CL-1, CL-2
	const annotation = "apps.kruise.io/container-launch-priority"
	for name, tc := range map[string]struct {
		annotation string
		priorities []string // of the containers; "-" has none
		want       []string // keys
		wrong      bool
	}{
		"ordered":                      {annotation: "Ordered", priorities: []string{"-", "9", "x"}, want: []string{"p_0", "p_-1", "p_-2"}},
		"a priority and none":          {priorities: []string{"-", "5"}, want: []string{"p_0", "p_5"}},
		"below none":                   {priorities: []string{"-3", "-"}, want: []string{"p_-3", "p_0"}},
		"all the same":                 {priorities: []string{"5", "5"}},
		"none at all":                  {priorities: []string{"-", "-"}},
		"one container":                {annotation: "Ordered", priorities: []string{"5"}},
		"no number":                    {priorities: []string{"-", "high"}, wrong: true},
		"no number, but one container": {priorities: []string{"high"}},
		"another annotation":           {annotation: "Random", priorities: []string{"-", "-"}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{annotation: tc.annotation}}}
			for _, p := range tc.priorities {
				c := corev1.Container{}
				if p != "-" {
					c.Env = []corev1.EnvVar{{Name: "KRUISE_CONTAINER_PRIORITY", Value: p}}
				}
				pod.Spec.Containers = append(pod.Spec.Containers, c)
			}
			if err := Order(pod); (err != nil) != tc.wrong {
				t.Fatal(err)
			}
			var got []string
			for _, c := range pod.Spec.Containers {
				for _, e := range c.Env {
					if e.Name == "KRUISE_CONTAINER_BARRIER" {
						got = append(got, e.ValueFrom.ConfigMapKeyRef.Key)
						if e.ValueFrom.ConfigMapKeyRef.Name != "web-barrier" || e.ValueFrom.ConfigMapKeyRef.Optional != nil {
							t.Errorf("%+v", e.ValueFrom.ConfigMapKeyRef)
						}
					}
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTheNameIsKnownBeforeThePodIs(t *testing.T) { // CL-2
	two := []corev1.Container{{}, {}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: strings.Repeat("x", 70), Annotations: map[string]string{"apps.kruise.io/container-launch-priority": "Ordered"}},
		Spec: corev1.PodSpec{Containers: two}}
	for range 2 { // a copy has the barriers of its own name
		if err := Order(pod); err != nil {
			t.Fatal(err)
		}
		env := pod.Spec.Containers[1].Env
		if len(pod.Name) != 63 || !strings.HasPrefix(pod.Name, "xxx") || len(env) != 1 || env[0].ValueFrom.ConfigMapKeyRef.Name != pod.Name+"-barrier" {
			t.Errorf("%q %+v", pod.Name, env)
		}
		pod.Name = ""
	}
}
