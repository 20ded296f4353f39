package stories

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// ownWorks are the works that a team sends to each member, and slipped those of them that a mistaken selector matches:
// three of ten in all, and many of those that the first member has.
var ownWorks, slipped = map[string]int{east: 20, west: 30}, map[string]int{east: 8, west: 8}

// few of them may go before it is known that they are many, however slowly they are asked for.
const few = 8

// brakes has somebody delete a third of all works by a selector that matches too much.
func (w *world) brakes() {
	d := w.web(4)
	w.apply(d)
	w.ready(d)
	total, matched := 0, 0
	for _, member := range []string{east, west} {
		for i := range ownWorks[member] {
			w.sendConfig(member, i)
		}
		total, matched = total+ownWorks[member], matched+slipped[member]
	}
	w.until("all configs are on the members", func() string {
		if n := w.configs(east) + w.configs(west); n != total {
			return fmt.Sprintf("%d of %d are", n, total)
		}
		return ""
	})
	w.anyRemoval(false)

	said := w.slip()
	w.Logf("kubectl delete manifestworks -A -l batch=%s said:\n%s", w.ns, said)
	if !numbers.MatchString(said) || !remedy.MatchString(said) {
		w.Fatal("the hub did not refuse with numbers and a remedy")
	}
	w.held()
	w.stays("what was deleted by mistake stays", func() string { return w.atLeast(total - few) })
	w.Logf("%d of %d that the selector matched are gone", total-w.configs(east)-w.configs(west), matched)

	// What somebody means to remove goes meanwhile, without a word more.
	w.remove(d)
	w.noPods("web")

	// It was meant after all: the messages say how to go on.
	for _, advice := range remedy.FindAllStringSubmatch(said, -1) {
		w.onHub(strings.Fields(advice[1])...)
	}
	if said = w.slip(); said != "" {
		w.Errorf("confirmed, and still refused: %s", said)
	}
	w.confirmHeld()
	w.until("what was confirmed is gone", func() string { return w.left(total - matched) })
	w.stays("only what was confirmed goes", func() string { return w.left(total - matched) })
	w.anyRemoval(true)
	w.onHub("delete", "manifestworks", "-A", "-l", "story="+w.ns)
}

var (
	numbers = regexp.MustCompile(`\d+ works of .* were removed within .* and more than \d+ need a second word`)
	remedy  = regexp.MustCompile(`run: kubectl (annotate manifestwork [^;]*);`)
)

// atLeast says how many configs there are on the members if they are fewer.
func (w *world) atLeast(want int) string {
	w.Helper()
	if n := w.configs(east) + w.configs(west); n < want {
		return fmt.Sprintf("%d are left, want %d or more", n, want)
	}
	return ""
}

// left says how many configs there are on the members if not so many.
func (w *world) left(want int) string {
	w.Helper()
	if e, v := w.configs(east), w.configs(west); e+v != want {
		return fmt.Sprintf("%d are in east and %d in west, want %d", e, v, want)
	}
	return ""
}

// sendConfig sends a ConfigMap to a member in a work of its own; the last few carry the label that matches too much.
func (w *world) sendConfig(member string, i int) {
	w.Helper()
	name := fmt.Sprintf("%s-config-%d", w.ns, i)
	labels := map[string]string{"story": w.ns}
	if i >= ownWorks[member]-slipped[member] {
		labels["batch"] = w.ns
	}
	work := &workv1.ManifestWork{
		ObjectMeta: metav1.ObjectMeta{Namespace: member, Name: name, Labels: labels},
		Spec: workv1.ManifestWorkSpec{Workload: workv1.ManifestsTemplate{Manifests: []workv1.Manifest{{RawExtension: runtime.RawExtension{
			Raw: fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default","name":%q,"labels":{"story":%q}},"data":{"team":"shop"}}`, name, w.ns),
		}}}}},
	}
	if err := w.hub.Create(w.Context(), work); err != nil {
		w.Fatal(err)
	}
}

// configs counts what those works put on a member.
func (w *world) configs(member string) int {
	w.Helper()
	var list corev1.ConfigMapList
	if err := w.member(member).List(w.Context(), &list, client.InNamespace("default"), client.MatchingLabels{"story": w.ns}); err != nil {
		w.Fatal(err)
	}
	return len(list.Items)
}

// slip deletes by the selector that matches too much, and returns what the hub had against it.
func (w *world) slip() string {
	w.Helper()
	if _, err := w.Kubectl(w.Context(), "hub", "delete", "manifestworks", "-A", "-l", "batch="+w.ns, "--wait=false"); err != nil {
		return err.Error()
	}
	return ""
}

// batch are the works that the selector matches.
func (w *world) batch() []workv1.ManifestWork {
	w.Helper()
	var works workv1.ManifestWorkList
	if err := w.hub.List(w.Context(), &works, client.MatchingLabels{"batch": w.ns}); err != nil {
		w.Fatal(err)
	}
	return works.Items
}

// held waits until each work that the hub let go is held by its member, or was one of few.
func (w *world) held() {
	w.Helper()
	w.until("members hold what the hub let go", func() string {
		going, holding := 0, 0
		for _, work := range w.batch() {
			if work.DeletionTimestamp.IsZero() {
				continue
			}
			c := meta.FindStatusCondition(work.Status.Conditions, "Deleting")
			if c == nil || c.Reason != "HeldByBrake" {
				going++
				continue
			}
			if !strings.Contains(c.Message, appsv1alpha1.AnnotationConfirmRemoval+"="+work.Name) {
				w.Fatalf("work %s does not say what to do: %s", work.Name, c.Message)
			}
			if holding++; holding == 1 {
				w.Logf("work %s/%s: %s", work.Namespace, work.Name, c.Message)
			}
		}
		if going > 0 || holding == 0 {
			return fmt.Sprintf("%d are on their way, %d held", going, holding)
		}
		return ""
	})
}

// confirmHeld confirms what members hold.
func (w *world) confirmHeld() {
	w.Helper()
	for _, work := range w.batch() {
		_, err := w.Kubectl(w.Context(), "hub", "-n", work.Namespace, "annotate", "--overwrite", "manifestwork", work.Name,
			appsv1alpha1.AnnotationConfirmRemoval+"="+work.Name)
		if err != nil && !strings.Contains(err.Error(), string(metav1.StatusReasonNotFound)) && !apierrors.IsNotFound(err) {
			w.Fatal(err)
		}
	}
}
