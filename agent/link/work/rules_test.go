package work

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/feedback"
)

func celRule(condition, expression string) workv1.ConditionRule {
	return workv1.ConditionRule{Condition: condition, Type: workv1.CelConditionExpressionsType, CelExpressions: []string{expression}}
}

// ruledWork has one ConfigMap that is complete when its value is "done".
func ruledWork(t *testing.T, value string, rules ...workv1.ConditionRule) *workv1.ManifestWork {
	work := newWork()
	work.Spec.Workload.Manifests = raws(t, "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: c}, data: {k: "+value+"}}")
	work.Spec.ManifestConfigs = []workv1.ManifestConfigOption{{
		ResourceIdentifier: workv1.ResourceIdentifier{Resource: "configmaps", Namespace: "a", Name: "c"}, ConditionRules: rules,
	}}
	return work
}

func said(all []metav1.Condition, name string) string {
	c := meta.FindStatusCondition(all, name)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason + " " + c.Message
}

// edit changes the spec of the work as a user would, and lets the agent look again.
func (b *bench) edit(t *testing.T, change func(*workv1.ManifestWork)) {
	t.Helper()
	work := b.workThere(t)
	change(work)
	work.Generation++
	if err := b.hub.Update(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	b.due()
}

// due lets the next round be a look, or an apply when there is reason for one.
func (b *bench) due() {
	s := b.memory.of("web", "w1")
	s.nextStatus, s.wrote, s.nextApply = time.Time{}, s.wrote.Add(-time.Minute), time.Now().Add(time.Hour)
}

func (b *bench) value(t *testing.T) string {
	t.Helper()
	live, err := b.member.Resource(configMaps).Namespace("a").Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.member.ClearActions()
	return live.Object["data"].(map[string]any)["k"].(string)
}

func TestACompletedWorkIsFrozen(t *testing.T) { // OCM-13.3
	b := newBench(t, ruledWork(t, "done", celRule("Complete", `object.data.k == "done"`)))
	b.rounds(t, 1)
	work := b.workThere(t)
	if got := said(work.Status.Conditions, "Complete"); got != "True ConditionRulesAggregated Manifest is Complete" {
		t.Fatal(got)
	}
	if got := said(work.Status.ResourceStatus.Manifests[0].Conditions, "Complete"); got != "True ConditionRuleEvaluated Manifest is Complete" {
		t.Fatal(got)
	}
	b.edit(t, func(w *workv1.ManifestWork) {
		w.Spec.Workload.Manifests = ruledWork(t, "again").Spec.Workload.Manifests
	})
	b.rounds(t, 2)
	if got := b.value(t); got != "done" {
		t.Errorf("updated to %s", got)
	}
	c := meta.FindStatusCondition(b.workThere(t).Status.Conditions, "Complete")
	if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != 8 {
		t.Errorf("%v", c)
	}
}

func TestACompletedManifestIsReportedAppliedAndLeftAlone(t *testing.T) { // OCM-10.2, OCM-13.3
	b := newBench(t, ruledWork(t, "done", celRule("Complete", `object.data.k == "done"`)))
	b.rounds(t, 1)
	b.edit(t, func(w *workv1.ManifestWork) { // another manifest that is not complete keeps the work going
		w.Spec.Workload.Manifests = slices.Concat(ruledWork(t, "again").Spec.Workload.Manifests,
			raws(t, "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: other}, data: {k: runs}}"))
		w.Spec.ManifestConfigs[0].ResourceIdentifier.Name = "*"
		meta.RemoveStatusCondition(&w.Status.Conditions, "Complete")
	})
	if err := b.hub.Status().Update(t.Context(), func() *workv1.ManifestWork {
		w := b.workThere(t)
		meta.RemoveStatusCondition(&w.Status.Conditions, "Complete")
		return w
	}()); err != nil {
		t.Fatal(err)
	}
	b.rounds(t, 1)
	work := b.workThere(t)
	if got := b.value(t); got != "done" {
		t.Errorf("updated to %s", got)
	}
	if got := said(work.Status.ResourceStatus.Manifests[0].Conditions, "Applied"); got != "True AppliedManifestComplete Apply manifest complete" {
		t.Error(got)
	}
	if got := said(work.Status.Conditions, "Complete"); got != "False ConditionRulesAggregated Aggregated from 2 manifest conditions" {
		t.Error(got)
	}
	// Cleared away after it finished, as a Job with a TTL is: it must not run again.
	if err := b.member.Resource(configMaps).Namespace("a").Delete(t.Context(), "c", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.edit(t, func(w *workv1.ManifestWork) { w.Labels = map[string]string{"a": "b"} })
	b.rounds(t, 2)
	if b.there(t) {
		t.Error("made again")
	}
	if got := said(b.workThere(t).Status.ResourceStatus.Manifests[0].Conditions, "Complete"); got != "True ConditionRuleEvaluated Manifest is Complete" {
		t.Error(got)
	}
}

func TestARuleThatIsTakenAwayTakesItsConditionWithIt(t *testing.T) { // OCM-13.2
	b := newBench(t, ruledWork(t, "runs", celRule("Progressing", `object.data.k == "runs"`)))
	b.rounds(t, 1)
	if got := said(b.workThere(t).Status.Conditions, "Progressing"); got != "True ConditionRulesAggregated Manifest is Progressing" {
		t.Fatal(got)
	}
	b.edit(t, func(w *workv1.ManifestWork) { w.Spec.ManifestConfigs = nil })
	b.rounds(t, 1)
	work := b.workThere(t)
	if got := said(work.Status.Conditions, "Progressing") + said(work.Status.ResourceStatus.Manifests[0].Conditions, "Progressing"); got != "" {
		t.Error(got)
	}
}

func TestAnObjectThatCannotBeReadKeepsWhatRulesSaid(t *testing.T) { // OCM-12.4
	work := newWork()
	work.Status.ResourceStatus.Manifests = []workv1.ManifestCondition{{ResourceMeta: web(0), Conditions: []metav1.Condition{
		{Type: "Ready", Status: "True", Reason: "ConditionRuleEvaluated", ObservedGeneration: 7},
	}}}
	report(work, []*manifest{{meta: web(0), unread: errors.New("no")}}, feedback.Limits{}, noon)
	if d := cmp.Diff("True ConditionRuleEvaluated ", said(work.Status.ResourceStatus.Manifests[0].Conditions, "Ready")); d != "" {
		t.Error(d)
	}
}

func TestAWorkWhoseNameIsTooLongSaysSo(t *testing.T) { // OCM-9.4
	for length, long := range map[int]bool{188: false, 189: true} {
		work := ruledWork(t, "v")
		work.Name, work.UID = strings.Repeat("n", length), "long"
		b := newBench(t, work)
		_, err := b.reconcile(t.Context(), work.Name)
		var got workv1.ManifestWork
		if get := b.hub.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: work.Name}, &got); err != nil || get != nil {
			t.Fatal(err, get)
		}
		told := said(got.Status.ResourceStatus.Manifests[0].Conditions, "Applied")
		want := "True AppliedManifestComplete Apply manifest complete"
		if long {
			want = "False AppliedManifestFailed Failed to apply manifest: the work's name has 189 characters, of which the member can take 188; give it a shorter one"
		}
		if told != want {
			t.Error(told)
		}
		if s := b.memory.of(work.Name, "long"); s.failures != 0 {
			t.Error("tried again soon")
		}
	}
}
