package imagepull

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func nodeImage(tags ...kruisev1alpha1.ImageTagSpec) *kruisev1alpha1.NodeImage {
	n := &kruisev1alpha1.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "u"}}
	n.Spec.Images = map[string]kruisev1alpha1.ImageSpec{"nginx": {Tags: tags}}
	return n
}

func tag(name string, version int64) kruisev1alpha1.ImageTagSpec {
	return kruisev1alpha1.ImageTagSpec{Tag: name, Version: version}
}

func done(name string, version int64, phase kruisev1alpha1.ImagePullPhase) kruisev1alpha1.ImageTagStatus {
	return kruisev1alpha1.ImageTagStatus{Tag: name, Version: version, Phase: phase, CompletionTime: stamp(noon)}
}

func withStatus(n *kruisev1alpha1.NodeImage, tags ...kruisev1alpha1.ImageTagStatus) *kruisev1alpha1.NodeImage {
	n.Status.ImageStatuses = map[string]kruisev1alpha1.ImageStatus{"nginx": {Tags: tags}}
	return n
}

func task(name string, version int64, phase kruisev1alpha1.ImagePullPhase) map[Key]Task {
	t := started(name, version, noon)
	if phase != kruisev1alpha1.ImagePhasePulling {
		t = done(name, version, phase)
	}
	return map[Key]Task{{"nginx", name}: {Version: version, Status: t}}
}

const (
	pulling   = kruisev1alpha1.ImagePhasePulling
	succeeded = kruisev1alpha1.ImagePhaseSucceeded
	failing   = kruisev1alpha1.ImagePhaseFailed
)

// outline is a plan in few words.
type outline struct {
	Start, Stop, Adjust []string
	Status              string
	Write               bool
	Wait                time.Duration
}

func sketch(p plan) (o outline) {
	for _, w := range p.start {
		o.Start = append(o.Start, w.Reference())
	}
	for _, w := range p.adjust {
		o.Adjust = append(o.Adjust, w.Reference())
	}
	for _, k := range p.stop {
		o.Stop = append(o.Stop, k.Image+":"+k.Tag)
	}
	var phases []string
	for _, t := range p.status.ImageStatuses["nginx"].Tags {
		phases = append(phases, t.Tag+" "+string(t.Phase))
	}
	o.Status, o.Write, o.Wait = strings.Join(phases, ", "), p.write, p.wait
	return o
}

func TestDecide(t *testing.T) {
	for name, tc := range map[string]struct {
		node     *kruisev1alpha1.NodeImage
		tasks    map[Key]Task
		throttle bool
		want     outline
	}{
		"all unfinished tags pull at once, and say so first": { // IM-3, IM-4
			node: nodeImage(tag("2", 0), tag("1", 0)),
			want: outline{Start: []string{"nginx:2", "nginx:1"}, Status: "1 Pulling, 2 Pulling", Write: true},
		},
		"what is finished is not pulled again after a restart": { // IM-3
			node: withStatus(nodeImage(tag("1", 3)), done("1", 3, succeeded)),
			want: outline{Status: "1 Succeeded", Write: true}, // the counters of the status are missing here
		},
		"nor what failed": { // IM-3
			node: withStatus(nodeImage(tag("1", 3)), done("1", 3, failing)),
			want: outline{Status: "1 Failed", Write: true},
		},
		"another version pulls again": { // IM-3
			node: withStatus(nodeImage(tag("1", 4)), done("1", 3, succeeded)),
			want: outline{Start: []string{"nginx:1"}, Status: "1 Pulling", Write: true},
		},
		"what a killed daemon left half-way goes on": {
			node: withStatus(nodeImage(tag("1", 3)), kruisev1alpha1.ImageTagStatus{Tag: "1", Version: 3, Phase: pulling}),
			want: outline{Start: []string{"nginx:1"}, Status: "1 Pulling", Write: true},
		},
		"what runs goes on running": {
			node:  nodeImage(tag("1", 3)),
			tasks: task("1", 3, pulling),
			want:  outline{Adjust: []string{"nginx:1"}, Status: "1 Pulling", Write: true},
		},
		"what has ended is reported": {
			node:  nodeImage(tag("1", 3)),
			tasks: task("1", 3, failing),
			want:  outline{Adjust: []string{"nginx:1"}, Status: "1 Failed", Write: true},
		},
		"what was reported is forgotten": {
			node:  withStatus(nodeImage(tag("1", 3)), done("1", 3, succeeded)),
			tasks: task("1", 3, succeeded),
			want:  outline{Stop: []string{"nginx:1"}, Status: "1 Succeeded", Write: true},
		},
		"a tag that left is stopped": { // IM-3
			node:  nodeImage(tag("2", 0)),
			tasks: task("1", 3, pulling),
			want:  outline{Start: []string{"nginx:2"}, Stop: []string{"nginx:1"}, Status: "2 Pulling", Write: true},
		},
		"a new version replaces what runs": { // IM-3
			node:  nodeImage(tag("1", 4)),
			tasks: task("1", 3, pulling),
			want:  outline{Start: []string{"nginx:1"}, Status: "1 Pulling", Write: true},
		},
		"what the manager gave up is given up": {
			node:  withStatus(nodeImage(tag("1", 3)), done("1", 3, failing)),
			tasks: task("1", 3, pulling),
			want:  outline{Stop: []string{"nginx:1"}, Status: "1 Failed", Write: true},
		},
		"writes wait while there were too many": { // IM-2, IM-14
			node:     nodeImage(tag("1", 3)),
			throttle: true,
			want:     outline{Start: []string{"nginx:1"}, Status: "1 Pulling", Wait: 2 * time.Second},
		},
		"nothing to pull is nothing to write": {
			node: nodeImage(),
			want: outline{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := decide(tc.node, facts{tasks: tc.tasks, mayWrite: !tc.throttle}, noon)
			if d := cmp.Diff(tc.want, sketch(p)); d != "" {
				t.Error(d)
			}
		})
	}
}

// IM-13, IM-14: the same facts are written once, and the counters add up.
func TestTheStatusIsWholeAndSettles(t *testing.T) {
	n := withStatus(nodeImage(tag("b", 1), tag("a", 1), tag("c", 1)), done("a", 1, succeeded), done("gone", 1, succeeded))
	n.Status.FirstSyncStatus = &kruisev1alpha1.SyncStatus{Message: "somebody's"}
	tasks := task("b", 1, failing)
	p := decide(n, facts{tasks: tasks, mayWrite: true}, noon)
	if s := p.status; s.Desired != 3 || s.Succeeded != 1 || s.Failed != 1 || s.Pulling != 1 || s.FirstSyncStatus == nil {
		t.Errorf("%+v", s)
	}
	if got := sketch(p).Status; got != "a Succeeded, b Failed, c Pulling" {
		t.Error(got)
	}
	n.Status = p.status
	tasks[Key{"nginx", "c"}] = Task{Version: 1, Status: started("c", 1, noon)}
	if again := decide(n, facts{tasks: tasks, mayWrite: true}, noon.Add(time.Hour)); again.write || again.wait != 0 {
		t.Errorf("written again: %+v", again)
	}
}

func TestWork(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	owner := corev1.ObjectReference{Kind: "ImagePullJob", Namespace: "x", Name: "j"}
	full := tag(digest, 2)
	full.OwnerReferences = []corev1.ObjectReference{owner}
	full.ImagePullPolicy = kruisev1alpha1.PullIfNotPresent
	full.PullPolicy = &kruisev1alpha1.ImageTagPullPolicy{TimeoutSeconds: new(int32(5)), BackoffLimit: new(int32(0)), ActiveDeadlineSeconds: new(int64(7))}
	n := nodeImage(full, tag("1", 0))
	spec := n.Spec.Images["nginx"]
	spec.PullSecrets = []kruisev1alpha1.ReferenceObject{{Namespace: "c", Name: "s"}}
	spec.SandboxConfig = &kruisev1alpha1.SandboxConfig{Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"a": "2"}}
	n.Spec.Images["nginx"] = spec
	annotations := map[string]string{"a": "2", "apps.kruise.io/pulling-image-by": "kruise-daemon"} // IM-7
	itself := corev1.ObjectReference{APIVersion: "apps.kruise.io/v1alpha1", Kind: "NodeImage", Name: "n1", UID: "u"}
	want := []Work{
		{Key: Key{"nginx", digest}, Version: 2, Attempts: 1, Timeout: 5 * time.Second, Deadline: 7 * time.Second, OnlyIfAbsent: true,
			Secrets: spec.PullSecrets, Labels: spec.SandboxConfig.Labels, Annotations: annotations, Owners: []corev1.ObjectReference{owner}, On: itself},
		{Key: Key{"nginx", "1"}, Attempts: 4, Timeout: 10 * time.Minute, // IM-5, IM-6
			Secrets: spec.PullSecrets, Labels: spec.SandboxConfig.Labels, Annotations: annotations, On: itself},
	}
	got := unfinished(n)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got[0].Reference() != "nginx@"+digest || got[1].Reference() != "nginx:1" { // IM-7
		t.Errorf("asks for %s and %s", got[0].Reference(), got[1].Reference())
	}
	if spec.SandboxConfig.Annotations["apps.kruise.io/pulling-image-by"] != "" {
		t.Error("the cached object was changed")
	}
}

// IM-5
func TestAttempts(t *testing.T) {
	for attempt, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 60: 30 * time.Second} {
		if got := pause(attempt); got != want {
			t.Errorf("after attempt %d waits %s", attempt, got)
		}
	}
	for name, tc := range map[string]struct {
		deadline, since, want time.Duration
	}{
		"no deadline":         {want: time.Minute, since: time.Hour},
		"far from a deadline": {deadline: time.Hour, want: time.Minute},
		"close to it":         {deadline: time.Hour, since: time.Hour - time.Second, want: time.Second},
		"past it":             {deadline: time.Hour, since: 2 * time.Hour, want: -time.Hour},
	} {
		if got := allowance(Work{Timeout: time.Minute, Deadline: tc.deadline}, tc.since); got != tc.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// IM-6, IM-7
func TestPresence(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	images := []cri.Image{{ID: "x", Tags: []string{"docker.io/library/nginx:1", "broken:::"}, Digests: []string{"docker.io/library/nginx@" + digest}}}
	for k, want := range map[Key]bool{
		{"nginx", "1"}: true, {"nginx", "2"}: false, {"other", "1"}: false,
		{"nginx", digest}: true, {"nginx", digest[:60] + "bbbbbbbbbbb"}: false,
	} {
		if got := present(images, k); got != want {
			t.Errorf("%v is there: %v", k, got)
		}
	}
}

func TestProgressIsToldInWords(t *testing.T) {
	for want, tc := range map[string][2]cri.Download{
		"for all its pulls the node has 1.5 MiB of 3.0 MiB of 2 layers":                                                {{}, {Layers: 2, Done: 3 << 19, Total: 3 << 20}},
		"for all its pulls the node has 512 KiB of 1 layers":                                                           {{}, {Layers: 1, Done: 1 << 19}},
		"for all its pulls the node has 512 KiB of 1 layers, and not a byte more than when last told":                  {{Layers: 1, Done: 1 << 19}, {Layers: 1, Done: 1 << 19}},
		"the node downloads nothing at the moment: the registry has not begun to send, or the image is being unpacked": {{}, {}},
	} {
		if got := progress(tc[0], tc[1]); got != want {
			t.Error(got)
		}
	}
}

// IM-14: half a write a second, five at once.
func TestWritesAreThrottled(t *testing.T) {
	var b bucket
	now, written := noon, 0
	for range 600 { // a minute in steps of a tenth of a second
		if b.has(now) {
			b.take(now)
			written++
		}
		now = now.Add(100 * time.Millisecond)
	}
	if written != 5+29 {
		t.Errorf("%d writes in a minute", written)
	}
	if !b.has(now.Add(-time.Hour)) {
		t.Error("a clock that was set back silences the daemon")
	}
}
