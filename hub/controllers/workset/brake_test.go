package workset

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/brake"
	"github.com/flotilla-project/flotilla/hub/brake/order"
)

// ten are the works of ten clusters, c0 to c9, of which all have long been without a decision unless they have one.
func ten(braked bool, selected ...string) facts {
	f := facts{placements: only(selected...), braked: braked, leftAt: map[types.UID]time.Time{}}
	for i := range 10 {
		w := workOf(fmt.Sprint("c", i))
		f.works = append(f.works, w)
		f.leftAt[w.UID] = noon.Add(-time.Minute)
	}
	return f
}

func confirmedUntil(text string) func(*set) {
	return func(s *set) { s.Annotations = map[string]string{"flotilla.dev/confirm-mass-removal": text} }
}

func clusters(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("c", i))
	}
	return names
}

func TestWhoOrderedARemoval(t *testing.T) {
	all := clusters(10)
	for name, tc := range map[string]struct {
		set              *set
		seen             facts
		ordered, unasked []string
		held             bool
	}{
		"a placement that selects nobody":           {set: web(), seen: ten(true), held: true},
		"a set that is not braked":                  {set: web(), seen: ten(false), unasked: all},
		"a few no longer selected":                  {set: web(), seen: ten(true, clusters(5)...), unasked: all[5:]},
		"one more":                                  {set: web(), seen: ten(true, clusters(4)...), held: true},
		"confirmed":                                 {set: web(confirmedUntil("2026-01-01T12:00:01Z")), seen: ten(true), ordered: all},
		"a few, confirmed":                          {set: web(confirmedUntil("2026-01-01T12:00:01Z")), seen: ten(true, clusters(8)...), ordered: all[8:]},
		"confirmed too long ago":                    {set: web(confirmedUntil("2026-01-01T11:59:59Z")), seen: ten(true), held: true},
		"the set is deleted":                        {set: web(deleted(workv1alpha1.Background)), seen: ten(true), ordered: all},
		"the set refers to another placement":       {set: web(placedBy("q")), seen: ten(true), ordered: all},
		"clusters that are deleted":                 {set: web(), seen: with(ten(true), func(f *facts) { f.leaving = setOfNames(all) }), ordered: all},
		"clusters that are detached keep their own": {set: web(), seen: with(ten(true), func(f *facts) { f.detaching = setOfNames(all) })},
		"only those that nobody ordered count":      {set: web(), seen: with(ten(true), func(f *facts) { f.leaving = setOfNames(all[:5]) }), ordered: all[:5], unasked: all[5:]},
	} {
		t.Run(name, func(t *testing.T) {
			p := decide(tc.set, tc.seen, noon)
			var ordered, unasked []string
			for _, r := range p.remove {
				if r.ordered {
					ordered = append(ordered, r.work.Namespace)
				} else {
					unasked = append(unasked, r.work.Namespace)
				}
			}
			if d := cmp.Diff([][]string{tc.ordered, tc.unasked}, [][]string{ordered, unasked}, cmpopts.EquateEmpty()); d != "" || tc.held != (p.braked != "") {
				t.Errorf("held: %q\n%s", p.braked, d)
			}
		})
	}
}

func with(f facts, change func(*facts)) facts {
	change(&f)
	return f
}

func setOfNames(names []string) map[string]bool {
	all := map[string]bool{}
	for _, n := range names {
		all[n] = true
	}
	return all
}

func TestNothingIsSentToAClusterOnItsWayOut(t *testing.T) {
	seen := seeing(only("east", "west", "north"), workOf("east"))
	seen.detaching, seen.leaving = setOfNames([]string{"east", "west"}), setOfNames([]string{"north"})
	p := decide(web(template2), seen, noon)
	if d := cmp.Diff(does{}, inShort(p), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	s := web(template2)
	(&Steps{}).Report(s, seen, p, nil)
	c := meta.FindStatusCondition(s.Status.Conditions, "PlacementRolledOut")
	if c == nil || c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "being detached or removed, so that nothing is sent there: east north west") {
		t.Errorf("%+v", c)
	}
}

// tenObjects are ten works on a hub, and a placement that has decided for none of them.
func tenObjects() []client.Object {
	objects := []client.Object{placementObject("p", 0), decisionObject("p", 1)}
	for i := range 10 {
		objects = append(objects, workOf(fmt.Sprint("c", i), func(w *workv1.ManifestWork) { w.Finalizers = []string{workv1.ManifestWorkFinalizer} }))
	}
	return objects
}

func (h *hub) works() (all, going, ordered int) {
	h.t.Helper()
	var found workv1.ManifestWorkList
	if err := h.List(context.Background(), &found); err != nil {
		h.t.Fatal(err)
	}
	for i := range found.Items {
		if !found.Items[i].DeletionTimestamp.IsZero() {
			going++
		}
		if order.Confirmed(&found.Items[i]) {
			ordered++
		}
	}
	return len(found.Items), going, ordered
}

func (h *hub) condition(kind string) metav1.Condition {
	h.t.Helper()
	c := meta.FindStatusCondition(h.set().Status.Conditions, kind)
	if c == nil {
		h.t.Fatalf("no condition %s", kind)
	}
	return *c
}

func TestAPlacementThatSuddenlySelectsNobodyIsHeldUntilConfirmed(t *testing.T) {
	h := newHub(t, append(tenObjects(), web())...)
	h.steps.Braked = true
	h.after(0)
	h.after(settle)
	if _, going, _ := h.works(); going > 0 {
		t.Fatalf("%d works go", going)
	}
	c := h.condition("ManifestworkApplied")
	for _, want := range []string{"10 of 10 works (c0 c1 c2 c3 c4 and 5 more) would be removed at once because placement p no longer selects their clusters", "more than 5",
		"kubectl annotate manifestworkreplicaset -n team web --overwrite flotilla.dev/confirm-mass-removal=2026-01-01T14:00:00Z"} {
		if c.Status != metav1.ConditionFalse || c.Reason != "RemovalHeld" || !strings.Contains(c.Message, want) {
			t.Errorf("%s: %q is not in %q", c.Reason, want, c.Message)
		}
	}
	h.expect(nil, h.after(time.Minute))
	if got, err := h.round(); err != nil || got.RequeueAfter == 0 {
		t.Errorf("%v %v: nobody would look again", got, err)
	}
	s := h.set()
	confirmedUntil("2026-01-01T14:00:00Z")(s)
	if err := h.Update(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	h.after(time.Minute)
	if all, going, ordered := h.works(); going != all || ordered != all {
		t.Errorf("of %d works %d go, %d ordered", all, going, ordered)
	}
}

func TestDeletingASetNeedsNoOtherWord(t *testing.T) {
	h := newHub(t, append(tenObjects(), web(deleted(workv1alpha1.Foreground)))...)
	h.steps.Braked = true
	h.after(0)
	if all, going, ordered := h.works(); going != all || ordered != all {
		t.Errorf("of %d works %d go, %d ordered", all, going, ordered)
	}
	if got := h.writes; slices.Index(got, "patch c0") > slices.Index(got, "delete c0") || !slices.Contains(got, "delete c9") {
		t.Errorf("%v", got)
	}
}

func TestARefusalOfTheBrakeIsToldWithTheWayOut(t *testing.T) {
	h := newHub(t, web(), placementObject("p", 0), decisionObject("p", 1), workOf("c0"), workOf("c1"))
	h.steps.Braked = true
	h.refuse = func(verb string, o client.Object) error {
		if verb == "delete" {
			return brake.Refuse(workOf(o.GetNamespace()), "9 works of the fleet were removed")
		}
		return nil
	}
	h.after(0)
	h.clock.SetTime(h.clock.Now().Add(settle))
	if _, err := h.round(); err == nil {
		t.Error("nothing would try again")
	}
	c := h.condition("ManifestworkApplied")
	if c.Reason != "RemovalHeld" || !strings.Contains(c.Message, "9 works of the fleet were removed") ||
		!strings.Contains(c.Message, "kubectl annotate manifestworkreplicaset -n team web --overwrite flotilla.dev/confirm-mass-removal=") {
		t.Errorf("%+v", c)
	}
}
