package federateddeployment

import (
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// origin is the kind that an object was applied as. A FederatedDeployment in memory that stands for an object of another
// kind says so in its TypeMeta; with none it is what it is.
type origin struct {
	gvk schema.GroupVersionKind
	// labels that tie a work to the object.
	name, namespace, uid string
}

var (
	gvk = v1alpha1.GroupVersion.WithKind("FederatedDeployment")
	// UnitedDeployments are served by the same steps.
	united = kruisev1alpha1.SchemeGroupVersion.WithKind("UnitedDeployment")
)

var origins = []origin{
	{gvk, v1alpha1.LabelFederatedDeployment, v1alpha1.LabelFederatedDeploymentNamespace, v1alpha1.LabelFederatedDeploymentUID},
	{united, v1alpha1.LabelUnitedDeployment, v1alpha1.LabelUnitedDeploymentNamespace, v1alpha1.LabelUnitedDeploymentUID},
}

func originOf(obj *v1alpha1.FederatedDeployment) origin {
	if obj.Kind == united.Kind {
		return origins[1]
	}
	return origins[0]
}

// maker is whom a work's labels name.
type maker struct {
	gvk schema.GroupVersionKind
	types.NamespacedName
	uid types.UID
}

func makerOf(w client.Object) (maker, bool) {
	l := w.GetLabels()
	for _, o := range origins {
		if l[o.name] != "" {
			return maker{o.gvk, types.NamespacedName{Namespace: l[o.namespace], Name: l[o.name]}, types.UID(l[o.uid])}, true
		}
	}
	return maker{}, false
}

// ours says that a work was made for this very object: all labels agree, the UID included.
func ours(w client.Object, obj *v1alpha1.FederatedDeployment) bool {
	m, made := makerOf(w)
	return made && m.gvk == originOf(obj).gvk && m.Name == obj.Name && m.Namespace == obj.Namespace && m.uid == obj.UID && obj.UID != "" &&
		w.GetLabels()[v1alpha1.LabelSubset] != ""
}

// labels of the works of an object.
func (o origin) labels(obj *v1alpha1.FederatedDeployment, subset string) map[string]string {
	return map[string]string{o.name: obj.Name, o.namespace: obj.Namespace, o.uid: string(obj.UID), v1alpha1.LabelSubset: subset}
}
