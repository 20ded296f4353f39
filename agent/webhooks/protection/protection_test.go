package protection

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRefusal(t *testing.T) { // NP-9 (DP-1)
	now := metav1.Now()
	for name, tc := range map[string]struct {
		label    string
		replicas *int32
		leaving  bool
		want     string
	}{
		"no label":                   {replicas: new(int32(1))},
		"always":                     {label: "Always", want: "remove the label first"},
		"with replicas":              {label: "Cascading", replicas: new(int32(3)), want: "3 replicas"},
		"without replicas":           {label: "Cascading", replicas: new(int32(0))},
		"another word":               {label: "always", replicas: new(int32(1))},
		"it is being deleted anyway": {label: "Always", leaving: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := &metav1.ObjectMeta{}
			if tc.label != "" {
				o.Labels = map[string]string{"policy.kruise.io/delete-protection": tc.label}
			}
			if tc.leaving {
				o.DeletionTimestamp = &now
			}
			if got := Refusal(o, tc.replicas); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Error(got)
			}
		})
	}
}
