package acceptance

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
)

// Names that agents, tools and other hubs match on. OCM-3.6
const (
	registrationRole = "open-cluster-management:managedcluster:registration"
	workRole         = "open-cluster-management:managedcluster:work"

	// WorkFinalizer keeps a cluster's right to works until its works are gone.
	WorkFinalizer = "cluster.open-cluster-management.io/manifest-work-cleanup"
	// ManagedByLabel marks the RBAC objects made here, so that the cache holds these and no others.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	// ManagedBy is that label's value.
	ManagedBy = "flotilla-hub"
)

func clusterRoleName(cluster string) string {
	return "open-cluster-management:managedcluster:" + cluster
}
func registrationName(cluster string) string { return clusterRoleName(cluster) + ":registration" }
func workName(cluster string) string         { return clusterRoleName(cluster) + ":work" }

// WorkBinding is the RoleBinding by which a cluster's agent sees its works.
func WorkBinding(cluster string) client.ObjectKey {
	return client.ObjectKey{Namespace: cluster, Name: workName(cluster)}
}

// namespaceOf is the namespace that stands for a cluster. OCM-3.6
func namespaceOf(cluster string) *corev1.Namespace {
	return &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: cluster, Labels: map[string]string{clusterv1.ClusterNameLabelKey: cluster}},
	}
}

// clusterRole is what an accepted cluster may do outside its namespace. OCM-3.6
func clusterRole(cluster string) *rbacv1.ClusterRole {
	return role(clusterRoleName(cluster), cluster,
		rule("certificates.k8s.io", "certificatesigningrequests", "create", "get", "list", "watch"),
		rule("register.open-cluster-management.io", "managedclusters/clientcertificates", "renew"),
		named(cluster, rule(clusterv1.GroupName, "managedclusters", "get", "list", "update", "watch")),
		named(cluster, rule(clusterv1.GroupName, "managedclusters/status", "patch", "update")),
	)
}

// deniedRole is what is left of that after a denial: the agent can see that it was denied. OCM-3.6
func deniedRole(cluster string) *rbacv1.ClusterRole {
	return role(clusterRoleName(cluster), cluster,
		named(cluster, rule(clusterv1.GroupName, "managedclusters", "get", "list", "watch")))
}

func clusterRoleBinding(cluster string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: clusterRoleName(cluster), Labels: labels(cluster)},
		RoleRef:    roleRef(clusterRoleName(cluster)),
		Subjects:   subjects(cluster),
	}
}

func registrationBinding(cluster string) *rbacv1.RoleBinding {
	return binding(registrationName(cluster), cluster, registrationRole)
}

// workBinding has a finalizer of its own, so that the agent keeps its rights until its works are gone. OCM-3.6
func workBinding(cluster string) *rbacv1.RoleBinding {
	b := binding(workName(cluster), cluster, workRole)
	b.Finalizers = []string{WorkFinalizer}
	return b
}

// sharedRoles are bound once in every cluster namespace. OCM-3.6
func sharedRoles() []client.Object {
	return []client.Object{
		role(registrationRole, "",
			rule("coordination.k8s.io", "leases", "get", "list", "watch", "update"),
			rule("addon.open-cluster-management.io", "managedclusteraddons", "get", "list", "watch"),
			rule("addon.open-cluster-management.io", "managedclusteraddons/status", "patch", "update"),
			rule("events.k8s.io", "events", "create"),
		),
		role(workRole, "",
			rbacv1.PolicyRule{APIGroups: []string{"", "events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch", "update"}},
			rule("work.open-cluster-management.io", "manifestworks", "get", "list", "watch", "update", "patch"),
			rule("work.open-cluster-management.io", "manifestworks/status", "patch", "update"),
		),
	}
}

// wanted is everything an accepted cluster has, in the order it is made.
func wanted(cluster string) []client.Object {
	all := append([]client.Object{namespaceOf(cluster)}, sharedRoles()...)
	return append(all, clusterRole(cluster), clusterRoleBinding(cluster), registrationBinding(cluster), workBinding(cluster))
}

func role(name, cluster string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels(cluster)},
		Rules:      rules,
	}
}

func binding(name, cluster, clusterRole string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: cluster, Labels: labels(cluster)},
		RoleRef:    roleRef(clusterRole),
		Subjects:   subjects(cluster),
	}
}

func labels(cluster string) map[string]string {
	all := map[string]string{ManagedByLabel: ManagedBy}
	if cluster != "" {
		all[clusterv1.ClusterNameLabelKey] = cluster
	}
	return all
}

func rule(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

func named(name string, r rbacv1.PolicyRule) rbacv1.PolicyRule {
	r.ResourceNames = []string{name}
	return r
}

func roleRef(name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
}

// subjects are two groups, of certificates and of cloud identities; both are always bound. OCM-3.6
func subjects(cluster string) []rbacv1.Subject {
	return []rbacv1.Subject{
		{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: identity.Group(cluster)},
		{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: identity.CloudGroup(cluster)},
	}
}

// same says whether what we own of an object is as it should be. Labels and finalizers of others may stand beside ours.
func same(have, want client.Object) bool {
	if have == nil || !contains(have.GetLabels(), want.GetLabels()) {
		return false
	}
	for _, f := range want.GetFinalizers() {
		if !slices.Contains(have.GetFinalizers(), f) {
			return false
		}
	}
	switch want := want.(type) {
	case *rbacv1.ClusterRole:
		return equality.Semantic.DeepEqual(have.(*rbacv1.ClusterRole).Rules, want.Rules)
	case *rbacv1.ClusterRoleBinding:
		have := have.(*rbacv1.ClusterRoleBinding)
		return have.RoleRef == want.RoleRef && slices.Equal(have.Subjects, want.Subjects)
	case *rbacv1.RoleBinding:
		have := have.(*rbacv1.RoleBinding)
		return have.RoleRef == want.RoleRef && slices.Equal(have.Subjects, want.Subjects)
	}
	return true
}

func contains(have, want map[string]string) bool {
	for key := range maps.Keys(want) {
		if value, found := have[key]; !found || value != want[key] {
			return false
		}
	}
	return true
}
