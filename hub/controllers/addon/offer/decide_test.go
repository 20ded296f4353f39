package offer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
)

// outline is a plan in a few words: which clusters get, lose and change.
func outline(p plan) (lines []string) {
	for _, a := range p.create {
		lines = append(lines, "create "+a.Namespace)
	}
	for _, c := range p.change {
		line := "change " + c.want.Namespace
		if len(c.live.OwnerReferences) != len(c.want.OwnerReferences) {
			line += " owner"
		}
		if len(c.live.Annotations) != len(c.want.Annotations) {
			line += " mark"
		}
		if !cmp.Equal(c.live.Status.ConfigReferences, c.want.Status.ConfigReferences) {
			line += " configs " + refs(c.want)
		}
		lines = append(lines, line)
	}
	for _, r := range p.remove {
		lines = append(lines, "remove "+r.live.Namespace)
	}
	return lines
}

// refs are the configurations of an installation: name:hash, and =hash when that is applied.
func refs(a *installation) string {
	var all []string
	for _, r := range a.Status.ConfigReferences {
		line := r.DesiredConfig.Name + ":" + r.DesiredConfig.SpecHash
		if r.LastAppliedConfig != nil {
			line += "=" + r.LastAppliedConfig.SpecHash
		}
		all = append(all, line)
	}
	return strings.Join(all, ",")
}

// said fills in conditions that a settled installation has, so that rows are about what they name.
func said(a *installation) {
	d := decision{plan: &plan{}, seen: world(nil)}
	d.sayConfigured(a, false)
}

// OCM-19.1, OCM-19.2
func TestInstallation(t *testing.T) {
	p, none := []placement{selecting("east", "west")}, []placement{selecting()}
	past := func(f facts) facts {
		for _, a := range f.installed {
			f.leftAt[a.UID] = noon.Add(-time.Minute)
		}
		return f
	}
	with := func(f facts, c *clusterv1.ManagedCluster) facts { f.clusters[c.Name] = c; return f }
	unknown, gone := world(p), cluster("west")
	delete(unknown.clusters, "west")
	nowhere := world(none, on("east", marked, said))
	delete(nowhere.clusters, "east")
	gone.DeletionTimestamp = &metav1.Time{Time: noon}
	ordered := cluster("west", "flotilla.dev/detach", "me 2026-01-01T12:00:00Z it moves")
	undecided, missing, partly := selecting(), placement{}, selecting("east")
	undecided.decisions, partly.announced = 0, 2
	for name, tc := range map[string]struct {
		offer   *offer
		seen    facts
		want    []string
		recheck time.Duration
	}{
		"on what is selected":                {logs(placedBy("p")), world(p), []string{"create east", "create west"}, time.Minute},
		"but not where it is there":          {logs(placedBy("p")), world(p, on("west", marked, said)), []string{"create east"}, time.Minute},
		"not on a cluster that is not known": {logs(placedBy("p")), unknown, []string{"create east"}, time.Minute},
		"nor on one that leaves":             {logs(placedBy("p")), with(world(p), gone), []string{"create east"}, time.Minute},
		"nor where people say no":            {logs(placedBy("p")), with(world(p), cluster("west", "addon.open-cluster-management.io/disable-automatic-installation", "true")), []string{"create east"}, time.Minute},
		"by hand":                            {logs(), world(nil, on("east", said)), nil, 0},
		"one made by hand is adopted":        {logs(placedBy("p")), world([]placement{selecting("east")}, on("east", orphan, said)), []string{"change east owner mark"}, 0},
		"an owner comes even without":        {logs(), world(nil, on("east", orphan, said)), []string{"change east owner"}, 0},
		"also where it drives itself":        {logs(selfDriven, placedBy("p")), facts{selfDriven: true, installed: []*installation{on("east", orphan)}}, []string{"change east owner"}, 0},
		"what goes is not touched":           {logs(placedBy("p")), world(p, on("east", orphan, leaving), on("west", marked, said)), nil, 0},

		"not selected any more":                   {logs(placedBy("p")), past(world(none, on("east", marked, said))), []string{"remove east"}, 0},
		"but only just now":                       {logs(placedBy("p")), world(none, on("east", marked, said)), nil, time.Second},
		"the decisions are gone":                  {logs(placedBy("p")), past(world([]placement{undecided}, on("east", marked, said))), nil, time.Minute},
		"the placement is gone":                   {logs(placedBy("p")), past(world([]placement{missing}, on("east", marked, said))), nil, time.Minute},
		"the decisions are not all there":         {logs(placedBy("p")), past(world([]placement{partly}, on("east", marked, said), on("west", marked, said))), nil, time.Minute},
		"the cluster leaves":                      {logs(placedBy("p")), past(with(world(none, on("west", marked, said)), gone)), nil, 0},
		"the cluster is being detached":           {logs(placedBy("p")), past(with(world(none, on("west", marked, said)), ordered)), nil, 0},
		"nor on one that is being detached":       {logs(placedBy("p")), with(world(p), ordered), []string{"create east"}, time.Minute},
		"the cluster is gone":                     {logs(placedBy("p")), past(nowhere), nil, 0},
		"another placement is gone":               {logs(placedBy("p", "q")), past(world([]placement{selecting(), missing}, on("east", marked, said))), nil, time.Minute},
		"one that no placement ever asked for":    {logs(placedBy("p")), past(world(none, on("east", said))), nil, 0},
		"one that people want to keep":            {logs(placedBy("p")), past(world(none, on("east", marked, kept, said))), nil, 0},
		"placements are not asked any more":       {logs(), past(world(nil, on("east", marked, said))), nil, 0},
		"a later placement still selects":         {logs(placedBy("p", "q")), past(world([]placement{selecting(), selecting("east")}, on("east", marked, said))), []string{"change east"}, 0},
		"a leaving offer leaves all to its owner": {logs(placedBy("p"), func(a *offer) { a.DeletionTimestamp = &metav1.Time{Time: noon} }), world(p, on("east", orphan)), nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := decide(tc.offer, tc.seen, noon)
			if d := cmp.Diff(tc.want, outline(got)); d != "" || got.recheck != tc.recheck {
				t.Errorf("%s recheck %v, want %v", d, got.recheck, tc.recheck)
			}
		})
	}
}

func TestAnInstallationIsMadeWithWhatTheClusterSays(t *testing.T) {
	f := world([]placement{selecting("east")})
	f.clusters["east"] = cluster("east", "addon.open-cluster-management.io/on-multicluster-hub", "yes", "other/annotation", "no")
	made := decide(logs(placedBy("p")), f, noon).create[0]
	want := map[string]string{"addon.open-cluster-management.io/on-multicluster-hub": "yes", InstalledBy: "team/p"}
	if d := cmp.Diff(want, made.Annotations); d != "" {
		t.Error(d)
	}
	if o := metav1.GetControllerOf(made); o == nil || o.Kind != "ClusterManagementAddOn" || o.Name != "logs" || o.APIVersion != "addon.open-cluster-management.io/v1alpha1" {
		t.Errorf("%+v", o)
	}
}

// OCM-19.3
func TestConfigurations(t *testing.T) {
	p := []placement{selecting("east")}
	foreign := config.Kind{Group: "example.com", Resource: "settings"}
	foreignly := func(a *offer) {
		a.Spec.InstallStrategy.Placements[0].Configs[0].ConfigGroupResource = foreign
	}
	hashedElsewhere := func(a *installation) {
		has("z", "z1", false)(a)
		a.Status.ConfigReferences[0].ConfigGroupResource = foreign
	}
	for name, tc := range map[string]struct {
		offer *offer
		seen  facts
		want  string
		said  string
	}{
		"none":                               {logs(), world(nil, on("east")), "", "True 0 configurations are in place."},
		"a default":                          {logs(byDefault("x")), world(nil, on("east")), "x:x1", "True 1 configurations are in place."},
		"a placement's":                      {logs(byDefault("x"), placedBy("p"), configured(0, "y")), world(p, on("east", marked)), "y:y1", "True 1 configurations"},
		"the last placement's":               {logs(placedBy("p", "q"), configured(0, "x"), configured(1, "y")), world([]placement{selecting("east"), selecting("east")}, on("east", marked)), "y:y1", "True 1 configurations"},
		"its own":                            {logs(byDefault("x"), placedBy("p"), configured(0, "x")), world(p, on("east", marked, choosing("y"))), "y:y1", "True 1 configurations"},
		"what was applied is remembered":     {logs(byDefault("y")), world(nil, on("east", has("x", "x1", true))), "y:y1=x1", "True 1 configurations"},
		"changed content":                    {logs(byDefault("x")), world(nil, on("east", has("x", "x0", true))), "x:x1=x0", "True 1 configurations"},
		"one that does not exist":            {logs(byDefault("z")), world(nil, on("east")), "z:", "False 1 of 1 configurations are not in place: addondeploymentconfigs team/z does not exist."},
		"one that is gone keeps its hash":    {logs(byDefault("z")), world(nil, on("east", has("z", "z1", true))), "z:z1=z1", "False 1 of 1 configurations are not in place: addondeploymentconfigs team/z does not exist."},
		"a kind that only its owner reads":   {logs(placedBy("p"), configured(0, "z"), foreignly), world(p, on("east", marked)), "z:", "False 1 of 1 configurations are not in place: settings team/z waits for the add-on's own controller to hash it."},
		"its owner has hashed it":            {logs(placedBy("p"), configured(0, "z"), foreignly), world(p, on("east", marked, hashedElsewhere)), "z:z1", "True 1 configurations"},
		"not sure whether it goes: it waits": {logs(byDefault("x"), placedBy("p"), configured(0, "y")), world([]placement{{}}, on("east", marked, has("y", "y0", true))), "y:y0=y0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			is := tc.seen.installed[0]
			for _, c := range decide(tc.offer, tc.seen, noon).change {
				is = c.want
			}
			if refs(is) != tc.want {
				t.Errorf("%s, want %s", refs(is), tc.want)
			}
			got := ""
			if c := meta.FindStatusCondition(is.Status.Conditions, "Configured"); c != nil {
				got = string(c.Status) + " " + c.Message
			}
			if !strings.HasPrefix(got, tc.said) || (got == "") != (tc.said == "") {
				t.Errorf("%q, want %q", got, tc.said)
			}
		})
	}
}

// OCM-19.3, OCM-18.5: configurations reach clusters in the order of the strategy, and what is everywhere is known good.
func TestConfigurationsRollOut(t *testing.T) {
	obj := logs(placedBy("p"), configured(0, "x"), oneByOne)
	f := world([]placement{selecting("east", "west")}, on("east", marked, has("x", "x0", true)), on("west", marked, has("x", "x0", true)))
	var story []string
	step := func(do func()) {
		do()
		p := decide(obj, f, noon)
		for _, c := range p.change {
			f.installed[slices.IndexFunc(f.installed, func(a *installation) bool { return a.Namespace == c.want.Namespace })] = c.want
		}
		obj.Status.InstallProgressions = p.progressions
		line := ""
		for _, a := range f.installed {
			line += a.Namespace + " " + refs(a)
			if c := meta.FindStatusCondition(a.Status.Conditions, "Progressing"); c != nil {
				line += " " + c.Reason
			}
			line += ", "
		}
		of := p.progressions[0]
		good := "nothing"
		if g := of.ConfigReferences[0].LastKnownGoodConfig; g != nil {
			good = g.SpecHash
		}
		story = append(story, fmt.Sprintf("%sgood %s, %s", line, good, of.Conditions[0].Message))
	}
	applied := func(i int) func() {
		return func() {
			has("x", "x1", true)(f.installed[i])
			progressing("Completed")(f.installed[i])
		}
	}
	nothing := func() {}
	step(nothing)
	step(nothing)
	step(applied(0))
	step(applied(1))
	step(func() { f.configs[deployment("x")] = hashed{"x2", 2} })
	step(func() { f.installed[0] = f.installed[0].DeepCopy(); progressing("Failed")(f.installed[0]) })
	want := []string{
		"east x:x1=x0, west x:x0=x0 WaitingForCanary, good nothing, 1/2 progressing..., 0 completed, 1 waiting, 0 failed or timed out.",
		"east x:x1=x0, west x:x0=x0 WaitingForCanary, good nothing, 1/2 progressing..., 0 completed, 1 waiting, 0 failed or timed out.",
		"east x:x1=x1 Completed, west x:x1=x0 Progressing, good nothing, 1/2 progressing..., 1 completed, 0 waiting, 0 failed or timed out.",
		"east x:x1=x1 Completed, west x:x1=x1 Completed, good x1, 2/2 completed with no errors.",
		"east x:x2=x1 Completed, west x:x1=x1 WaitingForCanary, good x1, 1/2 progressing..., 0 completed, 1 waiting, 0 failed or timed out.",
		"east x:x2=x1 Failed, west x:x1=x1 WaitingForCanary, good x1, 0/2 completed, 1 failed or timed out, more than the 0 that may; no further cluster is changed.",
	}
	if d := cmp.Diff(want, story); d != "" {
		t.Error(d)
	}
}

func TestAStrategyThatCannotBeFollowedChangesNothing(t *testing.T) {
	obj := logs(placedBy("p"), configured(0, "x"), oneByOne)
	obj.Spec.InstallStrategy.Placements[0].RolloutStrategy.Progressive.ProgressDeadline = "soon"
	p := decide(obj, world([]placement{selecting("east")}, on("east", marked, has("x", "x0", true))), noon)
	if len(p.change) != 1 || refs(p.change[0].want) != "x:x0=x0" {
		t.Errorf("%v", outline(p))
	}
	if c := p.progressions[0].Conditions[0]; c.Reason != "Failed" || !strings.Contains(c.Message, "soon") {
		t.Errorf("%+v", c)
	}
}

// OCM-19.3: the offer's own status.
func TestDefaultsAreResolved(t *testing.T) {
	got := decide(logs(byDefault("x")), world(nil), noon).defaults
	if len(got) != 1 || got[0].DesiredConfig.SpecHash != "x1" || got[0].ConfigGroupResource != config.DeploymentConfigs {
		t.Errorf("%+v", got)
	}
}

// Far fewer clusters at once look like a mistake of a Placement, unless the offer itself asks for fewer.
func TestManyRemovalsAtOnceAreHeld(t *testing.T) {
	many := func() (all []*installation) {
		for i := range 20 {
			all = append(all, on(fmt.Sprintf("c%02d", i), marked, said))
		}
		return all
	}
	confirmed := func(a *offer) {
		a.Annotations["flotilla.dev/confirm-mass-removal"] = noon.Add(time.Hour).Format(time.RFC3339)
	}
	for name, tc := range map[string]struct {
		offer  *offer
		braked bool
		want   int
	}{
		"held":                            {logs(placedBy("p")), true, 0},
		"confirmed":                       {logs(placedBy("p"), confirmed), true, 20},
		"no brake is wanted":              {logs(placedBy("p")), false, 20},
		"the offer has another placement": {logs(placedBy("q")), true, 20},
	} {
		t.Run(name, func(t *testing.T) {
			f := world([]placement{selecting()}, many()...)
			f.braked = tc.braked
			for _, a := range f.installed {
				f.leftAt[a.UID] = noon.Add(-time.Minute)
			}
			p := decide(tc.offer, f, noon)
			stalled := meta.FindStatusCondition(p.progressions[0].Conditions, "Stalled")
			if len(p.remove) != tc.want || (stalled != nil) != (tc.want == 0) {
				t.Errorf("%d removed, %+v", len(p.remove), stalled)
			}
			if stalled != nil && (strings.Contains(stalled.Message, " -n ") || !strings.Contains(stalled.Message, "20 of 20") || !strings.Contains(stalled.Message, "kubectl annotate clustermanagementaddon")) {
				t.Error(stalled.Message)
			}
		})
	}
}
