package daemonset

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func ptr(n int) *intstr.IntOrString { return new(intstr.FromInt32(int32(n))) }

func TestDefault(t *testing.T) { // WL-3.1
	for name, tc := range map[string]struct {
		in, want kruise.DaemonSetUpdateStrategy
	}{
		"nothing": {want: kruise.DaemonSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &kruise.RollingUpdateDaemonSet{
			Type: "Standard", MaxUnavailable: ptr(1), MaxSurge: ptr(0)}}},
		"on delete": {in: kruise.DaemonSetUpdateStrategy{Type: "OnDelete"}, want: kruise.DaemonSetUpdateStrategy{Type: "OnDelete"}},
		"surging": {in: kruise.DaemonSetUpdateStrategy{RollingUpdate: &kruise.RollingUpdateDaemonSet{Type: "Surging"}}, // WL-3.12.1
			want: kruise.DaemonSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &kruise.RollingUpdateDaemonSet{
				Type: "Standard", MaxUnavailable: ptr(0), MaxSurge: ptr(1)}}},
		"surging by more": {in: kruise.DaemonSetUpdateStrategy{RollingUpdate: &kruise.RollingUpdateDaemonSet{Type: "Surging", MaxSurge: ptr(3)}},
			want: kruise.DaemonSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &kruise.RollingUpdateDaemonSet{
				Type: "Standard", MaxUnavailable: ptr(0), MaxSurge: ptr(3)}}},
		"only one budget": {in: kruise.DaemonSetUpdateStrategy{RollingUpdate: &kruise.RollingUpdateDaemonSet{Type: "InPlaceIfPossible", MaxUnavailable: ptr(2)}},
			want: kruise.DaemonSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &kruise.RollingUpdateDaemonSet{
				Type: "InPlaceIfPossible", MaxUnavailable: ptr(2)}}},
	} {
		t.Run(name, func(t *testing.T) {
			ds := daemonSet()
			ds.Spec.UpdateStrategy = tc.in
			got := Default(ds)
			if d := cmp.Diff(tc.want, got.Spec.UpdateStrategy); d != "" {
				t.Error(d)
			}
			if got.Spec.BurstReplicas.IntVal != 250 || *got.Spec.RevisionHistoryLimit != 10 || ds.Spec.BurstReplicas != nil {
				t.Errorf("burst %v, limit %v", got.Spec.BurstReplicas, got.Spec.RevisionHistoryLimit)
			}
			if d := cmp.Diff(got, Default(got)); d != "" {
				t.Errorf("defaults are not stable: %s", d)
			}
		})
	}
}

func TestValidate(t *testing.T) { // WL-3.1
	template := func(f func(*corev1.PodSpec)) func(*kruise.DaemonSet) {
		return func(ds *kruise.DaemonSet) { f(&ds.Spec.Template.Spec) }
	}
	disk := func(readOnly bool) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "d", VolumeSource: corev1.VolumeSource{GCEPersistentDisk: &corev1.GCEPersistentDiskVolumeSource{PDName: "x", ReadOnly: readOnly}}}}
		}
	}
	for name, tc := range map[string]struct {
		change func(*kruise.DaemonSet)
		want   []string // fields; none: it is valid
	}{
		"as it is":               {func(*kruise.DaemonSet) {}, nil},
		"empty selector":         {func(ds *kruise.DaemonSet) { ds.Spec.Selector = &metav1.LabelSelector{} }, []string{"spec.selector"}},
		"malformed selector":     {func(ds *kruise.DaemonSet) { ds.Spec.Selector.MatchLabels = map[string]string{"a b": "c"} }, []string{"spec.selector"}},
		"other labels":           {func(ds *kruise.DaemonSet) { ds.Spec.Template.Labels = nil }, []string{"spec.template.metadata.labels"}},
		"no containers":          {template(func(s *corev1.PodSpec) { s.Containers = nil }), []string{"spec.template.spec.containers"}},
		"restart always":         {template(func(s *corev1.PodSpec) { s.RestartPolicy = corev1.RestartPolicyAlways }), nil},
		"restart never":          {template(func(s *corev1.PodSpec) { s.RestartPolicy = corev1.RestartPolicyNever }), []string{"spec.template.spec.restartPolicy"}},
		"deadline":               {template(func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = new(int64(1)) }), []string{"spec.template.spec.activeDeadlineSeconds"}},
		"disk to write":          {template(disk(false)), []string{"spec.template.spec.volumes[0].gcePersistentDisk.readOnly"}},
		"disk to read":           {template(disk(true)), nil},
		"unreadable affinity":    {template(func(s *corev1.PodSpec) { s.Affinity = required("a", "Like") }), []string{"spec.template.spec.affinity.nodeAffinity"}},
		"negative ready seconds": {func(ds *kruise.DaemonSet) { ds.Spec.MinReadySeconds = -1 }, []string{"spec.minReadySeconds"}},
		"negative history":       {func(ds *kruise.DaemonSet) { ds.Spec.RevisionHistoryLimit = new(int32(-1)) }, []string{"spec.revisionHistoryLimit"}},
		"malformed burst":        {func(ds *kruise.DaemonSet) { ds.Spec.BurstReplicas = new(intstr.FromString("x")) }, []string{"spec.burstReplicas"}},
		"update hook":            {func(ds *kruise.DaemonSet) { ds.Spec.Lifecycle = &pub.Lifecycle{InPlaceUpdate: &pub.LifecycleHook{}} }, []string{"spec.lifecycle.inPlaceUpdate"}},
		"delete hook":            {func(ds *kruise.DaemonSet) { ds.Spec.Lifecycle = &pub.Lifecycle{PreDelete: &pub.LifecycleHook{}} }, nil},
		"on delete":              {func(ds *kruise.DaemonSet) { ds.Spec.UpdateStrategy.Type = "OnDelete" }, nil},
		"unknown type":           {func(ds *kruise.DaemonSet) { ds.Spec.UpdateStrategy.Type = "Sometimes" }, []string{"spec.updateStrategy.type"}},
		"unknown rolling type":   {rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.Type = "Slow" }), []string{"spec.updateStrategy.rollingUpdate.rollingUpdateType"}},
		"both budgets zero":      {rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.MaxUnavailable, r.MaxSurge = ptr(0), ptr(0) }), []string{"spec.updateStrategy.rollingUpdate.maxUnavailable"}}, // WL-3.12.2
		"both budgets":           {rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.MaxUnavailable, r.MaxSurge = ptr(1), ptr(1) }), []string{"spec.updateStrategy.rollingUpdate.maxSurge"}},       // WL-3.12.2
		"surge alone":            {maxSurge("10%"), nil},
		"zero percent":           {maxUnavailable("0%"), []string{"spec.updateStrategy.rollingUpdate.maxUnavailable"}},
		"over a hundred percent": {maxUnavailable("101%"), []string{"spec.updateStrategy.rollingUpdate.maxUnavailable"}},
		"over a hundred":         {maxUnavailable("101"), nil},
		"negative":               {maxUnavailable("-1"), []string{"spec.updateStrategy.rollingUpdate.maxUnavailable"}},
		"malformed":              {maxUnavailable("many"), []string{"spec.updateStrategy.rollingUpdate.maxUnavailable"}},
		"in place with surge":    {rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.Type, r.MaxSurge = kruise.InplaceRollingUpdateType, ptr(1) }), []string{"spec.updateStrategy.rollingUpdate.maxSurge"}},
		"negative partition":     {partition(-1), []string{"spec.updateStrategy.rollingUpdate.partition"}},
		"malformed node selector": {rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) {
			r.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a b": ""}}
		}), []string{"spec.updateStrategy.rollingUpdate.selector"}},
	} {
		t.Run(name, func(t *testing.T) {
			ds := daemonSet(tc.change)
			var got []string
			for _, e := range Validate(nil, Default(ds)) {
				got = append(got, e.Field)
				if strings.TrimSpace(e.Detail) == "" {
					t.Errorf("%s: nothing says what to do", e.Field)
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSurgingLeavesNothingUnavailable(t *testing.T) { // WL-3.1: before defaults rewrite the type
	ds := daemonSet(rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.Type, r.MaxUnavailable = "Surging", ptr(1) }))
	ds.Spec.UpdateStrategy.Type = "RollingUpdate"
	if errs := Validate(nil, ds); len(errs) != 1 || errs[0].Field != "spec.updateStrategy.rollingUpdate.maxUnavailable" {
		t.Error(errs)
	}
}

func TestOnlySomeFieldsMayChange(t *testing.T) { // WL-3.1
	old := Default(daemonSet())
	same := Default(daemonSet(toImage("logs:2"), maxUnavailable("3"), func(ds *kruise.DaemonSet) { ds.Spec.MinReadySeconds = 3 }))
	if errs := Validate(old, same); len(errs) != 0 {
		t.Error(errs)
	}
	other := old.DeepCopy()
	other.Spec.Selector.MatchLabels["tier"], other.Spec.Template.Labels["tier"] = "x", "x"
	if errs := Validate(old, other); len(errs) != 1 || errs[0].Field != "spec" {
		t.Error(errs)
	}
}
