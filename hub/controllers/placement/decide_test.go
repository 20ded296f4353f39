package placement

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"

	"github.com/flotilla-project/flotilla/hub/schedule"
)

func deciding(clusters string) (all []clusterv1beta1.ClusterDecision) {
	for _, c := range strings.Fields(clusters) {
		all = append(all, clusterv1beta1.ClusterDecision{ClusterName: c})
	}
	return all
}

// from is a write that turns one list of clusters into another.
func from(name, before, after string) write {
	return write{slice: schedule.Slice{Name: name, Decisions: deciding(after)}, status: true, have: &clusterv1beta1.PlacementDecision{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Status: clusterv1beta1.PlacementDecisionStatus{Decisions: deciding(before)}}}
}

func names(writes []write) (all []string) {
	for _, w := range writes {
		var clusters []string
		for _, d := range w.slice.Decisions {
			clusters = append(clusters, d.ClusterName)
		}
		all = append(all, w.slice.Name+": "+strings.Join(clusters, " "))
	}
	return all
}

// OCM-17.1: additions are written before removals.
func TestOrder(t *testing.T) {
	created := from("2", "", "c")
	created.have = nil
	for name, tc := range map[string]struct {
		writes []write
		want   []string
	}{
		"nothing":              {},
		"one":                  {[]write{from("1", "a", "a b")}, []string{"1: a b"}},
		"a shift to the back":  {[]write{from("1", "b c", "a b"), from("2", "d e", "c d"), from("3", "", "e")}, []string{"3: e", "2: c d", "1: a b"}},
		"a shift to the front": {[]write{from("1", "a b", "b c"), from("2", "c d", "d")}, []string{"1: b c", "2: d"}},
		"into a new one":       {[]write{from("1", "a b c", "a b"), created}, []string{"2: c", "1: a b"}},
		"an exchange parks":    {[]write{from("1", "a", "b"), from("2", "b", "a")}, []string{"spare: a", "1: b", "2: a"}},
		"a ring":               {[]write{from("1", "a", "b"), from("2", "b", "c"), from("3", "c", "a")}, []string{"spare: a", "1: b", "2: c", "3: a"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, names(ordered(tc.writes, func() string { return "spare" }))); d != "" {
				t.Error(d)
			}
		})
	}
}

// Any move from any division to any other ends at the wanted one, and misses nothing on the way.
func TestAnyOrderEndsRight(t *testing.T) {
	for seed := range uint64(500) {
		l := rand.New(rand.NewPCG(seed, 3))
		const objects, clusters = 5, 12
		var before, after [objects]string
		for c := range clusters {
			before[l.IntN(objects)] += fmt.Sprintf("c%d ", c)
			after[l.IntN(objects)] += fmt.Sprintf("c%d ", c)
		}
		state := map[string][]clusterv1beta1.ClusterDecision{}
		var writes []write
		for i := range objects {
			name := fmt.Sprint(i)
			state[name] = deciding(before[i])
			writes = append(writes, from(name, before[i], after[i]))
		}
		for _, w := range ordered(writes, spares("web", nil, nil)) {
			state[w.slice.Name] = w.slice.Decisions
			joined := map[string]bool{}
			for _, s := range state {
				for _, d := range s {
					joined[d.ClusterName] = true
				}
			}
			if len(joined) != clusters {
				t.Fatalf("seed %d: %d clusters after %s", seed, len(joined), w.slice.Name)
			}
		}
		for i := range objects {
			if d := cmp.Diff(deciding(after[i]), state[fmt.Sprint(i)]); d != "" {
				t.Fatalf("seed %d: %s", seed, d)
			}
		}
	}
}

func TestSparesAreNotInUse(t *testing.T) {
	spare := spares("web", []schedule.Slice{{Name: "web-decision-1"}}, map[string]*clusterv1beta1.PlacementDecision{"web-decision-3": {}})
	if a, b := spare(), spare(); a != "web-decision-2" || b != "web-decision-4" {
		t.Error(a, b)
	}
}
