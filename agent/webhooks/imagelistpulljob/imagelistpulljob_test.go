package imagelistpulljob

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func TestAnswers(t *testing.T) { // IL-2, SJ-0.5
	for name, tc := range map[string]struct {
		on     bool
		images []string
		code   int32
	}{
		"good":            {on: true, images: []string{"nginx", "redis"}},
		"bad":             {on: true, images: []string{"nginx", "nginx"}, code: http.StatusBadRequest},
		"the gate is off": {images: []string{"nginx"}, code: http.StatusForbidden},
	} {
		list := &kruise.ImageListPullJob{}
		list.Spec.Images = tc.images
		raw, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		request := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw}}}
		validator, ok := Validator(tc.on).(admission.Handler)
		if !ok {
			t.Fatal("no handler")
		}
		got := validator.Handle(context.Background(), request)
		if got.Allowed != (tc.code == 0) || !got.Allowed && got.Result.Code != tc.code {
			t.Errorf("%s: %+v", name, got.Result)
		}
		filler, ok := Defaulter().(admission.Handler)
		if !ok {
			t.Fatal("no handler")
		}
		if got := filler.Handle(context.Background(), request); !got.Allowed || len(got.Patches) == 0 { // IL-1
			t.Errorf("%s: %+v", name, got)
		}
	}
}
