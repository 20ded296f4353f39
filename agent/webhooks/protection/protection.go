// Package protection keeps objects from being deleted that carry the label policy.kruise.io/delete-protection.
//
// It owns the file protection.log and three counters. It reads what a namespace or a definition holds, past the cache, when
// one is about to be deleted whose label asks for it, and writes a line and counts for each refusal. It promises that what
// it cannot look into is not deleted. Gate ResourcesDeletionProtection switches it: without it there is no Guard.
package protection

import (
	"fmt"
	"net/http"

	policy "github.com/openkruise/kruise-api/policy/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// Guard refuses deletions; a nil Guard refuses none.
type Guard struct {
	// API is read past the cache.
	API client.Reader
	// Definitions looks for objects of a definition: gate DeletionProtectionForCRDCascadingGate. Without it a definition that
	// would take them along may not go at all.
	Definitions bool
	// Journal is where refusals are written down; nil is nowhere.
	Journal *Journal

	counters counters
}

// Counted is the guard that counts its refusals in a registry. // NP-14
func (g Guard) Counted(registry prometheus.Registerer) (*Guard, error) {
	var err error
	g.counters, err = newCounters(registry)
	return &g, err
}

// Workload is the refusal to delete a workload of so many replicas, counted and written down; nil if it may go. // NP-9 (DP-1, DP-2)
func (g *Guard) Workload(r admission.Request, o metav1.Object, replicas *int32) error {
	if g == nil {
		return nil
	}
	why := Refusal(o, replicas)
	if why == "" {
		return nil
	}
	g.note(r, o)
	return forbidden(why)
}

// note tells of a refusal, unless nothing would have come of the request.
func (g *Guard) note(r admission.Request, o metav1.Object) {
	if r.DryRun != nil && *r.DryRun {
		return
	}
	g.counters.count(r.Kind.Kind, o.GetNamespace(), o.GetName(), r.UserInfo.Username)
	g.Journal.write(entry{"DeletionProtection", r.Kind.Kind, o.GetNamespace(), o.GetName(), r.UserInfo.Username})
}

// forbidden is the answer as it stands: its text begins as scripts expect it. // WL-7.2
func forbidden(why string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: why,
	}}
}

// Refusal says why a workload of so many replicas may not be deleted; empty if it may. // NP-9 (DP-1), WL-7.2
func Refusal(o metav1.Object, replicas *int32) string {
	if o.GetDeletionTimestamp() != nil {
		return ""
	}
	switch o.GetLabels()[policy.DeletionProtectionKey] {
	case policy.DeletionProtectionTypeAlways:
		return says(policy.DeletionProtectionTypeAlways, "remove the label first")
	case policy.DeletionProtectionTypeCascading:
		if replicas != nil && *replicas > 0 {
			return says(policy.DeletionProtectionTypeCascading, fmt.Sprintf("it has %d replicas, scale it to 0 or remove the label first", *replicas))
		}
	}
	return ""
}

// says begins with the words of WL-7.2.
func says(value, what string) string {
	return fmt.Sprintf("forbidden by ResourcesProtectionDeletion for %s=%s: %s", policy.DeletionProtectionKey, value, what)
}
