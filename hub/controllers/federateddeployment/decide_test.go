package federateddeployment

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/revision"
)

// outline is a plan in words, one a line.
func outline(p Plan) string {
	var words []string
	if p.write != revision.Keep {
		words = append(words, map[revision.Write]string{revision.Create: "new revision", revision.Renumber: "renumber revision"}[p.write])
	}
	for _, c := range p.works {
		verb := "create"
		if c.live != nil {
			verb = "change"
		}
		object := read(c.want)
		words = append(words, fmt.Sprintf("%s %s/%s x%d", verb, c.want.Namespace, c.want.Name, object.replicas))
	}
	for _, r := range p.remove {
		words = append(words, fmt.Sprintf("remove %s/%s", r.work.cluster(), r.work.live.Name))
	}
	for _, r := range p.trim {
		words = append(words, "trim "+r.Name)
	}
	for _, problem := range p.problems {
		words = append(words, problem.reason+" "+problem.subset)
	}
	if p.gone {
		words = append(words, "gone")
	}
	return strings.Join(words, "\n")
}

type decision struct {
	was  *v1alpha1.FederatedDeployment // it and its works are there already; nil: nothing is
	obj  *v1alpha1.FederatedDeployment
	seen func(facts) facts
	want []string
	says []string // in the problems
}

var decisions = map[string]decision{
	"the first apply makes a revision and a work per subset": {
		obj: web(), want: []string{"new revision", "create east/shop.web.a x2", "create east/shop.web.b x3", "create west/shop.web.c x5"},
	},
	"nothing changed, nothing is written": {was: web(), obj: web()},
	"what others add to a work's metadata is no change": {was: web(), obj: web(), seen: func(f facts) facts {
		f.works[0].live.Labels["theirs"], f.works[0].live.Annotations["theirs"] = "x", "y"
		return f
	}},
	"order of keys and null times are no change": {was: web(), obj: web(), seen: func(f facts) facts {
		m := &f.works[0].live.Spec.Workload.Manifests[0]
		m.Raw = []byte(`{"metadata":{"name":"shop","creationTimestamp":null},"kind":"Namespace","apiVersion":"v1"}`)
		return f
	}},
	"a work that somebody changed is put right": {was: web(), obj: web(), seen: func(f facts) facts {
		f.works[2].live.Spec.Workload.Manifests = f.works[2].live.Spec.Workload.Manifests[:1]
		return f
	}, want: []string{"change west/shop.web.c x5"}},
	"a new image is one write per work": {
		was: web(), obj: web(image("web:v2")),
		want: []string{"new revision", "change east/shop.web.a x2", "change east/shop.web.b x3", "change west/shop.web.c x5"},
	},
	"scaling writes only the works whose share changes": { // WL-5.5.1: the surplus stays where it is
		was: web(), obj: web(replicas(11)),
		want: []string{"change west/shop.web.c x6"},
	},
	"scaling to 25": {
		was: web(), obj: web(replicas(25)),
		want: []string{"change east/shop.web.a x6", "change east/shop.web.b x6", "change west/shop.web.c x13"},
	},
	"a partition changes one work": {
		was: web(), obj: web(partitioned("c", 3)), want: []string{"change west/shop.web.c x5"},
	},
	"a partition larger than its subset is what the subset has": { // WL-5.8
		was: web(partitioned("c", 5)), obj: web(partitioned("c", 50)),
	},
	"a subset that left the spec is removed": {
		was: web(), obj: web(without(0)), want: []string{"change east/shop.web.b x5", "remove east/shop.web.a"},
	},
	"nothing is removed while another subset has no cluster": {
		was: web(), obj: web(without(0), onCluster(1, "north")), want: []string{"change east/shop.web.b x5", "ClusterUnresolved c"},
		says: []string{`spec.topology.subsets[1].cluster: "north" is no ManagedCluster; register it, or name another cluster for subset "c"`},
	},
	"nothing happens while the spec is at fault": {
		was: web(), obj: web(without(0), subset(0, func(s *v1alpha1.Subset) { s.Replicas = new(intstr.FromString("120%")) })),
		want: []string{"InvalidSpec "}, says: []string{`spec.topology.subsets[0].replicas: Invalid value: "120%"`},
	},
	"nothing happens while the numbers contradict each other": { // WL-5.5
		was: web(), obj: web(without(0), subset(0, func(s *v1alpha1.Subset) { s.Replicas = new(intstr.FromInt32(9)) })),
		want: []string{"AllocationFailed "}, says: []string{"14 is more than spec.replicas 10; lower one of them"},
	},
	"nothing happens while the spec cannot be read": {
		was: web(), obj: web(func(o *v1alpha1.FederatedDeployment) { o.Spec = v1alpha1.FederatedDeploymentSpec{} }),
		seen: func(f facts) facts {
			f.malformed = field.Invalid(field.NewPath("spec", "template"), "x", "is wrong")
			return f
		},
		want: []string{"InvalidSpec "}, says: []string{`spec.template: Invalid value: "x": is wrong`},
	},
	"a subset stays where it is, whatever clusters claim later": {was: web(), obj: web(), seen: func(f facts) facts {
		f = with1(f, "east", func(c *cluster) { c.zones = nil })
		return with1(f, "liar", func(c *cluster) { c.accepted, c.heard, c.zones = true, true, []string{"a", "b", "c"} })
	}},
	"no cluster has the zone": {
		obj: web(), seen: func(f facts) facts { return with1(f, "west", func(c *cluster) { c.zones = []string{"d"} }) },
		want: []string{"new revision", "create east/shop.web.a x2", "create east/shop.web.b x3", "ClusterUnresolved c"},
		says: []string{`spec.topology.subsets[2]: no accepted cluster has zone c, which subset "c" asks for (accepted: east, west); wait for its agent to report such nodes, or set cluster`},
	},
	"several clusters have the zone": {
		obj: web(), seen: func(f facts) facts { return with1(f, "west", func(c *cluster) { c.zones = []string{"b", "c"} }) },
		want: []string{"new revision", "create east/shop.web.a x2", "create west/shop.web.c x5", "ClusterUnresolved b"},
		says: []string{`spec.topology.subsets[1]: 2 clusters have zone b, which subset "b" asks for: east, west; set cluster to the one that is meant`},
	},
	"a cluster that is not accepted is not looked at": {
		obj: web(), seen: func(f facts) facts { return with1(f, "west", func(c *cluster) { c.accepted = false }) },
		want: []string{"new revision", "create east/shop.web.a x2", "create east/shop.web.b x3", "ClusterUnresolved c"},
		says: []string{"(accepted: east)"},
	},
	"a cluster that is no longer accepted keeps what it has, and gets nothing new": {
		was: web(), obj: web(image("web:v2")), seen: func(f facts) facts { return with1(f, "west", func(c *cluster) { c.accepted = false }) },
		want: []string{"new revision", "change east/shop.web.a x2", "change east/shop.web.b x3", "ClusterUnresolved c"},
		says: []string{`spec.topology.subsets[2]: cluster "west" is not accepted; accept it (kubectl flotilla accept west), or name another cluster for subset "c"`},
	},
	"a move makes the new work first": {
		was: web(), obj: web(onCluster(0, "west")), want: []string{"create west/shop.web.a x2"},
	},
	"a move removes the old work once the new one is applied": {
		was: web(), obj: web(onCluster(0, "west")), seen: func(f facts) facts {
			obj := web(onCluster(0, "west"))
			w := worked(decide(obj, now(obj, f)).works[0].want.DeepCopy())
			w.live.Generation = 1
			f.works = append(f.works, w)
			for i, w := range f.works {
				if w.subset() == "a" && w.cluster() == "west" {
					status(w.live, map[string]any{valueContent: w.content})
					f.works[i] = worked(w.live)
				}
			}
			return f
		},
		want: []string{"remove east/shop.web.a"},
	},
	"a cluster by labels": {
		obj:  web(subset(2, func(s *v1alpha1.Subset) { s.ClusterSelector = labelled("side", "west") })),
		want: []string{"new revision", "create east/shop.web.a x2", "create east/shop.web.b x3", "create west/shop.web.c x5"},
	},
	"labels that several clusters have": {
		obj:  web(subset(2, func(s *v1alpha1.Subset) { s.ClusterSelector = labelled("env", "prod") })),
		want: []string{"new revision", "create east/shop.web.a x2", "create east/shop.web.b x3", "ClusterUnresolved c"},
		says: []string{`2 clusters have labels "env=prod", which subset "c" asks for: east, west`},
	},
	"another selector moves the subset, another label does not": {
		was: web(subset(2, func(s *v1alpha1.Subset) { s.ClusterSelector = labelled("side", "west") })),
		obj: web(subset(2, func(s *v1alpha1.Subset) { s.ClusterSelector = labelled("side", "west") })),
		seen: func(f facts) facts {
			f = with1(f, "west", func(c *cluster) { c.labels = nil })
			return with1(f, "east", func(c *cluster) { c.labels = map[string]string{"side": "west"} })
		},
	},
	"nothing to find a cluster by": {
		obj:  web(subset(2, func(s *v1alpha1.Subset) { s.NodeSelectorTerm = nil })),
		want: []string{"new revision", "create east/shop.web.a x2", "create east/shop.web.b x3", "ClusterUnresolved c"},
		says: []string{"set cluster or clusterSelector"},
	},
	"a work of that name that is not ours is left alone": {
		obj: web(), seen: func(f facts) facts {
			f.strangers = map[string][]*workv1.ManifestWork{"c": {{ObjectMeta: metav1.ObjectMeta{Namespace: "west", Name: "shop.web.c"}}}}
			return f
		},
		want: []string{"new revision", "create east/shop.web.a x2", "create east/shop.web.b x3", "WorkRefused c"},
		says: []string{"ManifestWork west/shop.web.c is there and was not made for this FederatedDeployment"},
	},
	"two that would make the same workload: the first keeps it": {
		obj: web(), seen: func(f facts) facts {
			f.strangers = map[string][]*workv1.ManifestWork{"c": {{ObjectMeta: metav1.ObjectMeta{Namespace: "west", Name: "shop.we.b-c", UID: "other",
				Labels: map[string]string{v1alpha1.LabelFederatedDeployment: "we", v1alpha1.LabelSubset: "b-c"}}}}}
			return f
		},
		want: []string{"new revision", "create east/shop.web.a x2", "create east/shop.web.b x3", "WorkRefused c"},
		says: []string{"workload web-c of subset \"c\" is already made on west for FederatedDeployment we, subset b-c; rename the subset"},
	},
	"a deleted object removes all its works": {
		was: web(), obj: web(deleting), want: []string{"remove east/shop.web.a", "remove east/shop.web.b", "remove west/shop.web.c"},
	},
	"a deleted object waits for works that are leaving": {
		was: web(), obj: web(deleting), seen: func(f facts) facts {
			for _, w := range f.works {
				w.live.DeletionTimestamp = new(metav1.NewTime(noon))
			}
			return f
		},
	},
	"a deleted object without works is gone": {obj: web(deleting), want: []string{"gone"}},
	"a deleted object goes even if it cannot be read": {
		was: web(), obj: web(deleting), seen: func(f facts) facts {
			f.malformed = field.Invalid(field.NewPath("spec"), "x", "y")
			return f
		},
		want: []string{"remove east/shop.web.a", "remove east/shop.web.b", "remove west/shop.web.c"},
	},
}

// WL-5.9
func TestDecide(t *testing.T) {
	for name, tc := range decisions {
		t.Run(name, func(t *testing.T) {
			seen := blank(tc.obj)
			if tc.was != nil {
				seen = now(tc.obj, after(t, tc.was, blank(tc.was)))
			}
			if tc.seen != nil {
				seen = tc.seen(seen)
			}
			plan := decide(tc.obj, seen)
			if d := cmp.Diff(strings.Join(tc.want, "\n"), outline(plan)); d != "" {
				t.Error(d)
			}
			for i, text := range tc.says {
				if i >= len(plan.problems) || !strings.Contains(plan.problems[i].message, text) {
					t.Errorf("problems %v do not say %q", plan.problems, text)
				}
			}
			if again := decide(tc.obj, seen); outline(again) != outline(plan) {
				t.Error("the same facts gave another plan")
			}
		})
	}
}

// WL-5.6
func TestGoingBackUsesTheOldRevisionAgain(t *testing.T) {
	one, two := web(), web(image("web:v2"))
	seen := after(t, one, blank(one))
	first := seen.revisions[0].Name
	seen = after(t, two, now(two, seen))
	plan := decide(one, now(one, seen))
	if plan.write != revision.Renumber || plan.update.Name != first || plan.update.Revision != 3 {
		t.Errorf("want %s renumbered to 3, got %s %d, write %d", first, plan.update.Name, plan.update.Revision, plan.write)
	}
}

// WL-5.6
func TestHistoryIsTrimmed(t *testing.T) {
	seen := blank(web())
	var obj *v1alpha1.FederatedDeployment
	for i := range 4 {
		obj = web(image(fmt.Sprint("web:v", i)), func(o *v1alpha1.FederatedDeployment) { o.Spec.RevisionHistoryLimit = new(int32(2)) })
		seen = after(t, obj, now(obj, seen))
	}
	plan := decide(obj, seen)
	if len(plan.trim) != 2 || plan.trim[0].Revision != 1 || plan.trim[1].Revision != 2 {
		t.Errorf("want revisions 1 and 2 trimmed, got %v", outline(plan))
	}
	obj.Status.CurrentRevision = plan.trim[0].Name
	if plan := decide(obj, seen); len(plan.trim) != 1 {
		t.Errorf("the current revision must stay, got %v", outline(plan))
	}
}

// A work counts as ours only if every label says so.
func TestOnlyWorksThatNameThisVeryObjectAreOurs(t *testing.T) {
	obj := web()
	whole := after(t, obj, blank(obj)).works[0].live
	if !ours(whole, obj) {
		t.Fatal("its own work is not ours")
	}
	for label := range whole.Labels {
		other := whole.DeepCopy()
		delete(other.Labels, label)
		if ours(other, obj) {
			t.Errorf("ours without label %s", label)
		}
	}
	namesake := web(func(o *v1alpha1.FederatedDeployment) { o.UID = types.UID("another") })
	if ours(whole, namesake) {
		t.Error("a namesake created later must not inherit works")
	}
}

func TestWorkNames(t *testing.T) {
	if got := workName("shop", "web", "a"); got != "shop.web.a" {
		t.Error(got)
	}
	long := workName(strings.Repeat("n", 63), strings.Repeat("f", 52), strings.Repeat("s", 63))
	other := workName(strings.Repeat("n", 63), strings.Repeat("f", 52), strings.Repeat("s", 62)+"t")
	if len(long) > maxWorkName || long == other {
		t.Errorf("long names must be cut and stay apart: %s, %s", long, other)
	}
}

func labelled(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

// One round at a thousand subsets that are all there: what an event of one member costs.
func BenchmarkDecideNothingNew(b *testing.B) {
	obj := web(replicas(10_000))
	obj.Spec.Topology.Subsets = nil
	for i := range 1000 {
		s := inZone("a")
		s.Name = fmt.Sprint("s", i)
		obj.Spec.Topology.Subsets = append(obj.Spec.Topology.Subsets, s)
	}
	seen := after(b, obj, blank(obj))
	b.ReportAllocs()
	for b.Loop() {
		if plan := decide(obj, seen); !plan.empty() {
			b.Fatal(outline(plan))
		}
	}
}
