package integration

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
	"github.com/flotilla-project/flotilla/hub/controllers/join"
	"github.com/flotilla-project/flotilla/hub/controllers/workset"
	"github.com/flotilla-project/flotilla/hub/webhooks"
)

// braked serves the webhooks with the brake that a hub has by itself.
func (s server) braked(t testing.TB) {
	t.Helper()
	s.webhooksAs(t, func(o *webhooks.Options) { o.MassRemovalShare = 20 })
	g := NewWithT(t) // and waits until it has counted the works there are
	w := manifestWork("default", "rehearsed")
	g.Expect(client.IgnoreAlreadyExists(s.Admin.Create(t.Context(), w))).To(Succeed())
	g.Eventually(func() error { return s.Admin.Delete(t.Context(), w, client.DryRunAll) }, soon, interval).Should(Succeed())
	g.Expect(s.Admin.Delete(t.Context(), w)).To(Succeed())
}

// labelled counts works with a label, and those of them that are not on their way out.
func (s server) labelled(t testing.TB, label, value string) (all, staying int) {
	t.Helper()
	var works workv1.ManifestWorkList
	if err := s.Admin.List(t.Context(), &works, client.MatchingLabels{label: value}); err != nil {
		t.Fatal(err)
	}
	for i := range works.Items {
		if works.Items[i].DeletionTimestamp.IsZero() {
			staying++
		}
	}
	return len(works.Items), staying
}

// Users expect: who deletes a FederatedDeployment on purpose is asked nothing.
func TestDeletingAFederatedDeploymentNeedsNoOtherWord(t *testing.T) {
	s := hubServer(t)
	s.braked(t)
	f := federation{server: s, WithT: NewWithT(t), t: t, prefix: "large"}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "large-"}}
	f.Expect(f.Admin.Create(t.Context(), ns)).To(Succeed())
	f.namespace = ns.Name
	f.member("large-east", "large-a")
	f.member("large-west", "large-b")
	f.run(t, func(m ctrl.Manager) error {
		return federateddeployment.Register(m, federateddeployment.Options{Braked: true})
	})
	subsets := func(from, to int) (all []any) {
		for i := from; i < to; i++ {
			all = append(all, map[string]any{"name": fmt.Sprint("s", i), "cluster": []string{"large-east", "large-west"}[i%2]})
		}
		return all
	}
	web := f.object(set(subsets(0, 30), "spec", "topology", "subsets"))
	f.Expect(f.Admin.Create(t.Context(), web)).To(Succeed())
	const label = "apps.flotilla.dev/federateddeployment-namespace"
	left := func() int { all, _ := s.labelled(t, label, f.namespace); return all }
	f.Eventually(left, soon, interval).Should(Equal(30))

	f.change(set(subsets(0, 15), "spec", "topology", "subsets")) // its own spec asks for fewer
	f.Eventually(left, soon, interval).Should(Equal(15))
	f.Expect(f.Admin.Delete(t.Context(), web)).To(Succeed())
	f.Eventually(left, soon, interval).Should(BeZero())
	f.Eventually(func() bool {
		return apierrors.IsNotFound(f.Admin.Get(t.Context(), client.ObjectKeyFromObject(web), web))
	}, soon, interval).Should(BeTrue())
}

// brakedRoll is a set in ten clusters, with the brakes on.
func brakedRoll(t *testing.T, prefix string) (rolling, func() int) {
	t.Helper()
	s := hubServer(t)
	s.braked(t)
	r := rolling{server: s, WithT: NewWithT(t), t: t, prefix: prefix}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}
	r.Expect(r.Admin.Create(t.Context(), ns)).To(Succeed())
	r.namespace = ns.Name
	r.run(t, func(m ctrl.Manager) error { return workset.Register(m, workset.Options{Braked: true}) })
	return r, func() int {
		_, staying := s.labelled(t, workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey, r.namespace+".web")
		return staying
	}
}

func ten() (names []string) {
	for i := range 10 {
		names = append(names, fmt.Sprint("c", i))
	}
	return names
}

// Users expect: a Placement that suddenly decides for nobody takes nothing away before somebody confirms it.
func TestAPlacementThatDecidesForNobodyIsHeld(t *testing.T) {
	r, left := brakedRoll(t, "emptied-p")
	clusters := r.clusters(ten()...)
	d := r.place("p", clusters...)
	set := r.set(clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.All}, "p")
	r.Eventually(left, soon, interval).Should(Equal(10))

	r.redecide(d)
	told := func() string {
		r.Expect(r.Admin.Get(t.Context(), client.ObjectKeyFromObject(set), set)).To(Succeed())
		if c := meta.FindStatusCondition(set.Status.Conditions, workv1alpha1.ManifestWorkReplicaSetConditionManifestworkApplied); c != nil {
			return fmt.Sprint(c.Status, " ", c.Reason, ": ", c.Message)
		}
		return ""
	}
	r.Eventually(told, soon, interval).Should(And(HavePrefix("False RemovalHeld: 10 of 10 works"),
		ContainSubstring("kubectl annotate manifestworkreplicaset -n "+r.namespace+" web --overwrite flotilla.dev/confirm-mass-removal=")))
	r.Consistently(left, 2*time.Second, 4*interval).Should(Equal(10))

	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	r.Expect(r.Admin.Patch(t.Context(), set, merge(`{"metadata":{"annotations":{"flotilla.dev/confirm-mass-removal":"`+until+`"}}}`))).To(Succeed())
	r.Eventually(left, soon, interval).Should(BeZero())
}

// Users expect: who deletes works of a living set by a mistaken selector is stopped; who deletes the set is not.
func TestWorksOfALivingSetAreNotDeletedByAMistake(t *testing.T) {
	r, left := brakedRoll(t, "mistaken")
	r.place("p", r.clusters(ten()...)...)
	set := r.set(clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.All}, "p")
	r.Eventually(left, soon, interval).Should(Equal(10))
	for _, w := range r.works() { // as agents hold them
		w.Finalizers = []string{workv1.ManifestWorkFinalizer}
		r.Expect(r.Admin.Patch(t.Context(), &w, merge(`{"metadata":{"finalizers":["`+workv1.ManifestWorkFinalizer+`"]}}`))).To(Succeed())
	}
	refused := 0
	for _, w := range r.works() { // kubectl delete manifestworks -A -l app=web
		if err := r.Admin.Delete(t.Context(), &w); err != nil {
			r.Expect(err).To(MatchError(And(ContainSubstring("works of the fleet that owners on the hub look after were removed"), ContainSubstring("kubectl annotate manifestwork"))))
			refused++
		}
	}
	r.Expect(refused).To(BeNumerically(">=", 3), "of ten works that a living set wants")

	r.Expect(r.Admin.Delete(t.Context(), set)).To(Succeed())
	r.Eventually(left, soon, interval).Should(BeZero())
	for _, w := range r.works() {
		r.Expect(r.Admin.Patch(t.Context(), &w, merge(`{"metadata":{"finalizers":null}}`))).To(Succeed())
	}
}

// Users expect: on a small fleet two applications are deleted one after the other, and works come and go all day.
func TestASmallFleetIsWorkedOnWithoutAWord(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.braked(t)
	const home = "small-fleet"
	g.Expect(s.Admin.Create(t.Context(), namespace(home))).To(Succeed())
	for _, app := range []string{"shop", "blog"} {
		for i := range 5 {
			g.Expect(s.Admin.Create(t.Context(), manifestWork(home, fmt.Sprint(app, i)))).To(Succeed())
		}
	}
	for _, app := range []string{"shop", "blog"} {
		for i := range 5 {
			g.Expect(s.Admin.Delete(t.Context(), manifestWork(home, fmt.Sprint(app, i)))).To(Succeed())
		}
	}
	for i := range 40 {
		w := manifestWork(home, fmt.Sprint("tried-", i))
		g.Expect(s.Admin.Create(t.Context(), w)).To(Succeed())
		g.Expect(s.Admin.Delete(t.Context(), w)).To(Succeed(), "work %d", i)
	}
}

// Users expect: who deletes a cluster deletes what it has. The agent is played by the test; it lets confirmed works go.
func TestADeletedClusterIsEmptiedWithoutAnotherWord(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.braked(t)
	s.run(t, func(m ctrl.Manager) error { return join.Register(m, join.Options{ResourceCleanup: true}) }, joining()[1])
	const name = "ordered-away"
	s.accepted(t, name)
	c := managed(name)
	g.Eventually(func() []string { s.exists(t, c); return c.Finalizers }, soon, interval).
		Should(ContainElement("cluster.open-cluster-management.io/resource-cleanup"))
	for i := range 10 {
		w := manifestWork(name, fmt.Sprint("web-", i))
		w.Labels = map[string]string{workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey: "team.away"}
		w.Finalizers = []string{workv1.ManifestWorkFinalizer}
		g.Expect(s.Admin.Create(t.Context(), w)).To(Succeed())
	}
	g.Expect(s.Admin.Delete(t.Context(), managed(name))).To(Succeed())
	agent := s.member(t, name)
	g.Eventually(func() (left []string) {
		var works workv1.ManifestWorkList
		g.Expect(s.Admin.List(t.Context(), &works, client.InNamespace(name))).To(Succeed())
		for i := range works.Items {
			w := &works.Items[i]
			left = append(left, w.Name)
			if !w.DeletionTimestamp.IsZero() && w.Annotations["flotilla.dev/confirm-removal"] == w.Name {
				w.Finalizers = nil
				if err := agent.Update(t.Context(), w); err != nil {
					left = append(left, err.Error())
				}
			}
		}
		return left
	}, soon, interval).Should(BeEmpty())
	s.goes(t, &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// Users expect: who removes a kind to install it anew does not remove the fleet's workloads.
func TestAKindThatStandsForWorkloadsIsNotDeletedByMistake(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	for _, name := range []string{
		"manifestworks.work.open-cluster-management.io", "manifestworkreplicasets.work.open-cluster-management.io",
		"managedclusters.cluster.open-cluster-management.io", "federateddeployments.apps.flotilla.dev", "uniteddeployments.apps.kruise.io",
	} {
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		crd.SetName(name)
		g.Eventually(func() error { return s.Admin.Delete(t.Context(), crd, client.DryRunAll) }, soon, interval).
			Should(MatchError(ContainSubstring("kubectl annotate crd " + name + " flotilla.dev/confirm-removal=" + name)))
		say := func(value string) {
			g.Expect(s.Admin.Patch(t.Context(), crd, merge(`{"metadata":{"annotations":{"flotilla.dev/confirm-removal":`+value+`}}}`))).To(Succeed())
		}
		say(`"` + name + `"`)
		g.Expect(s.Admin.Delete(t.Context(), crd, client.DryRunAll)).To(Succeed())
		say("null")
	}
}
