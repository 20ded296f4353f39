package federateddeployment

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// namedClusters is how many clusters a message names before it counts.
const namedClusters = 5

// spot is where an object speaks of a subset, where of the subset's cluster, and how it would name, choose or change that.
type spot struct{ path, cluster, name, choose, change string }

func spotOf(obj *v1alpha1.FederatedDeployment, s share) spot {
	another := fmt.Sprintf("name another cluster for subset %q", s.name())
	if ref := obj.Spec.Topology.PlacementRef; ref != nil {
		return spot{path: s.at, cluster: s.at, change: fmt.Sprintf("let Placement %q decide for another cluster", ref.Name)}
	}
	if originOf(obj).gvk == united {
		key := v1alpha1.AnnotationSubsetCluster + s.name()
		set := "set annotation " + key
		return spot{s.at, fmt.Sprintf("metadata.annotations[%s]", key), set, set + " to a cluster", another}
	}
	return spot{s.at, s.at + ".cluster", "set cluster", "set cluster or clusterSelector", another}
}

// choiceOf says how a subset asks for its cluster. A subset that has a work stays in its cluster while it asks the same
// way: what a member says of itself later neither draws a workload to it nor drives one away.
func choiceOf(s v1alpha1.Subset) string {
	switch {
	case s.Cluster != "":
		return "name:" + s.Cluster
	case s.ClusterSelector != nil:
		return "labels:" + metav1.FormatLabelSelector(s.ClusterSelector)
	}
	return "zones"
}

// place finds the one cluster that a subset lives in, or says why there is none. The works are the subset's.
func place(at spot, s v1alpha1.Subset, works []work, clusters map[string]cluster) (string, *problem) {
	name, problem := s.Cluster, (*problem)(nil)
	if name == "" {
		name = settled(s, works)
	}
	if name == "" {
		name, problem = search(at, s, clusters)
	}
	if problem != nil {
		return "", problem
	}
	return name, usable(at, s, name, clusters)
}

// settled is the cluster where the subset lives already, chosen as it is asked for now. During a move that is the newer
// of two.
func settled(s v1alpha1.Subset, works []work) string {
	var newest *work
	for i, w := range works {
		if w.leaving() || w.live.Annotations[v1alpha1.AnnotationClusterChoice] != choiceOf(s) {
			continue
		}
		if newest == nil || newest.live.CreationTimestamp.Before(&w.live.CreationTimestamp) {
			newest = &works[i]
		}
	}
	if newest == nil {
		return ""
	}
	return newest.cluster()
}

func usable(at spot, s v1alpha1.Subset, name string, clusters map[string]cluster) *problem {
	c, known := clusters[name]
	path := at.path
	if s.Cluster != "" {
		path = at.cluster
	}
	switch {
	case !known:
		return unresolved(s, "%s: %q is no ManagedCluster; register it, or %s", path, name, at.change)
	case c.leaving, c.detaching:
		return unresolved(s, "%s: cluster %q %s, so nothing new is brought there; %s", path, name, c.barred(), at.change)
	case !c.accepted:
		return unresolved(s, "%s: cluster %q is not accepted; accept it (kubectl flotilla accept %s), or %s", path, name, name, at.change)
	}
	return nil
}

// search looks for the one accepted cluster that a selector, or the zones and regions of the term, ask for.
func search(at spot, s v1alpha1.Subset, clusters map[string]cluster) (string, *problem) {
	match, wanted, remedy := matcher(s)
	if match == nil {
		return "", unresolved(s, "%s: subset %q names no cluster, and its nodeSelectorTerm asks for no zone or region (operator In) to find one by; %s",
			at.path, s.Name, at.choose)
	}
	var accepted, matching []string
	for _, name := range slices.Sorted(maps.Keys(clusters)) {
		c := clusters[name]
		if c.barred() != "" {
			continue
		}
		accepted = append(accepted, name)
		if match(c) {
			matching = append(matching, name)
		}
	}
	switch len(matching) {
	case 1:
		return matching[0], nil
	case 0:
		return "", unresolved(s, "%s: no accepted cluster has %s, which subset %q asks for (accepted: %s); %s, or %s", at.path, wanted, s.Name, list(accepted), remedy, at.name)
	}
	return "", unresolved(s, "%s: %d clusters have %s, which subset %q asks for: %s; %s to the one that is meant", at.path, len(matching), wanted, s.Name, list(matching), at.name)
}

// matcher is nil when the subset gives nothing to go by.
func matcher(s v1alpha1.Subset) (match func(cluster) bool, wanted, remedy string) {
	if s.ClusterSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(s.ClusterSelector)
		if err != nil { // Validate has refused it
			return nil, "", ""
		}
		return func(c cluster) bool { return selector.Matches(labels.Set(c.labels)) },
			fmt.Sprintf("labels %q", metav1.FormatLabelSelector(s.ClusterSelector)), "label one, change clusterSelector"
	}
	zones, regions := asked(s.NodeSelectorTerm, corev1.LabelTopologyZone), asked(s.NodeSelectorTerm, corev1.LabelTopologyRegion)
	if len(zones)+len(regions) == 0 {
		return nil, "", ""
	}
	var what []string
	for _, values := range zones {
		what = append(what, "zone "+strings.Join(values, " or "))
	}
	for _, values := range regions {
		what = append(what, "region "+strings.Join(values, " or "))
	}
	return func(c cluster) bool { return within(c.zones, zones) && within(c.regions, regions) },
		strings.Join(what, " and "), "wait for its agent to report such nodes"
}

// asked are the values of each requirement that the label be one of them.
func asked(term *corev1.NodeSelectorTerm, label string) [][]string {
	if term == nil {
		return nil
	}
	var all [][]string
	for _, e := range term.MatchExpressions {
		if e.Key == label && e.Operator == corev1.NodeSelectorOpIn {
			all = append(all, e.Values)
		}
	}
	return all
}

// within says that there are nodes for every requirement.
func within(there []string, asked [][]string) bool {
	for _, values := range asked {
		if !slices.ContainsFunc(values, func(v string) bool { return slices.Contains(there, v) }) {
			return false
		}
	}
	return true
}

// zoneOf is the zone that a subset asks for, if it is just one.
func zoneOf(s v1alpha1.Subset) string {
	if zones := asked(s.NodeSelectorTerm, corev1.LabelTopologyZone); len(zones) == 1 && len(zones[0]) == 1 {
		return zones[0][0]
	}
	return ""
}

// searches says that the cluster of the subset, which has these works, can only be found among all clusters.
func searches(s v1alpha1.Subset, works []work) bool {
	return s.Cluster == "" && settled(s, works) == ""
}

func unresolved(s v1alpha1.Subset, format string, args ...any) *problem {
	return &problem{reason: v1alpha1.ReasonClusterUnresolved, subset: s.Name, message: fmt.Sprintf(format, args...)}
}

// list names a few and counts the rest.
func list(names []string) string {
	switch {
	case len(names) == 0:
		return "none"
	case len(names) <= namedClusters:
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namedClusters], ", "), len(names)-namedClusters)
}
