// Package managedcluster sets and checks what admission owns of a ManagedCluster: when taints were added, the set that a
// new cluster is in, who may accept it and move it between sets, and how it says it can be reached. It reads the
// cluster's namespace and asks for rights; it writes nothing.
package managedcluster

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// defaultSet is the set of new clusters that name none. OCM-8.2
const defaultSet = "default"

// Defaulter is the handler that fills a cluster in.
func Defaulter(inDefaultSet bool, now clock.PassiveClock) http.Handler {
	return webhook.Defaulter(func(_ context.Context, r webhook.Request[*clusterv1.ManagedCluster]) error {
		return Default(r.Old, r.New, inDefaultSet, now.Now())
	})
}

// Default sets the time of taints, and puts a new cluster without a set into the default one.
func Default(old, cluster *clusterv1.ManagedCluster, inDefaultSet bool, now time.Time) error {
	if old == nil && inDefaultSet && cluster.Labels[clusterv1beta2.ClusterSetLabel] == "" {
		if cluster.Labels == nil {
			cluster.Labels = map[string]string{}
		}
		cluster.Labels[clusterv1beta2.ClusterSetLabel] = defaultSet
	}
	var wrong []string
	for i := range cluster.Spec.Taints {
		if !timed(old, &cluster.Spec.Taints[i], metav1.NewTime(now).Rfc3339Copy()) {
			wrong = append(wrong, cluster.Spec.Taints[i].Key)
		}
	}
	if len(wrong) > 0 {
		return webhook.BadRequest("spec.taints: it is not allowed to set timeAdded of taint %s: leave it out of a taint that is new or changed, and as it is in others",
			strings.Join(wrong, ", "))
	}
	return nil
}

// timed gives a taint its time and says whether it came with one that it may come with. OCM-4.4
func timed(old *clusterv1.ManagedCluster, t *clusterv1.Taint, now metav1.Time) bool {
	if old == nil {
		t.TimeAdded = now
		return true
	}
	same := slices.IndexFunc(old.Spec.Taints, func(o clusterv1.Taint) bool {
		return o.Key == t.Key && o.Value == t.Value && o.Effect == t.Effect
	})
	switch {
	case same >= 0 && !old.Spec.Taints[same].TimeAdded.IsZero():
		return t.TimeAdded.Equal(&old.Spec.Taints[same].TimeAdded)
	case same < 0 && !t.TimeAdded.IsZero():
		return false
	}
	t.TimeAdded = now // also one that is older than this webhook and has none yet
	return true
}

// Validator is the handler that judges a cluster.
func Validator(api client.Reader, rights webhook.Reviewer) http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*clusterv1.ManagedCluster]) error {
		if problems := Validate(r.Old, r.New); len(problems) > 0 {
			return webhook.BadRequest("%v", problems.ToAggregate())
		}
		if err := webhook.Refuse(ctx, rights, r.UserInfo, Asks(r.Old, r.New, r.UserInfo.Username)...); err != nil {
			return err
		}
		if !accepted(r.Old, r.New) {
			return nil
		}
		home := &corev1.Namespace{}
		if err := api.Get(ctx, client.ObjectKey{Name: r.New.Name}, home); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("get namespace %s: %w", r.New.Name, err)
		}
		return homeless(r.New, home)
	})
}

// Validate looks at what is new in a cluster.
func Validate(old, cluster *clusterv1.ManagedCluster) (problems field.ErrorList) {
	at := field.NewPath("spec", "managedClusterClientConfigs")
	for i, c := range cluster.Spec.ManagedClusterClientConfigs {
		if u, err := url.Parse(c.URL); err != nil || u.Scheme != "https" || u.Hostname() == "" {
			problems = append(problems, field.Invalid(at.Index(i).Child("url"), c.URL, "must be an https URL such as https://api.example.com:6443")) // OCM-3.5
		}
	}
	legal := []clusterv1.TaintEffect{clusterv1.TaintEffectNoSelect, clusterv1.TaintEffectPreferNoSelect, clusterv1.TaintEffectNoSelectIfNew}
	for i, t := range cluster.Spec.Taints {
		if !slices.Contains(legal, t.Effect) { // OCM-4.4
			problems = append(problems, field.NotSupported(field.NewPath("spec", "taints").Index(i).Child("effect"), t.Effect, legal))
		}
	}
	if old != nil && slices.Equal(urls(old), urls(cluster)) {
		problems = slices.DeleteFunc(problems, func(e *field.Error) bool { return strings.HasPrefix(e.Field, at.String()) })
	}
	return problems
}

func urls(c *clusterv1.ManagedCluster) (all []string) {
	for _, config := range c.Spec.ManagedClusterClientConfigs {
		all = append(all, config.URL)
	}
	return all
}

func accepted(old, cluster *clusterv1.ManagedCluster) bool {
	return cluster.Spec.HubAcceptsClient && (old == nil || !old.Spec.HubAcceptsClient)
}

// Asks are the rights that a change takes.
func Asks(old, cluster *clusterv1.ManagedCluster, user string) (asks []webhook.Ask) {
	if accepted(old, cluster) { // OCM-3.5
		asks = append(asks, webhook.Ask{
			What: authorizationv1.ResourceAttributes{
				Verb: "update", Group: "register.open-cluster-management.io", Resource: "managedclusters", Subresource: "accept", Name: cluster.Name,
			},
			Refusal: forbidden(cluster, "spec.hubAcceptsClient: user %s may not accept cluster %s; it takes the right to update managedclusters/accept in group register.open-cluster-management.io", user, cluster.Name),
		})
	}
	from, to := "", cluster.Labels[clusterv1beta2.ClusterSetLabel]
	if old != nil {
		from = old.Labels[clusterv1beta2.ClusterSetLabel]
	}
	if from == to {
		return asks
	}
	for _, set := range []string{from, to} { // OCM-8.3: the one left and the one joined
		if set == "" {
			continue
		}
		asks = append(asks, webhook.Ask{
			What: authorizationv1.ResourceAttributes{
				Verb: "create", Group: clusterv1.GroupName, Resource: "managedclustersets", Subresource: "join", Name: set,
			},
			Refusal: forbidden(cluster, "metadata.labels[%s]: user %s may not change it from '%s' to '%s'; it takes the right to create managedclustersets/join for each of them, and for %s it is missing",
				clusterv1beta2.ClusterSetLabel, user, from, to, set),
		})
	}
	return asks
}

// homeless refuses a cluster while what it would be given would go with its namespace. OCM-3.5
func homeless(cluster *clusterv1.ManagedCluster, home *corev1.Namespace) error {
	if home.DeletionTimestamp.IsZero() {
		return nil
	}
	return forbidden(cluster, "spec.hubAcceptsClient: namespace %s is being deleted; accept the cluster when it is gone", cluster.Name)
}

// forbidden is a missing right: agents that are not allowed something take HTTP 403 for an answer. OCM-3.2
func forbidden(cluster *clusterv1.ManagedCluster, format string, args ...any) error {
	return apierrors.NewForbidden(clusterv1.Resource("managedclusters"), cluster.Name, fmt.Errorf(format, args...))
}
