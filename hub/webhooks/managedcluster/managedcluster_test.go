package managedcluster

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const setLabel = "cluster.open-cluster-management.io/clusterset"

func east(change ...func(*clusterv1.ManagedCluster)) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}}
	for _, change := range change {
		change(c)
	}
	return c
}

func tainted(all ...clusterv1.Taint) func(*clusterv1.ManagedCluster) {
	return func(c *clusterv1.ManagedCluster) { c.Spec.Taints = all }
}

func in(set string) func(*clusterv1.ManagedCluster) {
	return func(c *clusterv1.ManagedCluster) { c.Labels = map[string]string{setLabel: set} }
}

func accepting(c *clusterv1.ManagedCluster) { c.Spec.HubAcceptsClient = true }

func at(urls ...string) func(*clusterv1.ManagedCluster) {
	return func(c *clusterv1.ManagedCluster) {
		for _, u := range urls {
			c.Spec.ManagedClusterClientConfigs = append(c.Spec.ManagedClusterClientConfigs, clusterv1.ClientConfig{URL: u})
		}
	}
}

func taint(key, value string, effect clusterv1.TaintEffect, added time.Time) clusterv1.Taint {
	t := clusterv1.Taint{Key: key, Value: value, Effect: effect}
	if !added.IsZero() {
		t.TimeAdded = metav1.NewTime(added)
	}
	return t
}

// OCM-4.4
func TestWhenATaintWasAdded(t *testing.T) {
	var never time.Time
	before, other := noon.Add(-time.Hour), noon.Add(-2*time.Hour)
	type taints []clusterv1.Taint
	for name, tc := range map[string]struct {
		old     taints // nil is a new cluster
		sent    taints
		want    taints
		refused string
	}{
		"a new cluster gets now":              {nil, taints{taint("a", "", "NoSelect", never)}, taints{taint("a", "", "NoSelect", noon)}, ""},
		"whatever a new cluster says":         {nil, taints{taint("a", "", "NoSelect", before)}, taints{taint("a", "", "NoSelect", noon)}, ""},
		"a new taint gets now":                {taints{}, taints{taint("a", "", "NoSelect", never)}, taints{taint("a", "", "NoSelect", noon)}, ""},
		"a new taint may not say when":        {taints{}, taints{taint("a", "", "NoSelect", before)}, nil, "taint a:"},
		"another value gets now":              {taints{taint("a", "1", "NoSelect", before)}, taints{taint("a", "2", "NoSelect", never)}, taints{taint("a", "2", "NoSelect", noon)}, ""},
		"another value may not say when":      {taints{taint("a", "1", "NoSelect", before)}, taints{taint("a", "2", "NoSelect", before)}, nil, "taint a:"},
		"another effect gets now":             {taints{taint("a", "", "NoSelect", before)}, taints{taint("a", "", "PreferNoSelect", never)}, taints{taint("a", "", "PreferNoSelect", noon)}, ""},
		"another effect may not say when":     {taints{taint("a", "", "NoSelect", before)}, taints{taint("a", "", "PreferNoSelect", before)}, nil, "taint a:"},
		"the same keeps its time":             {taints{taint("a", "", "NoSelect", before)}, taints{taint("a", "", "NoSelect", before)}, taints{taint("a", "", "NoSelect", before)}, ""},
		"the same may not have another time":  {taints{taint("a", "", "NoSelect", before)}, taints{taint("a", "", "NoSelect", other)}, nil, "taint a:"},
		"the same may not lose its time":      {taints{taint("a", "", "NoSelect", before)}, taints{taint("a", "", "NoSelect", never)}, nil, "taint a:"},
		"all that are wrong are named":        {taints{taint("a", "", "NoSelect", before)}, taints{taint("a", "", "NoSelect", other), taint("b", "", "NoSelect", other), taint("c", "", "NoSelect", never)}, nil, "taint a, b:"},
		"one from before the webhook gets it": {taints{taint("a", "", "NoSelect", never)}, taints{taint("a", "", "NoSelect", never)}, taints{taint("a", "", "NoSelect", noon)}, ""},
		"one that goes is nobody's business":  {taints{taint("a", "", "NoSelect", before)}, taints{}, taints{}, ""},
		"two of one key are told apart": {
			taints{taint("a", "1", "NoSelect", before), taint("a", "2", "PreferNoSelect", other)},
			taints{taint("a", "2", "PreferNoSelect", other), taint("a", "1", "NoSelect", before)},
			taints{taint("a", "2", "PreferNoSelect", other), taint("a", "1", "NoSelect", before)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var old *clusterv1.ManagedCluster
			if tc.old != nil {
				old = east(tainted(tc.old...))
			}
			got := east(tainted(tc.sent...))
			err := Default(old, got, true, noon)
			if tc.refused != "" {
				if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, taints(got.Spec.Taints)); d != "" {
				t.Error(d)
			}
		})
	}
}

// OCM-8.2
func TestTheSetOfANewCluster(t *testing.T) {
	for name, tc := range map[string]struct {
		old, cluster *clusterv1.ManagedCluster
		gate         bool
		want         map[string]string
	}{
		"none":                          {nil, east(), true, map[string]string{setLabel: "default"}},
		"an empty one":                  {nil, east(in("")), true, map[string]string{setLabel: "default"}},
		"one of its own":                {nil, east(in("blue")), true, map[string]string{setLabel: "blue"}},
		"none, with the gate off":       {nil, east(), false, nil},
		"a cluster that is there":       {east(), east(), true, nil},
		"a cluster that leaves a set":   {east(in("blue")), east(), true, nil},
		"other labels stay as they are": {nil, east(func(c *clusterv1.ManagedCluster) { c.Labels = map[string]string{"env": "prod"} }), true, map[string]string{"env": "prod", setLabel: "default"}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Default(tc.old, tc.cluster, tc.gate, noon); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, tc.cluster.Labels); d != "" {
				t.Error(d)
			}
		})
	}
}

// OCM-3.5, OCM-4.4
func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		old, cluster *clusterv1.ManagedCluster
		want         string
	}{
		"nothing":                         {nil, east(), ""},
		"https":                           {nil, east(at("https://10.0.0.1:6443", "https://api.example.com")), ""},
		"http":                            {nil, east(at("https://a", "http://b")), `spec.managedClusterClientConfigs[1].url: Invalid value: "http://b": must be an https URL`},
		"no scheme":                       {nil, east(at("10.0.0.1:6443")), "must be an https URL"},
		"no host":                         {nil, east(at("https://")), "must be an https URL"},
		"only a port":                     {nil, east(at("https://:6443")), "must be an https URL"},
		"nothing at all":                  {nil, east(at("")), "must be an https URL"},
		"what was wrong before can stay":  {east(at("http://b")), east(at("http://b"), accepting), ""},
		"what is added to it cannot":      {east(at("http://b")), east(at("http://b", "http://c")), "[1].url"},
		"legal effects":                   {nil, east(tainted(taint("a", "", "NoSelect", noon), taint("b", "", "PreferNoSelect", noon), taint("c", "", "NoSelectIfNew", noon))), ""},
		"an effect of another API":        {nil, east(tainted(taint("a", "", "NoSchedule", noon))), `spec.taints[0].effect: Unsupported value: "NoSchedule"`},
		"wrong effects are not forgotten": {east(at("http://b")), east(at("http://b"), tainted(taint("a", "", "x", noon))), "spec.taints[0].effect"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := Validate(tc.old, tc.cluster)
			if tc.want == "" && len(problems) > 0 || tc.want != "" && !strings.Contains(problems.ToAggregate().Error(), tc.want) {
				t.Errorf("%v", problems)
			}
		})
	}
}

// OCM-3.5, OCM-8.3
func TestAsks(t *testing.T) {
	accept, join := "update managedclusters/accept east", "create managedclustersets/join "
	for name, tc := range map[string]struct {
		old, cluster *clusterv1.ManagedCluster
		want         []string
	}{
		"nothing":                      {nil, east(), nil},
		"accepted at birth":            {nil, east(accepting), []string{accept}},
		"accepted":                     {east(), east(accepting), []string{accept}},
		"accepted before":              {east(accepting), east(accepting, in("")), nil},
		"denied":                       {east(accepting), east(), nil},
		"born into a set":              {nil, east(in("blue")), []string{join + "blue"}},
		"moved from a set to another":  {east(in("blue")), east(in("green")), []string{join + "blue", join + "green"}},
		"taken out of a set":           {east(in("blue")), east(), []string{join + "blue"}},
		"left in its set":              {east(in("blue")), east(in("blue"), at("https://a")), nil},
		"accepted and moved in one go": {east(in("blue")), east(in("green"), accepting), []string{accept, join + "blue", join + "green"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, a := range Asks(tc.old, tc.cluster, "eve") {
				got = append(got, a.What.Verb+" "+a.What.Resource+"/"+a.What.Subresource+" "+a.What.Name)
				if !apierrors.IsForbidden(a.Refusal) || !strings.Contains(a.Refusal.Error(), "user eve may not") {
					t.Errorf("%v", a.Refusal)
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNobodyIsAcceptedWhileTheNamespaceGoes(t *testing.T) {
	home := &corev1.Namespace{}
	if err := homeless(east(), home); err != nil {
		t.Error(err)
	}
	home.DeletionTimestamp = &metav1.Time{Time: noon}
	if err := homeless(east(), home); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "namespace east is being deleted; accept the cluster when it is gone") {
		t.Errorf("%v", err)
	}
}
