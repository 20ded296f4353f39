package statefulset

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

func TestDefault(t *testing.T) { // WL-2.1
	bare := statefulSet(func(set *kruise.StatefulSet) { set.Spec.Replicas = nil })
	got := Default(bare, Options{}).Spec
	want := bare.DeepCopy().Spec
	want.Replicas, want.RevisionHistoryLimit = new(int32(1)), new(int32(10))
	want.PodManagementPolicy = "OrderedReady"
	want.UpdateStrategy = kruise.StatefulSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &kruise.RollingUpdateStatefulSetStrategy{
		Partition: new(int32(0)), MaxUnavailable: new(intstr.FromInt32(1)), PodUpdatePolicy: "ReCreate", MinReadySeconds: new(int32(0)),
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	got = Default(bare, Options{AutoDeletePVC: true, AutoResizePVC: true}).Spec
	want.PersistentVolumeClaimRetentionPolicy = &kruise.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: "Retain", WhenScaled: "Retain"}
	want.VolumeClaimUpdateStrategy.Type = "OnDelete"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("with gates: %s", d)
	}
	onDelete := statefulSet(func(set *kruise.StatefulSet) { set.Spec.UpdateStrategy.Type = "OnDelete" })
	if r := Default(onDelete, Options{}).Spec.UpdateStrategy.RollingUpdate; r != nil {
		t.Errorf("OnDelete got %+v", r)
	}
	if bare.Spec.Replicas != nil {
		t.Error("the object that was given changed")
	}
}

var wrongSpecs = map[string]struct {
	change func(*kruise.StatefulSet)
	want   []string // field, value, remedy
}{
	"no selector": {
		func(set *kruise.StatefulSet) { set.Spec.Selector = &metav1.LabelSelector{} }, []string{"spec.selector", "set matchLabels"},
	},
	"a selector that matches nothing": {
		func(set *kruise.StatefulSet) { set.Spec.Selector.MatchLabels["app"] = "other" },
		[]string{"spec.template.metadata.labels", "app=other", "add its labels"},
	},
	"a selector that cannot be read": {
		func(set *kruise.StatefulSet) {
			set.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}
		}, []string{"spec.selector", "Like"},
	},
	"a name that is no label": {
		func(set *kruise.StatefulSet) { set.Name = "web.shop" }, []string{"metadata.name", "web.shop"},
	},
	"another policy": {
		func(set *kruise.StatefulSet) { set.Spec.PodManagementPolicy = "Random" }, []string{"spec.podManagementPolicy", "Random", "Parallel"},
	},
	"replicas": {replicas(-1), []string{"spec.replicas", "-1"}},
	"a reserved range backwards": {
		func(set *kruise.StatefulSet) {
			set.Spec.ReserveOrdinals = []intstr.IntOrString{intstr.FromInt32(1), intstr.FromString("5-3")}
		}, []string{"spec.reserveOrdinals[1]", "5-3", "ends before it starts"},
	},
	"a start below zero": {
		func(set *kruise.StatefulSet) { set.Spec.Ordinals = &kruise.StatefulSetOrdinals{Start: -1} }, []string{"spec.ordinals.start"},
	},
	"pods that end": {
		func(set *kruise.StatefulSet) { set.Spec.Template.Spec.RestartPolicy = "Never" }, []string{"spec.template.spec.restartPolicy", "Always"},
	},
	"a deadline": {
		func(set *kruise.StatefulSet) { set.Spec.Template.Spec.ActiveDeadlineSeconds = new(int64(1)) }, []string{"activeDeadlineSeconds", "remove it"},
	},
	"no containers": {
		func(set *kruise.StatefulSet) { set.Spec.Template.Spec.Containers = nil }, []string{"spec.template.spec.containers"},
	},
	"ordered with more than one down": {maxUnavailable("2"), []string{"rollingUpdate.maxUnavailable", `"2"`, "Parallel"}},
	"ordered with a percentage":       {maxUnavailable("100%"), []string{"rollingUpdate.maxUnavailable", "100%", "Parallel"}},
	"none down":                       {func(set *kruise.StatefulSet) { parallel(set); maxUnavailable("0%")(set) }, []string{"rollingUpdate.maxUnavailable", "above 0"}},
	"fewer than none down":            {func(set *kruise.StatefulSet) { parallel(set); maxUnavailable("-1")(set) }, []string{"rollingUpdate.maxUnavailable", "above 0"}},
	"down in words":                   {func(set *kruise.StatefulSet) { parallel(set); maxUnavailable("half")(set) }, []string{"rollingUpdate.maxUnavailable", `"30%"`}},
	"ordered and scaled by two": {
		func(set *kruise.StatefulSet) {
			set.Spec.ScaleStrategy = &kruise.StatefulSetScaleStrategy{MaxUnavailable: new(intstr.FromInt32(2))}
		}, []string{"spec.scaleStrategy.maxUnavailable", "Parallel"},
	},
	"OnDelete with a rolling update": {
		func(set *kruise.StatefulSet) { partition(1)(set); set.Spec.UpdateStrategy.Type = "OnDelete" }, []string{"rollingUpdate", "remove it"},
	},
	"another type": {
		func(set *kruise.StatefulSet) { set.Spec.UpdateStrategy.Type = "Never" }, []string{"spec.updateStrategy.type", "OnDelete"},
	},
	"a partition below zero": {partition(-1), []string{"rollingUpdate.partition", "-1"}},
	"minReadySeconds": {
		rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) { r.MinReadySeconds = new(int32(301)) }), []string{"rollingUpdate.minReadySeconds", "300"},
	},
	"another update policy": {
		rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) { r.PodUpdatePolicy = "Paint" }), []string{"podUpdatePolicy", "Paint", "ReCreate"},
	},
	"in place without the gate": { // WL-2.16.7
		func(set *kruise.StatefulSet) { inPlaceIfPossible(set); set.Spec.Template.Spec.ReadinessGates = nil },
		[]string{"podUpdatePolicy", "InPlaceUpdateReady", "add it"},
	},
	"ordered and unordered": {
		rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) {
			r.UnorderedUpdate = &kruise.UnorderedUpdateStrategy{}
		}),
		[]string{"unorderedUpdate", "Parallel"},
	},
	"two kinds of priority": {
		func(set *kruise.StatefulSet) {
			parallel(set)
			rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) {
				r.UnorderedUpdate = &kruise.UnorderedUpdateStrategy{PriorityStrategy: &pub.UpdatePriorityStrategy{
					OrderPriority:  []pub.UpdatePriorityOrderTerm{{OrderedKey: "a"}},
					WeightPriority: []pub.UpdatePriorityWeightTerm{{Weight: 1}},
				}}
			})(set)
		}, []string{"unorderedUpdate.priorityStrategy"},
	},
	"another retention": {retention("Burn", "Retain"), []string{"persistentVolumeClaimRetentionPolicy.whenDeleted", "Burn"}},
}

func TestWhatCannotBeRightTouchesNothing(t *testing.T) { // WL-2.3
	for name, tc := range wrongSpecs {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, standard, statefulSet(replicas(1)))
			wrong := statefulSet(tc.change)
			plan := w.loop.Steps.Decide(wrong, seen{}, noon)
			for _, part := range tc.want {
				if !strings.Contains(plan.wrong, part) {
					t.Errorf("%q does not tell %q", plan.wrong, part)
				}
			}
			if err := w.loop.Steps.Act(t.Context(), wrong, plan); err != nil || len(w.Server.Writes()) > 0 {
				t.Errorf("it wrote (%v)", err)
			}
			w.loop.Steps.Report(wrong, seen{}, plan, nil)
			if c := wrong.Status.Conditions; len(c) != 3 || string(c[2].Type) != condition.Stalled || c[2].Status != "True" || c[2].Reason != podset.ReasonInvalidSpec {
				t.Errorf("conditions %+v", c)
			}
		})
	}
}

func TestWhatIsRightPasses(t *testing.T) { // WL-2.3, WL-2.16.4
	for name, change := range map[string]func(*kruise.StatefulSet){
		"as it comes":       func(*kruise.StatefulSet) {},
		"ordered and one":   maxUnavailable("1"),
		"parallel by one %": func(set *kruise.StatefulSet) { parallel(set); maxUnavailable("1%")(set) },
		"OnDelete":          func(set *kruise.StatefulSet) { set.Spec.UpdateStrategy.Type = "OnDelete" },
		"in place":          inPlaceIfPossible,
		"retained":          retention("Delete", "Delete"),
		"reserved": func(set *kruise.StatefulSet) {
			set.Spec.ReserveOrdinals = []intstr.IntOrString{intstr.FromInt32(0), intstr.FromString("3-3")}
		},
	} {
		if errs := Validate(Default(statefulSet(change), standard)); len(errs) > 0 {
			t.Errorf("%s: %v", name, errs)
		}
	}
}

func size(quantity string) func(*kruise.StatefulSet) {
	return func(set *kruise.StatefulSet) {
		set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(quantity)}
	}
}

func class(name string) func(*kruise.StatefulSet) {
	return func(set *kruise.StatefulSet) { set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName = &name }
}

func onPodRollingUpdate(set *kruise.StatefulSet) {
	set.Spec.VolumeClaimUpdateStrategy.Type = kruise.OnPodRollingUpdateVolumeClaimUpdateStrategyType
}

func storageClass(name string, expands *bool, age time.Duration, isDefault bool) storagev1.StorageClass {
	c := storagev1.StorageClass{AllowVolumeExpansion: expands}
	c.Name, c.CreationTimestamp = name, metav1.NewTime(noon.Add(-age))
	if isDefault {
		c.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	}
	return c
}

func TestValidateUpdate(t *testing.T) { // WL-2.3
	inPlaceOnly := rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) {
		r.PodUpdatePolicy = kruise.InPlaceOnlyPodUpdateStrategyType
	})
	fixed, grows := storageClass("fixed", new(false), time.Hour, true), storageClass("grows", new(true), 2*time.Hour, true)
	for name, tc := range map[string]struct {
		from, change func(*kruise.StatefulSet)
		classes      []storagev1.StorageClass
		gateOff      bool
		want         string
	}{
		"what may change": {withClaims, func(set *kruise.StatefulSet) {
			replicas(7)(set)
			toImage("web:2")(set)
			parallelUpdate(set)
			set.Spec.ScaleStrategy = &kruise.StatefulSetScaleStrategy{MaxUnavailable: new(intstr.FromInt32(1))}
			set.Spec.ReserveOrdinals = []intstr.IntOrString{intstr.FromInt32(1)}
			set.Spec.Lifecycle = &pub.Lifecycle{}
			set.Spec.RevisionHistoryLimit = new(int32(2))
			set.Spec.Ordinals = &kruise.StatefulSetOrdinals{Start: 1}
			retention("Delete", "Delete")(set)
			size("2Gi")(set)
		}, nil, false, ""},
		"the selector": {withClaims, func(set *kruise.StatefulSet) {
			set.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}, nil, false, "are forbidden"},
		"the service":                               {withClaims, func(set *kruise.StatefulSet) { set.Spec.ServiceName = "other" }, nil, false, "are forbidden"},
		"the policy":                                {withClaims, parallel, nil, false, "are forbidden"},
		"a size where classes allow it":             {withClaims, many(onPodRollingUpdate, class("grows"), size("2Gi")), []storagev1.StorageClass{fixed, grows}, false, ""},
		"a size where the class does not":           {many(withClaims, class("fixed")), many(onPodRollingUpdate, size("2Gi")), []storagev1.StorageClass{fixed, grows}, false, "allowVolumeExpansion"},
		"a size where the newest default does not":  {withClaims, many(onPodRollingUpdate, size("2Gi")), []storagev1.StorageClass{grows, fixed}, false, "allowVolumeExpansion"},
		"a size without any class":                  {withClaims, many(onPodRollingUpdate, size("2Gi")), nil, false, ""},
		"a size with the gate off":                  {withClaims, many(onPodRollingUpdate, size("2Gi")), []storagev1.StorageClass{fixed}, true, ""},
		"no size where the class does not allow it": {withClaims, onPodRollingUpdate, []storagev1.StorageClass{fixed}, false, ""},
		"another class":                             {many(withClaims, class("fixed")), many(onPodRollingUpdate, class("grows")), nil, false, "storageClassName"},
		"other access modes": {withClaims, many(onPodRollingUpdate, func(set *kruise.StatefulSet) {
			set.Spec.VolumeClaimTemplates[0].Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}
		}), nil, false, "accessModes"},
		"one claim more": {withClaims, many(onPodRollingUpdate, func(set *kruise.StatefulSet) {
			set.Spec.VolumeClaimTemplates = append(set.Spec.VolumeClaimTemplates, corev1.PersistentVolumeClaim{})
		}), nil, false, "number and names"},
		"any claim with type OnDelete": {withClaims, func(set *kruise.StatefulSet) { set.Spec.VolumeClaimTemplates = nil }, nil, false, ""},
		"an image in place only":       {many(inPlaceIfPossible, inPlaceOnly), toImage("web:2"), nil, false, ""},
		"metadata in place only": {many(inPlaceIfPossible, inPlaceOnly), func(set *kruise.StatefulSet) {
			set.Spec.Template.Annotations = map[string]string{"team": "b"}
		}, nil, false, ""},
		"anything else in place only": {many(inPlaceIfPossible, inPlaceOnly), func(set *kruise.StatefulSet) { set.Spec.Template.Spec.HostNetwork = true }, nil, false, "hostNetwork"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{AutoDeletePVC: true, AutoResizePVC: !tc.gateOff}
			old := Default(statefulSet(tc.from), o)
			set := Default(statefulSet(tc.from, tc.change), o)
			errs := ValidateUpdate(old, set, o, tc.classes)
			switch {
			case tc.want == "" && len(errs) > 0:
				t.Error(errs)
			case tc.want != "" && !strings.Contains(errs.ToAggregate().Error(), tc.want):
				t.Errorf("%v does not tell %q", errs, tc.want)
			}
		})
	}
}

func parallelUpdate(set *kruise.StatefulSet) {
	set.Spec.UpdateStrategy = kruise.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
}

func many(changes ...func(*kruise.StatefulSet)) func(*kruise.StatefulSet) {
	return func(set *kruise.StatefulSet) {
		for _, c := range changes {
			c(set)
		}
	}
}
