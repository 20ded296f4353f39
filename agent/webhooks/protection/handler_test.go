package protection

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/flotilla-project/flotilla/pkg/webhook/webhooktest"
)

func object(kind, label string, replicas int64) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": replicas}}}
	o.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: kind})
	o.SetName("web")
	if label != "" {
		o.SetLabels(map[string]string{"policy.kruise.io/delete-protection": label})
	}
	return o
}

func TestKindsOfKubernetes(t *testing.T) { // NP-9 (DP-1)
	running := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "a"}}
	broken := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("no")
		},
	})
	for name, tc := range map[string]struct {
		o           *unstructured.Unstructured
		api         client.Reader
		definitions bool
		code        int32
		says        string
	}{
		"a Deployment without the label":      {o: object("Deployment", "", 3), code: 200},
		"one with it":                         {o: object("Deployment", "Always", 0), code: 403, says: "remove the label"},
		"one with replicas":                   {o: object("ReplicaSet", "Cascading", 2), code: 403, says: "2 replicas"},
		"one without":                         {o: object("StatefulSet", "Cascading", 0), code: 200},
		"a Service":                           {o: object("Service", "Cascading", 0), code: 200},
		"a Service for ever":                  {o: object("Service", "Always", 0), code: 403, says: "remove the label"},
		"a definition without its gate":       {o: definition(), code: 403, says: "feature-gate DeletionProtectionForCRDCascadingGate is not enabled"},
		"a definition for ever":               {o: object("CustomResourceDefinition", "Always", 0), definitions: true, code: 403, says: "forbidden by ResourcesProtectionDeletion for policy.kruise.io/delete-protection=Always"},
		"a definition without objects":        {o: definition(), api: with(), definitions: true, code: 200},
		"a definition with one that goes":     {o: definition(), api: with(widget("a", true)), definitions: true, code: 200},
		"a definition with two that stay":     {o: definition(), api: with(widget("a", false), widget("b", false), widget("c", true)), definitions: true, code: 403, says: "there are 2 objects of it"},
		"a definition that nobody looks into": {o: definition(), api: broken, definitions: true, code: 500, says: "list objects of widgets.example.com"},
		"a namespace with pods":               {o: object("Namespace", "Cascading", 0), api: fake.NewClientBuilder().WithObjects(running).Build(), code: 403, says: "1 active pods"},
		"an empty namespace":                  {o: object("Namespace", "Cascading", 0), code: 200},
		"a namespace that nobody looks into":  {o: object("Namespace", "Cascading", 0), api: broken, code: 500},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.api == nil {
				tc.api = fake.NewClientBuilder().Build()
			}
			guard := &Guard{API: tc.api, Definitions: tc.definitions}
			got := webhooktest.Ask(t, guard.Validator(), "DELETE", tc.o, nil)
			if got.Result.Code != tc.code || !strings.Contains(got.Result.Message, tc.says) {
				t.Errorf("%+v", got.Result)
			}
		})
	}
}

// widgets are stored as v2.
var widgets = schema.GroupVersionKind{Group: "example.com", Version: "v2", Kind: "Widget"}

func definition() *unstructured.Unstructured {
	o := object("CustomResourceDefinition", "Cascading", 0)
	o.SetName("widgets.example.com")
	o.Object["spec"] = map[string]any{"group": "example.com", "names": map[string]any{"kind": "Widget"}, "versions": []any{
		map[string]any{"name": "v1", "storage": false}, map[string]any{"name": "v2", "storage": true},
	}}
	return o
}

func widget(name string, leaving bool) client.Object {
	o := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: name}}
	o.SetGroupVersionKind(widgets)
	if leaving {
		o.Finalizers, o.DeletionTimestamp = []string{"example.com/wait"}, new(metav1.Now())
	}
	return o
}

func with(objects ...client.Object) client.Reader {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(widgets, &metav1.PartialObjectMetadata{})
	scheme.AddKnownTypeWithName(widgets.GroupVersion().WithKind("WidgetList"), &metav1.PartialObjectMetadataList{})
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

func TestOldDefinitionsNameOneVersion(t *testing.T) {
	if got := storageVersion(&unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"version": "v1beta1"}}}); got != "v1beta1" {
		t.Error(got)
	}
}

func TestHeld(t *testing.T) { // NP-9 (DP-1)
	pods := []corev1.Pod{{}, {Status: corev1.PodStatus{Phase: "Succeeded"}}, {ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: new(metav1.Now())}}}
	claims := []corev1.PersistentVolumeClaim{{Status: corev1.PersistentVolumeClaimStatus{Phase: "Bound"}}, {Status: corev1.PersistentVolumeClaimStatus{Phase: "Pending"}}}
	if got := Held(pods, claims); got != "it has 1 active pods and 1 bound claims" {
		t.Error(got)
	}
	if got := Held(pods[1:], claims[1:]); got != "" {
		t.Error(got)
	}
}
