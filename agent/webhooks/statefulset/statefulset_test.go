package statefulset

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	alpha "github.com/openkruise/kruise-api/apps/v1alpha1"
	beta "github.com/openkruise/kruise-api/apps/v1beta1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	controller "github.com/flotilla-project/flotilla/agent/controllers/statefulset"
	"github.com/flotilla-project/flotilla/agent/webhooks/protection"
	"github.com/flotilla-project/flotilla/pkg/webhook/webhooktest"
)

func set(changes ...func(*beta.StatefulSet)) *beta.StatefulSet {
	s := &beta.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps.kruise.io/v1beta1", Kind: "StatefulSet"},
		ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "users"},
		Spec: beta.StatefulSetSpec{
			Replicas: new(int32(3)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "db"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "db:1"}}},
			},
		},
	}
	for _, c := range changes {
		c(s)
	}
	return s
}

func image(name string) func(*beta.StatefulSet) {
	return func(s *beta.StatefulSet) { s.Spec.Template.Spec.Containers[0].Image = name }
}

func inPlaceOnly(s *beta.StatefulSet) {
	s.Spec.Template.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "InPlaceUpdateReady"}}
	s.Spec.UpdateStrategy.RollingUpdate = &beta.RollingUpdateStatefulSetStrategy{PodUpdatePolicy: "InPlaceOnly"}
}

var gates = controller.Options{AutoDeletePVC: true, AutoResizePVC: true}

type judge struct{ says field.ErrorList }

func (j judge) Judge(context.Context, string, *corev1.PodTemplateSpec) (field.ErrorList, error) {
	return j.says, nil
}

func TestDefaultsOfBothVersions(t *testing.T) { // WL-2.1, WL-0.9
	rules := Rules{Gates: gates, Templates: true}
	got := &beta.StatefulSet{}
	filled(t, rules, set(), got)
	if got.Spec.PodManagementPolicy != "OrderedReady" || *got.Spec.RevisionHistoryLimit != 10 || got.Spec.PersistentVolumeClaimRetentionPolicy.WhenScaled != "Retain" ||
		got.Spec.Template.Spec.Containers[0].ImagePullPolicy != "Always" || *got.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable != intstr.FromInt32(1) {
		t.Errorf("%+v", got.Spec)
	}
	old, err := toAlpha(set())
	if err != nil {
		t.Fatal(err)
	}
	old.APIVersion = "apps.kruise.io/v1alpha1"
	mid := &alpha.StatefulSet{}
	filled(t, rules, old, mid)
	want, err := toAlpha(got)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Spec, mid.Spec); d != "" {
		t.Error(d)
	}
	same := set()
	rules.Default(set(), same)
	if same.Spec.Template.Spec.DNSPolicy != "" {
		t.Error("a template that did not change was filled in")
	}
}

// filled asks the handler about a new object and applies its answer.
func filled[T any, P interface {
	*T
	client.Object
}](t *testing.T, rules Rules, in P, out any) {
	t.Helper()
	answer := webhooktest.Ask(t, rules.Defaulter(), admissionv1.Create, nil, in)
	if !answer.Allowed {
		t.Fatal(answer.Result)
	}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(answer.Patch)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = patch.Apply(raw); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
}

func TestValidator(t *testing.T) { // WL-2.3, WL-7.2
	wrong := field.ErrorList{field.Required(field.NewPath("spec", "template", "spec", "containers").Index(0).Child("image"), "")}
	grows := func(size string) func(*beta.StatefulSet) {
		return func(s *beta.StatefulSet) {
			s.Spec.VolumeClaimUpdateStrategy.Type = "OnPodRollingUpdate"
			s.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: size}}}
		}
	}
	for name, tc := range map[string]struct {
		operation admissionv1.Operation
		old, now  *beta.StatefulSet
		judge     judge
		code      int32
		says      string
	}{
		"a good one":               {operation: "CREATE", now: set(), code: 200},
		"a name with dots":         {operation: "CREATE", now: set(func(s *beta.StatefulSet) { s.Name = "a.b" }), code: 422, says: "metadata.name"},
		"a bad template":           {operation: "CREATE", now: set(), judge: judge{wrong}, code: 422, says: "containers[0].image"},
		"the template stays":       {operation: "UPDATE", old: set(), now: set(func(s *beta.StatefulSet) { s.Spec.Replicas = new(int32(5)) }), judge: judge{wrong}, code: 200},
		"another service":          {operation: "UPDATE", old: set(), now: set(func(s *beta.StatefulSet) { s.Spec.ServiceName = "x" }), code: 422, says: "forbidden"},
		"an image, in place":       {operation: "UPDATE", old: set(inPlaceOnly), now: set(inPlaceOnly, image("db:2")), code: 200},
		"more than that, in place": {operation: "UPDATE", old: set(inPlaceOnly), now: set(inPlaceOnly, func(s *beta.StatefulSet) { s.Spec.Template.Spec.NodeName = "n" }), code: 422, says: "InPlaceOnly"},
		"defaults that came with the webhook": {operation: "UPDATE", old: set(inPlaceOnly), now: set(inPlaceOnly, image("db:2"), func(s *beta.StatefulSet) {
			(Rules{Gates: gates, Templates: true}).Default(nil, s)
		}), code: 200},
		"other claims": {operation: "UPDATE", old: set(grows("a")), now: set(grows("b")), code: 422, says: "spec.volumeClaimTemplates"},
		"removal":      {operation: "DELETE", old: set(), code: 200},
		"a protected one": {operation: "DELETE", old: set(func(s *beta.StatefulSet) {
			s.Labels = map[string]string{"policy.kruise.io/delete-protection": "Cascading"}
		}), code: http.StatusForbidden, says: "3 replicas"},
		"an unknown label": {operation: "DELETE", old: set(func(s *beta.StatefulSet) { s.Labels = map[string]string{"policy.kruise.io/delete-protection": "No"} }), code: 200},
	} {
		t.Run(name, func(t *testing.T) {
			rules := Rules{Gates: gates, Guard: &protection.Guard{}, Judge: tc.judge, API: fake.NewClientBuilder().Build()}
			answered(t, webhooktest.Ask(t, rules.Validator(), tc.operation, tc.old, tc.now), tc.code, tc.says)
			answered(t, webhooktest.Ask(t, Rules{Gates: gates, Judge: judge{}, API: rules.API}.Validator(), "DELETE", set(), nil), 200, "")
		})
	}
	old, err := toAlpha(set())
	if err != nil {
		t.Fatal(err)
	}
	old.APIVersion, old.Spec.Replicas = "apps.kruise.io/v1alpha1", new(int32(-1))
	answered(t, webhooktest.Ask(t, Rules{Judge: judge{}}.Validator(), "CREATE", nil, old), 422, "spec.replicas")
}

func answered(t *testing.T, got *admissionv1.AdmissionResponse, code int32, says string) {
	t.Helper()
	if got.Result.Code != code || !strings.Contains(got.Result.Message, says) {
		t.Errorf("%+v", got.Result)
	}
}

func TestStorageClassesThatCannotBeReadAreNoExcuse(t *testing.T) { // WL-2.3
	broken := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("no")
		},
	})
	rolling := func(s *beta.StatefulSet) { s.Spec.VolumeClaimUpdateStrategy.Type = "OnPodRollingUpdate" }
	more := func(s *beta.StatefulSet) { s.Spec.VolumeClaimTemplates = make([]corev1.PersistentVolumeClaim, 1) }
	rules := Rules{Gates: gates, Judge: judge{}, API: broken}
	answered(t, webhooktest.Ask(t, rules.Validator(), "UPDATE", set(rolling), set(rolling, more)), 500, "")
	answered(t, webhooktest.Ask(t, rules.Validator(), "UPDATE", set(rolling), set(rolling, func(s *beta.StatefulSet) { s.Spec.Replicas = new(int32(1)) })), 200, "")
}

func TestConvert(t *testing.T) { // WL-2.2
	full := set(func(s *beta.StatefulSet) {
		s.Annotations = map[string]string{"a": "b"}
		s.Generation = 1<<60 + 1
		s.Spec.ServiceName, s.Spec.PodManagementPolicy, s.Spec.RevisionHistoryLimit = "db", "Parallel", new(int32(3))
		s.Spec.UpdateStrategy = beta.StatefulSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &beta.RollingUpdateStatefulSetStrategy{
			Partition: new(int32(1)), MaxUnavailable: new(intstr.FromString("50%")), PodUpdatePolicy: "InPlaceOnly", Paused: true, MinReadySeconds: new(int32(2)),
			UnorderedUpdate: &beta.UnorderedUpdateStrategy{},
		}}
		s.Status = beta.StatefulSetStatus{Replicas: 3, CurrentRevision: "a", LabelSelector: "app=db", CollisionCount: new(int32(1))}
	})
	lossy := full.DeepCopy()
	lossy.Spec.ReserveOrdinals, lossy.Spec.ScaleStrategy = []intstr.IntOrString{intstr.FromInt32(1)}, &beta.StatefulSetScaleStrategy{}
	lossy.Spec.Ordinals, lossy.Spec.VolumeClaimUpdateStrategy.Type = &beta.StatefulSetOrdinals{Start: 1}, "OnDelete"
	lossy.Status.UpdatedReadyReplicas, lossy.Status.VolumeClaims = 2, []beta.VolumeClaimStatus{{}}
	mid := &alpha.StatefulSet{}
	converted(t, lossy, "apps.kruise.io/v1alpha1", mid)
	if mid.APIVersion != "apps.kruise.io/v1alpha1" || mid.Spec.ServiceName != "db" || mid.Generation != 1<<60+1 {
		t.Errorf("%+v", mid)
	}
	back := &beta.StatefulSet{}
	converted(t, mid, "apps.kruise.io/v1beta1", back)
	if d := cmp.Diff(full, back); d != "" { // and what v1alpha1 does not know is gone
		t.Error(d)
	}
	again := &beta.StatefulSet{}
	converted(t, lossy, "apps.kruise.io/v1beta1", again)
	if d := cmp.Diff(lossy, again); d != "" {
		t.Error(d)
	}
}

func converted(t *testing.T, from any, to string, into any) {
	t.Helper()
	raw, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Convert(raw, to)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = json.Marshal(out); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeConvertedIsNamed(t *testing.T) {
	for _, tc := range [][2]string{
		{`{"apiVersion":"apps.kruise.io/v1beta1","kind":"CloneSet"}`, "apps.kruise.io/v1alpha1"},
		{`{"apiVersion":"apps/v1","kind":"StatefulSet"}`, "apps.kruise.io/v1alpha1"},
		{`{"apiVersion":"apps.kruise.io/v1beta1","kind":"StatefulSet"}`, "apps.kruise.io/v2"},
		{`[`, "apps.kruise.io/v1alpha1"},
	} {
		if out, err := Convert([]byte(tc[0]), tc[1]); err == nil {
			t.Errorf("%s: %v", tc[0], out)
		}
	}
}
