package approval

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

// Register adds the controller. The live client has no cache; auto are the users whose first certificates need no human.
func Register(m ctrl.Manager, live client.Client, auto []string) error {
	events := m.GetEventRecorderFor("flotilla-hub") //nolint:staticcheck // the loop's events are core events too
	l := &loop.Loop[*certificatesv1.CertificateSigningRequest, facts, plan]{
		Steps:  &Steps{Hub: m.GetClient(), Live: live, Events: events, Auto: auto},
		Client: m.GetClient(),
		New:    func() *certificatesv1.CertificateSigningRequest { return &certificatesv1.CertificateSigningRequest{} },
	}
	return ctrl.NewControllerManagedBy(m).Named("join-approval").
		For(&certificatesv1.CertificateSigningRequest{}, builder.WithPredicates(predicate.NewPredicateFuncs(ofCluster))).
		Complete(l)
}

// ofCluster keeps the requests of members; kubelets and others have theirs beside them. OCM-3.3
func ofCluster(o client.Object) bool {
	_, found := o.GetLabels()[clusterv1.ClusterNameLabelKey]
	return found
}
