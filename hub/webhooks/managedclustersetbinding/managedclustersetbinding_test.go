package managedclustersetbinding

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
)

func binding(name, set string) *clusterv1beta2.ManagedClusterSetBinding {
	return &clusterv1beta2.ManagedClusterSetBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name}, Spec: clusterv1beta2.ManagedClusterSetBindingSpec{ClusterSet: set},
	}
}

// OCM-8.3
func TestABindingIsCalledLikeItsSet(t *testing.T) {
	if err := Validate(binding("blue", "blue")); err != nil {
		t.Error(err)
	}
	for _, b := range []*clusterv1beta2.ManagedClusterSetBinding{binding("blue", "green"), binding("blue", "")} {
		if err := Validate(b); !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), "must have the same name") {
			t.Errorf("%v", err)
		}
	}
}

// OCM-8.3
func TestMakingABindingTakesARightAndChangingItNone(t *testing.T) {
	asks := Asks(nil, binding("blue", "blue"), "eve")
	if len(asks) != 1 {
		t.Fatal(asks)
	}
	if w := asks[0].What; w.Verb != "create" || w.Group != "cluster.open-cluster-management.io" || w.Resource != "managedclustersets" || w.Subresource != "bind" || w.Name != "blue" {
		t.Errorf("%+v", w)
	}
	if err := asks[0].Refusal; !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "user eve may not bind cluster set blue") {
		t.Errorf("%v", err)
	}
	if asks := Asks(binding("blue", "blue"), binding("blue", "blue"), "eve"); len(asks) != 0 {
		t.Error(asks)
	}
}
