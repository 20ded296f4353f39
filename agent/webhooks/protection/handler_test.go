package protection

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
		o    *unstructured.Unstructured
		api  client.Reader
		code int32
		says string
	}{
		"a Deployment without the label":     {o: object("Deployment", "", 3), code: 200},
		"one with it":                        {o: object("Deployment", "Always", 0), code: 403, says: "remove the label"},
		"one with replicas":                  {o: object("ReplicaSet", "Cascading", 2), code: 403, says: "2 replicas"},
		"one without":                        {o: object("StatefulSet", "Cascading", 0), code: 200},
		"a Service":                          {o: object("Service", "Cascading", 0), code: 200},
		"a Service for ever":                 {o: object("Service", "Always", 0), code: 403, says: "remove the label"},
		"a definition":                       {o: object("CustomResourceDefinition", "Cascading", 0), code: 403, says: "remove the label"},
		"a namespace with pods":              {o: object("Namespace", "Cascading", 0), api: fake.NewClientBuilder().WithObjects(running).Build(), code: 403, says: "1 active pods"},
		"an empty namespace":                 {o: object("Namespace", "Cascading", 0), code: 200},
		"a namespace that nobody looks into": {o: object("Namespace", "Cascading", 0), api: broken, code: 500},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.api == nil {
				tc.api = fake.NewClientBuilder().Build()
			}
			got := webhooktest.Ask(t, Validator(tc.api), "DELETE", tc.o, nil)
			if got.Result.Code != tc.code || !strings.Contains(got.Result.Message, tc.says) {
				t.Errorf("%+v", got.Result)
			}
		})
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
