package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Converter is the handler of a conversion webhook. One object that cannot be converted fails the request, as the API
// server asks for all or nothing; the message says which it was.
func Converter(to func(raw []byte, apiVersion string) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review apiextensionsv1.ConversionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(w, "not a ConversionReview", http.StatusBadRequest)
			return
		}
		answer := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
		var err error
		if answer.ConvertedObjects, err = convertAll(review.Request, to); err != nil {
			answer.Result = metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}
			log.FromContext(r.Context()).Error(err, "convert")
		}
		review.Request, review.Response = nil, answer
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(review); err != nil {
			log.FromContext(r.Context()).Error(err, "answer conversion")
		}
	})
}

func convertAll(r *apiextensionsv1.ConversionRequest, to func([]byte, string) (any, error)) ([]runtime.RawExtension, error) {
	all := make([]runtime.RawExtension, 0, len(r.Objects))
	for _, o := range r.Objects {
		converted, err := to(o.Raw, r.DesiredAPIVersion)
		if err != nil {
			return nil, err
		}
		raw, err := json.Marshal(converted)
		if err != nil {
			return nil, fmt.Errorf("encode as %s: %w", r.DesiredAPIVersion, err)
		}
		all = append(all, runtime.RawExtension{Raw: raw})
	}
	return all, nil
}
