package integration

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	workv1 "open-cluster-management.io/api/work/v1"
)

// several are so many works in a cluster, each with a ConfigMap of its name.
func (w *world) several(cluster string, n int) (names []string) {
	w.Helper()
	for i := range n {
		name := fmt.Sprintf("b%d", i)
		names = append(names, name)
		w.Expect(w.hub.Create(w.Context(), w.aWork(name, w.raw(namespaceText(cluster), configMapText(cluster, name, "1"))...))).To(Succeed())
	}
	for _, name := range names {
		w.isApplied(name)
	}
	return names
}

func (w *world) alive(namespace string, names []string) func() int {
	return func() (n int) {
		for _, name := range names {
			if !w.gone(&corev1.ConfigMap{}, namespace, name)() {
				n++
			}
		}
		return n
	}
}

func TestWorksThatAnOwnerOrderedAwayGoAtOnce(t *testing.T) { // OCM-15.5
	t.Parallel()
	w := newWorld(t, "ordered")
	w.options.AgentID = "ordered"
	w.join()
	names := w.several("ordered", 10)
	for _, name := range names { // as the hub's controllers delete the works of an owner that is being deleted
		w.edit(name, func(m *workv1.ManifestWork) { m.Annotations = map[string]string{"flotilla.dev/confirm-removal": name} })
		w.Expect(w.hub.Delete(t.Context(), w.work(w, name))).To(Succeed())
	}
	w.Eventually(w.alive("ordered", names)).Should(BeZero())
}

func TestTwoSmallApplicationsAreDeletedOneAfterTheOther(t *testing.T) { // OCM-15.5
	t.Parallel()
	w := newWorld(t, "small")
	w.options.AgentID = "small"
	w.join()
	names := w.several("small", 5)
	for _, app := range [][]string{names[:2], names[2:]} {
		for _, name := range app {
			w.Expect(w.hub.Delete(t.Context(), w.work(w, name))).To(Succeed())
		}
		w.Eventually(w.alive("small", app)).Should(BeZero())
	}
}

func TestWorksThatComeAndGoAllDayAreNotHeld(t *testing.T) { // OCM-15.5
	t.Parallel()
	w := newWorld(t, "churn")
	w.options.AgentID = "churn"
	w.join()
	for i := range 8 {
		name := fmt.Sprintf("turn%d", i)
		w.Expect(w.hub.Create(t.Context(), w.aWork(name, w.raw(namespaceText("churn"), configMapText("churn", name, "1"))...))).To(Succeed())
		w.isApplied(name)
		w.Expect(w.hub.Delete(t.Context(), w.work(w, name))).To(Succeed())
		w.Eventually(w.alive("churn", []string{name})).Should(BeZero(), name)
	}
}
