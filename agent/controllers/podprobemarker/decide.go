package podprobemarker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/batch"
)

// plan is what of the marker each node's daemon is to have.
type plan struct {
	changes []change
	matched int64
}

// change is one for the daemon of a node.
type change struct {
	node *kruise.NodePodProbe
	// marker and namespace say whose probes of whose pods are meant.
	marker, namespace string
	// wanted are the pods to probe, by UID, with the marker's probes.
	wanted map[string]kruise.PodProbe
	// none are pods that are not to be probed for the marker any more; all is every pod.
	none map[string]bool
	all  bool
}

// Recheck is never: what would change anything is watched.
func (plan) Recheck() time.Duration { return 0 }

// Done says that a marker that goes has left nothing behind. // PM-5
func (plan) Done() bool { return true }

// Decide compares what daemons have with what they should have.
func (*steps) Decide(m *kruise.PodProbeMarker, s seen, _ time.Time) (p plan) {
	wanted, none := map[string]map[string]kruise.PodProbe{}, map[string]bool{}
	for i := range s.pods {
		pod := &s.pods[i]
		virtual, known := s.nodes[pod.Spec.NodeName]
		switch {
		case !matches(m, pod):
			none[string(pod.UID)] = true
		case !probeable(pod) || !known:
		case virtual:
			p.matched++
		default:
			p.matched++
			if wanted[pod.Spec.NodeName] == nil {
				wanted[pod.Spec.NodeName] = map[string]kruise.PodProbe{}
			}
			wanted[pod.Spec.NodeName][string(pod.UID)] = probesOf(m, pod)
		}
	}
	for i := range s.probes {
		c := change{&s.probes[i], m.Name, m.Namespace, wanted[s.probes[i].Name], none, m.DeletionTimestamp != nil}
		if !equality.Semantic.DeepEqual(c.node.Spec.PodProbes, c.of(c.node.Spec.PodProbes)) {
			p.changes = append(p.changes, c)
		}
	}
	return p
}

// probesOf are the marker's probes for a pod. A probe of a port that the pod has not is left out. // PM-6, PM-7
func probesOf(m *kruise.PodProbeMarker, pod *corev1.Pod) kruise.PodProbe {
	entry := kruise.PodProbe{Name: pod.Name, Namespace: pod.Namespace, UID: string(pod.UID), IP: pod.Status.PodIP}
	for i := range m.Spec.Probes {
		p := &m.Spec.Probes[i]
		probe := p.Probe.DeepCopy()
		if !resolve(&probe.Probe, pod, p.ContainerName) {
			continue
		}
		entry.Probes = append(entry.Probes, kruise.ContainerProbe{Name: prefix(m.Name) + p.Name, ContainerName: p.ContainerName, Probe: *probe})
	}
	return entry
}

func prefix(marker string) string { return marker + "#" }

// resolve turns the name of a port into its number. // PM-7
func resolve(p *corev1.Probe, pod *corev1.Pod, container string) bool {
	var port *intstr.IntOrString
	switch {
	case p.TCPSocket != nil:
		port = &p.TCPSocket.Port
	case p.HTTPGet != nil:
		port = &p.HTTPGet.Port
	default:
		return true
	}
	if port.Type == intstr.Int {
		return true
	}
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		for _, has := range c.Ports {
			if c.Name == container && has.Name == port.StrVal {
				*port = intstr.FromInt32(has.ContainerPort)
				return true
			}
		}
	}
	n, err := strconv.ParseInt(port.StrVal, 10, 32)
	*port = intstr.FromInt32(int32(n))
	return err == nil
}

// of is what a daemon is to probe, given what it does now. // PM-6, PM-8
func (c change) of(entries []kruise.PodProbe) (all []kruise.PodProbe) {
	placed := map[string]bool{}
	for _, e := range entries {
		want, wanted := c.wanted[e.UID]
		ours := e.Namespace == c.namespace
		switch {
		case ours && wanted && want.Name == e.Name:
			placed[e.UID] = true
			e.IP = cmp.Or(e.IP, want.IP)
			e.Probes = c.merge(e.Probes, want.Probes)
		case ours && (c.all || c.none[e.UID]):
			e.Probes = c.merge(e.Probes, nil)
		default:
			ours = false
		}
		if !ours || len(e.Probes) > 0 {
			all = append(all, e)
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(c.wanted)) {
		if !placed[uid] && len(c.wanted[uid].Probes) > 0 {
			all = append(all, c.wanted[uid])
		}
	}
	return all
}

// merge puts the marker's probes where its old ones were, and leaves those of others alone.
func (c change) merge(probes, wanted []kruise.ContainerProbe) (all []kruise.ContainerProbe) {
	placed := map[string]bool{}
	for _, p := range probes {
		i := slices.IndexFunc(wanted, func(w kruise.ContainerProbe) bool { return w.Name == p.Name })
		switch {
		case !strings.HasPrefix(p.Name, prefix(c.marker)):
			all = append(all, p)
		case i >= 0:
			all = append(all, wanted[i])
			placed[p.Name] = true
		}
	}
	for _, w := range wanted {
		if !placed[w.Name] {
			all = append(all, w)
		}
	}
	return all
}

// Act tells the daemons.
func (s *steps) Act(ctx context.Context, _ *kruise.PodProbeMarker, p plan) error {
	return batch.Each(p.changes, func(c change) error { return s.tell(ctx, c) })
}

// tell changes what was looked at, or what somebody else has made of it meanwhile.
func (s *steps) tell(ctx context.Context, c change) error {
	node := c.node
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		next := node.DeepCopy()
		next.Spec.PodProbes = c.of(node.Spec.PodProbes)
		err := s.local.Patch(ctx, next, client.MergeFromWithOptions(node.DeepCopy(), client.MergeFromWithOptimisticLock{}))
		if err != nil {
			fresh := &kruise.NodePodProbe{}
			if s.fresh.Get(ctx, client.ObjectKeyFromObject(node), fresh) == nil {
				node = fresh
			}
		}
		return err
	})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("hand probes to the daemon of node %s: %w", c.node.Name, err)
	}
	return nil
}

// Report counts. // PM-4
func (*steps) Report(m *kruise.PodProbeMarker, _ seen, p plan, acted error) {
	if m.DeletionTimestamp != nil || acted != nil {
		return
	}
	m.Status.MatchedPods, m.Status.ObservedGeneration = p.matched, m.Generation
}
