package integration

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
	"github.com/flotilla-project/flotilla/hub/controllers/uniteddeployment"
)

// decide writes a Placement's decisions, as a placement controller would.
func (f federation) decide(clusters ...string) {
	f.t.Helper()
	key := metav1.ObjectMeta{Namespace: f.namespace, Name: "everywhere"}
	f.Eventually(func() error {
		p := &clusterv1beta1.Placement{ObjectMeta: key}
		if err := client.IgnoreAlreadyExists(f.Admin.Create(f.t.Context(), p.DeepCopy())); err != nil {
			return err
		}
		d := &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "everywhere-decision-1",
			Labels: map[string]string{clusterv1beta1.PlacementLabel: "everywhere"}}}
		if err := client.IgnoreAlreadyExists(f.Admin.Create(f.t.Context(), d.DeepCopy())); err != nil {
			return err
		}
		if err := f.Admin.Get(f.t.Context(), client.ObjectKeyFromObject(d), d); err != nil {
			return err
		}
		d.Status.Decisions = []clusterv1beta1.ClusterDecision{}
		for _, c := range clusters {
			d.Status.Decisions = append(d.Status.Decisions, clusterv1beta1.ClusterDecision{ClusterName: f.prefix + "-" + c})
		}
		if err := f.Admin.Status().Update(f.t.Context(), d); err != nil {
			return err
		}
		if err := f.Admin.Get(f.t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		p.Status.NumberOfSelectedClusters = int32(len(clusters))
		meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{Type: clusterv1beta1.PlacementConditionSatisfied, Status: metav1.ConditionTrue, Reason: "AllDecisionsScheduled"})
		return f.Admin.Status().Update(f.t.Context(), p)
	}, soon, interval).Should(Succeed())
}

func (f federation) replicas(cluster, subset string) func() any {
	return func() any {
		w := f.work(cluster, subset)
		if w == nil {
			return nil
		}
		n, _, _ := unstructured.NestedInt64(workload(w).Object, "spec", "replicas")
		return n
	}
}

// Issue: each cluster a Placement decides for becomes a subset, and nothing is removed before others have made up for it.
func TestAPlacementChoosesTheClusters(t *testing.T) {
	f := federate(t, "chosen")
	east, west := f.prefix+"-east", f.prefix+"-west"
	f.Expect(f.Admin.Create(t.Context(), f.object(set(map[string]any{"placementRef": map[string]any{"name": "everywhere"}}, "spec", "topology")))).To(Succeed())
	f.Eventually(f.says("web", "Stalled"), soon, interval).Should(HavePrefix(`True PlacementUnresolved: spec.topology.placementRef: Placement "everywhere" is not there; create it`))
	f.decide("east", "west")
	f.Eventually(f.replicas("east", east), soon, interval).Should(Equal(int64(5)))
	f.Eventually(f.replicas("west", west), soon, interval).Should(Equal(int64(5)))
	f.report("east", east, 0)
	f.report("west", west, 0)
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(HavePrefix("True AllReplicasReady"))

	f.decide("east")
	f.Eventually(f.replicas("east", east), soon, interval).Should(Equal(int64(10)))
	f.Consistently(func() *metav1.Time { return f.work("west", west).DeletionTimestamp }, time.Second, 4*interval).Should(BeNil())
	f.report("east", east, 0)
	f.Eventually(func() *metav1.Time { return f.work("west", west).DeletionTimestamp }, soon, interval).ShouldNot(BeNil())
	f.release("west", west)

	f.decide()
	f.Eventually(f.says("web", "Stalled"), soon, interval).Should(ContainSubstring(`Placement "everywhere" selects no cluster (AllDecisionsScheduled: ); change it, or scale to 0 replicas`))
	f.Expect(f.work("east", east).DeletionTimestamp).To(BeNil())
}

// given is what a work says of revision, partition and image.
func (f federation) given(cluster, subset string) func() string {
	return func() string {
		w := f.work(cluster, subset)
		if w == nil {
			return ""
		}
		o := workload(w).Object
		partition, _, _ := unstructured.NestedInt64(o, "spec", "updateStrategy", "partition")
		containers, _, _ := unstructured.NestedSlice(o, "spec", "template", "spec", "containers")
		return fmt.Sprint(containers[0].(map[string]any)["image"], " ", partition)
	}
}

// Issue: progressive updates in waves, with automatic rollback.
func TestAWaveThatFailsRollsBack(t *testing.T) {
	f := federate(t, "waves")
	progressive := map[string]any{"type": "Progressive", "progressive": map[string]any{"progressDeadlineSeconds": int64(3),
		"waves": []any{map[string]any{"name": "canary", "subsets": []any{"c"}, "percent": int64(40)}}}}
	f.Expect(f.Admin.Create(t.Context(), f.object(set(progressive, "spec", "updateStrategy")))).To(Succeed())
	all := func() {
		f.report("east", "a", 0)
		f.report("east", "b", 0)
		f.report("west", "c", 0)
	}
	all()
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(HavePrefix("True AllReplicasReady"))
	f.change(image("web:v2"))
	f.Eventually(f.given("west", "c"), soon, interval).Should(Equal("web:v2 3"))
	f.Expect(f.given("east", "a")()).To(Equal("web:v1 0"))
	f.report("west", "c", 2, number("updatedReplicas", 2), number("updatedReadyReplicas", 0))
	f.Eventually(f.says("web", "Stalled"), soon, interval).Should(HavePrefix("True RolledBack: wave 1 of 2 (canary) failed: "))
	f.Eventually(f.given("west", "c"), soon, interval).Should(Equal("web:v1 0"))
	all()
	f.Eventually(func() any {
		phase, _, _ := unstructured.NestedString(f.live("web").Object, "status", "rollout", "phase")
		return phase
	}, soon, interval).Should(Equal("RolledBack"))

	// Another template goes out, wave by wave.
	f.change(image("web:v3"))
	f.Eventually(f.given("west", "c"), soon, interval).Should(Equal("web:v3 3"))
	f.report("west", "c", 0)
	f.Eventually(f.given("east", "a"), soon, interval).Should(Equal("web:v3 0"))
	all()
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(HavePrefix("True AllReplicasReady"))
}

// Issue: failover when a cluster stays silent, and an orderly return.
func TestReplicasOfASilentClusterFailOver(t *testing.T) {
	f := federate(t, "failover")
	hours := func(n time.Duration) time.Time { return time.Now().Add(-n * time.Hour) }
	f.since("failover-east", metav1.ConditionTrue, hours(2)) // clusters that came just now count as cut off together with the hub
	f.since("failover-west", metav1.ConditionTrue, hours(2))
	f.Expect(f.Admin.Create(t.Context(), f.object(set(map[string]any{"afterSeconds": int64(600), "returnAfterSeconds": int64(0)}, "spec", "failover")))).To(Succeed())
	f.report("east", "a", 0)
	f.report("east", "b", 0)
	f.report("west", "c", 0)
	f.Eventually(f.says("web", "Ready"), soon, interval).Should(HavePrefix("True AllReplicasReady"))
	onEast := func() int64 {
		a, _ := f.replicas("east", "a")().(int64)
		b, _ := f.replicas("east", "b")().(int64)
		return a + b
	}
	f.since("failover-west", metav1.ConditionUnknown, hours(1))
	f.Eventually(onEast, soon, interval).Should(Equal(int64(10)))
	f.Expect(f.replicas("west", "c")()).To(Equal(int64(5))) // absence is never an order
	f.report("east", "a", 0)
	f.report("east", "b", 0)
	f.since("failover-west", metav1.ConditionTrue, hours(1))
	f.Eventually(onEast, soon, interval).Should(Equal(int64(5)))
}

// since sets the condition as of a time.
func (f federation) since(name string, available metav1.ConditionStatus, at time.Time) {
	f.t.Helper()
	f.Eventually(func() error {
		c := &clusterv1.ManagedCluster{}
		if err := f.Admin.Get(f.t.Context(), client.ObjectKey{Name: name}, c); err != nil {
			return err
		}
		c.Status.Conditions = []metav1.Condition{{Type: clusterv1.ManagedClusterConditionAvailable, Status: available, Reason: "Test", LastTransitionTime: metav1.NewTime(at)}}
		return f.Admin.Status().Update(f.t.Context(), c)
	}, soon, interval).Should(Succeed())
}

// WL-5.10: a UnitedDeployment applied on the hub, beside a FederatedDeployment that is none of its business.
func TestAUnitedDeploymentLivesOnTheHub(t *testing.T) {
	f := federate(t, "united")
	f.run(t, func(m ctrl.Manager) error { return uniteddeployment.Register(m, federateddeployment.Options{}) })
	ud := f.object(set("apps.kruise.io/v1alpha1", "apiVersion"), set("UnitedDeployment", "kind"),
		set(map[string]any{"matchLabels": map[string]any{"app": "web"}}, "spec", "template", "cloneSetTemplate", "spec", "selector")) // which its schema requires
	f.Expect(f.Admin.Create(t.Context(), ud)).To(Succeed())
	f.report("east", "a", 0)
	f.report("east", "b", 0)
	f.report("west", "c", 1)
	live := func() kruisev1alpha1.UnitedDeploymentStatus {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(ud.GroupVersionKind())
		f.Expect(f.Admin.Get(t.Context(), client.ObjectKeyFromObject(ud), u)).To(Succeed())
		var typed kruisev1alpha1.UnitedDeployment
		f.Expect(fromUnstructured(u, &typed)).To(Succeed())
		return typed.Status
	}
	f.Eventually(func() string {
		s := live()
		return fmt.Sprint(s.Replicas, s.ReadyReplicas, s.UpdatedReplicas, s.UpdatedReadyReplicas, s.SubsetReplicas, " ", s.LabelSelector)
	}, soon, interval).Should(Equal("10 9 10 9 map[a:2 b:3 c:5] app=web"))
	s := live()
	f.Expect(s.UpdateStatus.UpdatedRevision).To(Equal(s.CurrentRevision))
	f.Expect(s.CurrentRevision).NotTo(BeEmpty())
	f.Expect(s.Conditions).To(ContainElement(And(HaveField("Type", kruisev1alpha1.SubsetUpdated), HaveField("Status", BeEquivalentTo("True")))))
	f.Expect(f.work("east", "a").Labels).To(HaveKeyWithValue(appsv1alpha1.LabelUnitedDeployment, "web"))

	// A FederatedDeployment of the same name takes nothing over, and says why.
	f.Expect(f.Admin.Create(t.Context(), f.object())).To(Succeed())
	f.Eventually(f.says("web", "Stalled"), soon, interval).Should(ContainSubstring("for UnitedDeployment web and was not made for this FederatedDeployment"))
	f.Expect(f.work("east", "a").Labels).To(HaveKeyWithValue(appsv1alpha1.LabelUnitedDeployment, "web"))

	// Once it is gone the other may have the names.
	f.Expect(f.Admin.Delete(t.Context(), ud)).To(Succeed())
	for _, at := range [][2]string{{"east", "a"}, {"east", "b"}, {"west", "c"}} {
		f.Eventually(func() bool {
			w := f.work(at[0], at[1])
			return w == nil || w.DeletionTimestamp != nil || w.Labels[appsv1alpha1.LabelUnitedDeployment] == ""
		}, soon, interval).Should(BeTrue())
		f.release(at[0], at[1])
	}
	f.Eventually(f.says("web", "Stalled"), soon, interval).Should(HavePrefix("False Settled"))
	f.Expect(f.work("east", "a").Labels).To(HaveKeyWithValue(appsv1alpha1.LabelFederatedDeployment, "web"))
}

func fromUnstructured(u *unstructured.Unstructured, into any) error {
	data, err := u.MarshalJSON()
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
