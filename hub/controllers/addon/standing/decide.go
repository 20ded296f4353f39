package standing

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
)

// ReasonWaitingForManifestApplied is a reason of Progressing that the API module does not name. OCM-19.6
const ReasonWaitingForManifestApplied = "WaitingForManifestApplied"

func decide(obj *installation, seen facts) plan {
	p := plan{status: *obj.Status.DeepCopy()}
	if !obj.DeletionTimestamp.IsZero() {
		return p
	}
	if c := p.availability(obj, seen); c != nil {
		meta.SetStatusCondition(&p.status.Conditions, *c)
	}
	if seen.offer != nil && !catalog.SelfDriven(seen.offer) {
		p.progress(seen)
	}
	return p
}

// availability is the hub's to judge when the cluster is not heard from, and when the hub runs an add-on that has no
// lease. Otherwise it is its agent's. OCM-19.6
func (p *plan) availability(obj *installation, seen facts) *metav1.Condition {
	if seen.cluster != nil {
		c := meta.FindStatusCondition(seen.cluster.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
		if c != nil && c.Status == metav1.ConditionUnknown {
			return condition(addonv1alpha1.ManagedClusterAddOnConditionAvailable, c.Status, c.Reason, c.Message)
		}
	}
	if seen.offer == nil || !catalog.RunByTemplate(seen.offer, obj) || obj.Status.HealthCheck.Mode != addonv1alpha1.HealthCheckModeCustomized {
		return nil
	}
	status, reason, message := health(seen.works)
	return condition(addonv1alpha1.ManagedClusterAddOnConditionAvailable, status, reason, message)
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) *metav1.Condition {
	return &metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// health is judged by works: first whether they are applied, then by what their Deployments and DaemonSets feed back.
func health(works []workv1.ManifestWork) (metav1.ConditionStatus, string, string) {
	if len(works) == 0 {
		return metav1.ConditionUnknown, addonv1alpha1.AddonAvailableReasonWorkNotFound, "No ManifestWork deploys the add-on."
	}
	probed := 0
	for _, w := range sorted(works) {
		if !meta.IsStatusConditionTrue(w.Status.Conditions, workv1.WorkApplied) {
			return metav1.ConditionFalse, addonv1alpha1.AddonAvailableReasonWorkNotApply, fmt.Sprintf("Work %s is not applied: %s", w.Name, said(w, workv1.WorkApplied))
		}
		for _, m := range w.Status.ResourceStatus.Manifests {
			probe, ok := probes[m.ResourceMeta.Kind]
			if !ok || m.ResourceMeta.Group != "apps" {
				continue
			}
			probed++
			name := fmt.Sprintf("%s %s/%s", m.ResourceMeta.Kind, m.ResourceMeta.Namespace, m.ResourceMeta.Name)
			wanted, known := value(m, probe.wanted)
			ready, reported := value(m, probe.ready)
			switch {
			case !known:
				return metav1.ConditionUnknown, addonv1alpha1.AddonAvailableReasonNoProbeResult, name + " has not been reported on yet."
			case wanted > 0 && (!reported || ready == 0):
				return metav1.ConditionFalse, addonv1alpha1.AddonAvailableReasonProbeUnavailable, fmt.Sprintf("0 of %d pods of %s are ready.", wanted, name)
			}
		}
	}
	if probed == 0 {
		return metav1.ConditionTrue, addonv1alpha1.AddonAvailableReasonWorkApply, fmt.Sprintf("%d works are applied.", len(works))
	}
	return metav1.ConditionTrue, addonv1alpha1.AddonAvailableReasonProbeAvailable, fmt.Sprintf("%d workloads have pods that are ready.", probed)
}

// probes are the feedback values that tell how many pods there should be, and how many are ready. OCM-12.5
var probes = map[string]struct{ wanted, ready string }{
	"Deployment": {"Replicas", "ReadyReplicas"},
	"DaemonSet":  {"DesiredNumberScheduled", "NumberReady"},
}

func value(m workv1.ManifestCondition, name string) (int64, bool) {
	for _, v := range m.StatusFeedbacks.Values {
		if v.Name == name && v.Value.Integer != nil {
			return *v.Value.Integer, true
		}
	}
	return 0, false
}

func sorted(works []workv1.ManifestWork) []workv1.ManifestWork {
	return slices.SortedFunc(slices.Values(works), func(a, b workv1.ManifestWork) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

func said(w workv1.ManifestWork, kind string) string {
	if c := meta.FindStatusCondition(w.Status.Conditions, kind); c != nil && c.Message != "" {
		return c.Message
	}
	return "its agent has not answered yet."
}

// progress says how far the configurations are, and remembers those that are applied. OCM-19.3
func (p *plan) progress(seen facts) {
	status, reason, message := p.progressing(seen)
	if reason == addonv1alpha1.ProgressingReasonCompleted {
		for i := range p.status.ConfigReferences {
			r := &p.status.ConfigReferences[i]
			r.LastAppliedConfig = r.DesiredConfig.DeepCopy()
		}
	}
	was := meta.FindStatusCondition(p.status.Conditions, addonv1alpha1.ManagedClusterAddOnConditionProgressing)
	if reason == "" || was != nil && was.Reason == addonv1alpha1.ProgressingReasonWaitingForCanary {
		return // whose turn it is decides the offer
	}
	meta.SetStatusCondition(&p.status.Conditions, *condition(addonv1alpha1.ManagedClusterAddOnConditionProgressing, status, reason, message))
}

func (p *plan) progressing(seen facts) (metav1.ConditionStatus, string, string) {
	const progressing = addonv1alpha1.ProgressingReasonProgressing
	refs := p.status.ConfigReferences
	if kind, bad := p.unsupported(seen); bad {
		return metav1.ConditionFalse, addonv1alpha1.ProgressingReasonConfigurationUnsupported,
			fmt.Sprintf("The add-on does not support configurations of kind %s.%s; remove it from the configs.", kind.Resource, kind.Group)
	}
	if len(refs) == 0 && len(seen.works) == 0 {
		return "", "", ""
	}
	if !meta.IsStatusConditionTrue(p.status.Conditions, addonv1alpha1.ManagedClusterAddOnConditionConfigured) {
		return metav1.ConditionTrue, progressing, "Waits until all configurations are in place."
	}
	if len(seen.works) == 0 {
		return metav1.ConditionTrue, progressing, "No ManifestWork deploys the add-on yet."
	}
	for _, w := range sorted(seen.works) {
		if r := outdated(w, refs); r != "" {
			return metav1.ConditionTrue, progressing, fmt.Sprintf("Work %s does not carry %s yet.", w.Name, r)
		}
	}
	for _, w := range sorted(seen.works) {
		c := meta.FindStatusCondition(w.Status.Conditions, workv1.WorkApplied)
		switch {
		case c == nil || c.ObservedGeneration != w.Generation:
			return metav1.ConditionTrue, ReasonWaitingForManifestApplied, fmt.Sprintf("Work %s is not applied yet.", w.Name)
		case c.Status != metav1.ConditionTrue:
			return metav1.ConditionFalse, addonv1alpha1.ProgressingReasonFailed, fmt.Sprintf("Work %s is not applied: %s", w.Name, c.Message)
		case !meta.IsStatusConditionTrue(w.Status.Conditions, workv1.WorkAvailable):
			return metav1.ConditionTrue, progressing, fmt.Sprintf("Work %s is applied, and not available: %s", w.Name, said(w, workv1.WorkAvailable))
		}
	}
	return metav1.ConditionFalse, addonv1alpha1.ProgressingReasonCompleted, fmt.Sprintf("%d configurations are applied.", len(refs))
}

// unsupported is a kind that neither the offer nor the add-on's own controller says it understands.
func (p *plan) unsupported(seen facts) (config.Kind, bool) {
	kinds := slices.Clone(p.status.SupportedConfigs)
	for _, c := range seen.offer.Spec.SupportedConfigs {
		kinds = append(kinds, c.ConfigGroupResource)
	}
	for _, r := range p.status.ConfigReferences {
		if !slices.Contains(kinds, r.ConfigGroupResource) {
			return r.ConfigGroupResource, true
		}
	}
	return config.Kind{}, false
}

// outdated names the first configuration that a work was not rendered with. OCM-19.5
func outdated(w workv1.ManifestWork, refs []addonv1alpha1.ConfigReference) string {
	var carried map[string]string
	if err := json.Unmarshal([]byte(cmp.Or(w.Annotations[workv1.ManifestConfigSpecHashAnnotationKey], "{}")), &carried); err != nil {
		return "an annotation of configuration hashes that can be read"
	}
	for _, r := range refs {
		if r.DesiredConfig != nil && carried[catalog.ConfigKey(r)] != r.DesiredConfig.SpecHash {
			return strings.TrimSpace("configuration " + catalog.ConfigKey(r))
		}
	}
	return ""
}
