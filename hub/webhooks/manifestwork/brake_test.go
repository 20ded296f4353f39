package manifestwork

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllertest"

	"github.com/flotilla-project/flotilla/hub/brake"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fleet is a brake with an informer that a test feeds.
type fleet struct {
	*Brake
	informer *controllertest.FakeInformer
	now      *clocktesting.FakePassiveClock
}

func newFleet(t *testing.T, works int, objects ...client.Object) fleet {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, addonv1alpha1.Install, clusterv1.Install, workv1.Install, workv1alpha1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	f := fleet{now: clocktesting.NewFakePassiveClock(noon)}
	informers := &informertest.FakeInformers{Scheme: scheme}
	var err error
	if f.informer, err = informers.FakeInformerFor(t.Context(), &workv1.ManifestWork{}); err != nil {
		t.Fatal(err)
	}
	f.Brake = NewBrake(20, fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), informers, f.now)
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- f.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	NewWithT(t).Eventually(f.counted.Load, 10*time.Second, time.Millisecond).Should(BeTrue())
	for i := range works {
		f.informer.Add(numbered(i))
	}
	return f
}

func numbered(i int) *workv1.ManifestWork {
	name := fmt.Sprint("web-", i)
	return &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour))}, Spec: holding(configMap("a"), configMap("b"), configMap("c"))}
}

func going(i int) *workv1.ManifestWork {
	w := numbered(i)
	w.DeletionTimestamp = &metav1.Time{Time: noon.Add(-time.Minute)}
	return w
}

func (f fleet) remove(t *testing.T, w *workv1.ManifestWork) error {
	t.Helper()
	return f.judge(t.Context(), w, w, false)
}

func TestTheBrakeHoldsWhatIsTooMuch(t *testing.T) {
	f, g := newFleet(t, 60), NewWithT(t)
	for i := range 12 {
		g.Expect(f.remove(t, numbered(i))).To(Succeed())
		f.informer.Update(numbered(i), going(i))
	}
	err := f.remove(t, numbered(12))
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue())
	g.Expect(err.Error()).To(And(ContainSubstring("13 works of the fleet"), ContainSubstring("more than 12"), ContainSubstring("kubectl annotate manifestwork -n east web-12 flotilla.dev/confirm-removal=web-12")))
	g.Expect(brake.Refused(err)).To(BeTrue())
	g.Expect(f.remove(t, going(3))).To(Succeed(), "what is going already may be asked to go again")

	confirmed := numbered(12)
	confirmed.Annotations = map[string]string{"flotilla.dev/confirm-removal": "web-12"}
	g.Expect(f.remove(t, confirmed)).To(Succeed())
	emptied := numbered(13)
	emptied.Spec = holding(configMap("a"))
	g.Expect(f.judge(t.Context(), numbered(13), emptied, false)).To(MatchError(ContainSubstring("works of the fleet")), "emptying is removing")
	less := numbered(14)
	less.Spec = holding(configMap("a"), configMap("b"))
	g.Expect(f.judge(t.Context(), numbered(14), less, false)).To(Succeed())
	g.Expect(f.judge(t.Context(), nil, numbered(61), false)).To(Succeed(), "a new work")
}

func TestTheBrakeCountsWhatOtherReplicasLetPass(t *testing.T) {
	f, g := newFleet(t, 40), NewWithT(t)
	for i := range 7 { // on their way
		f.informer.Update(numbered(i), going(i))
	}
	f.informer.Delete(numbered(7)) // gone at once
	f.informer.Delete(going(4))    // counted already
	for i := 8; i < 10; i++ {
		emptied := numbered(i)
		emptied.Spec = holding(configMap("a"))
		f.informer.Update(numbered(i), emptied)
	}
	orphaned := going(10)
	orphaned.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: workv1.DeletePropagationPolicyTypeOrphan}
	f.informer.Update(numbered(10), orphaned) // loses nothing
	g.Expect(f.remove(t, numbered(11))).To(MatchError(ContainSubstring("11 works")))
	f.gone(t.Context(), toolscache.DeletedFinalStateUnknown{Obj: numbered(12)})
	g.Expect(f.remove(t, numbered(13))).To(MatchError(ContainSubstring("13 works")))
}

// made is a work of a ManifestWorkReplicaSet.
func made(i int) *workv1.ManifestWork {
	w := numbered(i)
	w.Labels = map[string]string{workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey: "team.web"}
	return w
}

func TestSmallFleetsAreWorkedOnWithoutAWord(t *testing.T) {
	f, g := newFleet(t, 12), NewWithT(t)
	for i := range 10 { // two applications in five clusters
		g.Expect(f.remove(t, numbered(i))).To(Succeed())
	}
	g.Expect(f.remove(t, numbered(10))).NotTo(Succeed())
}

// An add-on that is removed from the fleet takes its works along, by the garbage collector.
func TestWorksOfAnAddOnThatIsGoneDoNotCount(t *testing.T) {
	staying := &addonv1alpha1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "logs"}}
	going := &addonv1alpha1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "logs", Finalizers: []string{"a/b"},
		DeletionTimestamp: &metav1.Time{Time: noon}}}
	for name, tc := range map[string]struct {
		labels map[string]string
		passes bool
	}{
		"none of an add-on":              {nil, false},
		"its add-on is there":            {map[string]string{addonv1alpha1.AddonLabelKey: "logs"}, false},
		"its add-on is gone":             {map[string]string{addonv1alpha1.AddonLabelKey: "metrics"}, true},
		"its add-on is going, elsewhere": {map[string]string{addonv1alpha1.AddonLabelKey: "logs", addonv1alpha1.AddonNamespaceLabelKey: "other"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 40, staying, going)
			held := 0
			for i := range 40 {
				w := numbered(i)
				w.Labels = tc.labels
				if err := f.remove(t, w); err != nil {
					held++
				}
			}
			if tc.passes != (held == 0) {
				t.Errorf("%d of 40 are held", held)
			}
		})
	}
}

func TestWorksThatComeAndGoAllDayAreNeverMany(t *testing.T) {
	f, g := newFleet(t, 2), NewWithT(t)
	for i := 10; i < 60; i++ { // faster than the watch tells of them
		w := numbered(i)
		w.CreationTimestamp = metav1.NewTime(f.now.Now().Truncate(time.Second))
		f.now.SetTime(f.now.Now().Add(5 * time.Millisecond))
		g.Expect(f.remove(t, w)).To(Succeed(), w.Name)
		f.informer.Add(w)
		f.informer.Delete(w)
	}
	g.Expect(f.remove(t, numbered(0))).To(Succeed())
}

func TestWorksThatAnOwnerWantsAreHeldEarlier(t *testing.T) {
	f, g := newFleet(t, 12), NewWithT(t)
	for i := 20; i < 30; i++ {
		f.informer.Add(made(i))
	}
	for i := 20; i < 25; i++ {
		g.Expect(f.remove(t, made(i))).To(Succeed())
	}
	g.Expect(f.remove(t, made(25))).To(MatchError(ContainSubstring("6 works of the fleet that owners on the hub look after were removed")))
	for i := range 10 {
		g.Expect(f.remove(t, numbered(i))).To(Succeed(), "works of nobody are counted by themselves")
	}
	ordered := made(25)
	ordered.Annotations = map[string]string{"flotilla.dev/confirm-removal": ordered.Name}
	g.Expect(f.remove(t, ordered)).To(Succeed(), "what its owner ordered")
}

func TestAWorkShrinksWithTheTemplateOfItsSet(t *testing.T) {
	set := &workv1alpha1.ManifestWorkReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "web"},
		Spec: workv1alpha1.ManifestWorkReplicaSetSpec{ManifestWorkTemplate: holding(configMap("a"))}}
	f, g := newFleet(t, 0, set), NewWithT(t)
	for i := range 20 {
		f.informer.Add(made(i))
	}
	shrunk := func(i int, manifests ...string) error {
		w := made(i)
		w.Spec = holding(manifests...)
		return f.judge(t.Context(), made(i), w, false)
	}
	for i := range 10 {
		g.Expect(shrunk(i, configMap("a"))).To(Succeed())
	}
	for i := 10; i < 15; i++ {
		g.Expect(shrunk(i)).To(Succeed(), "somebody else emptied it")
	}
	g.Expect(shrunk(15)).NotTo(Succeed())
	g.Expect(shrunk(16, configMap("a"))).To(Succeed())
}

func TestWhatNeedsNoSecondWord(t *testing.T) {
	detached := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east", Annotations: map[string]string{"flotilla.dev/detach": "eve"}}}
	until := func(value string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: brake.Namespace, Annotations: map[string]string{"flotilla.dev/confirm-mass-removal": value}}}
	}
	for name, tc := range map[string]struct {
		there  client.Object
		passes bool
	}{
		"nothing was said":                    {until(""), false},
		"the cluster is detached":             {detached, true},
		"another cluster is detached":         {&clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "west", Annotations: detached.Annotations}}, false},
		"all is confirmed for a while":        {until(noon.Add(time.Minute).Format(time.RFC3339)), true},
		"all was confirmed for a while":       {until(noon.Add(-time.Minute).Format(time.RFC3339)), false},
		"a confirmation that nobody can read": {until("yes"), false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 40, tc.there)
			held := 0
			for i := range 40 {
				if err := f.remove(t, numbered(i)); err != nil {
					held++
				}
				f.informer.Update(numbered(i), going(i))
			}
			if tc.passes && held > 0 || !tc.passes && held == 0 {
				t.Errorf("%d of 40 are held", held)
			}
		})
	}
}

func TestARehearsalIsJudgedAndNotCounted(t *testing.T) {
	f, g := newFleet(t, 40), NewWithT(t)
	for i := range 20 {
		g.Expect(f.judge(t.Context(), numbered(i), numbered(i), true)).To(Succeed())
	}
	same := numbered(20)
	g.Expect(f.judge(t.Context(), same, same, true)).To(Succeed())
}

func TestNothingGoesBeforeTheFleetIsCounted(t *testing.T) {
	b := NewBrake(20, nil, nil, clocktesting.NewFakePassiveClock(noon))
	w := numbered(1)
	if err := b.judge(t.Context(), w, w, false); !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "counting") {
		t.Errorf("%v", err)
	}
	w.Annotations = map[string]string{"flotilla.dev/confirm-removal": w.Name}
	if err := b.judge(t.Context(), w, w, false); err != nil {
		t.Errorf("what is ordered need not wait: %v", err)
	}
	var off *Brake
	if err := off.judge(t.Context(), w, w, false); err != nil {
		t.Error(err)
	}
}
