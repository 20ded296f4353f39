package stories

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/test/fleet/system"
)

// named is a FederatedDeployment beside web, with pods of its own.
func named(name string) func(*appsv1alpha1.FederatedDeployment) {
	return func(d *appsv1alpha1.FederatedDeployment) { d.Name = name; relabel(d, name) }
}

// restores loses the hub's etcd and brings back what was saved before the members' newest works: one was made since, one
// was changed, one was deleted.
func (w *world) restores() {
	changed, deleted, made := w.web(6), w.web(4, named("deleted")), w.web(4, named("made"))
	for _, d := range []*appsv1alpha1.FederatedDeployment{changed, deleted} {
		w.apply(d)
	}
	w.ready(changed)
	w.ready(deleted)
	file := filepath.Join(w.TempDir(), "hub.backup")
	w.tool("backup", "--to="+file)
	id := w.history()

	w.change(changed, toImage("v2"))
	w.remove(deleted)
	w.apply(made)
	w.ready(changed)
	w.ready(made)
	w.noPods("deleted")
	before := w.puts()
	w.Logf("on the members are:\n%s", listed(before))

	w.loseAndRestore(file)
	now := w.history()
	if now == "" || now == id {
		w.Errorf("the hub's history id was %q and is %q", id, now)
	}
	for _, member := range []string{east, west} {
		held := w.says(member, "HubHistoryChanged", metav1.ConditionTrue)
		w.Logf("%s: %s", member, held.Message)
		if advice := fmt.Sprintf("annotate ManagedCluster %s %s=%s", member, appsv1alpha1.AnnotationConfirmHistory, now); !strings.Contains(held.Message, advice) {
			w.Errorf("%s does not say what to do: %s", member, held.Message)
		}
	}
	w.oldHub(changed, deleted, made)
	w.stays("an old hub changes nothing on its members", func() string { return same(before, w.puts()) })

	// The new truth, applied again, is what the members have.
	w.change(changed, toImage("v2"))
	made = w.web(4, named("made"))
	if err := w.hub.Create(w.Context(), made); err != nil {
		w.Fatal(err)
	}
	w.ready(changed)
	w.ready(made)
	if differs := same(before, w.puts(), "Pod"); differs != "" {
		w.Errorf("applying again what runs there changed it:\n%s", differs)
	}

	// What nobody applied again waits for a human.
	for _, member := range []string{east, west} {
		w.onHub("annotate", "managedcluster", member, appsv1alpha1.AnnotationConfirmHistory+"="+now)
		w.says(member, "HubHistoryChanged", metav1.ConditionFalse)
	}
	w.ready(deleted)
	w.ready(changed)
	if differs := same(before, w.puts(), "Pod"); strings.Contains(differs, "was") {
		w.Errorf("converging cost pods:\n%s", differs)
	}
}

// loseAndRestore empties the hub's etcd and brings the file back, as the help of hub restore says: with nobody at work.
func (w *world) loseAndRestore(file string) {
	w.Helper()
	hub := w.Fleet.Cluster(system.HubCluster)
	for _, step := range []func() error{
		func() error { return w.KillHub(w.Context()) },
		func() error { return hub.StopControllers(w.Context()) },
		func() error { return hub.Empty(w.Context()) },
	} {
		if err := step(); err != nil {
			w.Fatal(err)
		}
	}
	w.tool("restore", "--from="+file, "--announce=1s")
	if err := hub.RestartControllers(w.Context()); err != nil {
		w.Fatal(err)
	}
	// It ends as long as not all of its kinds are served again, and is started as a kubelet would. Leases are not restored.
	w.until("the hub is at work", func() string {
		if err := w.StartHub(w.Context()); err != nil {
			w.Fatal(err)
		}
		if err := w.hub.Get(w.Context(), client.ObjectKey{Namespace: west, Name: "managed-cluster-lease"}, &coordinationv1.Lease{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

// tool runs hub backup or hub restore and shows what it says.
func (w *world) tool(args ...string) {
	w.Helper()
	out, err := w.HubTool(w.Context(), args...)
	w.Logf("hub %s\n%s", args[0], out)
	if err != nil {
		w.Fatal(err)
	}
}

// history is the id of the hub's history.
func (w *world) history() string {
	w.Helper()
	var kept corev1.ConfigMap
	if err := w.hub.Get(w.Context(), client.ObjectKey{Namespace: "flotilla-system", Name: "hub-history"}, &kept); err != nil {
		w.Fatal(err)
	}
	return kept.Data["id"]
}

// oldHub waits until the hub is at work on what was saved.
func (w *world) oldHub(changed, deleted, made *appsv1alpha1.FederatedDeployment) {
	w.Helper()
	w.until("the hub is as it was saved", func() string {
		for _, d := range []*appsv1alpha1.FederatedDeployment{changed, deleted} {
			if err := w.hub.Get(w.Context(), client.ObjectKeyFromObject(d), d); err != nil {
				return err.Error()
			}
			if d.Status.ObservedGeneration != d.Generation {
				return describe(d)
			}
		}
		if err := w.hub.Get(w.Context(), client.ObjectKeyFromObject(made), &appsv1alpha1.FederatedDeployment{}); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Sprintf("%s is there, %v", made.Name, err)
		}
		return ""
	})
	if image := changed.Spec.Template.CloneSetTemplate.Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(image, ":v1") {
		w.Fatalf("the hub was not restored: %s", image)
	}
	var works workv1.ManifestWorkList
	if err := w.hub.List(w.Context(), &works, client.InNamespace(west)); err != nil {
		w.Fatal(err)
	}
	var names []string
	for _, work := range works.Items {
		if name, ours := strings.CutPrefix(work.Name, w.ns+"."); ours {
			names = append(names, name)
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{"deleted.zone-c", "web.zone-c"}) {
		w.Fatalf("the hub has works %v for west, want the old two", names)
	}
}

// puts is what is on both members.
func (w *world) puts() map[string]string {
	w.Helper()
	all := map[string]string{}
	for _, member := range []string{east, west} {
		for key, value := range w.put(member) {
			all[key+" on "+member] = value
		}
	}
	return all
}

func listed(objects map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		fmt.Fprintf(&b, "  %s %s\n", key, objects[key])
	}
	return b.String()
}

func (w *world) noPods(app string) {
	w.Helper()
	w.until("no pods of "+app+" are left", func() string {
		for _, member := range []string{east, west} {
			if left := w.podsOf(member, app); len(left) > 0 {
				return fmt.Sprintf("%s has %v", member, left)
			}
		}
		return ""
	})
}
