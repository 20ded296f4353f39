package detach

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
)

const (
	agentsOwn = "cluster.open-cluster-management.io/manifest-work-cleanup"
	ordered   = "alice 2026-01-01T12:00:00Z the site is closed"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestAnOrderIsReadAsItWasWritten(t *testing.T) {
	for value, want := range map[string]Order{
		ordered:                               {"alice", noon, "the site is closed"},
		"alice 2026-01-01T12:00:00Z":          {"alice", noon, ""},
		"Alice B. 2026-01-01T12:00:00Z x":     {"Alice B.", noon, "x"},
		"system:admin 2026-01-01T12:00:00Z x": {"system:admin", noon, "x"},
	} {
		got, err := Parse(value)
		if err != nil || got.String() != value {
			t.Errorf("%q: %v, %v", value, got, err)
			continue
		}
		if d := cmp.Diff(want, *got); d != "" {
			t.Error(d)
		}
	}
	for _, value := range []string{"", "yes", "alice", "2026-01-01T12:00:00Z alice", "alice noon x"} {
		if got, err := Parse(value); err == nil || !strings.Contains(err.Error(), "<RFC 3339 time>") {
			t.Errorf("%q: %v, %v", value, got, err)
		}
	}
	if got := (Order{Who: "a", At: noon, Why: " two\nlines "}).String(); got != "a 2026-01-01T12:00:00Z two lines" {
		t.Error(got)
	}
}

type change = func(*clusterv1.ManagedCluster)

func cluster(changes ...change) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east", Annotations: map[string]string{"flotilla.dev/detach": ordered}}}
	for _, change := range changes {
		change(c)
	}
	return c
}

func held(c *clusterv1.ManagedCluster)      { c.Finalizers = append(c.Finalizers, Finalizer) }
func leaves(c *clusterv1.ManagedCluster)    { c.DeletionTimestamp = &metav1.Time{Time: noon} }
func unordered(c *clusterv1.ManagedCluster) { c.Annotations = nil }
func badly(c *clusterv1.ManagedCluster)     { c.Annotations["flotilla.dev/detach"] = "please" }

func available(status metav1.ConditionStatus, since time.Duration) change {
	return func(c *clusterv1.ManagedCluster) {
		c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{
			Type: "ManagedClusterConditionAvailable", Status: status, LastTransitionTime: metav1.NewTime(noon.Add(-since)),
		})
	}
}

var alive, silent = available("True", time.Hour), available("Unknown", time.Hour)

func home(annotations ...string) *corev1.Namespace {
	h := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "east", Annotations: map[string]string{}}}
	for _, a := range annotations {
		h.Annotations[a] = ordered
	}
	return h
}

// work is "name:" and what is true of it: taken up by its agent, orphan, seen by the agent since, going, failed to apply.
func work(what string) workv1.ManifestWork {
	name, is, _ := strings.Cut(what, ":")
	w := workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: name, Generation: 2}}
	if strings.Contains(is, "taken") {
		w.Finalizers = []string{agentsOwn}
		w.Status.Conditions = []metav1.Condition{{Type: "Applied", Status: "True", ObservedGeneration: 1}}
	}
	if strings.Contains(is, "orphan") {
		w.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: "Orphan"}
	}
	if strings.Contains(is, "seen") {
		w.Status.Conditions[0].ObservedGeneration = 2
	}
	if strings.Contains(is, "failed") {
		w.Status.Conditions[0].Status = "False"
	}
	if strings.Contains(is, "going") {
		w.DeletionTimestamp = &metav1.Time{Time: noon}
	}
	if strings.Contains(is, "kept") {
		w.Finalizers = append(w.Finalizers, "example.com/kept")
	}
	return w
}

func works(what ...string) (all []workv1.ManifestWork) {
	for _, w := range what {
		all = append(all, work(w))
	}
	return all
}

// did is a plan in short.
type did struct {
	Do      string // hold, stamp, record, unstamp, orphan a, take, strip a, remove a, drop, tell reason, forget, wait
	Verdict string
}

func short(p plan) did {
	var do []string
	list := func(what string, works []workv1.ManifestWork) {
		if len(works) > 0 {
			var all []string
			for _, w := range works {
				all = append(all, w.Name)
			}
			do = append(do, what+" "+strings.Join(all, "+"))
		}
	}
	flag := func(what string, is bool) {
		if is {
			do = append(do, what)
		}
	}
	flag("hold", p.hold)
	if p.home != nil {
		_, stamped := p.home.Annotations["flotilla.dev/detach"]
		_, recorded := p.home.Annotations["flotilla.dev/detached"]
		do = append(do, fmt.Sprintf("mark detach=%v detached=%v", stamped, recorded))
	}
	list("orphan", p.orphan)
	flag("take", p.take != nil)
	list("strip", p.strip)
	list("remove", p.remove)
	if len(p.addOns) > 0 {
		do = append(do, "add-ons")
	}
	if p.tell != nil {
		do = append(do, "tell "+p.tell.Reason)
	}
	flag("drop", p.drop)
	flag("forget", p.forget)
	flag("wait", p.wait > 0)
	var verdicts []string
	for _, c := range p.verdicts {
		verdicts = append(verdicts, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
	}
	return did{strings.Join(do, ", "), strings.Join(verdicts, ", ")}
}

// OCM-7.2, OCM-21.3
func TestDecide(t *testing.T) {
	const (
		releasing = "Released=False Releasing"
		released  = "Released=True ReleasedByAgent"
		without   = "Released=True GoesWithoutAgent"
		left      = ", Deleting=False ResourceRemaining"
	)
	stamped, rights := home("flotilla.dev/detach"), &rbacv1.RoleBinding{}
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		seen    facts
		later   time.Duration
		want    did
	}{
		"no order":                            {cluster: cluster(unordered), seen: facts{home: home(), works: works("a:taken")}},
		"an order nobody can read":            {cluster: cluster(badly, leaves), seen: facts{home: home(), works: works("a:taken")}, want: did{"", "Released=False InvalidOrder"}},
		"first of all marks":                  {cluster: cluster(alive), seen: facts{home: home(), works: works("a:taken", "b:orphan taken", "c:")}, want: did{"hold, mark detach=true detached=false, orphan a+c, tell ClusterDetaching, wait", releasing}},
		"a dead one too":                      {cluster: cluster(held, silent), seen: facts{home: home(), works: works("a:taken")}, want: did{"mark detach=true detached=false, orphan a, tell ClusterDetaching, wait", releasing}},
		"deleted before it was ordered":       {cluster: cluster(leaves, alive), seen: facts{home: home(), works: works("a:taken going")}, want: did{"mark detach=true detached=true, orphan a, tell ClusterDetaching, wait", releasing}},
		"no namespace":                        {cluster: cluster(), seen: facts{}, want: did{"hold, wait", releasing}},
		"waits for the agent":                 {cluster: cluster(held, alive), seen: facts{home: stamped, works: works("a:taken orphan", "b:taken orphan seen")}, want: did{"wait", releasing}},
		"an agent that failed has not let go": {cluster: cluster(held, alive), seen: facts{home: stamped, works: works("a:taken orphan seen failed")}, want: did{"wait", releasing}},
		"an API server in trouble is alive":   {cluster: cluster(held, available("False", time.Hour)), seen: facts{home: stamped, works: works("a:taken orphan")}, want: did{"wait", releasing}},
		"the agent let go":                    {cluster: cluster(held, alive), seen: facts{home: stamped, works: works("a:taken orphan seen", "b:orphan")}, want: did{"", released}},
		"there is no agent":                   {cluster: cluster(held, silent), seen: facts{home: stamped, works: works("a:taken orphan")}, want: did{"wait", without}},
		"the agent is too slow":               {cluster: cluster(held, alive), seen: facts{home: stamped, works: works("a:taken orphan")}, later: 10 * time.Minute, want: did{"wait", without}},
		"deleted: what is let go is removed":  {cluster: cluster(held, leaves, alive), seen: facts{home: stamped, works: works("a:taken orphan seen", "b:orphan going"), rights: rights}, want: did{"remove a, wait", released + left}},
		"deleted: add-ons go with it":         {cluster: cluster(held, leaves, alive), seen: facts{home: stamped, works: works("a:taken orphan seen"), addOns: make([]metav1.PartialObjectMetadata, 1)}, want: did{"remove a, add-ons, wait", released + left}},
		"deleted: not let go yet":             {cluster: cluster(held, leaves, alive), seen: facts{home: stamped, works: works("a:taken orphan", "b:taken orphan seen"), rights: rights}, want: did{"wait", releasing + left}},
		"deleted: the agent cleans up":        {cluster: cluster(held, leaves, alive), seen: facts{home: stamped, works: works("a:taken orphan seen going"), rights: rights}, want: did{"wait", releasing + left}},
		"dead: rights go first":               {cluster: cluster(held, leaves, silent), seen: facts{home: stamped, works: works("a:taken orphan", "b:orphan"), rights: rights}, want: did{"take, wait", without + left}},
		"dead: then the works":                {cluster: cluster(held, leaves, silent), seen: facts{home: stamped, works: works("a:taken orphan", "b:orphan")}, want: did{"strip a, remove b, wait", without + left}},
		"dead too shortly":                    {cluster: cluster(held, leaves, available("Unknown", time.Minute)), seen: facts{home: stamped, works: works("a:taken orphan")}, want: did{"wait", without + left}},
		"slow: rights go first":               {cluster: cluster(held, leaves, alive), seen: facts{home: stamped, works: works("a:taken orphan"), rights: rights}, later: 10 * time.Minute, want: did{"take, wait", without + left}},
		"slow: then it is silent":             {cluster: cluster(held, leaves, alive), seen: facts{home: stamped, works: works("a:taken orphan")}, later: 29 * time.Minute, want: did{"wait", without + left}},
		"slow: for ever is too long":          {cluster: cluster(held, leaves, alive), seen: facts{home: stamped, works: works("a:taken orphan")}, later: 30 * time.Minute, want: did{"strip a, wait", without + left}},
		"never joined":                        {cluster: cluster(held, leaves), seen: facts{home: stamped, works: works("a:orphan")}, want: did{"remove a, wait", released + left}},
		"nothing is left":                     {cluster: cluster(held, leaves, silent), seen: facts{home: stamped}, want: did{"mark detach=false detached=true, tell ClusterDetached, drop", ""}},
		"nothing is left, and no namespace":   {cluster: cluster(held, leaves, silent), seen: facts{}, want: did{"tell ClusterDetached, drop", ""}},
		"nothing is left to say":              {cluster: cluster(leaves, silent), seen: facts{home: home("flotilla.dev/detached", "flotilla.dev/detach")}, want: did{"mark detach=false detached=true, tell ClusterDetached", ""}},
		"recorded, and others hold it":        {cluster: cluster(leaves, silent), seen: facts{home: home("flotilla.dev/detached")}, want: did{"tell ClusterDetached", ""}},
		"withdrawn":                           {cluster: cluster(held, unordered), seen: facts{home: stamped, works: works("a:orphan")}, want: did{"mark detach=false detached=false, drop", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, short(decide(tc.cluster, tc.seen, noon.Add(tc.later)))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestMessagesNameTheCulpritAndTheNumber(t *testing.T) {
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		seen    facts
		want    string
	}{
		"agent":     {cluster(held, alive), facts{home: home("flotilla.dev/detach"), works: works("a:taken orphan", "b:orphan", "c:taken orphan")}, "detach ordered by alice at 2026-01-01T12:00:00Z: 2 of 3 works wait for the agent to let go of what they applied (a, c); it has until 2026-01-01T12:10:00Z"},
		"finalizer": {cluster(held, leaves, silent), facts{home: home("flotilla.dev/detach"), works: works("a:orphan going kept")}, "1 of kind ManifestWork are left (a); a is kept by finalizer example.com/kept, whose owner has to drop it"},
		"names":     {cluster(held, leaves, alive), facts{home: home("flotilla.dev/detach"), works: works("a:orphan", "b:orphan", "c:orphan", "d:orphan")}, "4 of kind ManifestWork are left (a, b, c, ...)"},
		"silence":   {cluster(held, leaves, available("Unknown", time.Minute)), facts{home: home("flotilla.dev/detach"), works: works("a:taken orphan")}, "they go when the cluster has been silent for 5m0s"},
	} {
		p := decide(tc.cluster, tc.seen, noon)
		if !slices.ContainsFunc(p.verdicts, func(c metav1.Condition) bool { return strings.Contains(c.Message, tc.want) }) {
			t.Errorf("%s: %+v", name, p.verdicts)
		}
	}
	p := decide(cluster(held, leaves), facts{home: home("flotilla.dev/detach")}, noon)
	if want := "Cluster east was detached on the order of alice (the site is closed); what ran there goes on running."; p.tell.Note != want {
		t.Error(p.tell.Note)
	}
}

func TestHowLongAFinishedWorkStaysIsAnotherMatter(t *testing.T) {
	got := orphaned(&workv1.DeleteOption{
		PropagationPolicy: "SelectivelyOrphan", SelectivelyOrphan: &workv1.SelectivelyOrphan{}, TTLSecondsAfterFinished: new(int64(7)),
	})
	if d := cmp.Diff(&workv1.DeleteOption{PropagationPolicy: "Orphan", TTLSecondsAfterFinished: new(int64(7))}, got); d != "" {
		t.Error(d)
	}
}
