// Package webhooktest asks the handler of a webhook as the API server would.
package webhooktest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Ask asks about an object: old is nil on create and now on delete.
func Ask[T any, P interface {
	*T
	client.Object
}](t testing.TB, h http.Handler, operation admissionv1.Operation, old, now P) *admissionv1.AdmissionResponse {
	t.Helper()
	r := admissionv1.AdmissionRequest{UID: "1", Operation: operation, Object: raw(t, now), OldObject: raw(t, old)}
	for _, o := range []P{old, now} {
		if o != nil {
			kind := o.GetObjectKind().GroupVersionKind()
			r.Name, r.Namespace = o.GetName(), o.GetNamespace()
			r.Kind = metav1.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind}
		}
	}
	return post(t, h, &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &r,
	})
}

func raw[T any](t testing.TB, of *T) runtime.RawExtension {
	t.Helper()
	if of == nil {
		return runtime.RawExtension{}
	}
	out, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: out}
}

func post(t testing.TB, h http.Handler, review *admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
	t.Helper()
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, request)
	out := &admissionv1.AdmissionReview{}
	if err := json.Unmarshal(answer.Body.Bytes(), out); err != nil || out.Response == nil {
		t.Fatalf("%v: %s", err, answer.Body)
	}
	return out.Response
}
