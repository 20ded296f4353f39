package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// Request is one request about an object of type T.
type Request[T client.Object] struct {
	admission.Request
	// Old is what is stored; nil on create.
	Old T
	// New is what is asked for; nil on delete.
	New T
}

// Dry says that nothing will come of the request.
func (r Request[T]) Dry() bool { return r.DryRun != nil && *r.DryRun }

// Validator is the handler of a validating webhook. An error that is an API status is the refusal as it stands: BadRequest,
// Invalid, apierrors.NewForbidden. Every other error is a failure of ours, and the hook's policy says what follows.
func Validator[T any, P interface {
	*T
	client.Object
}](check func(context.Context, Request[P]) error) http.Handler {
	return &admission.Webhook{Handler: admission.HandlerFunc(func(ctx context.Context, raw admission.Request) admission.Response {
		r, err := decode[T, P](raw)
		if err != nil {
			return refused(ctx, err)
		}
		if err := check(ctx, r); err != nil {
			return refused(ctx, err)
		}
		return admission.Allowed("")
	})}
}

// Defaulter is the handler of a mutating webhook: fill changes r.New in place. Fields that our types do not know stay.
func Defaulter[T any, P interface {
	*T
	client.Object
}](fill func(context.Context, Request[P]) error) http.Handler {
	return &admission.Webhook{Handler: admission.HandlerFunc(func(ctx context.Context, raw admission.Request) admission.Response {
		r, err := decode[T, P](raw)
		if err != nil {
			return refused(ctx, err)
		}
		before := r.New.DeepCopyObject()
		if err := fill(ctx, r); err != nil {
			return refused(ctx, err)
		}
		filled, err := overlay(raw.Object.Raw, before, r.New)
		if err != nil {
			return refused(ctx, err)
		}
		return admission.PatchResponseFromRaw(raw.Object.Raw, filled)
	})}
}

// ByVersion hands requests about a kind with several versions to the handler of the version that they are in, which
// Validator or Defaulter made.
func ByVersion(versions map[string]http.Handler) http.Handler {
	return &admission.Webhook{Handler: admission.HandlerFunc(func(ctx context.Context, raw admission.Request) admission.Response {
		h, ok := versions[raw.Kind.Version].(admission.Handler)
		if !ok {
			return refused(ctx, BadRequest("%s is not known in version %s", raw.Kind.Kind, raw.Kind.Version))
		}
		return h.Handle(ctx, raw)
	})}
}

func decode[T any, P interface {
	*T
	client.Object
}](raw admission.Request) (Request[P], error) {
	r := Request[P]{Request: raw}
	for from, to := range map[*runtime.RawExtension]*P{&raw.Object: &r.New, &raw.OldObject: &r.Old} {
		if len(from.Raw) == 0 {
			continue
		}
		*to = new(T)
		if err := json.Unmarshal(from.Raw, *to); err != nil {
			return r, apierrors.NewBadRequest(fmt.Sprintf("decode %s: %v", raw.Kind.Kind, err))
		}
	}
	if raw.Operation != admissionv1.Delete && r.New == nil {
		return r, apierrors.NewBadRequest("the request carries no object")
	}
	return r, nil
}

// BadRequest is a refusal with HTTP 400. OCM-9.3 wants it even where a right is missing.
func BadRequest(format string, args ...any) error {
	return apierrors.NewBadRequest(fmt.Sprintf(format, args...))
}

// Invalid is a refusal with HTTP 422 that names fields; nil when there are none.
func Invalid(kind schema.GroupKind, name string, problems field.ErrorList) error {
	if len(problems) == 0 {
		return nil
	}
	return apierrors.NewInvalid(kind, name, problems)
}

func refused(ctx context.Context, err error) admission.Response {
	// What is wrapped is an answer that we got, not one that we give.
	var status apierrors.APIStatus
	if errors.Unwrap(err) != nil || !errors.As(err, &status) {
		log.FromContext(ctx).Error(err, "judge request")
		status = apierrors.NewInternalError(err)
	}
	result := status.Status()
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Allowed: false, Result: &result}}
}
