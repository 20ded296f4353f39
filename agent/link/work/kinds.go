package work

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// What the server or a controller of the member filled in would be lost, or refused as a change of what must not
// change, if content were simply replaced by the manifest's. OCM-11.1

// frozen kinds are merged field by field: what they were created with must stay.
var frozen = map[string]bool{"/Pod": true, "/PersistentVolumeClaim": true, "/PersistentVolume": true, "batch/Job": true}

// inherited copies into want, which is of the kind, what it does not say and live has.
var inherited = map[string]func(live, want map[string]any){
	"/Service":                inheritService,
	"/ServiceAccount":         inheritServiceAccount,
	"/Secret":                 inheritSecret,
	"apps/Deployment":         inheritReplicas,
	"apps/StatefulSet":        inheritReplicas,
	"apps/ReplicaSet":         inheritReplicas,
	"apps.kruise.io/CloneSet": inheritReplicas, "apps.kruise.io/StatefulSet": inheritReplicas,
	"rbac.authorization.k8s.io/ClusterRole":                       inheritRules,
	"apiextensions.k8s.io/CustomResourceDefinition":               inheritConversion,
	"apiregistration.k8s.io/APIService":                           inheritBundle,
	"admissionregistration.k8s.io/MutatingWebhookConfiguration":   inheritWebhooks,
	"admissionregistration.k8s.io/ValidatingWebhookConfiguration": inheritWebhooks,
}

func kindOf(u *unstructured.Unstructured) string {
	gvk := u.GroupVersionKind()
	return gvk.Group + "/" + gvk.Kind
}

// adapted is the content that want asks for on top of live.
func adapted(live, want *unstructured.Unstructured) map[string]any {
	kind := kindOf(want)
	content := runtime.DeepCopyJSON(want.Object)
	if inherit, ok := inherited[kind]; ok {
		inherit(live.Object, content)
	}
	if frozen[kind] {
		for key, value := range content {
			content[key] = overlay(live.Object[key], value)
		}
	}
	return content
}

// keep copies a field that want leaves out, or leaves empty.
func keep(live, want map[string]any, fields ...string) {
	for _, f := range fields {
		have, there := live[f]
		if there && (want[f] == nil || want[f] == "") {
			want[f] = runtime.DeepCopyJSONValue(have)
		}
	}
}

// within returns the two objects at a path, false when one of them is missing.
func within(live, want map[string]any, path ...string) (l, w map[string]any, ok bool) {
	l, w = live, want
	for _, key := range path {
		var a, b bool
		l, a = l[key].(map[string]any)
		w, b = w[key].(map[string]any)
		if !a || !b {
			return nil, nil, false
		}
	}
	return l, w, true
}

// inheritService keeps the addresses and node ports that were given out.
func inheritService(live, want map[string]any) {
	l, w, ok := within(live, want, "spec")
	if !ok || w["type"] == "ExternalName" || l["type"] == "ExternalName" {
		return
	}
	keep(l, w, "type", "clusterIP", "ipFamilyPolicy")
	if equality.Semantic.DeepEqual(l["clusterIP"], w["clusterIP"]) {
		keep(l, w, "clusterIPs", "ipFamilies")
	}
	if w["type"] != "NodePort" && w["type"] != "LoadBalancer" {
		return
	}
	keep(l, w, "healthCheckNodePort")
	pairs(l["ports"], w["ports"], portKey, func(have, port map[string]any) { keep(have, port, "nodePort") })
}

func portKey(port map[string]any) string {
	protocol, _ := port["protocol"].(string)
	return cmp.Or(protocol, "TCP") + " " + textOf(port["port"])
}

// inheritServiceAccount adds to the secrets that are there.
func inheritServiceAccount(live, want map[string]any) {
	for _, list := range []string{"secrets", "imagePullSecrets"} {
		have, _ := live[list].([]any)
		asked, _ := want[list].([]any)
		out := runtime.DeepCopyJSONValue(have).([]any)
		for _, secret := range asked {
			if !contains(have, secret) {
				out = append(out, secret)
			}
		}
		if len(out) > 0 {
			want[list] = out
		}
	}
}

// inheritSecret keeps the token that a controller puts into a service account's secret.
func inheritSecret(live, want map[string]any) {
	if live["type"] != "kubernetes.io/service-account-token" {
		return
	}
	if l, w, ok := within(live, want, "data"); ok {
		keep(l, w, "token", "ca.crt", "namespace")
	}
}

// inheritReplicas leaves a number that the manifest does not give to whoever scales.
func inheritReplicas(live, want map[string]any) {
	if l, w, ok := within(live, want, "spec"); ok {
		keep(l, w, "replicas")
	}
}

// inheritRules keeps the rules of an aggregated role, which a controller sums up.
func inheritRules(live, want map[string]any) {
	if want["aggregationRule"] != nil && live["rules"] != nil {
		want["rules"] = runtime.DeepCopyJSONValue(live["rules"])
	}
}

// A bundle that the manifest leaves out is injected on the member.
func inheritConversion(live, want map[string]any) {
	if l, w, ok := within(live, want, "spec", "conversion", "webhook", "clientConfig"); ok {
		keep(l, w, "caBundle")
	}
}

func inheritBundle(live, want map[string]any) {
	if l, w, ok := within(live, want, "spec"); ok && w["insecureSkipTLSVerify"] != true {
		keep(l, w, "caBundle")
	}
}

func inheritWebhooks(live, want map[string]any) {
	pairs(live["webhooks"], want["webhooks"], nameKey, func(have, hook map[string]any) {
		if l, w, ok := within(have, hook, "clientConfig"); ok {
			keep(l, w, "caBundle")
		}
	})
}

func nameKey(o map[string]any) string {
	name, _ := o["name"].(string)
	return name
}

// pairs calls f for the elements of two lists that have the same key.
func pairs(live, want any, key func(map[string]any) string, f func(live, want map[string]any)) {
	have := map[string]map[string]any{}
	list, _ := live.([]any)
	for _, e := range list {
		if o, ok := e.(map[string]any); ok {
			have[key(o)] = o
		}
	}
	list, _ = want.([]any)
	for _, e := range list {
		if o, ok := e.(map[string]any); ok && have[key(o)] != nil {
			f(have[key(o)], o)
		}
	}
}

// overlay is live with all that want says; what want leaves out stays.
func overlay(live, want any) any {
	switch w := want.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok {
			return want
		}
		out := runtime.DeepCopyJSON(l)
		for k, v := range w {
			out[k] = overlay(l[k], v)
		}
		return out
	case []any:
		l, ok := live.([]any)
		if !ok {
			return want
		}
		return overlayList(l, w)
	default:
		return want
	}
}

// overlayList merges by name where elements have one. A list without names stays if it has all that is asked for.
func overlayList(live, want []any) any {
	for _, key := range []string{"mountPath", "devicePath", "name"} {
		places, ok := placesBy(key, live)
		if _, fine := placesBy(key, want); !ok || !fine {
			continue
		}
		out := runtime.DeepCopyJSONValue(live).([]any)
		for _, e := range want {
			if i, there := places[textOf(e.(map[string]any)[key])]; there {
				out[i] = overlay(live[i], e)
			} else {
				out = append(out, e)
			}
		}
		return out
	}
	for _, e := range want {
		if !contains(live, e) {
			return want
		}
	}
	return live
}

// placesBy finds elements by a key that all of them have and no two share.
func placesBy(key string, list []any) (map[string]int, bool) {
	out := map[string]int{}
	for i, e := range list {
		o, ok := e.(map[string]any)
		if !ok || o[key] == nil {
			return nil, false
		}
		out[textOf(o[key])] = i
	}
	return out, len(out) == len(list)
}

// contains reports whether some element of live has all that e says.
func contains(live []any, e any) bool {
	for _, l := range live {
		if covers(l, e) {
			return true
		}
	}
	return false
}

// textOf makes a key of a value that may be a number or a text.
func textOf(v any) string { return fmt.Sprint(v) }
