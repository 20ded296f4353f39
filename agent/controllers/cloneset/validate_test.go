package cloneset

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

func TestDefault(t *testing.T) { // WL-1.1
	bare := cloneSet(func(cs *kruise.CloneSet) { cs.Spec.Replicas = nil })
	got := Default(bare).Spec
	want := bare.DeepCopy().Spec
	want.Replicas, want.RevisionHistoryLimit = new(int32(1)), new(int32(10))
	want.UpdateStrategy = kruise.CloneSetUpdateStrategy{
		Type: "ReCreate", Partition: new(intstr.FromInt32(0)), MaxUnavailable: new(intstr.FromString("20%")), MaxSurge: new(intstr.FromInt32(0)),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if s := Default(cloneSet(inPlaceIfPossible)).Spec.UpdateStrategy.InPlaceUpdateStrategy; s == nil {
		t.Error("an in-place strategy is missing")
	}
	if bare.Spec.Replicas != nil {
		t.Error("the object that was given changed")
	}
}

func TestWhatCannotBeRightTouchesNothing(t *testing.T) { // WL-1.2
	update := func(f func(*kruise.CloneSetUpdateStrategy)) func(*kruise.CloneSet) {
		return func(cs *kruise.CloneSet) { f(&cs.Spec.UpdateStrategy) }
	}
	for name, tc := range map[string]struct {
		change func(*kruise.CloneSet)
		want   []string // field, value, remedy
	}{
		"no selector": {
			func(cs *kruise.CloneSet) { cs.Spec.Selector = &metav1.LabelSelector{} },
			[]string{"spec.selector", "set matchLabels"},
		},
		"a selector that matches nothing": {
			func(cs *kruise.CloneSet) { cs.Spec.Selector.MatchLabels["app"] = "other" },
			[]string{"spec.template.metadata.labels", `"app":"web"`, "app=other", "add its labels"},
		},
		"a selector that cannot be read": {
			func(cs *kruise.CloneSet) {
				cs.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}
			},
			[]string{"spec.selector", "Like"},
		},
		"a partition in words": {
			update(func(u *kruise.CloneSetUpdateStrategy) { u.Partition = new(intstr.FromString("half")) }),
			[]string{"spec.updateStrategy.partition", `"half"`, `"30%"`},
		},
		"a negative partition": {
			update(func(u *kruise.CloneSetUpdateStrategy) { u.Partition = new(intstr.FromInt32(-1)) }),
			[]string{"spec.updateStrategy.partition", "-1", "must not be negative"},
		},
		"negative replicas": {
			func(cs *kruise.CloneSet) { cs.Spec.Replicas = new(int32(-3)) },
			[]string{"spec.replicas", "-3", "must not be negative"},
		},
		"an unknown type": {
			update(func(u *kruise.CloneSetUpdateStrategy) { u.Type = "Magic" }),
			[]string{"spec.updateStrategy.type", `"Magic"`, "InPlaceIfPossible"},
		},
		"maxUnavailable in words": {
			update(func(u *kruise.CloneSetUpdateStrategy) { u.MaxUnavailable = new(intstr.FromString("few")) }),
			[]string{"spec.updateStrategy.maxUnavailable", `"few"`},
		},
		"a budget of nothing": {
			update(func(u *kruise.CloneSetUpdateStrategy) { u.MaxUnavailable = new(intstr.FromInt32(0)) }),
			[]string{"spec.updateStrategy.maxUnavailable", `"0"`, "above 0"},
		},
		"surge without making pods": {
			update(func(u *kruise.CloneSetUpdateStrategy) { u.Type, u.MaxSurge = "InPlaceOnly", new(intstr.FromInt32(2)) }),
			[]string{"spec.updateStrategy.maxSurge", `"2"`, "must be 0"},
		},
		"a scale budget in words": {
			func(cs *kruise.CloneSet) { cs.Spec.ScaleStrategy.MaxUnavailable = new(intstr.FromString("few")) },
			[]string{"spec.scaleStrategy.maxUnavailable", `"few"`},
		},
		"two kinds of priority": {
			update(func(u *kruise.CloneSetUpdateStrategy) {
				u.PriorityStrategy = &pub.UpdatePriorityStrategy{
					OrderPriority:  []pub.UpdatePriorityOrderTerm{{OrderedKey: "a"}},
					WeightPriority: []pub.UpdatePriorityWeightTerm{{Weight: 1}},
				}
			}),
			[]string{"spec.updateStrategy.priorityStrategy", "only one"},
		},
		"the same scatter term twice": {
			update(func(u *kruise.CloneSetUpdateStrategy) {
				u.ScatterStrategy = kruise.UpdateScatterStrategy{{Key: "a", Value: "b"}, {Key: "a", Value: "b"}}
			}),
			[]string{"spec.updateStrategy.scatterStrategy", "duplicated"},
		},
		"no containers": {
			func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.Containers = nil },
			[]string{"spec.template.spec.containers", "at least one"},
		},
		"pods that end": {
			func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever },
			[]string{"spec.template.spec.restartPolicy", "Never", "Always"},
		},
		"a deadline": {
			func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.ActiveDeadlineSeconds = new(int64(1)) },
			[]string{"spec.template.spec.activeDeadlineSeconds", "remove it"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{}, cloneSet(tc.change))
			if _, err := w.Round(); err != nil {
				t.Fatalf("a user's mistake is tried again: %v", err)
			}
			if d := cmp.Diff([]string{"patch cloneset/status web"}, w.Server.Writes()); d != "" {
				t.Error(d)
			}
			for _, part := range tc.want {
				w.conditionIs(condition.Stalled, "True", part)
			}
			if _, err := w.Round(); err != nil || len(w.Server.Writes()) != 0 {
				t.Error("it is said twice")
			}
			if !strings.Contains(strings.Join(drain(w), "\n"), podset.ReasonInvalidSpec) {
				t.Error("no event says so")
			}
		})
	}
}

func drain(w *world) []string {
	var all []string
	for {
		select {
		case e := <-w.Events.Events:
			all = append(all, e)
		default:
			return all
		}
	}
}
