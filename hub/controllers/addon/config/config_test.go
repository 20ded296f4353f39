package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
)

func ref(resource, name string) Ref {
	return Ref{Kind{Group: "g", Resource: resource}, addonv1alpha1.ConfigReferent{Name: name}}
}

// OCM-19.3: the most specific layer that says something about a kind is all that counts for that kind.
func TestTheMostSpecificWins(t *testing.T) {
	for name, tc := range map[string]struct{ layers, want []([]Ref) }{
		"nothing":                       {nil, [][]Ref{nil}},
		"defaults alone":                {[][]Ref{{ref("b", "x"), ref("a", "y")}}, [][]Ref{{ref("a", "y"), ref("b", "x")}}},
		"a placement over a default":    {[][]Ref{{ref("a", "x"), ref("b", "x")}, {ref("a", "p")}}, [][]Ref{{ref("a", "p"), ref("b", "x")}}},
		"an installation over both":     {[][]Ref{{ref("a", "x")}, {ref("a", "p")}, {ref("a", "i")}}, [][]Ref{{ref("a", "i")}}},
		"several of a kind go together": {[][]Ref{{ref("a", "x")}, {ref("a", "2"), ref("a", "1")}}, [][]Ref{{ref("a", "2"), ref("a", "1")}}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want[0], Resolve(tc.layers...)); d != "" {
				t.Error(d)
			}
		})
	}
}

// OCM-1.3: the sentinel stands for no object.
func TestNoDefaultIsNoConfiguration(t *testing.T) {
	offer := &addonv1alpha1.ClusterManagementAddOn{}
	offer.Spec.SupportedConfigs = []addonv1alpha1.ConfigMeta{
		{ConfigGroupResource: Kind{Group: "g", Resource: "a"}},
		{ConfigGroupResource: Kind{Group: "g", Resource: "b"}, DefaultConfig: &addonv1alpha1.ConfigReferent{Name: "__reserved_no_default__"}},
		{ConfigGroupResource: Kind{Group: "g", Resource: "c"}, DefaultConfig: &addonv1alpha1.ConfigReferent{Name: "x"}},
	}
	if d := cmp.Diff([]Ref{ref("c", "x")}, Defaults(offer)); d != "" {
		t.Error(d)
	}
	listed := []addonv1alpha1.AddOnConfig{
		{ConfigGroupResource: Kind{Group: "g", Resource: "a"}, ConfigReferent: addonv1alpha1.ConfigReferent{Name: "__reserved_no_default__"}},
		{ConfigGroupResource: Kind{Group: "g", Resource: "a"}, ConfigReferent: addonv1alpha1.ConfigReferent{Name: "x"}},
		{ConfigGroupResource: Kind{Group: "g", Resource: "a"}, ConfigReferent: addonv1alpha1.ConfigReferent{Name: "x"}},
	}
	if d := cmp.Diff([]Ref{ref("a", "x")}, Of(listed)); d != "" {
		t.Error(d)
	}
}

// OCM-19.3: a known value, so that it stays what others compute: sha256sum of {"a":1,"b":"x"}.
func TestTheHashIsOfTheSpecAlone(t *testing.T) {
	first, err := Hash(map[string]any{"metadata": map[string]any{"generation": 1}, "spec": map[string]any{"b": "x", "a": int64(1)}})
	if err != nil || first != "ecf9e98ec0641e23113ff3ce8bdc78d0ddd249886517fd4a7f68cc83d4e65667" {
		t.Errorf("%s, %v", first, err)
	}
	second, err := Hash(map[string]any{"metadata": map[string]any{"generation": 2}, "spec": map[string]any{"a": int64(1), "b": "x"}})
	if err != nil || second != first {
		t.Errorf("%s, %v", second, err)
	}
	if none, err := Hash(map[string]any{}); none != "" || err != nil {
		t.Errorf("%s, %v", none, err)
	}
}
