package imagepulljob

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

const (
	perWrite = 10 * time.Millisecond // the agent may write a hundred times a second
	tick     = 100 * time.Millisecond
	pause    = 2 * time.Second // between two writes of a daemon // IM-14
)

// flood is many jobs on many nodes in simulated time: every write of ours takes its share of the rate that we are allowed,
// and each daemon ends all that it was asked for every two seconds.
type flood struct {
	client.Client
	clock  *clocktesting.FakeClock
	nodes  map[string]*kruise.NodeImage
	jobs   map[string]*kruise.ImagePullJob
	writes map[string]int
	number int
	wake   crowd
	watch  watches
	due    map[string]time.Time
}

// crowd is the queue of jobs.
type crowd struct {
	queue
	due map[string]time.Time
	now func() time.Time
}

func (c *crowd) AddAfter(r reconcile.Request, after time.Duration) {
	at := c.now().Add(after)
	if was, waits := c.due[r.Name]; !waits || at.Before(was) {
		c.due[r.Name] = at
	}
}

// desks is the queue of nodes.
type desks struct {
	queue
	due map[string]time.Time
	now func() time.Time
}

func (d *desks) Add(r reconcile.Request) { d.AddAfter(r, 0) }
func (d *desks) AddAfter(r reconcile.Request, after time.Duration) {
	(&crowd{due: d.due, now: d.now}).AddAfter(r, after)
}

func newFlood(images, nodes, width int) *flood {
	f := &flood{
		clock: clocktesting.NewFakeClock(noon), nodes: map[string]*kruise.NodeImage{}, jobs: map[string]*kruise.ImagePullJob{},
		writes: map[string]int{}, due: map[string]time.Time{},
	}
	f.wake = crowd{due: map[string]time.Time{}, now: f.clock.Now}
	f.watch = watches{local: f, options: Options{ConfigNamespace: defaultNamespace}}
	for i := range nodes {
		f.put(nodeImage(fmt.Sprintf("node-%03d", i)))
	}
	for i := range images {
		name := fmt.Sprintf("pull-%03d", i)
		f.jobs[name] = pullJob(called(name), parallel(strconv.Itoa(width)), func(j *kruise.ImagePullJob) { j.Spec.Image = "registry.test/" + name + ":1" })
		f.jobs[name].ResourceVersion = "1"
		f.wake.due[name] = noon
	}
	return f
}

// put stores a NodeImage and tells the jobs that it concerns.
func (f *flood) put(n *kruise.NodeImage) {
	f.number++
	n.ResourceVersion = strconv.Itoa(f.number)
	before := f.nodes[n.Name]
	f.nodes[n.Name] = n
	if before != nil {
		f.watch.images().Update(context.Background(), crevent.UpdateEvent{ObjectOld: before, ObjectNew: n}, &f.wake)
	}
}

func (f *flood) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch o := into.(type) {
	case *kruise.NodeImage:
		*o = *f.nodes[key.Name]
	case *kruise.ImagePullJob:
		*o = *f.jobs[key.Name].DeepCopy()
	case *corev1.Namespace:
		*o = *home()
	default:
		return apierrors.NewNotFound(corev1.Resource("objects"), key.Name)
	}
	return nil
}

func (f *flood) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	switch l := into.(type) {
	case *kruise.NodeImageList:
		for _, n := range f.nodes {
			l.Items = append(l.Items, *n)
		}
	case *kruise.ImagePullJobList:
		for _, j := range f.jobs {
			l.Items = append(l.Items, *j)
		}
	}
	return nil
}

func (f *flood) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
	f.writes["NodeImage"]++
	f.clock.Step(perWrite)
	f.put(o.(*kruise.NodeImage).DeepCopy())
	return nil
}

func (f *flood) Status() client.SubResourceWriter { return told{f: f} }

type told struct {
	client.SubResourceWriter
	f *flood
}

func (t told) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	t.f.writes["ImagePullJob/status"]++
	t.f.clock.Step(perWrite)
	t.f.jobs[o.GetName()] = o.(*kruise.ImagePullJob).DeepCopy()
	return nil
}

// pulled is a daemon's turn.
func (f *flood) pulled(n *kruise.NodeImage) {
	after, news := n.DeepCopy(), false
	after.Status.ImageStatuses = map[string]kruise.ImageStatus{}
	for name, spec := range n.Spec.Images {
		for _, t := range spec.Tags {
			news = news || len(n.Status.ImageStatuses[name].Tags) == 0
			after.Status.ImageStatuses[name] = kruise.ImageStatus{Tags: []kruise.ImageTagStatus{{Tag: t.Tag, Version: t.Version, Phase: kruise.ImagePhaseSucceeded}}}
		}
	}
	if news {
		f.put(after)
	}
}

// run is until all jobs are done; it returns how long that took, and how many nodes a job had at most.
func (f *flood) run() (took time.Duration, most int, err error) {
	desk := newDesk(f, record.NewFakeRecorder(1), f.clock)
	desk.open(&desks{due: f.due, now: f.clock.Now})
	steps := newSteps(f, f, record.NewFakeRecorder(1), desk, f.watch.options)
	jobs := &loop.Loop[*kruise.ImagePullJob, seen, *plan]{Steps: steps, Client: f, Clock: f.clock, New: func() *kruise.ImagePullJob { return &kruise.ImagePullJob{} }}
	for turn := map[string]time.Time{}; f.clock.Now().Before(noon.Add(time.Hour)); f.clock.Step(tick) {
		for _, work := range []struct {
			due map[string]time.Time
			do  func(context.Context, reconcile.Request) (reconcile.Result, error)
		}{{f.wake.due, jobs.Reconcile}, {f.due, desk.Reconcile}} {
			for _, name := range ripe(work.due, f.clock.Now()) {
				result, err := work.do(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}})
				if err != nil {
					return 0, 0, err
				}
				if result.RequeueAfter > 0 {
					work.due[name] = f.clock.Now().Add(result.RequeueAfter)
				}
			}
		}
		for name, n := range f.nodes {
			if now := f.clock.Now(); now.Sub(turn[name]) >= pause {
				turn[name] = now
				f.pulled(n)
			}
		}
		done := true
		for _, j := range f.jobs {
			done, most = done && j.Status.CompletionTime != nil, max(most, int(j.Status.Active))
		}
		if done {
			return f.clock.Now().Sub(noon), most, nil
		}
	}
	return 0, 0, fmt.Errorf("not done after an hour: %v", f.writes)
}

// ripe takes what is due, in a fixed order.
func ripe(due map[string]time.Time, now time.Time) (names []string) {
	for name, at := range due {
		if !now.Before(at) {
			names = append(names, name)
			delete(due, name)
		}
	}
	slices.Sort(names)
	return names
}

// Two hundred images on a hundred nodes are twenty thousand pulls; a write for each, and a status for each step, would be
// sixty thousand writes.
func TestAFloodOfImagesIsATrickleOfWrites(t *testing.T) {
	const images, nodes, width = 200, 100, 20
	f := newFlood(images, nodes, width)
	took, most, err := f.run()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pulls in %v: %v", images*nodes, took, f.writes)
	if most != width {
		t.Errorf("a job had %d nodes at a time, it may have %d", most, width)
	}
	if asked := f.writes["NodeImage"]; asked < nodes || asked > 3*nodes {
		t.Errorf("%d writes of %d NodeImages", asked, nodes)
	}
	if told := f.writes["ImagePullJob/status"]; told > 8*images {
		t.Errorf("%d statuses of %d jobs", told, images)
	}
}

func BenchmarkFlood(b *testing.B) {
	for b.Loop() {
		f := newFlood(200, 100, 20)
		took, _, err := f.run()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(f.writes["NodeImage"])/20000, "node-writes/pull")
		b.ReportMetric(float64(f.writes["ImagePullJob/status"])/20000, "status-writes/pull")
		b.ReportMetric(took.Seconds(), "simulated-s")
	}
}
