// Package uniteddeployment serves UnitedDeployments of apps.kruise.io that are applied on the hub, as if they were
// FederatedDeployments: package federateddeployment does the work, this one translates the spec on the way in and the
// status on the way out (WL-5.10).
//
// It owns and writes what that package does, for UnitedDeployments: ManifestWorks whose labels name the object, its
// revisions, finalizer and status. It promises nothing less: one write per work and change, no removal while anything is
// at fault, and a status in UnitedDeployment's own words, with the conditions Ready, Reconciling and Stalled beside them.
package uniteddeployment

import (
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=uniteddeployments,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=uniteddeployments/status,verbs=patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=uniteddeployments/finalizers,verbs=update
// +kubebuilder:rbac:groups=work.open-cluster-management.io,resources=manifestworks,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cluster.open-cluster-management.io,resources=managedclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

const (
	// Name of the controller.
	Name = "uniteddeployment"
	// Source of its events (WL-5.11).
	Source = "uniteddeployment-controller"
)

var kind = kruisev1alpha1.SchemeGroupVersion.WithKind("UnitedDeployment")

// Register adds the controller to a manager, whose scheme must know OCM's cluster and work groups and apps/v1.
func Register(mgr manager.Manager, o federateddeployment.Options) error {
	return federateddeployment.RegisterFront(mgr, front(), Source, o)
}

func front() federateddeployment.Front[*kruisev1alpha1.UnitedDeployment] {
	return federateddeployment.Front[*kruisev1alpha1.UnitedDeployment]{
		Name: Name, Kind: kind, New: func() *kruisev1alpha1.UnitedDeployment { return &kruisev1alpha1.UnitedDeployment{} },
		In: in, Out: out, Words: func(r record.EventRecorder) record.EventRecorder { return renamed{r} },
		Conditions: func(obj *kruisev1alpha1.UnitedDeployment) []metav1.Condition { return ours(obj.Status) },
	}
}
