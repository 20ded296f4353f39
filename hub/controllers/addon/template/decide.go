package template

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
)

// ReasonPending is a reason of RegistrationApplied that the API module does not name. OCM-19.6
const ReasonPending = "PermissionConfigPending"

// finalizers that hold an add-on until its hook has run: ours, and the one that was used before. OCM-19.1
var finalizers = []string{addonv1alpha1.AddonPreDeleteHookFinalizer, addonv1alpha1.AddonDeprecatedPreDeleteHookFinalizer}

// plan is what to write for an installation.
type plan struct {
	// mine says that the hub runs the add-on; otherwise nothing is written.
	mine bool
	// waits is why nothing can be rendered now; what runs stays as it is.
	waits string
	// hosted says that another cluster shall run the add-on, which a template cannot.
	hosted bool
	// denied says that the cluster is not accepted, so that its add-ons have no rights.
	denied bool

	hold, release  bool // the finalizer
	create, remove []*workv1.ManifestWork
	change         []change
	grant          []*rbacv1.RoleBinding
	revoke         []rbacv1.RoleBinding

	registrations []addonv1alpha1.RegistrationConfig
	namespace     string
	works         []*workv1.ManifestWork // that deploy it, as they are
	rights        int
	hook          *metav1.Condition
}

// change is a work as it is and as it should be.
type change struct{ live, want *workv1.ManifestWork }

// Recheck is never: all of it is watched.
func (plan) Recheck() time.Duration { return 0 }

func decide(obj *installation, seen facts) plan {
	if seen.offer == nil || !catalog.RunByTemplate(seen.offer, obj) {
		return plan{}
	}
	p := plan{mine: true}
	if seen.cluster != nil && detach.Ordered(seen.cluster) {
		// Everything on it runs on: nothing is sent there, and no hook takes anything down.
		p.waits, p.release = "the cluster is being detached", leaving(obj) && held(obj)
		return p
	}
	if host := obj.Annotations[addonv1alpha1.HostingClusterNameAnnotationKey]; host != "" && host != obj.Namespace && !leaving(obj) {
		p.waits = fmt.Sprintf("add-ons by template run on their own cluster, not on %q; remove the annotation %s", host, addonv1alpha1.HostingClusterNameAnnotationKey)
		p.hosted = true
		return p
	}
	in, why := p.input(obj, seen)
	if why != "" {
		p.waits = why
		if leaving(obj) {
			p.leave(obj, seen, nil)
		}
		return p
	}
	all, err := render(in)
	if err == nil {
		err = p.deploy(obj, seen, in, all)
	}
	if err != nil {
		if p.waits = err.Error(); leaving(obj) {
			p.leave(obj, seen, nil)
		}
		return p
	}
	if leaving(obj) {
		return p
	}
	p.namespace, p.registrations = in.namespace, registrations(obj, in.template)
	p.allow(obj, seen, in.template)
	return p
}

func leaving(obj *installation) bool { return !obj.DeletionTimestamp.IsZero() }

// input is what to render from, or why it cannot be. OCM-19.3: only when all configurations are in place.
func (p *plan) input(obj *installation, seen facts) (in input, why string) {
	in = input{cluster: obj.Namespace, addon: obj.Name}
	if !leaving(obj) && !meta.IsStatusConditionTrue(obj.Status.Conditions, addonv1alpha1.ManagedClusterAddOnConditionConfigured) {
		return in, "configurations are not in place"
	}
	named := config.Named(seen.offer, obj)
	for _, r := range obj.Status.ConfigReferences {
		if r.DesiredConfig == nil {
			continue
		}
		ref := config.Ref{Kind: r.ConfigGroupResource, ConfigReferent: r.DesiredConfig.ConfigReferent}
		if !ref.Known() {
			continue
		}
		if !slices.Contains(named, ref) { // a cluster's agent can write status, and must not choose its own rights
			return in, ref.String() + " is named by status only"
		}
		if why := in.take(ref, r.DesiredConfig.SpecHash, seen); why != "" {
			return in, why
		}
	}
	if in.template.Spec.AddonName != obj.Name {
		return in, fmt.Sprintf("template %s is of add-on %q", in.template.Name, in.template.Spec.AddonName)
	}
	in.namespace = namespaceOf(obj, in)
	return in, ""
}

// take decodes a configuration, if its content is the one whose turn it is.
func (in *input) take(ref config.Ref, hash string, seen facts) string {
	o := seen.configs[ref]
	if o == nil {
		return ref.String() + " does not exist"
	}
	if is, err := config.Hash(o.Object); err != nil || is != hash {
		return ref.String() + " has changed, and the change has not come to this cluster"
	}
	var into any
	if ref.Kind == config.Templates {
		in.template = &addonv1alpha1.AddOnTemplate{}
		into = in.template
	} else {
		in.config = &addonv1alpha1.AddOnDeploymentConfig{}
		into = in.config
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, into); err != nil {
		return fmt.Sprintf("%s cannot be decoded: %v", ref, err)
	}
	return ""
}

// namespaceOf is where the add-on is installed: credentials are put where its workloads run. OCM-19.4
func namespaceOf(obj *installation, in input) string {
	said := ""
	if in.config != nil {
		said = in.config.Spec.AgentInstallNamespace
	}
	return cmp.Or(said, home(in.template), obj.Spec.InstallNamespace, catalog.DefaultNamespace)
}

// deploy compares works with what was rendered. A hook is made when the add-on goes, and holds it until then. OCM-19.5
func (p *plan) deploy(obj *installation, seen facts, in input, all []manifest) error {
	deploy, hook, err := worksOf(obj, in, all)
	if err != nil {
		return err
	}
	if leaving(obj) {
		p.leave(obj, seen, hook)
		return nil
	}
	p.hold = hook != nil && !held(obj)
	p.release = hook == nil && held(obj)
	stays := map[string]bool{}
	for _, want := range deploy {
		stays[want.Name] = true
		live := seen.works[want.Name]
		switch {
		case live == nil:
			p.create = append(p.create, want)
		case !live.DeletionTimestamp.IsZero(): // made again once it is gone
		case !same(live, want):
			p.change = append(p.change, change{live, want})
		default:
			p.works = append(p.works, live)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(seen.works)) { // the template has become smaller
		if live := seen.works[name]; !stays[name] && catalog.Deploys(live, obj.Name) && live.DeletionTimestamp.IsZero() {
			p.remove = append(p.remove, live)
		}
	}
	return nil
}

func held(obj *installation) bool {
	return slices.ContainsFunc(obj.Finalizers, func(f string) bool { return slices.Contains(finalizers, f) })
}

// leave runs the hook, and lets go when it has run to its end. Works go with the installation, by their owner. OCM-19.5
func (p *plan) leave(obj *installation, seen facts, hook *workv1.ManifestWork) {
	if !held(obj) {
		return
	}
	live := seen.works[catalog.HookName(obj.Name)]
	done, why := finished(live)
	p.hook = &metav1.Condition{Type: addonv1alpha1.ManagedClusterAddOnHookManifestCompleted, Status: metav1.ConditionFalse, Reason: "HookManifestIsNotCompleted",
		Message: fmt.Sprintf("The add-on goes when work %s has completed: %s.", catalog.HookName(obj.Name), why)}
	switch {
	case live == nil && hook != nil:
		p.create = append(p.create, hook)
	case live == nil:
		p.hook.Message = fmt.Sprintf("The hook of the deletion cannot be made: %s. To let the add-on go without it, remove the finalizer %s.", p.waits, finalizers[0])
	case done && meta.IsStatusConditionTrue(obj.Status.Conditions, p.hook.Type):
		p.hook, p.release = nil, true
		for _, name := range slices.Sorted(maps.Keys(seen.works)) {
			if seen.works[name].DeletionTimestamp.IsZero() {
				p.remove = append(p.remove, seen.works[name])
			}
		}
	case done:
		p.hook.Status, p.hook.Reason, p.hook.Message = metav1.ConditionTrue, "HookManifestIsCompleted", "All that had to be done before the deletion is done."
	}
}

// allow compares rights with those of the template. OCM-19.4
func (p *plan) allow(obj *installation, seen facts, t *addonv1alpha1.AddOnTemplate) {
	want := bindings(obj, t)
	if seen.cluster != nil && !seen.cluster.Spec.HubAcceptsClient {
		p.denied, want = true, nil
	}
	p.rights = len(want)
	stays := map[string]bool{}
	for _, b := range want {
		stays[b.Namespace+"/"+b.Name] = true
		i := slices.IndexFunc(seen.bindings, func(h rbacv1.RoleBinding) bool { return h.Namespace == b.Namespace && h.Name == b.Name })
		switch {
		case i < 0:
			p.grant = append(p.grant, b)
		case !sameBinding(&seen.bindings[i], b): // whose role it binds cannot be changed
			p.revoke, p.grant = append(p.revoke, seen.bindings[i]), append(p.grant, b)
		}
	}
	for _, have := range seen.bindings {
		if !stays[have.Namespace+"/"+have.Name] {
			p.revoke = append(p.revoke, have)
		}
	}
}

// Report says what was done, and what the cluster makes of it.
func (*Steps) Report(obj *installation, _ facts, p plan, acted error) {
	if !p.mine {
		return
	}
	set := func(kind string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&obj.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
	}
	if p.hook != nil && acted == nil {
		meta.SetStatusCondition(&obj.Status.Conditions, *p.hook)
	}
	if leaving(obj) {
		return
	}
	if p.hosted {
		set(addonv1alpha1.ManagedClusterAddOnHostingClusterValidity, metav1.ConditionFalse, addonv1alpha1.HostingClusterValidityReasonInvalid, "Nothing is deployed: "+p.waits+".")
		return
	}
	meta.RemoveStatusCondition(&obj.Status.Conditions, addonv1alpha1.ManagedClusterAddOnHostingClusterValidity)
	if p.waits != "" {
		if meta.FindStatusCondition(obj.Status.Conditions, addonv1alpha1.ManagedClusterAddOnRegistrationApplied) == nil {
			set(addonv1alpha1.ManagedClusterAddOnRegistrationApplied, metav1.ConditionFalse, ReasonPending, "Waits: "+p.waits+".")
		}
		return
	}
	obj.Status.Namespace, obj.Status.Registrations = p.namespace, p.registrations
	obj.Status.HealthCheck.Mode = addonv1alpha1.HealthCheckModeCustomized
	failed := failures(acted)
	switch {
	case len(failed.rights) > 0:
		set(addonv1alpha1.ManagedClusterAddOnRegistrationApplied, metav1.ConditionFalse, addonv1alpha1.RegistrationAppliedSetPermissionFailed, strings.Join(failed.rights, "; ")+
			". The hub hands on only rights that it holds: bind these roles, or the right to bind them, to its service account.")
	case p.denied:
		set(addonv1alpha1.ManagedClusterAddOnRegistrationApplied, metav1.ConditionFalse, ReasonPending, "The cluster is not accepted, so its add-ons have no rights.")
	case len(p.registrations) == 0:
		set(addonv1alpha1.ManagedClusterAddOnRegistrationApplied, metav1.ConditionTrue, addonv1alpha1.RegistrationAppliedNilRegistration, "The template asks for no registration.")
	default:
		set(addonv1alpha1.ManagedClusterAddOnRegistrationApplied, metav1.ConditionTrue, addonv1alpha1.RegistrationAppliedSetPermissionApplied, fmt.Sprintf("%d rights are given.", p.rights))
	}
	if len(failed.works) > 0 {
		set(addonv1alpha1.ManagedClusterAddOnManifestApplied, metav1.ConditionFalse, addonv1alpha1.AddonManifestAppliedReasonWorkApplyFailed, strings.Join(failed.works, "; "))
		return
	}
	if c := applied(p.works); c != nil && len(p.create)+len(p.change) == 0 {
		meta.SetStatusCondition(&obj.Status.Conditions, *c)
	}
}

// applied is what the cluster makes of the works; nothing while it has not answered. OCM-19.6
func applied(works []*workv1.ManifestWork) *metav1.Condition {
	c := metav1.Condition{Type: addonv1alpha1.ManagedClusterAddOnManifestApplied, Status: metav1.ConditionTrue, Reason: addonv1alpha1.AddonManifestAppliedReasonManifestsApplied,
		Message: fmt.Sprintf("%d works are applied.", len(works))}
	for _, w := range works {
		said := meta.FindStatusCondition(w.Status.Conditions, workv1.WorkApplied)
		switch {
		case said == nil || said.ObservedGeneration != w.Generation:
			return nil
		case said.Status != metav1.ConditionTrue:
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, addonv1alpha1.AddonManifestAppliedReasonManifestsApplyFailed, fmt.Sprintf("Work %s: %s", w.Name, said.Message)
			return &c
		}
	}
	return &c
}
