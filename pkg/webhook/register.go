package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Set is everything that one process serves.
type Set struct {
	Hooks       []Hook
	Conversions []Conversion
	// Pages answer people at a path. Nothing is registered for them, and each guards itself.
	Pages map[string]http.Handler
}

// Hook is one admission webhook: what is registered and what answers. The zero value of every optional field is the
// API server's default, but for Policy, which each hook states with its reason beside it.
type Hook struct {
	// Configuration is the name of the configuration object that the hook is registered in.
	Configuration string
	// Name of the hook within it: a domain name.
	Name string
	// Mutating hooks change objects, others only look.
	Mutating bool
	// Path it is served at.
	Path string
	// Rules say which requests it sees.
	Rules []admissionv1.RuleWithOperations
	// Conditions narrow that further, in CEL.
	Conditions []admissionv1.MatchCondition
	// Namespaces and Objects narrow it by labels.
	Namespaces, Objects *metav1.LabelSelector
	// Policy says what happens while nobody answers.
	Policy admissionv1.FailurePolicyType
	// Counts says that the handler remembers requests, other than dry runs.
	Counts bool
	// TimeoutSeconds is how long the API server waits; 0 is ten.
	TimeoutSeconds int32
	// Handler answers.
	Handler http.Handler
}

// Conversion serves the versions of a custom resource definition.
type Conversion struct {
	// Definition is its name.
	Definition string
	// Path it is served at; several may share one.
	Path string
	// Handler answers.
	Handler http.Handler
}

// reviews are the versions that we understand. NP-8.1
var reviews = []string{"v1", "v1beta1"}

func (s Set) handlers() map[string]http.Handler {
	all := map[string]http.Handler{}
	for _, h := range s.Hooks {
		all[h.Path] = h.Handler
	}
	for _, c := range s.Conversions {
		all[c.Path] = c.Handler
	}
	maps.Copy(all, s.Pages)
	return all
}

// Mutating are the configurations of the hooks that change objects.
func (s Set) mutating(at address, ca []byte) (all []*admissionv1.MutatingWebhookConfiguration) {
	byName := map[string]*admissionv1.MutatingWebhookConfiguration{}
	for _, h := range s.Hooks {
		if !h.Mutating {
			continue
		}
		c := byName[h.Configuration]
		if c == nil {
			c = &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: h.Configuration}}
			byName[h.Configuration] = c
		}
		v := h.validating(at, ca)
		c.Webhooks = append(c.Webhooks, admissionv1.MutatingWebhook{
			Name: v.Name, ClientConfig: v.ClientConfig, Rules: v.Rules, FailurePolicy: v.FailurePolicy, MatchPolicy: v.MatchPolicy,
			NamespaceSelector: v.NamespaceSelector, ObjectSelector: v.ObjectSelector, SideEffects: v.SideEffects,
			TimeoutSeconds: v.TimeoutSeconds, AdmissionReviewVersions: v.AdmissionReviewVersions, MatchConditions: v.MatchConditions,
			ReinvocationPolicy: new(admissionv1.NeverReinvocationPolicy),
		})
	}
	return sorted(byName)
}

// validating are the configurations of the others.
func (s Set) validating(at address, ca []byte) []*admissionv1.ValidatingWebhookConfiguration {
	byName := map[string]*admissionv1.ValidatingWebhookConfiguration{}
	for _, h := range s.Hooks {
		if h.Mutating {
			continue
		}
		c := byName[h.Configuration]
		if c == nil {
			c = &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: h.Configuration}}
			byName[h.Configuration] = c
		}
		c.Webhooks = append(c.Webhooks, h.validating(at, ca))
	}
	return sorted(byName)
}

// validating says everything that the API server would default, so that comparing with what is there is comparing.
func (h Hook) validating(at address, ca []byte) admissionv1.ValidatingWebhook {
	w := admissionv1.ValidatingWebhook{
		Name: h.Name, ClientConfig: at(h.Path), Rules: slices.Clone(h.Rules), MatchConditions: h.Conditions, FailurePolicy: &h.Policy,
		MatchPolicy:             new(admissionv1.Equivalent),
		NamespaceSelector:       cmp.Or(h.Namespaces, &metav1.LabelSelector{}),
		ObjectSelector:          cmp.Or(h.Objects, &metav1.LabelSelector{}),
		SideEffects:             new(admissionv1.SideEffectClassNone),
		TimeoutSeconds:          new(cmp.Or(h.TimeoutSeconds, 10)),
		AdmissionReviewVersions: reviews,
	}
	w.ClientConfig.CABundle = ca
	if h.Counts {
		w.SideEffects = new(admissionv1.SideEffectClassNoneOnDryRun)
	}
	for i := range w.Rules {
		w.Rules[i].Scope = cmp.Or(w.Rules[i].Scope, new(admissionv1.AllScopes))
	}
	return w
}

func sorted[T any](byName map[string]T) (all []T) {
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	return all
}

// register writes what differs and nothing else. One configuration that cannot be written does not keep the others back.
func (k *keeper) register(ctx context.Context, ca []byte) error {
	var all []error
	for _, c := range k.set.mutating(k.at, ca) {
		all = append(all, ensure(ctx, k.client, c, func(c *admissionv1.MutatingWebhookConfiguration) *[]admissionv1.MutatingWebhook { return &c.Webhooks }))
	}
	for _, c := range k.set.validating(k.at, ca) {
		all = append(all, ensure(ctx, k.client, c, func(c *admissionv1.ValidatingWebhookConfiguration) *[]admissionv1.ValidatingWebhook {
			return &c.Webhooks
		}))
	}
	for _, c := range k.set.Conversions {
		all = append(all, k.convertBy(ctx, c, ca))
	}
	return errors.Join(all...)
}

// ensure makes a configuration hold exactly the wanted hooks.
func ensure[T any, P interface {
	*T
	client.Object
}, W any](ctx context.Context, c client.Client, want P, hooks func(P) *[]W) error {
	have := P(new(T))
	err := c.Get(ctx, client.ObjectKeyFromObject(want), have)
	switch {
	case apierrors.IsNotFound(err):
		err = c.Create(ctx, want)
	case err == nil && !equality.Semantic.DeepEqual(*hooks(have), *hooks(want)):
		*hooks(have) = *hooks(want)
		err = c.Update(ctx, have)
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return nil // another replica wrote the same; the next round looks again
	}
	if err != nil {
		return fmt.Errorf("register webhooks in %s: %w", want.GetName(), err)
	}
	return nil
}

// convertBy tells a definition where its versions are converted. One that is not there is not needed. NP-8 (WH-5)
func (k *keeper) convertBy(ctx context.Context, c Conversion, ca []byte) error {
	have := &apiextensionsv1.CustomResourceDefinition{}
	if err := k.client.Get(ctx, client.ObjectKey{Name: c.Definition}, have); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("get definition %s: %w", c.Definition, err)
	}
	want := c.conversion(k.at, ca)
	if equality.Semantic.DeepEqual(have.Spec.Conversion, want) {
		return nil
	}
	// Replaced as a whole: a merge would keep the URL of yesterday beside the Service of today.
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/spec/conversion", "value": want}})
	if err != nil {
		return err
	}
	if err := k.client.Patch(ctx, have, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("register conversion of %s: %w", c.Definition, err)
	}
	return nil
}

func (c Conversion) conversion(at address, ca []byte) *apiextensionsv1.CustomResourceConversion {
	where := at(c.Path)
	config := &apiextensionsv1.WebhookClientConfig{URL: where.URL, CABundle: ca}
	if s := where.Service; s != nil {
		config.Service = &apiextensionsv1.ServiceReference{Namespace: s.Namespace, Name: s.Name, Path: s.Path, Port: s.Port}
	}
	return &apiextensionsv1.CustomResourceConversion{
		Strategy: apiextensionsv1.WebhookConverter,
		Webhook:  &apiextensionsv1.WebhookConversion{ClientConfig: config, ConversionReviewVersions: reviews},
	}
}
