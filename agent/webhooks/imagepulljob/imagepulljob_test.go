package imagepulljob

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

func TestANewJobIsKept(t *testing.T) { // IP-1
	job := &kruise.ImagePullJob{}
	Default(nil, job)
	Default(nil, job)
	if len(job.Finalizers) != 1 || job.Finalizers[0] != "apps.kruise.io/deletion-protection" || job.Spec.CompletionPolicy.Type != kruise.Always {
		t.Errorf("%+v", job)
	}
	changed := &kruise.ImagePullJob{}
	if Default(job, changed); len(changed.Finalizers) != 0 {
		t.Error("a finalizer that was taken off comes back")
	}
}

func TestAnswers(t *testing.T) { // IP-2, SJ-0.5
	job := func(image string) []byte {
		j := &kruise.ImagePullJob{}
		j.Spec.Image = image
		raw, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for name, tc := range map[string]struct {
		on    bool
		image string
		code  int32
	}{
		"good":            {on: true, image: "nginx"},
		"bad":             {on: true, code: http.StatusBadRequest},
		"the gate is off": {image: "nginx", code: http.StatusForbidden},
	} {
		handler, ok := Validator(tc.on).(admission.Handler)
		if !ok {
			t.Fatal("no handler")
		}
		got := handler.Handle(context.Background(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: job(tc.image)},
		}})
		if got.Allowed != (tc.code == 0) || !got.Allowed && got.Result.Code != tc.code {
			t.Errorf("%s: %+v", name, got.Result)
		}
	}
}
