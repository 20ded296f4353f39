package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func ask(t *testing.T, h http.Handler, r admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	t.Helper()
	r.UID = "1"
	body, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &r})
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, request)
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer.Body.Bytes(), &review); err != nil {
		t.Fatalf("%v: %s", err, answer.Body)
	}
	return review.Response
}

// OCM-9.3: refusals keep the status that they were given.
func TestARefusalKeepsItsStatus(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for what, tc := range map[string]struct {
		err  error
		code int32
	}{
		"nothing":           {nil, 200},
		"bad request":       {BadRequest("size %d", 1), 400},
		"a missing right":   {apierrors.NewForbidden(pods, "x", errors.New("no")), 403},
		"fields":            {Invalid(schema.GroupKind{Kind: "Pod"}, "x", field.ErrorList{field.Required(field.NewPath("a"), "")}), 422},
		"no fields":         {Invalid(schema.GroupKind{Kind: "Pod"}, "x", nil), 200},
		"what we were told": {fmt.Errorf("ask: %w", BadRequest("x")), 500},
		"not yet":           {apierrors.NewServiceUnavailable("counting"), 503},
		"a failure":         {errors.New("no answer"), 500},
		"a failed request":  {apierrors.NewInternalError(errors.New("etcd")), 500},
	} {
		t.Run(what, func(t *testing.T) {
			h := Validator(func(context.Context, Request[*corev1.Pod]) error { return tc.err })
			got := ask(t, h, admissionv1.AdmissionRequest{Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte(`{}`)}})
			if got.Allowed != (tc.code == 200) || got.Result.Code != tc.code {
				t.Errorf("%+v", got)
			}
			if tc.code != 200 && got.Result.Message == "" {
				t.Error("no reason")
			}
		})
	}
}

func TestAHandlerSeesWhatThereIs(t *testing.T) {
	named := runtime.RawExtension{Raw: []byte(`{"metadata":{"name":"a"}}`)}
	for op, want := range map[admissionv1.Operation]string{admissionv1.Create: "new", admissionv1.Update: "old new", admissionv1.Delete: "old"} {
		r := admissionv1.AdmissionRequest{Operation: op}
		if op != admissionv1.Delete {
			r.Object = named
		}
		if op != admissionv1.Create {
			r.OldObject = named
		}
		seen := ""
		ask(t, Validator(func(_ context.Context, r Request[*corev1.Pod]) error {
			if r.Old != nil {
				seen += "old " + r.Old.Name[1:]
			}
			if r.New != nil {
				seen += "new"
			}
			return nil
		}), r)
		if got := string(bytes.TrimSpace([]byte(seen))); got != want {
			t.Errorf("%s: %q", op, got)
		}
	}
	if got := ask(t, Validator(func(context.Context, Request[*corev1.Pod]) error { return nil }),
		admissionv1.AdmissionRequest{Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte(`{"metadata":7}`)}}); got.Allowed || got.Result.Code != 400 {
		t.Errorf("what cannot be decoded: %+v", got)
	}
}

func TestDefaultsLeaveTheRestOfAnObjectAlone(t *testing.T) {
	const raw = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","newField":1,"resources":{"limits":{"cpu":"1000m"}}}],"newField":{"of":"tomorrow"},"hostname":"h"}}`
	got := ask(t, Defaulter(func(_ context.Context, r Request[*corev1.Pod]) error {
		r.New.Labels = map[string]string{"set": "default"}
		r.New.Spec.NodeName, r.New.Spec.Hostname = "n", ""
		r.New.Spec.Containers[0].ImagePullPolicy = "Always"
		return nil
	}), admissionv1.AdmissionRequest{Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte(raw)}})
	patch, err := jsonpatch.DecodePatch(got.Patch)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	var have, want any
	_ = json.Unmarshal(patched, &have)
	_ = json.Unmarshal([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"set":"default"}},
		"spec":{"containers":[{"name":"c","newField":1,"resources":{"limits":{"cpu":"1000m"}},"imagePullPolicy":"Always"}],"nodeName":"n","newField":{"of":"tomorrow"}}}`), &want)
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
	if same := ask(t, Defaulter(func(context.Context, Request[*corev1.Pod]) error { return nil }),
		admissionv1.AdmissionRequest{Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte(raw)}}); len(same.Patch) != 0 {
		t.Errorf("nothing to do, and still %s", same.Patch)
	}
}

func TestConversionAnswersForAllOrNamesTheCulprit(t *testing.T) {
	h := Converter(func(raw []byte, to string) (any, error) {
		if bytes.Contains(raw, []byte("bad")) {
			return nil, errors.New("bad cannot be converted")
		}
		return map[string]string{"apiVersion": to}, nil
	})
	for what, tc := range map[string]struct {
		objects []string
		failed  bool
	}{
		"all": {[]string{`{"a":1}`, `{"b":2}`}, false},
		"one": {[]string{`{"a":1}`, `{"bad":2}`}, true},
	} {
		review := apiextensionsv1.ConversionReview{Request: &apiextensionsv1.ConversionRequest{UID: "7", DesiredAPIVersion: "g/v2"}}
		for _, o := range tc.objects {
			review.Request.Objects = append(review.Request.Objects, runtime.RawExtension{Raw: []byte(o)})
		}
		body, err := json.Marshal(review)
		if err != nil {
			t.Fatal(err)
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body)))
		if err := json.Unmarshal(answer.Body.Bytes(), &review); err != nil {
			t.Fatal(err)
		}
		got := review.Response
		if got.UID != "7" || (got.Result.Status == metav1.StatusFailure) != tc.failed {
			t.Errorf("%s: %+v", what, got)
		}
		if !tc.failed && string(got.ConvertedObjects[1].Raw) != `{"apiVersion":"g/v2"}` {
			t.Errorf("%s: %s", what, got.ConvertedObjects[1].Raw)
		}
		if tc.failed && got.Result.Message != "bad cannot be converted" {
			t.Errorf("%s: %q", what, got.Result.Message)
		}
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader([]byte("x"))))
	if answer.Code != http.StatusBadRequest {
		t.Errorf("garbage is answered with %d", answer.Code)
	}
}

// NP-8.1: one path answers for all versions of StatefulSet.
func TestEachVersionHasItsHandler(t *testing.T) {
	says := func(what string) http.Handler {
		return Validator(func(context.Context, Request[*corev1.Pod]) error { return BadRequest("%s", what) })
	}
	h := ByVersion(map[string]http.Handler{"v1": says("one"), "v2": says("two")})
	for version, want := range map[string]string{"v1": "one", "v2": "two", "v3": "Pod is not known in version v3"} {
		got := ask(t, h, admissionv1.AdmissionRequest{
			Kind: metav1.GroupVersionKind{Version: version, Kind: "Pod"}, Object: runtime.RawExtension{Raw: []byte(`{}`)},
		})
		if got.Allowed || got.Result.Message != want {
			t.Errorf("%s: %+v", version, got.Result)
		}
	}
}
