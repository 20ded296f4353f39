package federateddeployment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/brake"
	"github.com/flotilla-project/flotilla/hub/brake/order"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

func confirmedUntil(text string) edit {
	return func(o *v1alpha1.FederatedDeployment) {
		o.Annotations = map[string]string{v1alpha1.AnnotationConfirmMassRemoval: text}
	}
}

// onTen decides for the first so many of ten clusters, c0 to c9, which are all well.
func onTen(f facts, decides int) facts {
	scores := map[string]int64{}
	for i := range 10 {
		name := fmt.Sprint("c", i)
		f = with1(f, name, func(c *cluster) { c.accepted, c.heard = true, true })
		if i < decides {
			scores[name] = 1
		}
	}
	f.placement = decided(scores)
	return f
}

// narrowed runs in ten clusters, and the Placement decides for fewer, which have made up for the others already.
func narrowed(t *testing.T, obj *v1alpha1.FederatedDeployment, decides int) facts {
	t.Helper()
	was := spread(replicas(20))
	seen := now(obj, after(t, was, onTen(blank(was), 10)))
	for i := range 10 {
		seen = reported(seen, fmt.Sprint("c", i), nil)
	}
	seen = onTen(seen, decides)
	kept := seen.works
	seen = after(t, obj, seen)
	for _, w := range kept { // nothing has gone yet
		if !slices.ContainsFunc(seen.works, func(x work) bool { return x.live.Name == w.live.Name }) {
			seen.works = append(seen.works, w)
		}
	}
	for i := range decides {
		seen = reported(seen, fmt.Sprint("c", i), nil)
	}
	return seen
}

func TestWhoOrderedARemoval(t *testing.T) {
	const soon, past = "2026-11-23T13:00:00Z", "2026-11-23T11:00:00Z"
	for name, tc := range map[string]struct {
		edits            []edit
		decides          int
		off              bool
		leaving          int // clusters that are being removed, from the last
		ordered, unasked int
		held             bool
	}{
		"a Placement that leaves out most": {decides: 3, held: true},
		"one that leaves out a few":        {decides: 6, unasked: 4},
		"without a brake":                  {decides: 3, off: true, unasked: 7},
		"confirmed":                        {decides: 3, edits: []edit{confirmedUntil(soon)}, ordered: 7},
		"confirmed too long ago":           {decides: 3, edits: []edit{confirmedUntil(past)}, held: true},
		"clusters that are being removed":  {decides: 3, leaving: 7, ordered: 7},
		"some of them":                     {decides: 3, leaving: 3, ordered: 3, unasked: 4},
		"the object is deleted":            {decides: 10, edits: []edit{deleting}, ordered: 10},
	} {
		t.Run(name, func(t *testing.T) {
			obj := spread(append([]edit{replicas(20)}, tc.edits...)...)
			seen := narrowed(t, spread(replicas(20)), tc.decides)
			for i := range tc.leaving {
				seen = with1(seen, fmt.Sprint("c", 9-i), func(c *cluster) { c.leaving = true })
			}
			plan := (&steps{braked: !tc.off}).Decide(obj, seen, noon)
			ordered, unasked := 0, 0
			for _, r := range plan.remove {
				if r.ordered {
					ordered++
				} else if unasked++; r.confirm == "" {
					t.Errorf("%s: nobody would know how to confirm it", r.why)
				}
			}
			_, soft := told(plan.problems, true)
			if ordered != tc.ordered || unasked != tc.unasked || (len(soft) > 0) != tc.held {
				t.Errorf("%d ordered, %d unasked, %v", ordered, unasked, soft)
			}
		})
	}
}

func TestWhatASpecNoLongerAsksForIsOrdered(t *testing.T) {
	obj := web(without(2))
	seen := now(obj, running(t, web()))
	plan := (&steps{braked: true}).Decide(obj, seen, noon)
	if len(plan.remove) != 1 || !plan.remove[0].ordered {
		t.Errorf("%+v", plan.remove)
	}
}

func TestWhatIsHeldForItsNumberIsTold(t *testing.T) {
	obj := spread(replicas(20))
	seen := narrowed(t, obj, 3)
	s := &steps{braked: true}
	plan := s.Decide(obj, seen, noon)
	s.Report(obj, seen, plan, nil)
	for _, want := range []string{"True RemovalHeld: ", `7 of 10 works (c3 c4 c5 c6 c7 and 2 more) would be removed at once because Placement "everywhere" no longer decides for their clusters`,
		"kubectl annotate federateddeployment -n shop web --overwrite flotilla.dev/confirm-mass-removal=2026-11-23T14:00:00Z"} {
		c := condition.Find(obj.Status.Conditions, condition.Stalled)
		if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if plan.Recheck() == 0 {
		t.Error("the command would grow stale")
	}
}

func TestTheOrderOfADeletedObjectTravelsWithItsWorks(t *testing.T) {
	h := started(t)
	for _, w := range h.works() {
		h.hold(w)
	}
	if err := h.Hub.Delete(context.Background(), h.web()); err != nil {
		t.Fatal(err)
	}
	h.rounds(2)
	var works workv1.ManifestWorkList
	if err := h.Hub.List(context.Background(), &works); err != nil || len(works.Items) == 0 {
		t.Fatalf("%d works, %v", len(works.Items), err)
	}
	for i := range works.Items {
		if w := &works.Items[i]; w.DeletionTimestamp.IsZero() || !order.Confirmed(w) {
			t.Errorf("%s: %v", w.Name, w.Annotations)
		}
	}
}

func TestARefusalOfTheBrakeSaysHowToGoOn(t *testing.T) {
	obj := spread(replicas(20))
	seen := narrowed(t, obj, 6)
	plan := (&steps{braked: true}).Decide(obj, seen, noon)
	var objects []client.Object
	for _, w := range seen.works {
		objects = append(objects, w.live)
	}
	h := newHub(t, objects...)
	h.fail = failing("delete", plan.remove[0].work.cluster(), brake.Refuse(&workv1.ManifestWork{}, "9 works of the fleet were removed"))
	s := &steps{hub: h.Hub, live: h.Live, events: h.recorder}
	err := s.removeWork(context.Background(), obj, plan.remove[0])
	got := fmt.Sprint(err)
	if !strings.Contains(got, "9 works of the fleet were removed") || !strings.Contains(got, "run: kubectl annotate federateddeployment -n shop web") {
		t.Error(got)
	}
}
