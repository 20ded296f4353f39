package manifestwork

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	workv1 "open-cluster-management.io/api/work/v1"
)

func holding(manifests ...string) workv1.ManifestWorkSpec {
	var spec workv1.ManifestWorkSpec
	for _, m := range manifests {
		spec.Workload.Manifests = append(spec.Workload.Manifests, workv1.Manifest{RawExtension: runtime.RawExtension{Raw: []byte(m)}})
	}
	return spec
}

func as(namespace, name string) workv1.ManifestWorkSpec {
	spec := holding(configMap("web"))
	spec.Executor = &workv1.ManifestWorkExecutor{Subject: workv1.ManifestWorkExecutorSubject{
		Type: workv1.ExecutorSubjectTypeServiceAccount, ServiceAccount: &workv1.ManifestWorkSubjectServiceAccount{Namespace: namespace, Name: name},
	}}
	return spec
}

func configMap(name string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default","name":%q}}`, name)
}

// OCM-9.3: every refusal is HTTP 400.
func TestValidate(t *testing.T) {
	const secret = `{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":"default","name":"web"}}`
	nobody := holding(secret)
	nobody.Executor = &workv1.ManifestWorkExecutor{Subject: workv1.ManifestWorkExecutorSubject{Type: workv1.ExecutorSubjectTypeServiceAccount}}
	exactly := configMap(strings.Repeat("x", DefaultLimit-len(configMap(""))))
	for name, tc := range map[string]struct {
		spec workv1.ManifestWorkSpec
		want string
	}{
		"one manifest":             {holding(secret), ""},
		"two kinds of one name":    {holding(configMap("web"), secret), ""},
		"two versions of one kind": {holding(secret, strings.Replace(secret, "v1", "v2", 1)), ""},
		"two namespaces":           {holding(secret, strings.Replace(secret, "default", "other", 1)), ""},
		"no manifest":              {holding(), "manifests should not be empty"},
		"as large as may be":       {holding(exactly), ""},
		"a byte too large":         {holding(exactly, "0"), "the size of manifests is 512001 bytes which exceeds the 512000 limit"},
		"no object":                {holding(secret, `"x"`), "spec.workload.manifests[1]: it is no object"},
		"no kind":                  {holding(`{"apiVersion":"v1","metadata":{"name":"a"}}`), "spec.workload.manifests[0]: every manifest needs apiVersion and kind"},
		"no name":                  {holding(secret, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"a"}}`), "spec.workload.manifests[1].metadata.name: every manifest needs a name"},
		"a generated name":         {holding(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"x-"}}`), "metadata.generateName x- is not allowed"},
		"a name and a generated":   {holding(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","generateName":"x-"}}`), "metadata.generateName x- is not allowed"},
		"one twice":                {holding(secret, configMap("web"), secret), "spec.workload.manifests[2]: the manifest of v1 Secret default/web is there twice, first at 0"},
		"an executor":              {as("apps", "deployer"), ""},
		"an executor, no account":  {nobody, "name the service account"},
		"an executor, no name":     {as("apps", ""), "name the service account"},
		"an executor, no place":    {as("", "deployer"), "name the service account"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Validate(tc.spec, DefaultLimit)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// OCM-9.3
func TestAsks(t *testing.T) {
	const deployer, itself = "system:serviceaccount:apps:deployer", "system:serviceaccount::klusterlet-work-sa"
	none, one, other := holding(configMap("web")), as("apps", "deployer"), as("apps", "admin")
	for name, tc := range map[string]struct {
		old    *workv1.ManifestWorkSpec
		spec   workv1.ManifestWorkSpec
		nilToo bool
		want   string
	}{
		"no executor":                               {nil, none, false, ""},
		"no executor, and that takes a right":       {nil, none, true, itself},
		"still none":                                {&none, holding(configMap("b")), true, ""},
		"an executor":                               {nil, one, false, deployer},
		"other manifests under the same":            {&one, as("apps", "deployer"), false, ""},
		"another executor":                          {&other, one, false, deployer},
		"one that had none":                         {&none, one, false, deployer},
		"none any more":                             {&one, none, false, ""},
		"none any more, and that takes a right":     {&one, none, true, itself},
		"an executor, where none takes a right too": {&none, one, true, deployer},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, a := range Asks(tc.old, tc.spec, "east", "eve", tc.nilToo) {
				got = a.What.Name
				if w := a.What; w.Verb != "execute-as" || w.Group != "work.open-cluster-management.io" || w.Resource != "manifestworks" || w.Namespace != "east" {
					t.Errorf("%+v", w)
				}
				if !apierrors.IsBadRequest(a.Refusal) || !strings.Contains(a.Refusal.Error(), "user eve may not have works executed as "+got) {
					t.Errorf("%v", a.Refusal)
				}
			}
			if got != tc.want {
				t.Errorf("asks for %q", got)
			}
		})
	}
	if a := Asks(nil, one, "", "eve", false); len(a) != 1 || !strings.Contains(a[0].Refusal.Error(), "in all namespaces") {
		t.Errorf("a template: %v", a)
	}
}
