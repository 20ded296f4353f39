package stories

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// hostPort is where pods of a story are reached at their node's address.
const hostPort = 18080

// rolling updates a DaemonSet so many nodes at a time: by taking pods down, or with surge by adding first.
func rolling(kind kruisev1alpha1.RollingUpdateType, unavailable, surge int32) func(*kruisev1alpha1.DaemonSet) {
	return func(set *kruisev1alpha1.DaemonSet) {
		set.Spec.UpdateStrategy = kruisev1alpha1.DaemonSetUpdateStrategy{
			Type: kruisev1alpha1.RollingUpdateDaemonSetStrategyType,
			RollingUpdate: &kruisev1alpha1.RollingUpdateDaemonSet{
				Type: kind, MaxUnavailable: new(intstr.FromInt32(unavailable)), MaxSurge: new(intstr.FromInt32(surge)),
			},
		}
	}
}

// answers is what each node says at the host port: an image, or what went wrong.
func (w *world) answers() map[string]string {
	w.Helper()
	var nodes corev1.NodeList
	if err := w.east.List(w.Context(), &nodes); err != nil {
		w.Fatal(err)
	}
	all := map[string]string{}
	for _, n := range nodes.Items {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				all[n.Name] = w.ask(a.Address, hostPort, "/version")
			}
		}
	}
	return all
}

// ask fetches a page of the test program; it answers what went wrong if that does.
func (w *world) ask(ip string, port int, path string) string {
	w.Helper()
	c := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + net.JoinHostPort(ip, fmt.Sprint(port)) + path)
	if err != nil {
		return err.Error()
	}
	said, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(said))
}

// serve waits until so many of the nodes answer with the image of this tag.
func (w *world) serve(nodes int, tag string) {
	w.Helper()
	w.until(fmt.Sprintf("%d nodes serve %s at the host port", nodes, tag), func() string {
		n, said := 0, w.answers()
		for _, s := range said {
			if s == image(tag) {
				n++
			}
		}
		if n != nodes {
			return fmt.Sprintf("the nodes say %v\n%s", said, w.shown("logs"))
		}
		return ""
	})
}

// A host port has room for one pod a node. An update that takes pods down hands it over; one that surges waits, with the old
// pod at the port, until somebody takes that away. // WL-3.5, WL-3.7
func (w *world) handsOverThePort() {
	set := w.newDaemonSet("logs", rolling(kruisev1alpha1.StandardRollingUpdateType, 1, 0), func(set *kruisev1alpha1.DaemonSet) {
		set.Spec.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: hostPort}}
	})
	w.settles(set)
	w.serve(3, "v1")
	d := w.keepDiary()
	w.alter(set, func() { set.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.settles(set)
	w.serve(3, "v2")
	if wrong := d.overBudget("logs", 3, 1); wrong != "" {
		w.Error(wrong)
	}

	before := w.lives("logs")
	w.alter(set, func() {
		rolling(kruisev1alpha1.DeprecatedSurgingRollingUpdateType, 0, 1)(set)
		set.Spec.Template.Spec.Containers[0].Image = image("v3")
	})
	waits := w.waitsForThePort(before)
	w.serve(3, "v2")
	for uid := range before {
		if w.lives("logs")[uid] != before[uid] {
			w.Errorf("pod %s did not stay as it was", before[uid].name)
		}
	}
	for _, p := range w.these("logs") {
		if p.Spec.NodeName == nodeOf(waits) && p.UID != waits.UID {
			if err := w.east.Delete(w.Context(), &p); err != nil {
				w.Fatal(err)
			}
		}
	}
	w.serve(1, "v3")

	w.alter(set, func() { rolling(kruisev1alpha1.StandardRollingUpdateType, 1, 0)(set) })
	w.settles(set)
	w.serve(3, "v3")
}

// waitsForThePort waits for the one new pod that cannot be scheduled, for its node's port is taken.
func (w *world) waitsForThePort(before map[types.UID]life) (waits *corev1.Pod) {
	w.Helper()
	w.until("a new pod waits for the port", func() string {
		fresh := slices.DeleteFunc(w.these("logs"), func(p corev1.Pod) bool { _, old := before[p.UID]; return old })
		if len(fresh) != 1 || fresh[0].Spec.NodeName != "" || !strings.Contains(w.shown("logs"), "free ports") {
			return w.shown("logs")
		}
		waits = &fresh[0]
		return ""
	})
	return waits
}

// nodeOf is the node that a pod is meant for before it is scheduled.
func nodeOf(p *corev1.Pod) string {
	return p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
}

// mark puts the story's label on a node, or takes it away.
func (w *world) mark(node string, on bool) {
	w.Helper()
	value := "null"
	if on {
		value = `"yes"`
	}
	n := &corev1.Node{}
	n.Name = node
	patch := fmt.Sprintf(`{"metadata":{"labels":{"stories/%s":%s}}}`, w.ns, value)
	if err := w.east.Patch(w.Context(), n, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		w.Fatal(err)
	}
}

// on are the nodes that have a ready pod of a set.
func (w *world) on(name string) (nodes []string) {
	w.Helper()
	for _, p := range w.these(name) {
		if isReady(&p) {
			nodes = append(nodes, p.Spec.NodeName)
		}
	}
	slices.Sort(nodes)
	return nodes
}

// A DaemonSet is on the nodes that it selects and on no others, is updated inside of its pods, and with surge a node has its
// new pod before it loses the old one. // WL-3.4, WL-3.5, WL-3.7, WL-3.8
func (w *world) followsItsNodes() {
	w.mark(east+"-n1", true)
	w.mark(east+"-n2", true)
	set := w.newDaemonSet("logs", rolling(kruisev1alpha1.InplaceRollingUpdateType, 1, 0), func(set *kruisev1alpha1.DaemonSet) {
		set.Spec.Template.Spec.NodeSelector = map[string]string{"stories/" + w.ns: "yes"}
	})
	d := w.keepDiary()
	has := func(nodes ...string) {
		w.Helper()
		w.until(fmt.Sprintf("it is on %v", nodes), func() string {
			if on := w.on("logs"); !slices.Equal(on, nodes) || len(w.these("logs")) != len(nodes) {
				return fmt.Sprintf("it is on %v\n%s", on, w.shown("logs"))
			}
			return ""
		})
		w.settles(set)
	}
	has(east+"-n1", east+"-n2")
	w.mark(east+"-n3", true)
	has(east+"-n1", east+"-n2", east+"-n3")

	before := w.lives("logs")
	w.alter(set, func() { set.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.settles(set)
	w.wentOn("logs", before, 1)
	if fewest, most := d.fewest("logs", 3); fewest < 2 || most > 3 {
		w.Errorf("%d pods were ready at least and %d there at most; in place, with maxUnavailable 1, want 2 and 3", fewest, most)
	}

	d = w.keepDiary()
	w.alter(set, func() {
		rolling(kruisev1alpha1.DeprecatedSurgingRollingUpdateType, 0, 1)(set)
		set.Spec.Template.Spec.Containers[0].Image = image("v3")
	})
	w.settles(set)
	has(east+"-n1", east+"-n2", east+"-n3")
	if fewest, most := d.fewest("logs", 3); fewest < 3 || most != 4 {
		w.Errorf("%d pods were ready at least and %d there at most; with maxSurge 1, want 3 and 4", fewest, most)
	}
	w.mark(east+"-n1", false)
	has(east+"-n2", east+"-n3")
}
