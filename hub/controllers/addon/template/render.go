package template

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	workv1 "open-cluster-management.io/api/work/v1"
)

// Where an add-on's agent finds its kubeconfig for the hub. OCM-19.5
const (
	credentials   = "/managed/"
	hubKubeconfig = credentials + "hub-kubeconfig/kubeconfig"
)

// input is what manifests are rendered from.
type input struct {
	cluster, addon, namespace string
	template                  *addonv1alpha1.AddOnTemplate
	config                    *addonv1alpha1.AddOnDeploymentConfig // nil: there is none
}

// manifest is a rendered one.
type manifest struct {
	raw    []byte
	kind   string
	id     workv1.ResourceIdentifier
	hook   bool
	orphan bool
}

// render fills in a template. Manifests that are hooks of the deletion come with the others. OCM-19.5
func render(in input) (all []manifest, err error) {
	values := in.values()
	for i, m := range in.template.Spec.AgentSpec.Workload.Manifests {
		o := &unstructured.Unstructured{}
		filled, err := fill(m.Raw, values)
		if err == nil {
			err = utiljson.Unmarshal(filled, &o.Object)
		}
		if err != nil {
			return nil, fmt.Errorf("render manifest %d of template %s: %w", i, in.template.Name, err)
		}
		in.move(o)
		in.decorate(o, values)
		raw, err := json.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("encode manifest %d of template %s: %w", i, in.template.Name, err)
		}
		plural, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		all = append(all, manifest{raw: raw, kind: o.GetKind(), hook: is(o, addonv1alpha1.AddonPreDeleteHookAnnotationKey, addonv1alpha1.AddonPreDeleteHookLabelKey),
			orphan: is(o, addonv1alpha1.DeletionOrphanAnnotationKey, ""),
			id:     workv1.ResourceIdentifier{Group: plural.Group, Resource: plural.Resource, Namespace: o.GetNamespace(), Name: o.GetName()}})
	}
	return all, nil
}

// is says whether a manifest is marked, by an annotation or by the label that was used before.
func is(o *unstructured.Unstructured, annotation, label string) bool {
	_, annotated := o.GetAnnotations()[annotation]
	_, labelled := o.GetLabels()[label]
	return annotated || label != "" && labelled
}

// home is the namespace in which a template has its workloads: a manifest cannot have a variable for its namespace, so
// another one is given by the deployment config, and takes the place of this.
func home(t *addonv1alpha1.AddOnTemplate) string {
	for _, m := range t.Spec.AgentSpec.Workload.Manifests {
		o := &unstructured.Unstructured{}
		if err := utiljson.Unmarshal(m.Raw, &o.Object); err == nil && isWorkload(o) && o.GetNamespace() != "" {
			return o.GetNamespace()
		}
	}
	return ""
}

func isWorkload(o *unstructured.Unstructured) bool {
	return o.GroupVersionKind().Group == "apps" && (o.GetKind() == "Deployment" || o.GetKind() == "DaemonSet")
}

// move takes a manifest, and whom it binds, from the template's home to where the add-on is installed. What is in other
// namespaces stays there. OCM-19.4
func (in input) move(o *unstructured.Unstructured) {
	from := home(in.template)
	if from == "" || in.namespace == from {
		return
	}
	if o.GetNamespace() == from {
		o.SetNamespace(in.namespace)
	}
	if o.GetKind() == "Namespace" && o.GetName() == from {
		o.SetName(in.namespace)
	}
	subjects, _ := o.Object["subjects"].([]any)
	for _, s := range subjects {
		if subject, ok := s.(map[string]any); ok && subject["namespace"] == from {
			subject["namespace"] = in.namespace
		}
	}
}

// values are what a template may refer to. What the hub says goes before what people say.
func (in input) values() map[string]string {
	values := map[string]string{}
	if in.config != nil {
		for _, v := range in.config.Spec.CustomizedVariables {
			values[v.Name] = v.Value
		}
	}
	values["CLUSTER_NAME"], values["INSTALL_NAMESPACE"] = in.cluster, in.namespace
	if in.secrets()["hub-kubeconfig"] != "" {
		values["HUB_KUBECONFIG"] = hubKubeconfig
	}
	return values
}

// fill replaces {{NAME}} in a JSON document. A name that nobody knows is left as it is, for others to fill in.
func fill(raw []byte, values map[string]string) ([]byte, error) {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		quoted, err := json.Marshal(values[name])
		if err != nil {
			return nil, err
		}
		inside := string(quoted[1 : len(quoted)-1])
		pairs = append(pairs, "{{"+name+"}}", inside, "{{ "+name+" }}", inside)
	}
	return []byte(strings.NewReplacer(pairs...).Replace(string(raw))), nil
}

// secrets are where the cluster's agent puts the add-on's credentials, by the folder they are mounted in. OCM-19.4
func (in input) secrets() map[string]string {
	all := map[string]string{}
	for _, r := range in.template.Spec.Registration {
		switch {
		case r.Type == addonv1alpha1.RegistrationTypeKubeClient:
			all["hub-kubeconfig"] = in.addon + "-hub-kubeconfig"
		case r.CustomSigner != nil:
			signer := strings.ReplaceAll(r.CustomSigner.SignerName, "/", "-")
			all[signer] = in.addon + "-" + signer + "-client-cert"
		}
	}
	return all
}

// decorate gives workloads their environment, their credentials and what the deployment config says about nodes, images
// and proxies.
func (in input) decorate(o *unstructured.Unstructured, values map[string]string) {
	if !isWorkload(o) {
		return
	}
	spec, found, err := unstructured.NestedMap(o.Object, "spec", "template", "spec")
	if err != nil || !found {
		return // the member's API server says what is wrong with it
	}
	env := maps.Clone(values)
	maps.Copy(env, in.proxy())
	for _, list := range []string{"initContainers", "containers"} {
		containers, ok := spec[list].([]any)
		if !ok {
			continue
		}
		for _, c := range containers {
			if container, ok := c.(map[string]any); ok {
				in.decorateContainer(container, env)
				in.provide(o, container)
			}
		}
	}
	for folder, secret := range sorted(in.secrets()) {
		add(spec, "volumes", map[string]any{"name": volume(folder), "secret": map[string]any{"secretName": secret}})
	}
	in.place(spec)
	if err := unstructured.SetNestedMap(o.Object, spec, "spec", "template", "spec"); err != nil {
		return
	}
}

func (in input) decorateContainer(container map[string]any, env map[string]string) {
	for name, value := range sorted(env) {
		add(container, "env", map[string]any{"name": name, "value": value})
	}
	for folder := range sorted(in.secrets()) {
		add(container, "volumeMounts", map[string]any{"name": volume(folder), "mountPath": credentials + folder, "readOnly": true})
	}
	if image, ok := container["image"].(string); ok && in.config != nil {
		container["image"] = mirrored(image, in.config.Spec.Registries)
	}
}

// provide gives a container what the last of the matching requirements says. An ID is "<resource>:<name>:<container>", and
// "*" stands for anything.
func (in input) provide(o *unstructured.Unstructured, container map[string]any) {
	if in.config == nil {
		return
	}
	plural, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	is := []any{plural.Resource, o.GetName(), container["name"]}
	for _, r := range slices.Backward(in.config.Spec.ResourceRequirements) {
		id := strings.SplitN(r.ContainerID, ":", 3)
		if !slices.EqualFunc(id, is, func(want string, is any) bool { return want == "*" || want == is }) {
			continue
		}
		resources, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&r.Resources)
		if err == nil {
			container["resources"] = resources
		}
		return
	}
}

// volume names are labels: no dots, 63 characters.
func volume(folder string) string {
	name := strings.ReplaceAll(folder, ".", "-")
	return strings.Trim(name[:min(len(name), 63)], "-")
}

// add leaves an entry that is there under the same name as it is: the template knows better.
func add(to map[string]any, list string, entry map[string]any) {
	entries, _ := to[list].([]any)
	for _, e := range entries {
		if had, ok := e.(map[string]any); ok && had["name"] == entry["name"] {
			return
		}
	}
	to[list] = append(entries, entry)
}

// mirrored is the image in the mirror of the last registry that it is from.
func mirrored(image string, mirrors []addonv1alpha1.ImageMirror) string {
	for _, m := range slices.Backward(mirrors) {
		source := strings.TrimSuffix(m.Source, "/")
		if rest, ok := strings.CutPrefix(image, source+"/"); ok && source != "" {
			return strings.TrimSuffix(m.Mirror, "/") + "/" + rest
		}
	}
	return image
}

func (in input) proxy() map[string]string {
	env := map[string]string{}
	if in.config == nil {
		return env
	}
	p := in.config.Spec.ProxyConfig
	for name, value := range map[string]string{"HTTP_PROXY": p.HTTPProxy, "HTTPS_PROXY": p.HTTPSProxy, "NO_PROXY": p.NoProxy} {
		if value != "" {
			env[name], env[strings.ToLower(name)] = value, value
		}
	}
	return env
}

// place puts pods where the deployment config wants them.
func (in input) place(spec map[string]any) {
	if in.config == nil || in.config.Spec.NodePlacement == nil {
		return
	}
	placement := map[string]any{}
	raw, err := json.Marshal(in.config.Spec.NodePlacement)
	if err != nil || utiljson.Unmarshal(raw, &placement) != nil {
		return // it was decoded from the same a moment ago
	}
	maps.Copy(spec, placement)
}

func sorted(values map[string]string) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if !yield(key, values[key]) {
				return
			}
		}
	}
}
