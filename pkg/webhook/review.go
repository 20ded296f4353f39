package webhook

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Reviewer asks the API server whether somebody may do something.
type Reviewer interface {
	May(ctx context.Context, who authenticationv1.UserInfo, what authorizationv1.ResourceAttributes) (bool, error)
}

// Reviews asks by SubjectAccessReviews, which nothing caches.
type Reviews struct{ client client.Client }

// NewReviews asks the API server behind cfg.
func NewReviews(cfg *rest.Config) (*Reviews, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{authorizationv1.AddToScheme, authenticationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("build scheme: %w", err)
		}
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &Reviews{client: c}, nil
}

// May asks whether who may do what.
func (r *Reviews) May(ctx context.Context, who authenticationv1.UserInfo, what authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: who.Username, UID: who.UID, Groups: who.Groups, Extra: extra(who.Extra), ResourceAttributes: &what,
	}}
	if err := r.client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask whether %s may %s %s/%s: %w", who.Username, what.Verb, what.Resource, what.Subresource, err)
	}
	return review.Status.Allowed, nil
}

// Who asks whose token it is.
func (r *Reviews) Who(ctx context.Context, token string) (authenticationv1.UserInfo, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	if err := r.client.Create(ctx, review); err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("ask whose token it is: %w", err)
	}
	if !review.Status.Authenticated {
		return authenticationv1.UserInfo{}, apierrors.NewUnauthorized("the token is nobody's")
	}
	return review.Status.User, nil
}

func extra(of map[string]authenticationv1.ExtraValue) map[string]authorizationv1.ExtraValue {
	all := make(map[string]authorizationv1.ExtraValue, len(of))
	for key, values := range of {
		all[key] = authorizationv1.ExtraValue(values)
	}
	return all
}

// Ask is a right that a request takes, and what is answered to somebody who has not got it.
type Ask struct {
	What    authorizationv1.ResourceAttributes
	Refusal error
}

// Refuse is the refusal of the first ask that who has no right to.
func Refuse(ctx context.Context, r Reviewer, who authenticationv1.UserInfo, asks ...Ask) error {
	for _, a := range asks {
		allowed, err := r.May(ctx, who, a.What)
		if err != nil {
			return err
		}
		if !allowed {
			return a.Refusal
		}
	}
	return nil
}
