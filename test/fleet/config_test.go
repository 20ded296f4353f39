package fleet

import (
	"slices"
	"strings"
	"testing"
)

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	err := Config{Clusters: []Cluster{
		{Name: "East"},
		{Name: "west", ControlPlaneOnly: true, Nodes: []Node{{}}},
		{Name: "west", Kind: "toy", Nodes: []Node{{Name: "n"}, {Name: "n"}}},
	}}.Validate()
	for _, want := range []string{`"East"`, "no nodes", `cluster "west": the name is taken`, `"toy"`, `node "n": the name is taken`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestOnlyWhatTheNodesNeedIsBuilt(t *testing.T) {
	for name, tc := range map[string]struct {
		cluster Cluster
		want    string
	}{
		"control plane alone": {Cluster{ControlPlaneOnly: true}, "etcd kube-apiserver"},
		"no nodes":            {Cluster{}, "etcd kube-apiserver kube-controller-manager kube-scheduler"},
		"fake nodes":          {Cluster{Nodes: []Node{{}}}, "etcd kube-apiserver kube-controller-manager kube-scheduler kwok"},
		"real nodes": {Cluster{Kind: Real, Nodes: []Node{{}}},
			"containerd containerd-shim-runc-v2 etcd kube-apiserver kube-controller-manager kube-scheduler kubelet"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Config{Clusters: []Cluster{tc.cluster, tc.cluster}}.programs()
			if !slices.Equal(got, strings.Fields(tc.want)) {
				t.Errorf("programs = %v, want %s", got, tc.want)
			}
		})
	}
}

func TestNodesWithoutANameGetTheClusters(t *testing.T) {
	nodes := Cluster{Name: "east", Nodes: []Node{{}, {Name: "own"}}}.named()
	if nodes[0].Name != "east-n1" || nodes[1].Name != "own" {
		t.Errorf("names are %q and %q", nodes[0].Name, nodes[1].Name)
	}
}
