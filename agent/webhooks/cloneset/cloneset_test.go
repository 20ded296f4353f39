package cloneset

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/flotilla-project/flotilla/agent/webhooks/protection"
	"github.com/flotilla-project/flotilla/pkg/webhook/webhooktest"
)

func cloneSet(changes ...func(*kruise.CloneSet)) *kruise.CloneSet {
	cs := &kruise.CloneSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "users", UID: "uid"},
		Spec: kruise.CloneSetSpec{
			Replicas: new(int32(3)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web:1"}}},
			},
		},
	}
	for _, c := range changes {
		c(cs)
	}
	return cs
}

func inPlaceOnly(cs *kruise.CloneSet) { cs.Spec.UpdateStrategy.Type = "InPlaceOnly" }

func image(name string) func(*kruise.CloneSet) {
	return func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.Containers[0].Image = name }
}

func marks(names ...string) func(*kruise.CloneSet) {
	return func(cs *kruise.CloneSet) { cs.Spec.ScaleStrategy.PodsToDelete = names }
}

func fields(all field.ErrorList) (names []string) {
	for _, e := range all {
		names = append(names, e.Field)
	}
	return names
}

func TestDefault(t *testing.T) { // WL-1.1, WL-0.9
	claimed := func(cs *kruise.CloneSet) { cs.Spec.VolumeClaimTemplates = make([]corev1.PersistentVolumeClaim, 1) }
	for name, tc := range map[string]struct {
		old               *kruise.CloneSet
		without           bool
		wantPull, wantDNS string
		wantClaim         corev1.PersistentVolumeClaimPhase
	}{
		"a new one":                         {wantPull: "Always", wantDNS: "ClusterFirst", wantClaim: "Pending"},
		"its template changed":              {old: cloneSet(claimed, image("web:0")), wantPull: "Always", wantDNS: "ClusterFirst"},
		"its template stays as it was":      {old: cloneSet(claimed)},
		"its claims changed":                {old: cloneSet(), wantClaim: "Pending"},
		"templates are to stay as they are": {without: true},
	} {
		t.Run(name, func(t *testing.T) {
			cs := cloneSet(claimed)
			Default(tc.old, cs, !tc.without)
			pod := cs.Spec.Template.Spec
			if string(pod.Containers[0].ImagePullPolicy) != tc.wantPull || string(pod.DNSPolicy) != tc.wantDNS || cs.Spec.VolumeClaimTemplates[0].Status.Phase != tc.wantClaim {
				t.Errorf("pull policy %q, DNS policy %q, claim %q", pod.Containers[0].ImagePullPolicy, pod.DNSPolicy, cs.Spec.VolumeClaimTemplates[0].Status.Phase)
			}
			if *cs.Spec.UpdateStrategy.MaxUnavailable != intstr.FromString("20%") || *cs.Spec.RevisionHistoryLimit != 10 {
				t.Errorf("%+v", cs.Spec)
			}
		})
	}
}

func TestValidate(t *testing.T) { // WL-1.2
	for name, tc := range map[string]struct {
		old  *kruise.CloneSet
		now  *kruise.CloneSet
		want []string
	}{
		"a good one":                  {now: cloneSet()},
		"a name that is none":         {now: cloneSet(func(cs *kruise.CloneSet) { cs.Name = "A_b" }), want: []string{"metadata.name"}},
		"what the controller refuses": {now: cloneSet(func(cs *kruise.CloneSet) { cs.Spec.Replicas = new(int32(-1)) }), want: []string{"spec.replicas"}},
		"the same pod twice":          {now: cloneSet(marks("a", "b", "a")), want: []string{"spec.scaleStrategy.podsToDelete[2]"}},
		"everything that may change": {
			old: cloneSet(),
			now: cloneSet(image("web:2"), marks("a"), func(cs *kruise.CloneSet) {
				cs.Spec.Replicas, cs.Spec.MinReadySeconds, cs.Spec.RevisionHistoryLimit = new(int32(5)), 3, new(int32(2))
				cs.Spec.UpdateStrategy.Paused = true
			}),
		},
		"another selector": {
			old: cloneSet(),
			now: cloneSet(func(cs *kruise.CloneSet) {
				cs.Spec.Selector.MatchLabels["b"], cs.Spec.Template.Labels["b"] = "c", "c"
			}),
			want: []string{"spec.selector"},
		},
		"an image, in place":                  {old: cloneSet(inPlaceOnly), now: cloneSet(inPlaceOnly, image("web:2"))},
		"labels, in place":                    {old: cloneSet(inPlaceOnly), now: cloneSet(inPlaceOnly, func(cs *kruise.CloneSet) { cs.Spec.Template.Labels["b"] = "c" })},
		"in place from now on, and more":      {old: cloneSet(), now: cloneSet(inPlaceOnly, func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.NodeName = "n" }), want: []string{"spec.template.spec"}},
		"defaults that came with the webhook": {old: cloneSet(inPlaceOnly), now: filled(cloneSet(inPlaceOnly, image("web:2")))},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, fields(Validate(tc.old, tc.now))); d != "" {
				t.Error(d)
			}
		})
	}
}

func filled(cs *kruise.CloneSet) *kruise.CloneSet {
	Default(nil, cs, true)
	return cs
}

func TestPodsToDelete(t *testing.T) { // WL-1.2
	owned := func(uid types.UID) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{UID: uid, Controller: new(true)}}}}
	}
	leaving := owned("uid")
	leaving.DeletionTimestamp = new(metav1.Now())
	cs := cloneSet(marks("old", "good", "missing", "leaving", "foreign"))
	pods := map[string]*corev1.Pod{"good": owned("uid"), "missing": nil, "leaving": leaving, "foreign": owned("other")}
	at := "spec.scaleStrategy.podsToDelete"
	if d := cmp.Diff([]string{at + "[2]", at + "[3]", at + "[4]"}, fields(ValidateMarked(cs, pods))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"good", "missing", "leaving", "foreign"}, Marked(cloneSet(marks("old")), cs)); d != "" {
		t.Error(d)
	}
}

type judge struct {
	asked int
	says  field.ErrorList
}

func (j *judge) Judge(context.Context, string, *corev1.PodTemplateSpec) (field.ErrorList, error) {
	j.asked++
	return j.says, nil
}

func TestValidator(t *testing.T) { // WL-1.2, WL-7.2
	protected := func(cs *kruise.CloneSet) {
		cs.Labels = map[string]string{"policy.kruise.io/delete-protection": "Always"}
	}
	wrong := field.ErrorList{field.Required(field.NewPath("spec", "template", "spec", "containers").Index(0).Child("image"), "")}
	for name, tc := range map[string]struct {
		operation admissionv1.Operation
		old, now  *kruise.CloneSet
		judge     judge
		asked     int
		code      int32
		says      string
	}{
		"a good one":                 {operation: "CREATE", now: cloneSet(), asked: 1, code: http.StatusOK},
		"a bad template":             {operation: "CREATE", now: cloneSet(), judge: judge{says: wrong}, asked: 1, code: 422, says: "spec.template.spec.containers[0].image"},
		"the template stays":         {operation: "UPDATE", old: cloneSet(), now: cloneSet(func(cs *kruise.CloneSet) { cs.Spec.Replicas = new(int32(9)) }), judge: judge{says: wrong}, code: http.StatusOK},
		"a pod that is not there":    {operation: "UPDATE", old: cloneSet(), now: cloneSet(marks("gone")), code: 422, says: "there is no such pod"},
		"one that was named before":  {operation: "UPDATE", old: cloneSet(marks("gone")), now: cloneSet(marks("gone"), func(cs *kruise.CloneSet) { cs.Spec.Replicas = new(int32(9)) }), code: http.StatusOK},
		"removal":                    {operation: "DELETE", old: cloneSet(), code: http.StatusOK},
		"removal of a protected one": {operation: "DELETE", old: cloneSet(protected), code: http.StatusForbidden, says: "remove the label first"},
	} {
		t.Run(name, func(t *testing.T) {
			handler := Validator(fake.NewClientBuilder().Build(), &tc.judge, &protection.Guard{})
			got := webhooktest.Ask(t, handler, tc.operation, tc.old, tc.now)
			if got.Result.Code != tc.code || !strings.Contains(got.Result.Message, tc.says) || tc.judge.asked != tc.asked {
				t.Errorf("asked %d, answered %+v", tc.judge.asked, got.Result)
			}
		})
	}
}
