package stories

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
	"github.com/flotilla-project/flotilla/test/fleet/system"
)

func uids(pods []corev1.Pod) (all []types.UID) {
	for _, p := range pods {
		all = append(all, p.UID)
	}
	slices.Sort(all)
	return all
}

// Story 5: the hub is gone.
func TestMembersHealWhileTheHubIsGone(t *testing.T) {
	w := begin(t)
	d := w.web(6)
	w.apply(d)
	w.ready(d)
	hub := w.Fleet.Cluster(system.HubCluster)
	if err := hub.StopAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := hub.StartAPIServer(ctx); err != nil {
			t.Error(err)
		}
	}
	defer back()

	for member, subset := range map[string]string{east: "zone-b", west: "zone-c"} {
		victim := podOf(w.pods(member), subset)
		n := len(w.pods(member))
		if err := w.member(member).Delete(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
		w.until("a new pod is ready on "+member, func() string {
			pods := w.pods(member)
			if len(pods) != n || slices.Contains(uids(pods), victim.UID) {
				return fmt.Sprintf("%d pods", len(pods))
			}
			for _, p := range pods {
				if !isReady(&p) {
					return p.Name + " is not ready"
				}
			}
			return ""
		})
	}
	east1, west1 := uids(w.pods(east)), uids(w.pods(west))

	back()
	// A new wish must reach the members and come back as status: both ends are connected again.
	began := time.Now()
	w.change(d, func(d *appsv1alpha1.FederatedDeployment) { d.Spec.Replicas = new(int32(7)) })
	w.ready(d)
	took := time.Since(began).Round(100 * time.Millisecond)
	t.Logf("7 replicas were ready, and the status said so, %s after the hub was back", took)
	if took > time.Minute {
		t.Errorf("it took %s until the status was right again", took)
	}
	if d.Status.ReadyReplicas != 7 {
		t.Errorf("%d ready replicas, want 7", d.Status.ReadyReplicas)
	}
	for member, was := range map[string][]types.UID{east: east1, west: west1} {
		now := uids(w.pods(member))
		for _, uid := range was {
			if !slices.Contains(now, uid) {
				t.Errorf("a pod on %s was made anew when the hub came back", member)
			}
		}
	}
}

// Story 1, the other half: the sum stays true while a member is down.
func TestASilentMemberIsNotCountedAndSaidSo(t *testing.T) {
	w := begin(t)
	d := w.web(6)
	w.apply(d)
	w.ready(d)
	w.quickSilence(west)
	if err := w.KillAgent(t.Context(), west); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.StartAgent(context.Background(), west); err != nil {
			t.Error(err)
		}
	}()
	share := int32(3)
	w.until("the status says that west is silent", func() string {
		if err := w.hub.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil {
			return err.Error()
		}
		c := condition.Find(d.Status.Conditions, appsv1alpha1.ConditionReady)
		if c == nil || c.Status == metav1.ConditionTrue || c.Reason != appsv1alpha1.ReasonClusterSilent || !strings.Contains(c.Message, west) {
			return describe(d)
		}
		return ""
	})
	if s := d.Status; s.ReadyReplicas != 6-share || s.UnconfirmedReplicas != share || s.Clusters != "1/2" {
		t.Errorf("ready %d, unconfirmed %d, clusters %s; want 3, 3, 1/2", s.ReadyReplicas, s.UnconfirmedReplicas, s.Clusters)
	}
	if n := len(w.pods(west)); n != int(share) {
		t.Errorf("west runs %d pods, want %d: silence is no order", n, share)
	}
	if err := w.StartAgent(t.Context(), west); err != nil {
		t.Fatal(err)
	}
	w.ready(d)
}

// Story 6: a member sees only its own.
func TestAMemberReadsAndWritesOnlyItsOwn(t *testing.T) {
	w := beside(t)
	kubeconfig := w.HubCredentials(west)
	for name, args := range map[string][]string{
		"works of another":       {"get", "manifestworks", "-n", east},
		"works of all":           {"get", "manifestworks", "-A"},
		"another's lease":        {"get", "lease", "managed-cluster-lease", "-n", east},
		"another cluster":        {"get", "managedcluster", east},
		"all clusters":           {"get", "managedclusters"},
		"secrets of its own":     {"get", "secrets", "-n", west},
		"federated deployments":  {"get", "fdep", "-A"},
		"a work for itself":      {"create", "-n", west, "-f", "-"},
		"accepting itself":       {"patch", "managedcluster", west, "--type=merge", "-p", `{"spec":{"hubAcceptsClient":true}}`},
		"deleting its cluster":   {"delete", "managedcluster", west},
		"deleting its namespace": {"delete", "namespace", west},
	} {
		if out, err := w.KubectlAs(t.Context(), kubeconfig, args...); err == nil {
			t.Errorf("%s: allowed, and printed %q", name, out)
		} else if !strings.Contains(err.Error(), "orbidden") {
			t.Errorf("%s: refused, but not for lack of rights: %v", name, err)
		}
	}
	for name, args := range map[string][]string{
		"its own works":   {"get", "manifestworks", "-n", west},
		"its own lease":   {"get", "lease", "managed-cluster-lease", "-n", west},
		"its own cluster": {"get", "managedcluster", west},
	} {
		if _, err := w.KubectlAs(t.Context(), kubeconfig, args...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Story 7: removal is asked for, and only what was asked for goes.
func TestDeletingRemovesItsWorkloadsAndOnlyThose(t *testing.T) {
	w := beside(t)
	d := w.web(4)
	w.apply(d)
	w.ready(d)
	bystander := &kruisev1alpha1.CloneSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "bystander"},
		Spec: kruisev1alpha1.CloneSetSpec{
			Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "bystander"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "bystander"}},
				Spec:       corev1.PodSpec{AutomountServiceAccountToken: new(false), Containers: []corev1.Container{{Name: "main", Image: image("v1")}}},
			},
		},
	}
	if err := w.west.Create(t.Context(), bystander); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.west.Delete(context.Background(), bystander) })
	w.until("the bystander runs", func() string {
		for _, p := range w.pods(west) {
			if p.Labels["app"] == "bystander" && isReady(&p) {
				return ""
			}
		}
		return "not yet"
	})

	w.remove(d)
	for _, member := range []string{east, west} {
		w.until("the pods on "+member+" are gone", func() string {
			for _, p := range w.pods(member) {
				if p.Labels["app"] == "web" {
					return p.Name + " is still there"
				}
			}
			return ""
		})
		var ns corev1.Namespace
		if err := w.member(member).Get(t.Context(), client.ObjectKey{Name: w.ns}, &ns); err != nil || ns.DeletionTimestamp != nil {
			t.Errorf("the namespace on %s went with the workload: %v", member, err)
		}
	}
	if pods := w.pods(west); len(pods) != 1 || pods[0].Labels["app"] != "bystander" || !isReady(&pods[0]) {
		t.Errorf("the bystander did not stay: %d pods", len(pods))
	}
}

func TestDeletingAClusterNamespaceByMistakeRemovesNothing(t *testing.T) {
	w := begin(t)
	d := w.web(4)
	w.apply(d)
	w.ready(d)
	before := uids(w.pods(west))

	// The hub refuses and says what would have gone.
	_, err := w.Kubectl(t.Context(), system.HubCluster, "delete", "namespace", west, "--wait=false")
	if err == nil || !strings.Contains(err.Error(), appsv1alpha1.AnnotationConfirmRemoval) {
		t.Fatalf("the hub did not refuse with the remedy: %v", err)
	}

	// A hub without that rule: the agent asks before it removes, and holds.
	policy := "validatingadmissionpolicybinding"
	saved, err := w.Kubectl(t.Context(), system.HubCluster, "get", policy, "-o", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Kubectl(t.Context(), system.HubCluster, "annotate", "namespace", west, appsv1alpha1.AnnotationConfirmRemoval+"="+west); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Kubectl(t.Context(), system.HubCluster, "delete", "namespace", west, "--wait=false"); err != nil {
		t.Fatalf("%v\npolicies:\n%s", err, saved)
	}
	var works workv1.ManifestWorkList
	w.until("the brake says that it holds", func() string {
		if err := w.hub.List(t.Context(), &works, client.InNamespace(west)); err != nil {
			return err.Error()
		}
		for _, work := range works.Items {
			c := meta.FindStatusCondition(work.Status.Conditions, "Deleting")
			if c == nil || c.Reason != "HeldByBrake" || !strings.Contains(c.Message, appsv1alpha1.AnnotationConfirmRemoval) {
				return fmt.Sprintf("work %s: %+v", work.Name, work.Status.Conditions)
			}
		}
		if len(works.Items) == 0 {
			return "there are no works left"
		}
		return ""
	})
	if after := uids(w.pods(west)); !slices.Equal(after, before) {
		t.Fatalf("pods on west changed from %v to %v", before, after)
	}

	// Confirmed, the removal goes on; then the cluster's namespace comes back, and with it the workload.
	for _, work := range works.Items {
		if _, err := w.Kubectl(t.Context(), system.HubCluster, "-n", west, "annotate", "manifestwork", work.Name, appsv1alpha1.AnnotationConfirmRemoval+"="+work.Name); err != nil {
			t.Fatal(err)
		}
	}
	w.until("the namespace is gone and made anew", func() string {
		var ns corev1.Namespace
		err := w.hub.Get(t.Context(), client.ObjectKey{Name: west}, &ns)
		if apierrors.IsNotFound(err) || err != nil || ns.DeletionTimestamp != nil {
			return fmt.Sprint("not yet: ", err)
		}
		return ""
	})
	w.ready(d)
	w.until("its agent beats again", func() string { return w.beatSince(west, time.Now().Add(-2*time.Minute)) })
}
