package workset

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-multierror"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
)

// told is the status in short: a condition is its status and reason.
func told(s *set, seen facts, acted error) map[string]string {
	p := decide(s, seen, noon)
	(&Steps{}).Report(s, seen, p, acted)
	short := map[string]string{}
	for _, c := range s.Status.Conditions {
		short[c.Type] = string(c.Status) + " " + c.Reason
	}
	return short
}

func message(s *set, kind string) string {
	for _, c := range s.Status.Conditions {
		if c.Type == kind {
			return c.Message
		}
	}
	return ""
}

// OCM-18.3: the exact vocabulary.
func TestConditions(t *testing.T) {
	const verified, rolledOut, applied = "PlacementVerified", "PlacementRolledOut", "ManifestworkApplied"
	for name, tc := range map[string]struct {
		set     *set
		seen    facts
		acted   error
		want    map[string]string
		mention map[string]string
	}{
		"just written": {
			set: web(), seen: seeing(only("a", "b")),
			want:    map[string]string{verified: "True AsExpected", rolledOut: "False Progressing", applied: "False NotAsExpected"},
			mention: map[string]string{rolledOut: "0 of 2 clusters are through; placement p: in flight: a b"},
		},
		"all through": {
			set: web(), seen: seeing(only("a"), workOf("a", says("Applied", "Available"))),
			want: map[string]string{verified: "True AsExpected", rolledOut: "True Complete", applied: "True AsExpected"},
		},
		"progressing": {
			set: web(), seen: seeing(only("a"), workOf("a", says("Applied", "Available", "Progressing"))),
			want: map[string]string{verified: "True AsExpected", rolledOut: "False Progressing", applied: "False Processing"},
		},
		"degraded": {
			set: web(), seen: seeing(only("a"), workOf("a", says("Applied", "Available", "Progressing", "Degraded"))),
			want:    map[string]string{verified: "True AsExpected", rolledOut: "False Progressing", applied: "False NotAsExpected"},
			mention: map[string]string{rolledOut: "failed: a"},
		},
		"the placement is not there": {
			set: web(), seen: seeing(nil, workOf("a", says("Applied", "Available"))),
			want:    map[string]string{verified: "False PlacementDecisionNotFound", rolledOut: "False Progressing", applied: "True AsExpected"},
			mention: map[string]string{verified: "placement p does not exist; its 1 works are left as they are"},
		},
		"nothing is selected": {
			set: web(), seen: seeing(only()),
			want:    map[string]string{verified: "False PlacementDecisionEmpty", rolledOut: "True Complete", applied: "False PlacementDecisionEmpty"},
			mention: map[string]string{verified: "placement p selects no cluster"},
		},
		"nothing is decided": {
			set: web(), seen: seeing(map[string]placement{"p": {announced: 4}}, workOf("a")),
			want:    map[string]string{verified: "False PlacementDecisionEmpty", rolledOut: "False Progressing", applied: "False PlacementDecisionEmpty"},
			mention: map[string]string{verified: "says that it selects 4 clusters and its 0 decisions hold 0; 1 works stay until that agrees"},
		},
		"the strategy is impossible": {
			set: web(func(s *set) { s.Spec.PlacementRefs[0].RolloutStrategy.Type = "Waves" }), seen: seeing(only("a")),
			want:    map[string]string{verified: "False NotAsExpected", rolledOut: "False Progressing", applied: "False PlacementDecisionEmpty"},
			mention: map[string]string{verified: `rolloutStrategy.type "Waves"`},
		},
		"the name is too long": {
			set: web(func(s *set) { s.Name = strings.Repeat("x", 60) }), seen: seeing(only("a")),
			want:    map[string]string{applied: "False InvalidManifestWorkName"},
			mention: map[string]string{applied: "give the set a shorter name"},
		},
		"the rollout is stopped": {
			set: web(progressively(1, 0)), seen: seeing(only("a", "b", "c"), workOf("a", says("Applied", "Progressing", "Degraded"))),
			want:    map[string]string{verified: "True AsExpected", rolledOut: "False Progressing", applied: "False NotAsExpected"},
			mention: map[string]string{rolledOut: "stopped with 2 clusters to go, because 1 failed and 0 are tolerated"},
		},
		"maxFailures means the opposite": {
			set: web(progressively(1, 9)), seen: seeing(only("a"), workOf("a", says("Applied", "Available"))),
			want:    map[string]string{verified: "True AsExpected", rolledOut: "True Complete", applied: "True AsExpected"},
			mention: map[string]string{rolledOut: "maxFailures 9 is more than the 1 clusters"},
		},
		"a silent cluster is named": {
			set: web(progressively(1, 0)), seen: quiet(seeing(only("a")), "a"),
			want:    map[string]string{verified: "True AsExpected", rolledOut: "False Progressing", applied: "False PlacementDecisionEmpty"},
			mention: map[string]string{rolledOut: "not heard from and not started, because no more failures are tolerated: a"},
		},
		"a refused write is named": {
			set: web(), seen: seeing(only("a")),
			acted: multierror.Append(nil, errors.New("timeout"), apierrors.NewForbidden(schema.GroupResource{Resource: "manifestworks"}, "web", errors.New("brake"))),
			want:  map[string]string{verified: "True AsExpected", rolledOut: "False Progressing", applied: "False NotAsExpected"},
			mention: map[string]string{
				applied: `manifestworks "web" is forbidden: brake`,
			},
		},
		"leaving, and refused": {
			set: web(deleted(workv1alpha1.Background)), seen: seeing(nil, workOf("a")),
			acted:   multierror.Append(nil, apierrors.NewForbidden(schema.GroupResource{Resource: "manifestworks"}, "web", errors.New("brake"))),
			want:    map[string]string{applied: "False NotAsExpected"},
			mention: map[string]string{applied: "brake"},
		},
		"leaving, and waiting": {
			set: web(deleted(workv1alpha1.Foreground)), seen: seeing(nil, workOf("a", leaving)),
			want:    map[string]string{applied: "False NotAsExpected"},
			mention: map[string]string{applied: "1 works are left"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, told(tc.set, tc.seen, tc.acted)); d != "" {
				t.Error(d)
			}
			for kind, text := range tc.mention {
				if got := message(tc.set, kind); !strings.Contains(got, text) {
					t.Errorf("%s: %q does not say %q", kind, got, text)
				}
			}
		})
	}
}

// OCM-18.3: works count that carry the template; a condition of earlier content does not.
func TestSummaries(t *testing.T) {
	s := web(placedBy("p", "q"), progressively(1, 0))
	old := func(w *workv1.ManifestWork) { w.Spec = manifest("v0") }
	newer := func(w *workv1.ManifestWork) { w.Generation = 2 }
	seen := seeing(map[string]placement{"p": selecting("a", "b", "c"), "q": selecting("d", "e")},
		workOf("a", says("Applied", "Available")), workOf("b", old, says("Applied", "Available")), workOf("d", of("q"), says("Applied", "Progressing", "Degraded")),
		workOf("e", of("q"), says("Applied", "Available"), newer))
	told(s, seen, nil)
	want := workv1alpha1.ManifestWorkReplicaSetStatus{
		Summary: summary{Total: 4, Applied: 2, Available: 1, Progressing: 1, Degraded: 1, DesiredTotal: 5, Updated: 2},
		PlacementsSummary: []workv1alpha1.PlacementSummary{
			{Name: "p", AvailableDecisionGroups: "1 (2 / 3 clusters applied)", Summary: summary{Total: 2, Applied: 1, Available: 1, DesiredTotal: 3, Updated: 1}},
			{Name: "q", AvailableDecisionGroups: "1 (2 / 2 clusters applied)", Summary: summary{Total: 2, Applied: 1, Progressing: 1, Degraded: 1, DesiredTotal: 2, Updated: 1}},
		},
	}
	s.Status.Conditions = nil
	if d := cmp.Diff(want, s.Status); d != "" {
		t.Error(d)
	}
}

func TestLongListsAreCut(t *testing.T) {
	if got := named([]string{"a", "b", "c", "d", "e", "f", "g"}); got != "a b c d e and 2 more" {
		t.Error(got)
	}
}
