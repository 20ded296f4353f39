package offer

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
	"github.com/flotilla-project/flotilla/hub/rollout"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// logs is an offer of an add-on that people install by hand.
func logs(change ...func(*offer)) *offer {
	a := &offer{ObjectMeta: metav1.ObjectMeta{Name: "logs", UID: "offer-1", Generation: 1, Annotations: map[string]string{}}}
	for _, c := range change {
		c(a)
	}
	return a
}

func selfDriven(a *offer) { a.Annotations["addon.open-cluster-management.io/lifecycle"] = "self" }

// placedBy installs by Placements of namespace team; each may bring a deployment config.
func placedBy(names ...string) func(*offer) {
	return func(a *offer) {
		a.Spec.InstallStrategy.Type = "Placements"
		for _, name := range names {
			a.Spec.InstallStrategy.Placements = append(a.Spec.InstallStrategy.Placements, addonv1alpha1.PlacementStrategy{
				PlacementRef:    addonv1alpha1.PlacementRef{Namespace: "team", Name: name},
				RolloutStrategy: clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.All}})
		}
	}
}

func configured(placement int, names ...string) func(*offer) {
	return func(a *offer) {
		a.Spec.InstallStrategy.Placements[placement].Configs = configs(names...)
	}
}

func oneByOne(a *offer) {
	a.Spec.InstallStrategy.Placements[0].RolloutStrategy = clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.Progressive,
		Progressive: &clusterv1alpha1.RolloutProgressive{MaxConcurrency: intstr.FromInt32(1)}}
}

func byDefault(name string) func(*offer) {
	return func(a *offer) {
		a.Spec.SupportedConfigs = append(a.Spec.SupportedConfigs, addonv1alpha1.ConfigMeta{ConfigGroupResource: config.DeploymentConfigs, DefaultConfig: &addonv1alpha1.ConfigReferent{Namespace: "team", Name: name}})
	}
}

func configs(names ...string) (all []addonv1alpha1.AddOnConfig) {
	for _, name := range names {
		all = append(all, addonv1alpha1.AddOnConfig{ConfigGroupResource: config.DeploymentConfigs, ConfigReferent: addonv1alpha1.ConfigReferent{Namespace: "team", Name: name}})
	}
	return all
}

func deployment(name string) config.Ref {
	return config.Ref{Kind: config.DeploymentConfigs, ConfigReferent: addonv1alpha1.ConfigReferent{Namespace: "team", Name: name}}
}

// on is the installation on a cluster.
func on(cluster string, change ...func(*installation)) *installation {
	a := &installation{ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: "logs", UID: types.UID("addon-" + cluster), CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour)),
		OwnerReferences: []metav1.OwnerReference{owner(logs())}}}
	for _, c := range change {
		c(a)
	}
	return a
}

func marked(a *installation)  { metav1.SetMetaDataAnnotation(&a.ObjectMeta, InstalledBy, "team/p") }
func orphan(a *installation)  { a.OwnerReferences = nil }
func leaving(a *installation) { a.DeletionTimestamp = &metav1.Time{Time: noon} }
func kept(a *installation) {
	metav1.SetMetaDataAnnotation(&a.ObjectMeta, addonv1alpha1.DisableAddonAutomaticInstallationAnnotationKey, "true")
}
func choosing(names ...string) func(*installation) {
	return func(a *installation) { a.Spec.Configs = configs(names...) }
}

// has has a configuration in place, and may have applied it.
func has(name, hash string, applied bool) func(*installation) {
	return func(a *installation) {
		is := &specHash{ConfigReferent: deployment(name).ConfigReferent, SpecHash: hash}
		r := reference{ConfigGroupResource: config.DeploymentConfigs, ConfigReferent: is.ConfigReferent, DesiredConfig: is}
		if applied {
			r.LastAppliedConfig = is.DeepCopy()
		}
		a.Status.ConfigReferences = []reference{r}
	}
}

func progressing(reason string) func(*installation) {
	return func(a *installation) {
		meta.SetStatusCondition(&a.Status.Conditions, metav1.Condition{Type: "Progressing", Status: metav1.ConditionFalse, Reason: reason, LastTransitionTime: metav1.NewTime(noon.Add(-time.Minute))})
	}
}

func cluster(name string, annotations ...string) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{}}}
	for i := 0; i+1 < len(annotations); i += 2 {
		c.Annotations[annotations[i]] = annotations[i+1]
	}
	return c
}

// selecting is a placement that has decided for these clusters.
func selecting(clusters ...string) placement {
	p := placement{found: true, decisions: 1, selected: map[string]rollout.Group{}}
	for _, c := range clusters {
		p.selected[c] = rollout.Group{}
	}
	return p
}

// world are facts with plain clusters for all that is selected, and configs "x" and "y" of hash "x1" and "y1".
func world(placements []placement, installed ...*installation) facts {
	f := facts{installed: installed, placements: placements, clusters: map[string]*clusterv1.ManagedCluster{},
		configs: map[config.Ref]hashed{deployment("x"): {"x1", 1}, deployment("y"): {"y1", 2}}, leftAt: map[types.UID]time.Time{}}
	for _, p := range placements {
		for name := range p.selected {
			f.clusters[name] = cluster(name)
		}
	}
	for _, a := range installed {
		f.clusters[a.Namespace] = cluster(a.Namespace)
	}
	return f
}
