package integration

import (
	"path/filepath"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// DESIGN: no wildcard verbs, resources or groups; every rule can be read.
func TestNoRoleOfTheHubHasAWildcard(t *testing.T) {
	files, err := filepath.Glob("../../deploy/hub/rbac/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	roles := 0
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		for _, o := range objectsIn(t, file) {
			encoded, err := o.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			var role rbacv1.ClusterRole
			if err := yaml.Unmarshal(encoded, &role); err != nil {
				t.Fatal(err)
			}
			for _, rule := range role.Rules {
				roles++
				for _, words := range [][]string{rule.Verbs, rule.Resources, rule.APIGroups} {
					if slices.Contains(words, "*") || slices.Contains(words, "escalate") || slices.Contains(words, "bind") || slices.Contains(words, "impersonate") {
						t.Errorf("%s: %s may %v %v of %v", filepath.Base(file), role.Name, rule.Verbs, rule.Resources, rule.APIGroups)
					}
				}
			}
		}
	}
	if roles < 10 {
		t.Errorf("only %d rules were looked at", roles)
	}
}

// A hub that is taken over can neither raise its rights nor let clusters in.
func TestTheHubCannotRaiseItsRights(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	hub := s.client(t, s.serviceAccount(t, "flotilla-system", "hub"))
	g.Expect(s.Admin.Create(t.Context(), managed("not-by-the-hub"))).To(Succeed())
	foreign := csr(t, "not-by-the-hub", "someone", "somebody")
	foreign.Spec.SignerName = "example.com/other"
	g.Expect(s.Admin.Create(t.Context(), foreign)).To(Succeed())
	foreign.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "x"}}
	role := func(name string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	}
	admin := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "raise"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "flotilla-system", Name: "hub"}},
	}
	for what, err := range map[string]error{
		"read secrets":                        hub.List(t.Context(), &corev1.SecretList{}),
		"read pods":                           hub.List(t.Context(), &corev1.PodList{}),
		"accept a cluster":                    changeAs(t.Context(), hub, "not-by-the-hub", acceptedCluster),
		"make a cluster":                      hub.Create(t.Context(), managed("by-the-hub")),
		"delete a cluster":                    hub.Delete(t.Context(), managed("not-by-the-hub")),
		"delete a namespace":                  hub.Delete(t.Context(), namespace("default")),
		"grant what it does not hold":         hub.Create(t.Context(), role("raise", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}})),
		"bind what it does not hold":          hub.Create(t.Context(), admin),
		"approve for another signer":          hub.SubResource("approval").Update(t.Context(), foreign),
		"edit a certificate request's status": hub.Status().Update(t.Context(), foreign),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("the hub must not be able to %s: %v", what, err)
		}
	}
	held := role("held", rbacv1.PolicyRule{APIGroups: []string{"register.open-cluster-management.io"}, Resources: []string{"managedclusters/clientcertificates"}, Verbs: []string{"renew"}})
	g.Expect(hub.Create(t.Context(), held, client.DryRunAll)).To(Succeed(), "what it holds it can hand on")
}
