package template

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	workv1 "open-cluster-management.io/api/work/v1"
)

func rendered(t *testing.T, in input) []manifest {
	t.Helper()
	all, err := render(in)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func deployment(t *testing.T, in input) (d appsv1.Deployment) {
	t.Helper()
	if err := utiljson.Unmarshal(rendered(t, in)[0].raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// OCM-19.5: the three values of the clause, those that people add, and what nobody knows.
func TestValuesAreFilledIn(t *testing.T) {
	c := deploymentConfig()
	c.Spec.CustomizedVariables = []addonv1alpha1.CustomizedVariable{{Name: "LEVEL", Value: `say "hi"`}, {Name: "CLUSTER_NAME", Value: "west"}}
	d := deployment(t, input{cluster: "east", addon: "logs", namespace: "place", template: registered(tmpl(agent)), config: c})
	container := d.Spec.Template.Spec.Containers[0]
	want := []string{"--cluster=east", "--hub=/managed/hub-kubeconfig/kubeconfig", `--level=say "hi"`, "--other={{OTHER}}"}
	if diff := cmp.Diff(want, container.Args); diff != "" || d.Namespace != "place" {
		t.Errorf("%s in %s", diff, d.Namespace)
	}
	env := map[string]string{}
	for _, e := range container.Env {
		env[e.Name] = e.Value
	}
	wantEnv := map[string]string{"LEVEL": "mine", "CLUSTER_NAME": "east", "INSTALL_NAMESPACE": "place", "HUB_KUBECONFIG": "/managed/hub-kubeconfig/kubeconfig"}
	if diff := cmp.Diff(wantEnv, env); diff != "" {
		t.Error(diff)
	}
}

// OCM-19.4, OCM-19.5: credentials are mounted from the secrets that the cluster's agent writes.
func TestCredentialsAreMounted(t *testing.T) {
	spec := deployment(t, input{cluster: "east", addon: "logs", template: custom(registered(tmpl(agent)))}).Spec.Template.Spec
	var got []string
	for i, v := range spec.Volumes {
		got = append(got, fmt.Sprintf("%s %s %s", v.Name, v.Secret.SecretName, spec.Containers[0].VolumeMounts[i].MountPath))
	}
	want := []string{"example-com-signer logs-example.com-signer-client-cert /managed/example.com-signer", "hub-kubeconfig logs-hub-kubeconfig /managed/hub-kubeconfig"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if spec := deployment(t, input{cluster: "east", addon: "logs", template: tmpl(agent)}).Spec.Template.Spec; len(spec.Volumes) != 0 || strings.Contains(spec.Containers[0].Args[1], "/managed") {
		t.Errorf("an add-on without registration has no kubeconfig: %+v", spec)
	}
}

// OCM-19.4: what is in the template's own namespace moves, with whoever is bound there.
func TestAnAddOnMovesToItsNamespace(t *testing.T) {
	of := tmpl(agent, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"home"}}`,
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"b","namespace":"kube-system"},"subjects":[{"kind":"ServiceAccount","name":"a","namespace":"home"},{"kind":"ServiceAccount","name":"a","namespace":"else"}]}`)
	c := deploymentConfig()
	c.Spec.AgentInstallNamespace = "moved"
	for want, in := range map[string]input{"home": {template: of}, "moved": {template: of, config: c}} {
		in.namespace = namespaceOf(logs("h"), in)
		var got []string
		for _, m := range rendered(t, in) {
			got = append(got, strings.Join([]string{m.kind, m.id.Namespace, m.id.Name}, " "))
		}
		if d := cmp.Diff([]string{"Deployment " + want + " agent", "Namespace  " + want, "RoleBinding kube-system b"}, got); d != "" {
			t.Error(d)
		}
		if raw := string(rendered(t, in)[2].raw); !strings.Contains(raw, `"namespace":"`+want+`"`) || !strings.Contains(raw, `"namespace":"else"`) {
			t.Error(raw)
		}
	}
	plain := logs("h", func(a *installation) { a.Spec.InstallNamespace = "said" })
	if got := namespaceOf(plain, input{template: tmpl(crd)}); got != "said" {
		t.Error(got)
	}
	if got := namespaceOf(logs("h"), input{template: tmpl(crd)}); got != "open-cluster-management-agent-addon" {
		t.Error(got)
	}
}

func TestTheDeploymentConfigPlacesAndMirrors(t *testing.T) {
	c := deploymentConfig()
	c.Spec.NodePlacement = &addonv1alpha1.NodePlacement{NodeSelector: map[string]string{"a": "b"}, Tolerations: []corev1.Toleration{{Key: "infra"}}}
	c.Spec.Registries = []addonv1alpha1.ImageMirror{{Source: "quay.io", Mirror: "one"}, {Source: "quay.io/x/", Mirror: "two/y/"}, {Source: "qu", Mirror: "no"}}
	c.Spec.ProxyConfig = addonv1alpha1.ProxyConfig{HTTPProxy: "http://p"}
	spec := deployment(t, input{cluster: "east", addon: "logs", template: tmpl(agent), config: c}).Spec.Template.Spec
	if spec.NodeSelector["a"] != "b" || len(spec.Tolerations) != 1 || spec.Containers[0].Image != "two/y/agent:1" {
		t.Errorf("%+v", spec)
	}
	proxied := 0
	for _, e := range spec.Containers[0].Env {
		if strings.EqualFold(e.Name, "HTTP_PROXY") && e.Value == "http://p" {
			proxied++
		}
	}
	if proxied != 2 {
		t.Errorf("%+v", spec.Containers[0].Env)
	}
}

func TestTheLastMatchingRequirementCounts(t *testing.T) {
	memory := func(amount string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(amount)}}
	}
	for id, want := range map[string]string{"deployments:agent:a": "2Gi", "*:*:*": "2Gi", "deployments:*:a": "2Gi", "daemonsets:agent:a": "1Gi", "deployments:agent:b": "1Gi", "deployments:other:*": "1Gi"} {
		c := deploymentConfig()
		c.Spec.ResourceRequirements = []addonv1alpha1.ContainerResourceRequirements{{ContainerID: "*:*:*", Resources: memory("1Gi")}, {ContainerID: id, Resources: memory("2Gi")}}
		got := deployment(t, input{cluster: "east", addon: "logs", template: tmpl(agent), config: c}).Spec.Template.Spec.Containers[0].Resources.Limits.Memory().String()
		if got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

func TestAManifestThatIsNoneIsNamed(t *testing.T) {
	if _, err := render(input{template: tmpl(agent, `[]`)}); err == nil || !strings.Contains(err.Error(), "manifest 1 of template t") {
		t.Error(err)
	}
}

// OCM-19.5: names, labels, hashes, hooks apart, feedback for health, and what stays when the add-on goes.
func TestWorks(t *testing.T) {
	in := input{cluster: "east", addon: "logs", namespace: "home", template: tmpl(agent, crd, bye)}
	deploy, hook, err := worksOf(logs("h"), in, rendered(t, in))
	if err != nil || len(deploy) != 1 || hook == nil {
		t.Fatalf("%v, %v, %v", deploy, hook, err)
	}
	w := deploy[0]
	if w.Name != "addon-logs-deploy-0" || w.Namespace != "east" || w.Labels["open-cluster-management.io/addon-name"] != "logs" ||
		w.Annotations["open-cluster-management.io/config-spec-hash"] != `{"addontemplates.addon.open-cluster-management.io/t":"h"}` {
		t.Errorf("%+v", w.ObjectMeta)
	}
	if hook.Name != "addon-logs-pre-delete" || len(hook.Spec.Workload.Manifests) != 1 || len(w.Spec.Workload.Manifests) != 2 {
		t.Errorf("%s %d %d", hook.Name, len(hook.Spec.Workload.Manifests), len(w.Spec.Workload.Manifests))
	}
	feedback := workv1.ManifestConfigOption{ResourceIdentifier: workv1.ResourceIdentifier{Group: "apps", Resource: "deployments", Namespace: "home", Name: "agent"}, FeedbackRules: []workv1.FeedbackRule{{Type: workv1.WellKnownStatusType}}}
	if d := cmp.Diff([]workv1.ManifestConfigOption{feedback}, w.Spec.ManifestConfigs); d != "" {
		t.Error(d)
	}
	if o := w.Spec.DeleteOption; o == nil || o.PropagationPolicy != "SelectivelyOrphan" || len(o.SelectivelyOrphan.OrphaningRules) != 1 || o.SelectivelyOrphan.OrphaningRules[0].Resource != "things" {
		t.Errorf("%+v", o)
	}
}

func TestManyManifestsTakeSeveralWorks(t *testing.T) {
	big := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"x":%q}}`, strings.Repeat("x", 250*1024))
	in := input{cluster: "east", addon: "logs", template: tmpl(big, big, big)}
	deploy, _, err := worksOf(logs("h"), in, rendered(t, in))
	if err != nil || len(deploy) != 3 || deploy[2].Name != "addon-logs-deploy-2" {
		t.Errorf("%d works, %v", len(deploy), err)
	}
}

func TestKeysInAnotherOrderAreNoChange(t *testing.T) {
	in := input{cluster: "east", addon: "logs", template: tmpl(crd)}
	deploy, _, err := worksOf(logs("h"), in, rendered(t, in))
	if err != nil {
		t.Fatal(err)
	}
	live := deploy[0].DeepCopy()
	live.Spec.Workload.Manifests[0].Raw = []byte(`{"metadata": {"annotations":{"addon.open-cluster-management.io/deletion-orphan":""},"name":"kept"},"kind":"Thing","apiVersion":"example.com/v1"}`)
	live.Annotations["else"] = "x"
	if !same(live, deploy[0]) {
		t.Error("taken for a change")
	}
	live.Spec.Workload.Manifests[0].Raw = []byte(`{"metadata":{"name":"other"}}`)
	if same(live, deploy[0]) {
		t.Error("the change was not seen")
	}
}
