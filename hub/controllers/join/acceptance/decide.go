package acceptance

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
)

// Reasons and messages of HubAcceptedManagedCluster. OCM-3.8
const (
	ReasonAccepted  = "HubClusterAdminAccepted"
	ReasonDenied    = "HubClusterAdminDenied"
	ReasonError     = "Error"
	messageAccepted = "Accepted by hub cluster admin"
	messageDenied   = "Denied by hub cluster admin"

	// AutoAcceptedAnnotation holds when the hub accepted a cluster by itself; it does so once. OCM-3.4
	AutoAcceptedAnnotation = "open-cluster-management.io/automatically-accepted-on"
)

// facts are what exists on the hub for a cluster.
type facts struct {
	have map[ref]client.Object
	// works says whether the cluster's namespace holds a ManifestWork. It is looked at only where rights may go.
	works bool
	// last says that no other ManagedCluster is left. It is looked at only for a leaving cluster.
	last bool
}

// ref is an object by what it is called.
type ref struct{ kind, namespace, name string }

func refOf(o client.Object) ref {
	return ref{o.GetObjectKind().GroupVersionKind().Kind, o.GetNamespace(), o.GetName()}
}

func (f facts) of(o client.Object) client.Object { return f.have[refOf(o)] }

// plan is what is written for one cluster: itself first, then what is granted, then what is taken.
type plan struct {
	accept       time.Time // set: accept the cluster on the administrator's standing order
	addFinalizer bool
	apply        []client.Object
	remove       []client.Object // as they were seen
	dropFinal    bool
	verdict      *metav1.Condition
	why          string
}

// Recheck is never: works that go, namespaces that go and orders that change are all watched.
func (plan) Recheck() time.Duration { return 0 }

// decide grants an accepted cluster its rights, and takes them from a denied or leaving one.
func decide(cluster *clusterv1.ManagedCluster, seen facts, auto bool, now time.Time) plan {
	held := slices.Contains(cluster.Finalizers, clusterv1.ManagedClusterFinalizer)
	verdict := meta.FindStatusCondition(cluster.Status.Conditions, clusterv1.ManagedClusterConditionHubAccepted)
	switch {
	case !cluster.DeletionTimestamp.IsZero() && held:
		return leave(cluster.Name, seen)
	case !cluster.DeletionTimestamp.IsZero():
		return plan{}
	case cluster.Spec.HubAcceptsClient:
		return accept(cluster, seen, held, verdict)
	case auto && unknown(cluster, verdict) && identity.Reserved(cluster.Name) == "":
		return plan{accept: now, why: "joins for the first time, and clusters are accepted automatically"}
	case held:
		return deny(cluster.Name, seen)
	case verdict != nil: // was refused, so there is nothing to take away
		return plan{verdict: denied()}
	}
	return plan{} // never accepted: nothing, not even a condition. OCM-3.8
}

// unknown says that nobody has decided about this cluster before, neither the hub nor an administrator. OCM-3.4
func unknown(cluster *clusterv1.ManagedCluster, verdict *metav1.Condition) bool {
	_, accepted := cluster.Annotations[AutoAcceptedAnnotation]
	return !accepted && verdict == nil
}

// accept wants everything to be there. OCM-3.6
func accept(cluster *clusterv1.ManagedCluster, seen facts, held bool, verdict *metav1.Condition) plan {
	if why := refusal(cluster.Name, seen); why != "" {
		return plan{verdict: failed(why)}
	}
	if !held {
		// First of all, so that nothing outlives the cluster. The rest follows in the round that this write brings.
		return plan{addFinalizer: true, why: "accepted"}
	}
	p := plan{verdict: accepted(), why: "accepted"}
	terminating := leaving(seen.of(namespaceOf(cluster.Name)))
	if terminating { // it comes back once it is gone
		p.verdict = verdict
		if verdict == nil || verdict.Status != metav1.ConditionTrue {
			p.verdict = failed(fmt.Sprintf("namespace %q is being deleted; the cluster is let in when that is over", cluster.Name))
		}
	}
	for _, want := range wanted(cluster.Name) {
		have := seen.of(want)
		switch {
		case leaving(have): // made again once it is gone
		case terminating && want.GetNamespace() != "":
		case !same(have, want):
			p.apply = append(p.apply, want)
		}
	}
	if work := seen.of(workBinding(cluster.Name)); leaving(work) && !seen.works {
		p.remove = append(p.remove, work)
	}
	return p
}

// refusal says why an accepted cluster still gets nothing.
func refusal(cluster string, seen facts) string {
	if why := identity.Reserved(cluster); why != "" {
		return why
	}
	if ns, ok := seen.of(namespaceOf(cluster)).(*corev1.Namespace); ok {
		if other := ns.Labels[clusterv1.ClusterNameLabelKey]; other != "" && other != cluster {
			return fmt.Sprintf("namespace %q is labelled as that of cluster %q; remove the label %s or join the cluster under another name",
				cluster, other, clusterv1.ClusterNameLabelKey)
		}
	}
	return ""
}

// deny leaves a cluster the right to see that it was denied, and to finish the works it has. OCM-7.1
func deny(cluster string, seen facts) plan {
	p := plan{why: "denied"}
	for _, want := range []client.Object{deniedRole(cluster), clusterRoleBinding(cluster)} {
		if have := seen.of(want); !leaving(have) && !same(have, want) {
			p.apply = append(p.apply, want)
		}
	}
	p.take(seen, registrationBinding(cluster))
	if seen.works {
		p.why = "denied; keeps its rights to works until none is left"
		return p
	}
	p.take(seen, workBinding(cluster))
	p.verdict = denied()
	return p
}

// leave takes everything, the right to works last, and then lets the cluster go. OCM-7.2
func leave(cluster string, seen facts) plan {
	p := plan{why: "deleted"}
	p.take(seen, registrationBinding(cluster), clusterRoleBinding(cluster), clusterRole(cluster))
	if seen.works {
		p.why = "deleted; keeps its rights to works until none is left"
		return p
	}
	p.take(seen, workBinding(cluster))
	if seen.last {
		p.take(seen, sharedRoles()...)
	}
	p.dropFinal = true
	return p
}

// take removes what is there.
func (p *plan) take(seen facts, objects ...client.Object) {
	for _, o := range objects {
		if have := seen.of(o); have != nil {
			p.remove = append(p.remove, have)
		}
	}
}

func (p plan) empty() bool {
	return p.accept.IsZero() && !p.addFinalizer && !p.dropFinal && len(p.apply)+len(p.remove) == 0
}

func leaving(o client.Object) bool { return o != nil && !o.GetDeletionTimestamp().IsZero() }

func accepted() *metav1.Condition {
	return verdict(metav1.ConditionTrue, ReasonAccepted, messageAccepted)
}
func denied() *metav1.Condition { return verdict(metav1.ConditionFalse, ReasonDenied, messageDenied) }
func failed(why string) *metav1.Condition {
	return verdict(metav1.ConditionFalse, ReasonError, why)
}

func verdict(status metav1.ConditionStatus, reason, message string) *metav1.Condition {
	return &metav1.Condition{Type: clusterv1.ManagedClusterConditionHubAccepted, Status: status, Reason: reason, Message: message}
}
