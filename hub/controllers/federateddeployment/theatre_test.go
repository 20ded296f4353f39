package federateddeployment

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

const tick = 10 * time.Second

// theatre is the whole controller with members in memory that carry out their works, slowly, and say what became of them.
type theatre struct {
	*hub
	clock *clocktesting.FakePassiveClock
	// silent clusters neither hear nor are heard; their pods go on. Bad images never become available.
	silent map[string]bool
	bad    map[string]bool
	sets   map[string]*set
	log    []string
	// each is called after every tick.
	each func()
}

// set is a workload on a member. It updates one pod at a time.
type set struct {
	pods []*replica
}

type replica struct {
	image string
	born  time.Time
}

func stage(t *testing.T, obj *v1alpha1.FederatedDeployment, more ...client.Object) *theatre {
	t.Helper()
	f := &theatre{
		hub:    newHub(t, append(more, obj, member("east", "a,b"), member("west", "c"), member("north", "n"))...),
		silent: map[string]bool{}, bad: map[string]bool{}, sets: map[string]*set{}, each: func() {},
	}
	f.clock = f.Clock.(*clocktesting.FakePassiveClock)
	return f
}

// run lets time pass.
func (f *theatre) run(d time.Duration) {
	f.t.Helper()
	step := tick
	if d > 6*time.Minute { // nothing much happens
		step = time.Minute
	}
	for range int(d / step) {
		f.clock.SetTime(f.clock.Now().Add(step))
		f.reconcile()
		f.members()
		f.reconcile()
		f.each()
	}
}

func (f *theatre) reconcile() {
	f.t.Helper()
	if _, err := f.Reconcile(context.Background(), reconcile.Request{NamespacedName: webKey}); err != nil {
		f.t.Fatal(err)
	}
}

// cut makes a cluster silent, or heard again.
func (f *theatre) cut(name string, silent bool) {
	f.t.Helper()
	f.silent[name] = silent
	c := &clusterv1.ManagedCluster{}
	if err := f.Hub.Get(context.Background(), client.ObjectKey{Name: name}, c); err != nil {
		f.t.Fatal(err)
	}
	available := metav1.Condition{Type: clusterv1.ManagedClusterConditionAvailable, Status: condition.Of(!silent), Reason: "Test", LastTransitionTime: metav1.NewTime(f.clock.Now())}
	if silent {
		available.Status = metav1.ConditionUnknown
	}
	meta.SetStatusCondition(&c.Status.Conditions, available)
	if err := f.Hub.Update(context.Background(), c); err != nil {
		f.t.Fatal(err)
	}
}

// members carry out their works and report.
func (f *theatre) members() {
	f.t.Helper()
	var works workv1.ManifestWorkList
	if err := f.Hub.List(context.Background(), &works); err != nil {
		f.t.Fatal(err)
	}
	there := map[string]bool{}
	for i := range works.Items {
		w := &works.Items[i]
		key := w.Namespace + "/" + w.Name
		there[key] = true
		if f.sets[key] == nil {
			f.sets[key] = &set{}
		}
		if f.silent[w.Namespace] {
			continue
		}
		f.sets[key].follow(w, f.clock.Now(), f.up)
		f.say(w, f.sets[key])
	}
	for key := range f.sets {
		if cluster, _, _ := strings.Cut(key, "/"); !there[key] && !f.silent[cluster] {
			delete(f.sets, key)
		}
	}
}

// wish is what a work asks for.
type wish struct {
	Metadata struct {
		Annotations map[string]string
	}
	Spec struct {
		Replicas       int
		UpdateStrategy struct {
			Partition int
			Paused    bool
		}
		Template struct {
			Spec struct{ Containers []struct{ Image string } }
		}
	}
}

func wishOf(w *workv1.ManifestWork) (o wish) {
	manifests := w.Spec.Workload.Manifests
	if err := json.Unmarshal(manifests[len(manifests)-1].Raw, &o); err != nil {
		panic(err) //nolint:forbidigo // the controller wrote it
	}
	return o
}

func (o wish) image() string { return o.Spec.Template.Spec.Containers[0].Image }

// follow takes a step towards what is asked for.
func (s *set) follow(w *workv1.ManifestWork, now time.Time, up func(*replica) bool) {
	o := wishOf(w)
	updated := 0
	for _, p := range s.pods {
		if p.image == o.image() {
			updated++
		}
	}
	for len(s.pods) > o.Spec.Replicas { // the youngest first, so that those that serve go last
		slices.SortFunc(s.pods, func(a, b *replica) int { return a.born.Compare(b.born) })
		s.pods = s.pods[:len(s.pods)-1]
	}
	for len(s.pods) < o.Spec.Replicas {
		s.pods = append(s.pods, &replica{image: o.image(), born: now})
	}
	for _, p := range s.pods {
		if p.image != o.image() && updated < o.Spec.Replicas-o.Spec.UpdateStrategy.Partition && !o.Spec.UpdateStrategy.Paused && s.settled(up, p) {
			p.image, p.born = o.image(), now
			return
		}
	}
}

// settled says that all pods but that one are up, so that one more may go down.
func (s *set) settled(up func(*replica) bool, but *replica) bool {
	for _, p := range s.pods {
		if p != but && !up(p) {
			return false
		}
	}
	return true
}

func (f *theatre) up(p *replica) bool { return !f.bad[p.image] && f.clock.Now().Sub(p.born) >= tick }

func (f *theatre) say(w *workv1.ManifestWork, s *set) {
	f.t.Helper()
	o := wishOf(w)
	var ready, updated, updatedReady int
	for _, p := range s.pods {
		if f.up(p) {
			ready++
		}
		if p.image == o.image() {
			updated++
			if f.up(p) {
				updatedReady++
			}
		}
	}
	status(w, map[string]any{
		valueContent: o.Metadata.Annotations[v1alpha1.AnnotationContent], valueGeneration: 1, valueObserved: 1, valueReplicas: len(s.pods), valueReady: ready,
		valueAvailable: ready, valueUpdated: updated, valueUpdatedReady: updatedReady, valueUpdatedAvailable: updatedReady,
	})
	if err := f.Hub.Status().Update(context.Background(), w); err != nil {
		f.t.Fatal(err)
	}
}

// available counts the pods that serve, with and without those in clusters that are cut off.
func (f *theatre) available() (heard, all int) {
	for key, s := range f.sets {
		cluster, _, _ := strings.Cut(key, "/")
		for _, p := range s.pods {
			if f.up(p) {
				all++
				if !f.silent[cluster] {
					heard++
				}
			}
		}
	}
	return heard, all
}

// on counts pods of an image by subset.
func (f *theatre) on(image string) string {
	var all []string
	for key, s := range f.sets {
		n := 0
		for _, p := range s.pods {
			if p.image == image {
				n++
			}
		}
		all = append(all, fmt.Sprintf("%s:%d", key[strings.LastIndex(key, ".")+1:], n))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (f *theatre) says(kind string) string {
	f.t.Helper()
	c := condition.Find(f.web().Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

func (f *theatre) mustSay(kind string, parts ...string) {
	f.t.Helper()
	for _, part := range parts {
		if got := f.says(kind); !strings.Contains(got, part) {
			f.t.Errorf("at %s %s is %q and lacks %q", f.clock.Now().Sub(noon), kind, got, part)
		}
	}
}

// atLeast checks after every tick that so many pods serve.
func (f *theatre) atLeast(n int) {
	f.each = func() {
		if _, all := f.available(); all < n {
			f.t.Errorf("at %s only %d of %d pods serve", f.clock.Now().Sub(noon), all, n)
		}
	}
}

func (f *theatre) told() []string {
	for len(f.recorder.Events) > 0 {
		f.log = append(f.log, <-f.recorder.Events)
	}
	return f.log
}

func (f *theatre) mustTell(want string) {
	f.t.Helper()
	if !slices.ContainsFunc(f.told(), func(e string) bool { return strings.Contains(e, want) }) {
		f.t.Errorf("events lack %q:\n%s", want, strings.Join(f.log, "\n"))
	}
}
