package imagelistpulljob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func list(images ...string) *kruise.ImageListPullJob {
	l := &kruise.ImageListPullJob{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "all", UID: "list"}}
	l.Spec.Images = images
	return l
}

// world is the controller with an API server in memory, and jobs that the test plays.
type world struct {
	*testing.T
	server *acttest.Server
	clock  *clocktesting.FakePassiveClock
	events *record.FakeRecorder
	loop   *loop.Loop[*kruise.ImageListPullJob, seen, *plan]
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	server, err := acttest.New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, server: server, clock: clocktesting.NewFakePassiveClock(noon), events: record.NewFakeRecorder(1000)}
	w.loop = &loop.Loop[*kruise.ImageListPullJob, seen, *plan]{
		Steps: &steps{local: server, events: w.events}, Client: server, Clock: w.clock,
		New: func() *kruise.ImageListPullJob { return &kruise.ImageListPullJob{} },
	}
	return w
}

func (w *world) try() (reconcile.Result, error) {
	return w.loop.Reconcile(w.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "all"}})
}

func (w *world) round() reconcile.Result {
	w.Helper()
	for {
		result, err := w.try()
		if err != nil {
			w.Fatal(err)
		}
		if result.RequeueAfter != soon {
			return result
		}
	}
}

func (w *world) children() (jobs []kruise.ImagePullJob) {
	w.Helper()
	var all kruise.ImagePullJobList
	if err := w.server.Plain.List(context.Background(), &all); err != nil {
		w.Fatal(err)
	}
	slices.SortFunc(all.Items, func(a, b kruise.ImagePullJob) int { return strings.Compare(a.Spec.Image, b.Spec.Image) })
	return all.Items
}

// images are those of the children, with their hashes if asked for.
func (w *world) images() (images []string) {
	for _, c := range w.children() {
		images = append(images, c.Spec.Image)
	}
	return images
}

func (w *world) list() *kruise.ImageListPullJob {
	var l kruise.ImageListPullJob
	if err := w.server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "all"}, &l); err != nil {
		return nil
	}
	return &l
}

func (w *world) change(f func(*kruise.ImageListPullJob)) {
	w.Helper()
	l := w.list()
	f(l)
	if err := w.server.Plain.Update(context.Background(), l); err != nil {
		w.Fatal(err)
	}
}

// report lets the child for an image say how far it is.
func (w *world) report(image string, s kruise.ImagePullJobStatus) {
	w.Helper()
	for _, c := range w.children() {
		if c.Spec.Image == image {
			s.StartTime = &metav1.Time{Time: noon}
			c.Status = s
			if err := w.server.Plain.Status().Update(context.Background(), &c); err != nil {
				w.Fatal(err)
			}
		}
	}
}

func TestAListFromStartToEnd(t *testing.T) { // IL-3, IL-4, IL-5, IL-6, IL-7
	w := newWorld(t, list("nginx", "redis", "httpd"))
	w.change(func(l *kruise.ImageListPullJob) { l.Spec.CompletionPolicy.TTLSecondsAfterFinished = new(int32(60)) })
	w.round()
	if d := cmp.Diff([]string{"httpd", "nginx", "redis"}, w.images()); d != "" {
		t.Fatal(d)
	}
	c, hash := w.children()[0], w.list().Labels["controller-revision-hash"]
	if c.GenerateName != "all-" || !strings.HasPrefix(c.Name, "all-") || !metav1.IsControlledBy(&c, w.list()) || hash == "" || c.Labels["controller-revision-hash"] != hash ||
		*c.Spec.CompletionPolicy.TTLSecondsAfterFinished != 60 {
		t.Errorf("%+v", c)
	}
	if e := <-w.events.Events; !strings.HasPrefix(e, "Normal Successful create ImagePullJob") {
		t.Error(e)
	}
	if s := w.list().Status; s.Desired != 3 || s.Completed != 0 || s.StartTime == nil {
		t.Errorf("%+v", s)
	}
	w.server.Writes()
	w.round()
	if writes := w.server.Writes(); len(writes) > 0 {
		t.Errorf("written again: %v", writes)
	}

	w.report("httpd", kruise.ImagePullJobStatus{Desired: 2, Active: 1, Succeeded: 1})
	w.report("nginx", kruise.ImagePullJobStatus{Desired: 2, Succeeded: 2})
	w.report("redis", kruise.ImagePullJobStatus{Desired: 2, Succeeded: 1, Failed: 1, Message: "job has completed"})
	w.round()
	want := kruise.ImageListPullJobStatus{Desired: 3, Active: 1, Completed: 2, Succeeded: 1, StartTime: w.list().Status.StartTime,
		FailedImageStatuses: []*kruise.FailedImageStatus{{ImagePullJob: w.children()[2].Name, Name: "redis", Message: "job has completed"}}}
	if d := cmp.Diff(want, w.list().Status); d != "" {
		t.Error(d)
	}
	w.report("httpd", kruise.ImagePullJobStatus{Desired: 0}) // no node is left
	w.round()
	if s := w.list().Status; s.CompletionTime == nil || s.Completed != 3 || s.Succeeded != 2 {
		t.Errorf("%+v", s)
	}
	w.change(func(l *kruise.ImageListPullJob) { l.Spec.Images = []string{"other"} })
	w.server.Writes()
	if wait := w.round().RequeueAfter; wait <= 59*time.Second || wait > time.Minute {
		t.Errorf("looks again after %v", wait)
	}
	if writes := w.server.Writes(); len(writes) > 0 {
		t.Errorf("a list that has completed is still worked on: %v", writes)
	}
	w.clock.SetTime(noon.Add(2 * time.Minute))
	w.round()
	if w.list() != nil {
		t.Error("it outlives its time")
	}
}

func TestChangesOfAList(t *testing.T) { // IL-5
	w := newWorld(t, list("nginx", "redis"))
	w.round()
	before := w.children()
	w.change(func(l *kruise.ImageListPullJob) { l.Spec.Images = []string{"redis", "httpd"} })
	w.round()
	after := w.children()
	if len(after) != 2 || after[0].Spec.Image != "httpd" || after[1].UID != before[1].UID {
		t.Errorf("images come and go alone: %v", w.images())
	}
	w.change(func(l *kruise.ImageListPullJob) { l.Spec.PullSecrets = []string{"robot"} })
	w.round()
	again := w.children()
	if len(again) != 2 || again[1].UID == after[1].UID || len(again[1].Spec.PullSecrets) != 1 || again[1].Labels[hashLabel] != w.list().Labels[hashLabel] {
		t.Errorf("another template makes all anew: %+v", again)
	}
	told := fmt.Sprint(len(w.events.Events))
	if told != "8" { // 2 made, 1 + 1, 2 + 2
		t.Errorf("%s events", told)
	}
}

func TestChildrenWithoutALabelAreTakenByWhatTheySay(t *testing.T) { // IL-5
	w := newWorld(t, list("nginx"))
	w.round()
	c := w.children()[0]
	c.Labels = nil
	if err := w.server.Plain.Update(context.Background(), &c); err != nil {
		t.Fatal(err)
	}
	w.server.Writes()
	w.round()
	if writes := w.server.Writes(); len(writes) > 0 {
		t.Errorf("made anew: %v", writes)
	}
	c.Spec.PullSecrets = []string{"other"}
	if err := w.server.Plain.Update(context.Background(), &c); err != nil {
		t.Fatal(err)
	}
	w.round()
	if got := w.children(); len(got) != 1 || got[0].UID == c.UID {
		t.Errorf("%+v", got)
	}
}

func TestARefusedChildIsTriedAgain(t *testing.T) { // IL-5: slow start
	w := newWorld(t, list("a", "b", "c", "d", "e", "f", "g"))
	if _, err := w.try(); err != nil { // the label
		t.Fatal(err)
	}
	creates := 0
	w.server.Before = func(write string) error {
		if strings.HasPrefix(write, "create") {
			creates++
			return errors.New("quota")
		}
		return nil
	}
	if _, err := w.try(); err == nil || creates != 1 {
		t.Errorf("%v after %d creates", err, creates)
	}
	w.server.Before = nil
	w.round()
	if len(w.children()) != 7 {
		t.Errorf("%v", w.images())
	}
}

func TestAListThatCannotBeRightTouchesNothing(t *testing.T) { // IL-2
	many := make([]string, 256)
	for i := range many {
		many[i] = fmt.Sprint("image-", i)
	}
	for name, images := range map[string][]string{"none": nil, "twice": {"nginx", "nginx"}, "odd": {"A b"}, "too many": many} {
		w := newWorld(t, list(images...))
		w.round()
		if writes := w.server.Writes(); len(writes) > 0 || len(w.events.Events) != 1 || !strings.HasPrefix(<-w.events.Events, "Warning InvalidSpec spec.images") {
			t.Errorf("%s: %v", name, writes)
		}
	}
	if errs := Validate(Default(list(many[:255]...))); len(errs) > 0 {
		t.Error(errs)
	}
	never := list("nginx")
	never.Spec.CompletionPolicy = kruise.CompletionPolicy{Type: kruise.Never, ActiveDeadlineSeconds: new(int64(1))}
	if errs := Validate(Default(never)); len(errs) != 1 {
		t.Error(errs)
	}
	short := list("nginx")
	short.Spec.CompletionPolicy.ActiveDeadlineSeconds = new(int64(1))
	if errs := Validate(Default(short)); len(errs) > 0 { // no deadline-versus-timeout check
		t.Error(errs)
	}
}

func TestOneChildForAnImage(t *testing.T) { // IL-4
	w := newWorld(t, list("nginx"))
	w.round()
	twin := w.children()[0]
	twin.Name, twin.ResourceVersion, twin.UID = "twin", "", "twin"
	if err := w.server.Plain.Create(context.Background(), &twin); err != nil {
		t.Fatal(err)
	}
	w.round()
	if len(w.children()) != 1 {
		t.Errorf("%v", w.images())
	}
}
