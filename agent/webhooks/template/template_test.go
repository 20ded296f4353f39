package template

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var podTemplates = corev1.SchemeGroupVersion.WithKind("PodTemplate").GroupKind()

func refusal(all ...*field.Error) error { return apierrors.NewInvalid(podTemplates, "", all) }

func TestProblemsAreThoseOfTheTemplate(t *testing.T) { // WL-1.2
	at := field.NewPath("template", "spec", "containers").Index(0)
	for name, tc := range map[string]struct {
		err  error
		want []string
	}{
		"a bad value": {
			refusal(field.Invalid(at.Child("name"), "A b", "a DNS label")),
			[]string{`spec.template.spec.containers[0].name: Invalid value: "A b": a DNS label`},
		},
		"something missing, and something unknown": {
			refusal(field.Required(at.Child("image"), ""), field.NotSupported(at.Child("imagePullPolicy"), "No", []string{"Never"})),
			[]string{`spec.template.spec.containers[0].image: Required value`, `spec.template.spec.containers[0].imagePullPolicy: Unsupported value: "No": supported values: "Never"`},
		},
		"what is wrong with the question": {err: refusal(field.Invalid(field.NewPath("metadata", "name"), "x", "no"))},
		"a policy":                        {err: apierrors.NewForbidden(corev1.Resource("podtemplates"), "", errors.New("no"))},
	} {
		t.Run(name, func(t *testing.T) {
			problems, ok := Problems(tc.err)
			var got []string
			for _, p := range problems {
				got = append(got, p.Error())
			}
			if d := cmp.Diff(tc.want, got); d != "" || ok != (len(tc.want) > 0) {
				t.Error(ok, d)
			}
		})
	}
}

// server answers in one namespace and counts what is asked.
func server(namespace string, answer error, asked *[]string) client.Client {
	return interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			options := (&client.CreateOptions{}).ApplyOptions(opts)
			*asked = append(*asked, o.GetNamespace())
			switch {
			case len(options.DryRun) == 0:
				return errors.New("this is no dry run")
			case o.GetNamespace() != namespace:
				return apierrors.NewNotFound(corev1.Resource("namespaces"), o.GetNamespace())
			}
			return answer
		},
	})
}

func TestTheServerIsAskedAtHome(t *testing.T) {
	wrong := refusal(field.Required(field.NewPath("template", "spec", "containers"), ""))
	for name, tc := range map[string]struct {
		namespace string
		answer    error
		asked     []string
		problems  int
		unknown   bool
	}{
		"all is well":             {namespace: "home", asked: []string{"home"}},
		"something is wrong":      {namespace: "home", answer: wrong, asked: []string{"home"}, problems: 1},
		"there is no home":        {namespace: "users", answer: wrong, asked: []string{"home", "users"}, problems: 1},
		"the server does not say": {namespace: "home", answer: apierrors.NewInternalError(errors.New("no")), asked: []string{"home"}, unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			j := NewServer(server(tc.namespace, tc.answer, &asked), "home")
			problems, err := j.Judge(t.Context(), "users", &corev1.PodTemplateSpec{})
			if len(problems) != tc.problems || (err != nil) != tc.unknown {
				t.Error(problems, err)
			}
			if d := cmp.Diff(tc.asked, asked); d != "" {
				t.Error(d)
			}
			if tc.unknown && len(Add(t.Context(), j, "users", &corev1.PodTemplateSpec{}, nil)) != 0 {
				t.Error("a template that nobody judged is refused")
			}
		})
	}
}

func TestNothingIsSaidTwice(t *testing.T) {
	var asked []string
	at := field.NewPath("template", "spec", "containers")
	j := NewServer(server("home", refusal(field.Required(at, ""), field.Required(at.Index(1).Child("image"), "")), &asked), "home")
	known := field.ErrorList{field.Required(field.NewPath("spec", "template", "spec", "containers"), "a pod needs at least one container")}
	if got := Add(t.Context(), j, "users", &corev1.PodTemplateSpec{}, known); len(got) != 2 || got[1].Field != "spec.template.spec.containers[1].image" {
		t.Error(got)
	}
}

func TestClaimsBecomeVolumes(t *testing.T) { // WL-1.2
	bare := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "data"}, {Name: "tmp"}}}}
	claims := make([]corev1.PersistentVolumeClaim, 2)
	claims[0].Name, claims[1].Name = "data", "logs"
	var got []string
	for _, v := range WithClaims(bare, claims).Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			v.Name += " from " + v.PersistentVolumeClaim.ClaimName
		}
		got = append(got, v.Name)
	}
	if d := cmp.Diff([]string{"data from data", "tmp", "logs from logs"}, got); d != "" {
		t.Error(d)
	}
	if bare.Spec.Volumes[0].PersistentVolumeClaim != nil {
		t.Error("the template that was given changed")
	}
}
