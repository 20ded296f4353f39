package nodeimage

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(-d)} }

func node(change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"zone": "a"}}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: *ago(time.Hour)}}
	for _, c := range change {
		c(n)
	}
	return n
}

// tag is one that was asked for a minute ago.
func tag(name string, change ...func(*kruise.ImageTagSpec)) kruise.ImageTagSpec {
	t := kruise.ImageTagSpec{Tag: name, CreatedAt: ago(time.Minute), PullPolicy: &kruise.ImageTagPullPolicy{TTLSecondsAfterFinished: new(int32(600))}}
	for _, c := range change {
		c(&t)
	}
	return t
}

func created(d time.Duration) func(*kruise.ImageTagSpec) {
	return func(t *kruise.ImageTagSpec) { t.CreatedAt = ago(d) }
}

func version(n int64) func(*kruise.ImageTagSpec) {
	return func(t *kruise.ImageTagSpec) { t.Version = n }
}

func owned(refs ...corev1.ObjectReference) func(*kruise.ImageTagSpec) {
	return func(t *kruise.ImageTagSpec) { t.OwnerReferences = refs }
}

func deadline(seconds int64) func(*kruise.ImageTagSpec) {
	return func(t *kruise.ImageTagSpec) { t.PullPolicy.ActiveDeadlineSeconds = &seconds }
}

func job(uid string) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "apps.kruise.io/v1alpha1", Kind: "ImagePullJob", Namespace: "shop", Name: uid, UID: types.UID(uid)}
}

// image is the NodeImage of n1 for nginx.
func image(tags ...kruise.ImageTagSpec) *kruise.NodeImage {
	i := &kruise.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "image", Labels: map[string]string{"zone": "a"}}}
	if len(tags) > 0 {
		i.Spec.Images = map[string]kruise.ImageSpec{"nginx": {Tags: tags}}
	}
	return i
}

func with(i *kruise.NodeImage, tags ...kruise.ImageTagStatus) *kruise.NodeImage {
	i.Status.ImageStatuses = map[string]kruise.ImageStatus{"nginx": {Tags: tags}}
	return i
}

func done(name string, v int64, since time.Duration) kruise.ImageTagStatus {
	return kruise.ImageTagStatus{Tag: name, Version: v, Phase: kruise.ImagePhaseSucceeded, CompletionTime: ago(since)}
}

func pulling(name string, v int64) kruise.ImageTagStatus {
	return kruise.ImageTagStatus{Tag: name, Version: v, Phase: kruise.ImagePhasePulling, StartTime: ago(time.Minute)}
}

// outcome is a plan in words.
func outcome(p *plan) string {
	var words []string
	if p.remove {
		words = append(words, "remove")
	}
	if p.labels != nil {
		words = append(words, "label")
	}
	if p.spec != nil {
		words = append(words, "keep")
		for _, t := range p.spec.Images["nginx"].Tags {
			text := t.Tag
			for _, ref := range t.OwnerReferences {
				text += "/" + string(ref.UID)
			}
			words = append(words, text)
		}
	}
	for _, s := range p.silent {
		words = append(words, "fail "+s.tag)
	}
	return strings.Join(words, " ")
}

func TestDecide(t *testing.T) { // NI-3, NI-4, NI-5, NI-6, NI-7, NI-10
	foreign := corev1.ObjectReference{APIVersion: "example.io/v1", Kind: "Mirror", Name: "m", UID: "mirror"}
	for name, tc := range map[string]struct {
		image   *kruise.NodeImage
		seen    seen
		want    string
		recheck time.Duration
	}{
		"nothing to do":                        {image: image(), seen: seen{node: node()}},
		"its node is gone":                     {image: image(), want: "remove"},
		"its node is leaving":                  {image: image(), seen: seen{node: node(func(n *corev1.Node) { n.DeletionTimestamp = ago(0) })}, want: "remove"},
		"a fake one needs no node":             {image: func() *kruise.NodeImage { i := image(); i.Labels = map[string]string{FakeLabel: ""}; return i }()},
		"labels follow the node's":             {image: image(), seen: seen{node: node(func(n *corev1.Node) { n.Labels = map[string]string{"zone": "b"} })}, want: "label"},
		"foreign labels go":                    {image: func() *kruise.NodeImage { i := image(); i.Labels["mine"] = "x"; return i }(), seen: seen{node: node()}, want: "label"},
		"labels of virtual nodes are not ours": {image: image(), seen: seen{node: node(func(n *corev1.Node) { n.Labels = map[string]string{"type": "virtual-kubelet"} })}},
		"labels and spec in one write": {
			image: image(tag("1", owned(job("gone")))), seen: seen{node: node(func(n *corev1.Node) { n.Labels = nil })}, want: "label keep",
		},
		"a tag without a time":                {image: image(tag("1", func(t *kruise.ImageTagSpec) { t.CreatedAt = nil }), tag("2")), seen: seen{node: node()}, want: "keep 2"},
		"all its jobs are gone":               {image: image(tag("1", owned(job("gone"), job("other")))), seen: seen{node: node()}, want: "keep"},
		"one of its jobs is gone":             {image: image(tag("1", owned(job("gone"), job("here")))), seen: seen{node: node(), jobs: map[types.UID]bool{"here": true}}, want: "keep 1/here"},
		"owners of other kinds are kept":      {image: image(tag("1", owned(job("gone"), foreign))), seen: seen{node: node()}, want: "keep 1/mirror"},
		"a tag without owners from the start": {image: image(tag("1")), seen: seen{node: node()}, recheck: 9 * time.Minute},
		"its TTL has passed":                  {image: with(image(tag("1", version(2)), tag("2")), done("1", 2, 10*time.Minute)), seen: seen{node: node()}, want: "keep 2"},
		"its TTL has not passed":              {image: with(image(tag("1")), done("1", 0, 9*time.Minute)), seen: seen{node: node()}, recheck: 2 * time.Minute},
		"the TTL is of another version":       {image: with(image(tag("1", version(3))), done("1", 2, time.Hour)), seen: seen{node: node()}, recheck: 9 * time.Minute},
		"no answer for ten minutes":           {image: image(tag("1", created(10*time.Minute))), seen: seen{node: node()}, want: "fail 1"},
		"no answer for this version":          {image: with(image(tag("1", created(10*time.Minute), version(1))), done("1", 0, time.Second)), seen: seen{node: node()}, want: "fail 1"},
		"a short wait is made longer":         {image: image(tag("1", created(10*time.Minute-time.Second))), seen: seen{node: node(), jitter: 4 * time.Second}, recheck: 4 * time.Second},
		"long over its deadline":              {image: with(image(tag("1", created(11*time.Minute), deadline(60))), pulling("1", 0)), seen: seen{node: node()}, want: "fail 1"},
		"within the deadline and ten more":    {image: with(image(tag("1", created(10*time.Minute), deadline(60))), pulling("1", 0)), seen: seen{node: node()}, recheck: time.Minute},
		"no deadline":                         {image: with(image(tag("1", created(time.Hour))), pulling("1", 0)), seen: seen{node: node()}},
		"done is done":                        {image: with(image(tag("1", created(time.Hour), func(t *kruise.ImageTagSpec) { t.PullPolicy.TTLSecondsAfterFinished = nil })), done("1", 0, 0)), seen: seen{node: node()}},
		"spec before status": {
			image: image(tag("1", created(time.Hour)), tag("2", owned(job("gone")))), seen: seen{node: node()}, want: "keep 1", // NI-10
		},
		"it is leaving itself": {image: func() *kruise.NodeImage { i := image(); i.DeletionTimestamp = ago(0); return i }()},
	} {
		t.Run(name, func(t *testing.T) {
			p := (&steps{}).Decide(tc.image, tc.seen, noon)
			if got := outcome(p); got != tc.want || p.Recheck() != tc.recheck {
				t.Errorf("%q, look again after %v; want %q after %v", got, p.Recheck(), tc.want, tc.recheck)
			}
		})
	}
}

func TestSilenceIsCountedAnew(t *testing.T) { // NI-6, NI-9
	i := with(image(tag("2", created(time.Hour)), tag("1"), tag("3")), done("1", 0, time.Second), pulling("3", 0), done("old", 0, time.Second))
	i.Status.ImageStatuses["redis"] = kruise.ImageStatus{Tags: []kruise.ImageTagStatus{done("7", 0, time.Second)}}
	got := (&steps{}).Decide(i, seen{node: node()}, noon).status
	message := "node has not responded for 10 minutes; look at its node daemon"
	want := &kruise.NodeImageStatus{Desired: 3, Succeeded: 1, Failed: 1, Pulling: 1, ImageStatuses: map[string]kruise.ImageStatus{"nginx": {Tags: []kruise.ImageTagStatus{
		done("1", 0, time.Second), {Tag: "2", Phase: kruise.ImagePhaseFailed, CompletionTime: ago(0), Message: message}, pulling("3", 0),
	}}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// stage is a controller with an API server in memory.
type stage struct {
	*testing.T
	server *acttest.Server
	clock  *clocktesting.FakePassiveClock
	events *record.FakeRecorder
	r      *reconciler
}

func newStage(t *testing.T, objects ...client.Object) *stage {
	t.Helper()
	server, err := acttest.New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{T: t, server: server, clock: clocktesting.NewFakePassiveClock(noon), events: record.NewFakeRecorder(20)}
	s.r = newReconciler(server, server.Plain, s.events, s.clock, Options{Delay: 30 * time.Second})
	return s
}

func (s *stage) round() reconcile.Result {
	s.Helper()
	result, err := s.r.Reconcile(s.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "n1"}})
	if err != nil {
		s.Fatal(err)
	}
	return result
}

func (s *stage) image() *kruise.NodeImage {
	var i kruise.NodeImage
	if err := s.server.Plain.Get(context.Background(), client.ObjectKey{Name: "n1"}, &i); err != nil {
		return nil
	}
	return &i
}

func TestANodeThatHasBeenReadyGetsItsImage(t *testing.T) { // NI-3
	ready := node(func(n *corev1.Node) { n.Status.Conditions[0].LastTransitionTime = *ago(20 * time.Second) })
	s := newStage(t, ready)
	if wait := s.round().RequeueAfter; wait != 10*time.Second || s.image() != nil {
		t.Fatalf("waits %v, there is %v", wait, s.image())
	}
	s.clock.SetTime(noon.Add(10 * time.Second))
	s.round()
	if got := s.image(); got == nil || !cmp.Equal(got.Labels, ready.Labels) {
		t.Fatalf("%+v", got)
	}
	s.server.Writes()
	s.round()
	if writes := s.server.Writes(); len(writes) > 0 {
		t.Errorf("written again: %v", writes)
	}
}

func TestNodesWithoutADaemonGetNoImage(t *testing.T) { // NI-3
	for name, change := range map[string]func(*corev1.Node){
		"virtual":   func(n *corev1.Node) { n.Labels = map[string]string{"type": "virtual-kubelet"} },
		"not ready": func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown },
		"leaving":   func(n *corev1.Node) { n.DeletionTimestamp, n.Finalizers = ago(0), []string{"x/y"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, node(change))
			if result := s.round(); result.RequeueAfter != 0 || s.image() != nil {
				t.Errorf("%v, %v", result, s.image())
			}
		})
	}
}

func TestAnImageGoesWithItsNodeOnly(t *testing.T) { // NI-3
	s := newStage(t, image())
	s.round()
	if s.image() != nil {
		t.Error("it outlives its node")
	}
	s = newStage(t, image())
	cold := &steps{local: s.server, live: failing{s.server.Plain}, jitter: jitter}
	s.r.loop.Steps, s.r.steps = cold, cold
	if _, err := s.r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "n1"}}); err == nil || s.image() == nil {
		t.Errorf("a read that failed is taken for a node that is gone (%v)", err)
	}
}

// failing is an API server that does not answer.
type failing struct{ client.Client }

func (failing) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return apierrors.NewServiceUnavailable("down")
}

func TestSilenceIsToldToTheJobAndTheNode(t *testing.T) { // NI-6, NI-8
	there := &kruise.ImagePullJob{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "here", UID: "here"}}
	s := newStage(t, node(), there, image(tag("1", created(time.Hour), owned(job("here")))))
	s.round()
	if writes := s.server.Writes(); !slices.Equal(writes, []string{"patch nodeimage/status n1"}) || s.image().Status.Failed != 1 {
		t.Errorf("%v, %+v", writes, s.image().Status)
	}
	if len(s.events.Events) != 2 {
		t.Fatalf("%d events", len(s.events.Events))
	}
	for range 2 {
		if e := <-s.events.Events; !strings.HasPrefix(e, "Warning PullImageFailed pull nginx:1 on node n1: node has not responded") {
			t.Error(e)
		}
	}
	s.round()
	if writes := s.server.Writes(); len(writes) > 0 {
		t.Errorf("written again: %v", writes)
	}
}

func TestALostRaceIsNoFailure(t *testing.T) {
	s := newStage(t, node(), image(tag("1", owned(job("gone")))))
	s.server.Before = func(string) error { return apierrors.NewConflict(kruise.Resource("nodeimages"), "n1", nil) }
	if result := s.round(); result.RequeueAfter < 3*time.Second || result.RequeueAfter > 5*time.Second {
		t.Errorf("%v", result)
	}
}

func TestWhatDaemonsSayCanWait(t *testing.T) { // NI-11
	before, news := image(tag("1")), with(image(tag("1")), pulling("1", 0))
	if asked().Update(crevent.UpdateEvent{ObjectOld: before, ObjectNew: news}) {
		t.Error("every word of a daemon starts a round")
	}
	more := image(tag("1"), tag("2"))
	more.Generation = 2
	if !asked().Update(crevent.UpdateEvent{ObjectOld: before, ObjectNew: more}) || !asked().Create(crevent.CreateEvent{Object: before}) {
		t.Error("what is asked of a daemon is not looked at")
	}
}

func TestEventsOfNodes(t *testing.T) { // NI-11
	for name, tc := range map[string]struct {
		old, new *corev1.Node
		want     bool
	}{
		"a heartbeat": {old: node(), new: node(func(n *corev1.Node) { n.Status.Conditions[0].LastHeartbeatTime = *ago(0) })},
		"a label":     {old: node(), new: node(func(n *corev1.Node) { n.Labels = nil }), want: true},
		"ready again": {old: node(func(n *corev1.Node) { n.Status.Conditions = nil }), new: node(), want: true},
		"it leaves":   {old: node(), new: node(func(n *corev1.Node) { n.DeletionTimestamp = ago(0) }), want: true},
		"virtual":     {old: node(), new: node(func(n *corev1.Node) { n.Labels = map[string]string{"type": "virtual-kubelet"} })},
	} {
		if got := nodes().Update(crevent.UpdateEvent{ObjectOld: tc.old, ObjectNew: tc.new}); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
