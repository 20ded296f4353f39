package imagepulljob

import (
	"context"
	"fmt"
	"strings"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// seen is what there is of a job. Everything is shared with the cache and never changed.
type seen struct {
	homeless bool                // the namespace for pull secrets is missing
	targets  []*kruise.NodeImage // in order
	ordered  sets.Set[string]    // nodes whose tag is on its way
	sources  []*corev1.Secret    // those of spec.pullSecrets that exist
	copies   []corev1.Secret     // in the namespace for them: of those sources, or referred to by the job
	luck     func(n int32) int32
	wrong    string // why the spec cannot be right
}

// Observe reads the cache.
func (s *steps) Observe(ctx context.Context, job *kruise.ImagePullJob) (seen, error) {
	found := seen{ordered: s.orders.of(job.UID), luck: s.luck}
	job = Default(job)
	if errs := Validate(job); len(errs) > 0 && job.Status.CompletionTime == nil {
		found.wrong = errs.ToAggregate().Error()
	}
	over := job.DeletionTimestamp != nil || job.Status.CompletionTime != nil
	switch {
	case s.options.Secrets && (len(job.Spec.PullSecrets) > 0 || over):
		if err := s.secrets(ctx, job, over, &found); err != nil {
			return found, err
		}
	case !over && len(job.Spec.PullSecrets) > 0:
		found.wrong = "the agent may not read pull secrets; apply deploy/member/rbac/more/pull-secrets.yaml and restart it"
	}
	if over || found.wrong != "" {
		return found, nil
	}
	var home corev1.Namespace
	err := s.local.Get(ctx, client.ObjectKey{Name: s.options.ConfigNamespace}, &home)
	if client.IgnoreNotFound(err) != nil {
		return found, fmt.Errorf("get namespace %s: %w", s.options.ConfigNamespace, err)
	}
	found.homeless = apierrors.IsNotFound(err)
	found.targets, err = s.targets(ctx, job)
	return found, err
}

// secrets reads sources and copies. A job that is over wants none, and lets go of those it has. // IP-5, IP-7
func (s *steps) secrets(ctx context.Context, job *kruise.ImagePullJob, over bool, found *seen) error {
	uids := sets.Set[string]{}
	for _, name := range job.Spec.PullSecrets {
		if over {
			break
		}
		source, err := s.secret(ctx, client.ObjectKey{Namespace: job.Namespace, Name: name})
		if err != nil {
			return err
		}
		if source != nil {
			uids.Insert(string(source.UID))
			found.sources = append(found.sources, source)
		}
	}
	var copies corev1.SecretList
	err := s.local.List(ctx, &copies, client.InNamespace(s.options.ConfigNamespace), client.HasLabels{sourceUIDLabel}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return fmt.Errorf("list copies of pull secrets: %w", err)
	}
	for _, c := range copies.Items {
		if c.DeletionTimestamp == nil && (uids.Has(c.Labels[sourceUIDLabel]) || refersTo(&c, keyOf(job))) {
			found.copies = append(found.copies, c)
		}
	}
	return nil
}

// secret reads one; the cache keeps the contents of pull secrets only.
func (s *steps) secret(ctx context.Context, key client.ObjectKey) (*corev1.Secret, error) {
	var secret corev1.Secret
	err := s.local.Get(ctx, key, &secret)
	if err == nil && !forPulls(&secret) {
		err = s.live.Get(ctx, key, &secret)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil // IP-5: missing ones are ignored
	}
	if err != nil {
		return nil, fmt.Errorf("get pull secret %s: %w", key.Name, err)
	}
	return &secret, nil
}

func forPulls(secret *corev1.Secret) bool {
	return secret.Type == corev1.SecretTypeDockerConfigJson || secret.Type == corev1.SecretTypeDockercfg
}

// Strip takes out of a Secret what the cache need not hold: the contents of all that are not for pulling images.
func Strip(o any) (any, error) {
	if secret, ok := o.(*corev1.Secret); ok {
		secret.ManagedFields = nil
		if !forPulls(secret) && secret.Labels[sourceUIDLabel] == "" {
			secret.Data, secret.StringData, secret.Annotations = nil, nil, nil // kubectl keeps the contents in an annotation too
		}
	}
	return o, nil
}

func references(copied *corev1.Secret) sets.Set[string] {
	all := sets.New(strings.Split(copied.Annotations[referencesNote], ",")...)
	return all.Delete("")
}

func refersTo(copied *corev1.Secret, job string) bool { return references(copied).Has(job) }

// deadline is when the job is given up; ok is false when never. // IP-14
func deadline(job *kruise.ImagePullJob, start time.Time) (at time.Time, ok bool) {
	policy := job.Spec.CompletionPolicy
	if policy.Type != kruise.Always || policy.ActiveDeadlineSeconds == nil {
		return time.Time{}, false
	}
	return start.Add(time.Duration(*policy.ActiveDeadlineSeconds) * time.Second), true
}
