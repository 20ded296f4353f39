package statefulset

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/condition"
)

// refuse answers writes that begin like this with an error, until it is called again.
func (w *world) refuse(prefix string) {
	w.Server.Before = func(write string) error {
		if prefix != "" && strings.HasPrefix(write, prefix) {
			return apierrors.NewForbidden(corev1.Resource("objects"), "x", errors.New("not now"))
		}
		return nil
	}
}

func TestKilledBetweenClaimAndPod(t *testing.T) { // WL-2.6.1
	w := newWorld(t, standard, statefulSet(withClaims, parallel))
	w.refuse("create pod web-1")
	if _, err := w.Round(); err == nil {
		t.Error("a failure is not tried again")
	}
	if d := cmp.Diff([]string{"0 web:1"}, w.running()); d != "" {
		t.Errorf("pods after the one that failed: %s", d) // WL-2.16.3
	}
	uid := w.claim("data-web-1").UID
	w.refuse("")
	w.Settle()
	if len(w.Pods()) != 3 || w.claim("data-web-1").UID != uid {
		t.Errorf("%d pods, or the claim was made anew", len(w.Pods()))
	}
}

func TestPodStaysWhileItsClaimCannotBeHandedToIt(t *testing.T) { // WL-2.6 H
	w := newWorld(t, standard, statefulSet(withClaims, replicas(2), retention("Retain", "Delete")))
	w.Settle()
	w.change(replicas(1))
	w.refuse("patch persistentvolumeclaim")
	if _, err := w.Round(); err == nil {
		t.Error("a failure is not tried again")
	}
	if len(w.Pods()) != 2 {
		t.Error("the pod is gone, and its claim stays for ever")
	}
	w.conditionIs("FailedUpdatePod", "True", "change the owners of claim data-web-1")
	if !w.told("FailedUpdate") {
		t.Error("nobody was told")
	}
	w.refuse("")
	w.Settle()
	if refs := w.claim("data-web-1").OwnerReferences; len(w.Pods()) != 1 || len(refs) != 1 || refs[0].Kind != "Pod" {
		t.Errorf("%d pods, owners %v", len(w.Pods()), refs)
	}
}

func TestPodThatChangedIsDecidedAnew(t *testing.T) { // WL-0.7
	w := newWorld(t, standard, statefulSet(replicas(1)))
	w.Settle()
	w.change(toImage("web:2"))
	before := w.pod("web-0")
	w.Server.Before = func(write string) error {
		if write == "delete pod web-0" && w.pod("web-0").ResourceVersion == before.ResourceVersion {
			pod := w.pod("web-0")
			pod.Labels["touched"] = "yes"
			w.save(pod)
			return apierrors.NewConflict(corev1.Resource("pods"), "web-0", errors.New("it has changed"))
		}
		return nil
	}
	if _, err := w.Round(); err != nil {
		t.Errorf("a lost race is told as %v", err)
	}
	if w.pod("web-0").UID != before.UID {
		t.Error("a pod was deleted that is not what the plan saw")
	}
	w.Settle()
	if d := cmp.Diff([]string{"0 web:2"}, w.running()); d != "" {
		t.Error(d)
	}
}

// unreadable is a store whose claims cannot be read.
type unreadable struct{ client.Client }

func (u unreadable) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, ok := o.(*corev1.PersistentVolumeClaim); ok {
		return errors.New("no answer")
	}
	return u.Client.Get(ctx, key, o, opts...)
}

func TestReadThatFailsTouchesNothing(t *testing.T) {
	w := newWorld(t, standard, statefulSet(withClaims))
	w.Settle()
	steps := newSteps(unreadable{w.Server}, w.Server.Plain, w.Events, w.Clock, standard)
	if _, err := steps.Observe(t.Context(), w.set()); err == nil {
		t.Error("claims that cannot be read count as absent")
	}
}

func TestRevisionNameThatIsTaken(t *testing.T) { // WL-0.5
	w := newWorld(t, standard, statefulSet(replicas(1)))
	w.Settle()
	taken := w.Revisions()[0]
	taken.ResourceVersion = ""
	taken.OwnerReferences, taken.Data.Raw = nil, []byte(`{"spec":{"template":{"$patch":"replace","spec":{"hostNetwork":true}}}}`)
	taken.Labels = nil
	w2 := newWorld(t, standard, statefulSet(replicas(1)), taken.DeepCopy())
	w2.Settle()
	if status := w2.set().Status; *status.CollisionCount != 1 || status.UpdateRevision == taken.Name || w2.pod("web-0").Labels["controller-revision-hash"] != status.UpdateRevision {
		t.Errorf("status %+v", status)
	}
	w2.conditionIs(condition.Ready, "True", "")
}

var unorderedByRank = &kruise.UnorderedUpdateStrategy{PriorityStrategy: &pub.UpdatePriorityStrategy{
	WeightPriority: []pub.UpdatePriorityWeightTerm{{Weight: 10, MatchSelector: metav1.LabelSelector{MatchLabels: map[string]string{"rank": "high"}}}},
}}

func TestUnorderedByPriority(t *testing.T) { // WL-2.10.1
	w := newWorld(t, standard, statefulSet(parallel, func(set *kruise.StatefulSet) { set.Spec.Template.Labels["rank"] = "low" },
		rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) { r.UnorderedUpdate = unorderedByRank }), partition(2)))
	w.Settle()
	pod := w.pod("web-1")
	pod.Labels["rank"] = "high"
	w.save(pod)
	w.change(toImage("web:2"))
	w.Settle()
	if got := w.running(); !slices.Contains(got, "1 web:2") || !slices.Contains(got, "2 web:1") {
		t.Errorf("running %v", got)
	}
}
