package stories

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/link"
	"github.com/flotilla-project/flotilla/test/fleet/system"
)

// light is a hub and two members whose pods need not run, with the brakes on mass removal as users have them. Between the
// hub and each member is a wire.
type light struct {
	fleet  *fleet.Fleet
	system *system.System
	wires  map[string]*link.Link
}

// Stories of clusters that come and go, and of hands that slip. They need no root. Those that leave a member without its
// hub come last.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	peace.quiet() // some of them are about seconds
	aside.Lock()
	t.Cleanup(aside.Unlock)
	l := lighten(t)
	for _, story := range []struct {
		name string
		tell func(*world)
	}{
		{"what cannot be is explained", (*world).explains},
		{"an add-on is offered to clusters", (*world).offersAnAddOn},
		{"a denied cluster loses its rights and nothing else", (*world).denies},
		{"certificates are renewed under load", (*world).rotates},
		{"a mistaken selector is stopped", (*world).brakes},
		{"an old hub over new members changes nothing", (*world).restores},
		{"a live cluster is let go", (*world).detachesTheLiving},
		{"a dead cluster is let go", (*world).detachesTheDead},
	} {
		t.Run(story.name, func(t *testing.T) { story.tell(l.begin(t)) })
	}
}

func lighten(t *testing.T) light {
	t.Helper()
	l := light{wires: map[string]*link.Link{}}
	l.fleet = fleet.New(t, fleet.Config{Name: "light", Clusters: []fleet.Cluster{
		{Name: system.HubCluster},
		{Name: east, Nodes: []fleet.Node{{Zone: "a", Region: "e"}, {Zone: "b", Region: "e"}}},
		{Name: west, Nodes: []fleet.Node{{Zone: "c", Region: "w"}}},
	}})
	hub := strings.TrimPrefix(l.fleet.Cluster(system.HubCluster).RESTConfig().Host, "https://")
	via := map[string]string{}
	for _, member := range []string{east, west} {
		wire, err := link.New(hub)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := wire.Close(); err != nil {
				t.Error(err)
			}
		})
		l.wires[member], via[member] = wire, wire.Address()
	}
	_, file, _, _ := runtime.Caller(0)
	var err error
	l.system, err = system.Install(t.Context(), l.fleet, system.Options{
		Source: filepath.Join(filepath.Dir(file), "..", "..", ".."), Log: t.Output(), HubVia: via,
		HubArgs: []string{"--mass-removal-share=20"}, AgentArgs: []string{"--mass-removal-share=25"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// begin gives a story its namespace, and releases the brakes until it asks for them: stories clean up by the dozen.
func (l light) begin(t *testing.T) *world {
	t.Helper()
	w := &world{
		T: t, System: l.system, wires: l.wires, wire: l.wires[west], ns: l.fleet.Namespace(t, system.HubCluster),
		hub: connect(t, l.fleet, system.HubCluster), east: connect(t, l.fleet, east), west: connect(t, l.fleet, west),
	}
	w.anyRemoval(true)
	return w
}

// anyRemoval confirms, or confirms no more, whatever is removed: on the hub for the whole fleet, on each member for itself.
func (w *world) anyRemoval(on bool) {
	w.Helper()
	set := func(kind, name, value string) {
		w.Helper()
		annotation := appsv1alpha1.AnnotationConfirmMassRemoval + "-"
		if on {
			annotation = appsv1alpha1.AnnotationConfirmMassRemoval + "=" + value
		}
		w.onHub("annotate", "--overwrite", kind, name, annotation)
	}
	set("namespace", "flotilla-system", time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	var clusters clusterv1.ManagedClusterList
	if err := w.hub.List(w.Context(), &clusters); err != nil {
		w.Fatal(err)
	}
	for _, c := range clusters.Items {
		set("managedcluster", c.Name, c.Name)
	}
}

// onHub runs kubectl on the hub and returns what it printed.
func (w *world) onHub(args ...string) string {
	w.Helper()
	out, err := w.Kubectl(w.Context(), system.HubCluster, args...)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// flotilla runs kubectl flotilla on the hub and shows what it says.
func (w *world) flotilla(args ...string) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	out, err := w.CLI(ctx, args...)
	w.Logf("kubectl flotilla %s\n%s", strings.Join(args, " "), out)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// put is all that the story's works put on a member, and the pods of it, each with what would betray a change.
func (w *world) put(member string) map[string]string {
	w.Helper()
	c, all := w.member(member), map[string]string{}
	var sets kruisev1alpha1.CloneSetList
	var maps corev1.ConfigMapList
	for _, list := range []client.ObjectList{&sets, &maps} {
		if err := c.List(w.Context(), list, client.InNamespace(w.ns)); err != nil {
			w.Fatal(err)
		}
	}
	for _, s := range sets.Items {
		all["CloneSet "+s.Name] = fmt.Sprintf("%s generation %d", s.UID, s.Generation)
	}
	for _, m := range maps.Items {
		all["ConfigMap "+m.Name] = fmt.Sprintf("%s version %s", m.UID, m.ResourceVersion)
	}
	for _, p := range w.pods(member) {
		all["Pod "+p.Name] = fmt.Sprintf("%s %s ready %v", p.UID, p.Spec.Containers[0].Image, isReady(&p))
	}
	for _, r := range w.records(member) {
		all["AppliedManifestWork "+r.Spec.ManifestWorkName] = fmt.Sprintf("%s deleted %v", r.UID, r.DeletionTimestamp)
	}
	return all
}

// records are the AppliedManifestWorks of a member that hold something of the story's.
func (w *world) records(member string) []workv1.AppliedManifestWork {
	w.Helper()
	var list workv1.AppliedManifestWorkList
	if err := w.member(member).List(w.Context(), &list); err != nil {
		w.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(r workv1.AppliedManifestWork) bool {
		return !slices.ContainsFunc(r.Status.AppliedResources, func(a workv1.AppliedManifestResourceMeta) bool { return a.Namespace == w.ns })
	})
}

// same says what differs between two puts, of the kinds that are named or of all.
func same(before, after map[string]string, kinds ...string) string {
	var differs []string
	for _, key := range slices.Sorted(maps.Keys(before)) {
		kind, _, _ := strings.Cut(key, " ")
		if is := cmp.Or(after[key], "gone"); is != before[key] && (len(kinds) == 0 || slices.Contains(kinds, kind)) {
			differs = append(differs, fmt.Sprintf("%s was %s, is %s", key, before[key], is))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		kind, _, _ := strings.Cut(key, " ")
		if _, was := before[key]; !was && (len(kinds) == 0 || slices.Contains(kinds, kind)) {
			differs = append(differs, key+" is new: "+after[key])
		}
	}
	return strings.Join(differs, "\n")
}

// stays looks for a while whether something is as it should be; it answers what is not.
func (w *world) stays(what string, ask func() string) {
	w.Helper()
	end, tick := time.After(quiet), time.NewTicker(250*time.Millisecond)
	defer tick.Stop()
	for {
		if wrong := ask(); wrong != "" {
			w.Fatalf("%s, but\n%s", what, wrong)
		}
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}

// quiet is how long nothing must happen to be believed: longer than any period of agent and hub that acts on works.
const quiet = 6 * time.Second

// cluster is a member as the hub knows it; nil when it does not.
func (w *world) cluster(name string) *clusterv1.ManagedCluster {
	w.Helper()
	c := &clusterv1.ManagedCluster{}
	err := w.hub.Get(w.Context(), client.ObjectKey{Name: name}, c)
	if client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return c
}

// says waits until a cluster has a condition with this status.
func (w *world) says(cluster, condition string, status metav1.ConditionStatus) *metav1.Condition {
	w.Helper()
	var found *metav1.Condition
	w.until(fmt.Sprintf("cluster %s has %s=%s", cluster, condition, status), func() string {
		c := w.cluster(cluster)
		if c == nil {
			return "there is no such cluster"
		}
		if found = meta.FindStatusCondition(c.Status.Conditions, condition); found == nil || found.Status != status {
			return fmt.Sprintf("it has %+v", c.Status.Conditions)
		}
		return ""
	})
	return found
}

// may says whether a member's credentials still open something on the hub. It fails the story for any other answer.
func (w *world) may(member string, args ...string) bool {
	w.Helper()
	_, err := w.KubectlAs(w.Context(), w.HubCredentials(member), args...)
	if err != nil && !strings.Contains(err.Error(), "orbidden") {
		w.Fatalf("%v: refused, but not for lack of rights: %v", args, err)
	}
	return err == nil
}
