// Package pod changes pods at their creation. Those of our workloads wait for the condition KruisePodReady before they are
// Ready, so that others than their kubelet can take them out of service. The containers of those that ask for an order wait for
// each other. Where providers of virtual nodes probe, pods carry their probes. It is a function of the pod and the markers of its
// namespace, and writes nothing.
package pod

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Ours is the condition of admission under which a pod is of one of our workloads: no other waits for this webhook.
const Ours = "has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(o, has(o.controller) && o.controller && o.apiVersion.startsWith('apps.kruise.io/'))"

// group is that of our workloads.
const group = "apps.kruise.io/"

// Handler changes pods. Gate all (KruisePodReadinessGate) is for the pods of everybody. Markers are read for the probes of pods
// on virtual nodes (gate EnablePodProbeMarkerOnServerless); nil is for none.
func Handler(all bool, markers client.Reader) http.Handler {
	return webhook.Defaulter(func(ctx context.Context, r webhook.Request[*corev1.Pod]) error {
		Inject(r.New, all)
		if markers != nil {
			var known kruise.PodProbeMarkerList
			if err := markers.List(ctx, &known, client.InNamespace(r.Namespace)); err != nil {
				return fmt.Errorf("list PodProbeMarkers: %w", err)
			}
			if err := Probe(r.New, known.Items); err != nil {
				return err
			}
		}
		if err := Order(r.New); err != nil {
			return webhook.BadRequest("%v", err)
		}
		return nil
	})
}

// Inject adds the readiness gate. // WL-4.8
func Inject(pod *corev1.Pod, all bool) {
	owner := metav1.GetControllerOf(pod)
	if !all && (owner == nil || !strings.HasPrefix(owner.APIVersion, group)) {
		return
	}
	if !lifecycle.HasGate(pod, pub.KruisePodReadyConditionType) {
		pod.Spec.ReadinessGates = append(pod.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: pub.KruisePodReadyConditionType})
	}
}
