package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/sets"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestClustersTable(t *testing.T) {
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(noon.Add(-d)) }
	silent := cluster("west", hasJoined, clusterv1.ManagedClusterConditionAvailable+"=Unknown")
	silent.Status.Conditions[1].LastTransitionTime = ago(7 * time.Minute)
	fine := cluster("east", hasJoined, clusterv1.ManagedClusterConditionAvailable+"=True")
	fine.Status.Version.Kubernetes = "v1.37.2"
	fine.Status.ClusterClaims = []clusterv1.ManagedClusterClaim{{Name: "id.k8s.io", Value: "1"}, {Name: "zones.flotilla.dev", Value: "a,b"}}
	leaving := cluster("gone", hasJoined, "Released=True")
	all := []clusterv1.ManagedCluster{*fine, *cluster("new"), *silent, *leaving}
	for i := range all {
		all[i].CreationTimestamp, all[i].Spec.HubAcceptsClient = ago(time.Hour), i != 1
	}
	all[0].Labels = map[string]string{sets.Label: "prod"}
	all[0].Spec.Taints = []clusterv1.Taint{{Key: "gpu", Value: "only", Effect: "NoSelect"}, {Key: clusterv1.ManagedClusterTaintUnreachable, Effect: "NoSelect"}}
	global := clusterv1beta2.ManagedClusterSet{ObjectMeta: metav1.ObjectMeta{Name: "global"}}
	global.Spec.ClusterSelector = clusterv1beta2.ManagedClusterSelector{SelectorType: "LabelSelector", LabelSelector: &metav1.LabelSelector{}}
	seen := beside{
		sets:  []clusterv1beta2.ManagedClusterSet{global, {ObjectMeta: metav1.ObjectMeta{Name: "prod"}}},
		beats: map[string]time.Time{"east": noon.Add(-12 * time.Second), "west": noon.Add(-13 * time.Minute), "new": noon},
	}
	var out bytes.Buffer
	if err := printTable(&out, clusterHeading, clusterRows(all, seen, noon)); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
NAME   ACCEPTED   JOINED   AVAILABLE     HEARTBEAT   VERSION   SETS   ZONES   AGE   NOTE
east   yes        yes      yes           12s         v1.37.2   prod   a,b     60m   tainted gpu=only:NoSelect
new    no         no       -             -           -         -      -       60m   let it in with: kubectl flotilla accept new
west   yes        yes      silent (7m)   13m         -         -      -       60m   because
gone   yes        yes      -             -           -         -      -       60m   because
`, "\n")
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestANoteSaysWhatToDo(t *testing.T) {
	deleted := cluster("east", hasJoined)
	deleted.DeletionTimestamp = &metav1.Time{Time: noon}
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		want    string
	}{
		"deleted by hand":  {deleted, "kubectl flotilla detach east"},
		"being emptied":    {cluster("east", "Deleting=False"), "being deleted: because"},
		"refused":          {cluster("east", "HubAcceptedManagedCluster=False"), "because"},
		"not joined":       {cluster("east", "HubAcceptedManagedCluster=True"), "its agent has not reported yet"},
		"its clock is off": {cluster("east", hasJoined, "ManagedClusterConditionAvailable=True", "ManagedClusterConditionClockSynced=False"), "because"},
		"fine":             {cluster("east", hasJoined, "ManagedClusterConditionAvailable=True"), ""},
	} {
		tc.cluster.Spec.HubAcceptsClient = true
		if got := note(tc.cluster); !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func web(change ...func(*appsv1alpha1.FederatedDeployment)) *appsv1alpha1.FederatedDeployment {
	f := &appsv1alpha1.FederatedDeployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Generation: 2}}
	f.Status = appsv1alpha1.FederatedDeploymentStatus{
		ObservedGeneration: 2, DesiredReplicas: 10, ReadyReplicas: 8, UpdatedReplicas: 10, AvailableReplicas: 8, Clusters: "2/2",
		Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "Progressing"}},
		Subsets: []appsv1alpha1.SubsetStatus{
			{Name: "a", Cluster: "east", Zone: "zone-a", DesiredReplicas: 5, ReadyReplicas: 5, UpdatedReplicas: 5, AvailableReplicas: 5},
			{Name: "b", Cluster: "west", DesiredReplicas: 5, ReadyReplicas: 3, UpdatedReplicas: 5, AvailableReplicas: 3, Message: "2 of 5 pods are not ready"},
		},
	}
	for _, change := range change {
		change(f)
	}
	return f
}

func TestDescribe(t *testing.T) {
	for name, tc := range map[string]struct {
		fdep *appsv1alpha1.FederatedDeployment
		want string
	}{
		"in the middle of it": {web(), `
web: 8 of 10 ready, 10 updated, 8 available, clusters 2/2; Progressing
SUBSET   CLUSTER   ZONE     DESIRED   READY   UPDATED   AVAILABLE   MESSAGE
a        east      zone-a   5         5       5         5           -
b        west      -        5         3       5         3           2 of 5 pods are not ready
`},
		"stalled, a cluster silent": {web(func(f *appsv1alpha1.FederatedDeployment) {
			f.Status.Conditions = append(f.Status.Conditions, metav1.Condition{Type: "Stalled", Status: metav1.ConditionTrue, Reason: "ClusterUnresolved", Message: "no cluster has zone c"})
			f.Status.UnconfirmedReplicas, f.Status.Subsets = 3, f.Status.Subsets[1:]
			f.Status.Subsets[0].Silent = true
		}), `
web: 8 of 10 ready, 10 updated, 8 available, clusters 2/2; Progressing
stalled: ClusterUnresolved: no cluster has zone c
3 more were last reported by clusters that are silent now
SUBSET   CLUSTER   ZONE   DESIRED   READY   UPDATED   AVAILABLE   MESSAGE
b        west      -      5         3       5         3           cluster is silent, numbers are its last; 2 of 5 pods are not ready
`},
		"not looked at": {web(func(f *appsv1alpha1.FederatedDeployment) { f.Status = appsv1alpha1.FederatedDeploymentStatus{} }), `
web: the hub has not looked at it yet
`},
		"just changed": {web(func(f *appsv1alpha1.FederatedDeployment) { f.Generation, f.Status.Subsets = 3, nil }), `
web: 8 of 10 ready, 10 updated, 8 available, clusters 2/2; the hub has not looked at the newest change yet
SUBSET   CLUSTER   ZONE   DESIRED   READY   UPDATED   AVAILABLE   MESSAGE
`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := describe(&out, tc.fdep); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), out.String()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReadyNeedsTheNewestSpec(t *testing.T) {
	good := func(f *appsv1alpha1.FederatedDeployment) { f.Status.Conditions[0].Status = metav1.ConditionTrue }
	if !ready(web(good)) || ready(web()) || ready(web(good, func(f *appsv1alpha1.FederatedDeployment) { f.Generation = 3 })) {
		t.Error("ready is True of the generation it speaks of, and of no other")
	}
}

func TestShowPrintsChangesOnly(t *testing.T) {
	var out bytes.Buffer
	s := showing{out: &out}
	for _, f := range []*appsv1alpha1.FederatedDeployment{web(), web(), web(func(f *appsv1alpha1.FederatedDeployment) { f.Status.ReadyReplicas = 9 })} {
		if _, err := s.show(f); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), "SUBSET"); n != 2 {
		t.Errorf("%d tables:\n%s", n, out.String())
	}
}

// OCM-2.4: the name of the entry and the server take part in telling whether a hub is the same.
func TestBootstrapKubeconfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte("CA"), 0o600); err != nil {
		t.Fatal(err)
	}
	raw := clientcmdapi.Config{
		CurrentContext: "mine",
		Contexts:       map[string]*clientcmdapi.Context{"mine": {Cluster: "c", AuthInfo: "me"}, "broken": {Cluster: "gone"}},
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: "https://127.0.0.1:6443", CertificateAuthority: file}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"me": {Token: "administrator"}},
	}
	for name, tc := range map[string]struct{ context, server, want, problem string }{
		"as the caller reaches it":  {want: "https://127.0.0.1:6443"},
		"as members reach it":       {server: "https://hub.example.com", want: "https://hub.example.com"},
		"not over https":            {server: "http://hub.example.com", problem: "an https URL is needed"},
		"no such context":           {context: "other", problem: `no context "other"`},
		"a context without cluster": {context: "broken", problem: `no cluster "gone"`},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := reachable(raw, tc.context, tc.server)
			if tc.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tc.problem) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			written, err := clientcmd.Write(bootstrapConfig(found, "asks"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := clientcmd.RESTConfigFromKubeConfig(written)
			if err != nil {
				t.Fatal(err)
			}
			if got.Host != tc.want || got.BearerToken != "asks" || string(got.CAData) != "CA" {
				t.Errorf("%+v", got)
			}
			if strings.Contains(string(written), "administrator") || strings.Contains(string(written), file) || !strings.Contains(string(written), "name: hub\n") {
				t.Errorf("the caller's credentials or files show, or the entry is not called hub:\n%s", written)
			}
		})
	}
}

func TestLocalAddresses(t *testing.T) {
	for server, want := range map[string]bool{
		"https://127.0.0.1:6443": true, "https://localhost:1": true, "https://[::1]:6443": true, "https://10.0.0.1": false, "https://hub.example.com": false, "://": false,
	} {
		if local(server) != want {
			t.Errorf("%s: %v", server, !want)
		}
	}
}

func TestTheWrongClusterIsExplained(t *testing.T) {
	err := fmt.Errorf("list clusters: %w", &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "ManagedCluster"}})
	if got := explain(err).Error(); !strings.Contains(got, "kubectl apply -k deploy/hub") {
		t.Error(got)
	}
	if plain := errors.New("no"); !errors.Is(explain(plain), plain) || strings.Contains(explain(plain).Error(), "hub") {
		t.Error("another error was explained away")
	}
}

func TestWrongUsageIsAnErrorOnStderr(t *testing.T) {
	var out, complaints bytes.Buffer
	if code := run(t.Context(), []string{"accept"}, &out, &complaints); code != 1 || out.Len() > 0 || !strings.HasPrefix(complaints.String(), "error: ") {
		t.Errorf("%d %q %q", code, out.String(), complaints.String())
	}
	complaints.Reset()
	missing := filepath.Join(t.TempDir(), "none")
	if code := run(t.Context(), []string{"clusters", "--kubeconfig", missing}, &out, &complaints); code != 1 || !strings.Contains(complaints.String(), "load kubeconfig") {
		t.Errorf("%d %q", code, complaints.String())
	}
}
