package template

import (
	"context"
	"errors"
	"fmt"
	"maps"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// failure is what went wrong with works or with rights.
type failure struct{ works, rights []string }

// problem is one of them.
type problem struct {
	rights bool
	error
}

// Unwrap gives the cause.
func (p problem) Unwrap() error { return p.error }

// failures sorts what Act returned.
func failures(err error) (f failure) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return f
	}
	for _, e := range joined.Unwrap() {
		if p, ok := errors.AsType[problem](e); ok && p.rights {
			f.rights = append(f.rights, p.Error())
		} else {
			f.works = append(f.works, e.Error())
		}
	}
	return f
}

// Act holds the installation first, then takes rights that are wrong, gives rights, writes works, and lets go at last.
func (s *Steps) Act(ctx context.Context, obj *installation, p plan) error {
	if p.hold {
		if err := s.finalize(ctx, obj, "add", func(o *installation) { controllerutil.AddFinalizer(o, finalizers[0]) }); err != nil {
			return errors.Join(problem{error: err})
		}
	}
	var errs []error
	for i := range p.revoke {
		errs = append(errs, s.withdraw(ctx, &p.revoke[i]))
	}
	for _, b := range p.grant {
		errs = append(errs, s.grant(ctx, b))
	}
	for _, w := range p.create {
		errs = append(errs, s.create(ctx, w))
	}
	for _, c := range p.change {
		errs = append(errs, s.change(ctx, c))
	}
	for _, w := range p.remove {
		errs = append(errs, s.remove(ctx, w))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if p.release {
		return s.finalize(ctx, obj, "drop", func(o *installation) {
			for _, f := range finalizers {
				controllerutil.RemoveFinalizer(o, f)
			}
		})
	}
	return nil
}

// finalize changes the finalizers of the installation that was looked at. OCM-20.1
func (s *Steps) finalize(ctx context.Context, obj *installation, verb string, change func(*installation)) error {
	is := obj.DeepCopy()
	before := is.DeepCopy()
	change(is)
	if err := s.Hub.Patch(ctx, is, locked(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%s finalizer: %w", verb, err)
	}
	return nil
}

func locked(before client.Object) client.Patch {
	return client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
}

func (s *Steps) grant(ctx context.Context, b *rbacv1.RoleBinding) error {
	log.FromContext(ctx).Info("give rights to add-on", "role", b.RoleRef.Name, "namespace", b.Namespace)
	if err := s.Hub.Create(ctx, b); err != nil {
		return problem{true, fmt.Errorf("bind %s %s in namespace %s: %w", b.RoleRef.Kind, b.RoleRef.Name, b.Namespace, err)}
	}
	return nil
}

func (s *Steps) withdraw(ctx context.Context, b *rbacv1.RoleBinding) error {
	log.FromContext(ctx).Info("withdraw rights of add-on", "role", b.RoleRef.Name, "namespace", b.Namespace)
	err := s.Hub.Delete(ctx, b.DeepCopy(), client.Preconditions{UID: new(b.UID), ResourceVersion: new(b.ResourceVersion)})
	if client.IgnoreNotFound(err) != nil {
		return problem{true, fmt.Errorf("withdraw %s %s in namespace %s: %w", b.RoleRef.Kind, b.RoleRef.Name, b.Namespace, err)}
	}
	return nil
}

func (s *Steps) create(ctx context.Context, w *workv1.ManifestWork) error {
	log.FromContext(ctx).Info("deploy add-on", "work", w.Name, "manifests", len(w.Spec.Workload.Manifests))
	if err := s.Hub.Create(ctx, w); err != nil {
		return problem{false, fmt.Errorf("create work %s: %w", w.Name, err)}
	}
	return nil
}

// change replaces the content; what others added to the metadata stays.
func (s *Steps) change(ctx context.Context, c change) error {
	is := c.live.DeepCopy()
	before := is.DeepCopy()
	if is.Annotations == nil {
		is.Annotations = map[string]string{}
	}
	maps.Copy(is.Annotations, c.want.Annotations)
	maps.Copy(is.Labels, c.want.Labels)
	is.Spec = c.want.Spec
	log.FromContext(ctx).Info("deploy add-on anew", "work", is.Name, "manifests", len(is.Spec.Workload.Manifests))
	if err := s.Hub.Patch(ctx, is, locked(before)); client.IgnoreNotFound(err) != nil {
		return problem{false, fmt.Errorf("change work %s: %w", is.Name, err)}
	}
	return nil
}

func (s *Steps) remove(ctx context.Context, w *workv1.ManifestWork) error {
	log.FromContext(ctx).Info("remove work of add-on", "work", w.Name)
	err := s.Hub.Delete(ctx, w.DeepCopy(), client.Preconditions{UID: new(w.UID), ResourceVersion: new(w.ResourceVersion)})
	if client.IgnoreNotFound(err) != nil {
		return problem{false, fmt.Errorf("delete work %s: %w", w.Name, err)}
	}
	return nil
}

// revoke takes the rights that an installation has left behind; that it is gone, the API server itself has to say.
func (s *Steps) revoke(ctx context.Context, key client.ObjectKey) error {
	left, err := s.bindingsOf(ctx, key)
	if err != nil || len(left) == 0 {
		return err
	}
	if err := s.Live.Get(ctx, key, &installation{}); !apierrors.IsNotFound(err) {
		return client.IgnoreNotFound(err)
	}
	var errs []error
	for i := range left {
		errs = append(errs, s.withdraw(ctx, &left[i]))
	}
	return errors.Join(errs...)
}
