// Package namespaces keeps the namespaces that the hub's cluster sets manage on this member (OCM-5.3). It creates
// them, owns one label on them, whose key names the hub, and says in the conditions of each list entry what became of
// it.
//
// It promises that a namespace is never deleted: one that left the list is labelled "false" and stays as it is. The
// list itself is the hub's; nothing but the conditions inside is changed.
package namespaces

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/patch"
)

// OCM-5.3
const (
	labelPrefix = "clusterset.open-cluster-management.io/"
	longestName = 63 // of a label, behind its prefix
	managed     = "true"
	left        = "false"

	// ConditionAvailable says whether a managed namespace is there and labelled.
	ConditionAvailable = "NamespaceAvailable"
	// ReasonApplied and ReasonFailed are its reasons.
	ReasonApplied  = "NamespaceApplied"
	ReasonFailed   = "NamespaceApplyFailed"
	messageApplied = "Namespace is there and labelled as managed"
)

// Label is the label of the namespaces that one hub manages. OCM-5.3
func Label(hubHash string) string { return labelPrefix + hubHash[:min(longestName, len(hubHash))] }

// Keeper keeps the managed namespaces of one hub. It is not for concurrent use.
type Keeper struct {
	// Local reads past the cache and writes: what is decided here must be fresh, and is little.
	Local client.Client
	// HubHash names the hub.
	HubHash string

	// seen is the list that was last gone through without a failure; nil is none yet.
	seen []string
}

// Keep creates and labels what the list names, lets go of what it names no longer, and returns the list with what
// became of each entry. It lists namespaces only when the list is not the one it was. OCM-5.3
func (k *Keeper) Keep(ctx context.Context, list []clusterv1.ClusterSetManagedNamespaceConfig) []clusterv1.ClusterSetManagedNamespaceConfig {
	out := make([]clusterv1.ClusterSetManagedNamespaceConfig, 0, len(list))
	became := map[string]error{}
	names := make([]string, 0, len(list))
	for _, entry := range list {
		if _, done := became[entry.Name]; !done {
			became[entry.Name] = k.ensure(ctx, entry.Name)
			names = append(names, entry.Name)
		}
		entry.Conditions = slices.Clone(entry.Conditions)
		meta.SetStatusCondition(&entry.Conditions, condition(became[entry.Name]))
		out = append(out, entry)
	}
	k.letGo(ctx, names)
	return out
}

// ensure makes one namespace ours, whoever made it.
func (k *Keeper) ensure(ctx context.Context, name string) error {
	var have corev1.Namespace
	err := k.Local.Get(ctx, client.ObjectKey{Name: name}, &have)
	if apierrors.IsNotFound(err) {
		have = corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{Label(k.HubHash): managed}}}
		if err := k.Local.Create(ctx, &have); err != nil {
			return fmt.Errorf("create namespace %s: %w", name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("get namespace %s: %w", name, err)
	}
	if !have.DeletionTimestamp.IsZero() {
		return fmt.Errorf("namespace %s is being deleted; it is made again when it is gone", name)
	}
	return k.label(ctx, &have, managed)
}

// letGo marks the namespaces that left the list. They stay.
func (k *Keeper) letGo(ctx context.Context, names []string) {
	slices.Sort(names)
	if k.seen != nil && slices.Equal(k.seen, names) {
		return
	}
	k.seen = nil
	var ours corev1.NamespaceList
	if err := k.Local.List(ctx, &ours, client.MatchingLabels{Label(k.HubHash): managed}); err != nil {
		logf.FromContext(ctx).Error(err, "Managed namespaces not listed, will try again")
		return
	}
	var failed []error
	for i := range ours.Items {
		if _, listed := slices.BinarySearch(names, ours.Items[i].Name); !listed {
			failed = append(failed, k.label(ctx, &ours.Items[i], left))
		}
	}
	if err := errors.Join(failed...); err != nil {
		logf.FromContext(ctx).Error(err, "Namespaces that are managed no longer not marked, will try again")
		return
	}
	k.seen = names
}

func (k *Keeper) label(ctx context.Context, have *corev1.Namespace, value string) error {
	next := have.DeepCopy()
	metav1.SetMetaDataLabel(&next.ObjectMeta, Label(k.HubHash), value)
	if _, err := patch.Metadata(ctx, k.Local, have, next); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("label namespace %s: %w", have.Name, err)
	}
	return nil
}

// condition is what an entry says of itself. OCM-5.3
func condition(failed error) metav1.Condition {
	if failed != nil {
		return metav1.Condition{Type: ConditionAvailable, Status: metav1.ConditionFalse, Reason: ReasonFailed, Message: failed.Error()}
	}
	return metav1.Condition{Type: ConditionAvailable, Status: metav1.ConditionTrue, Reason: ReasonApplied, Message: messageApplied}
}
