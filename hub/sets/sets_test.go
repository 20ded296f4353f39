package sets

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
)

func set(name string, kind clusterv1beta2.SelectorType, chosen *metav1.LabelSelector) *clusterv1beta2.ManagedClusterSet {
	s := &clusterv1beta2.ManagedClusterSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Spec.ClusterSelector.SelectorType, s.Spec.ClusterSelector.LabelSelector = kind, chosen
	return s
}

func cluster(labels ...string) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east", Labels: map[string]string{}}}
	for _, l := range labels {
		key, value, _ := strings.Cut(l, "=")
		c.Labels[key] = value
	}
	return c
}

// OCM-8.1
func TestContains(t *testing.T) {
	const label = "cluster.open-cluster-management.io/clusterset"
	gone := cluster(label + "=prod")
	gone.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	inEU := &metav1.LabelSelector{MatchLabels: map[string]string{"region": "eu"}}
	for name, tc := range map[string]struct {
		set     *clusterv1beta2.ManagedClusterSet
		cluster *clusterv1.ManagedCluster
		want    bool
	}{
		"labelled with the set":                       {set("prod", "ExclusiveClusterSetLabel", nil), cluster(label + "=prod"), true},
		"labelled with another":                       {set("prod", "ExclusiveClusterSetLabel", nil), cluster(label + "=production"), false},
		"not labelled":                                {set("prod", "ExclusiveClusterSetLabel", nil), cluster(), false},
		"no type is exclusive":                        {set("prod", "", nil), cluster(label + "=prod"), true},
		"an exclusive set has no label selector":      {set("prod", "", inEU), cluster("region=eu"), false},
		"chosen by label":                             {set("eu", "LabelSelector", inEU), cluster("region=eu"), true},
		"not chosen by label":                         {set("eu", "LabelSelector", inEU), cluster("region=us"), false},
		"the label of exclusive sets means no more":   {set("eu", "LabelSelector", inEU), cluster(label + "=eu"), false},
		"an empty selector selects all":               {set("global", "LabelSelector", &metav1.LabelSelector{}), cluster(), true},
		"no selector selects none":                    {set("eu", "LabelSelector", nil), cluster("region=eu"), false},
		"an unknown type matches nothing":             {set("prod", "Everything", &metav1.LabelSelector{}), cluster(label + "=prod"), false},
		"a cluster on its way out has left already":   {set("prod", "", nil), gone, false},
		"a cluster on its way out has left the world": {set("global", "LabelSelector", &metav1.LabelSelector{}), gone, false},
	} {
		if got, err := Contains(tc.set, tc.cluster); err != nil || got != tc.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestASelectorThatMakesNoSenseIsSaid(t *testing.T) {
	broken := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "region", Operator: "Like"}}}
	got, err := Contains(set("eu", "LabelSelector", broken), cluster("region=eu"))
	if got || err == nil || !strings.Contains(err.Error(), "spec.clusterSelector.labelSelector of ManagedClusterSet eu") {
		t.Errorf("%v, %v", got, err)
	}
}
