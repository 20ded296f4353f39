package restart

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/cri/critest"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

type change = func(*kruise.ContainerRecreateRequest)

// request is one for the containers a and b, which ran as a0 and b0 when it was made.
func request(changes ...change) *kruise.ContainerRecreateRequest {
	r := &kruise.ContainerRecreateRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "again", Namespace: "shop", UID: "r", CreationTimestamp: metav1.NewTime(noon),
			Labels: map[string]string{kruise.ContainerRecreateRequestPodUIDKey: "p"}, Annotations: map[string]string{}},
		Spec:   kruise.ContainerRecreateRequestSpec{PodName: "web-x", Strategy: &kruise.ContainerRecreateRequestStrategy{FailurePolicy: "Fail"}},
		Status: kruise.ContainerRecreateRequestStatus{Phase: phaseRecreating},
	}
	for _, name := range []string{"a", "b"} {
		r.Spec.Containers = append(r.Spec.Containers, kruise.ContainerRecreateRequestContainer{
			Name: name, StatusContext: &kruise.ContainerRecreateRequestContainerContext{ContainerID: "containerd://" + name + "0"},
		})
	}
	for _, c := range changes {
		c(r)
	}
	return r
}

func forced(r *kruise.ContainerRecreateRequest)  { r.Spec.Strategy.ForceRecreate = true }
func ordered(r *kruise.ContainerRecreateRequest) { r.Spec.Strategy.OrderedRecreate = true }
func lenient(r *kruise.ContainerRecreateRequest) { r.Spec.Strategy.FailurePolicy = "Ignore" }
func atLeast(seconds int32) change {
	return func(r *kruise.ContainerRecreateRequest) { r.Spec.Strategy.MinStartedSeconds = seconds }
}

func recorded(states ...state) change {
	return func(r *kruise.ContainerRecreateRequest) { r.Status.ContainerRecreateStates = states }
}

// back is a container that the manager saw running.
func back(name, id string, ready bool) change {
	return func(r *kruise.ContainerRecreateRequest) {
		r.Annotations[kruise.ContainerRecreateRequestSyncContainerStatusesKey] =
			fmt.Sprintf(`[{"name":%q,"ready":%v,"restartCount":1,"containerID":"containerd://%s"}]`, name, ready, id)
	}
}

func in(phase kruise.ContainerRecreateRequestPhase) change {
	return func(r *kruise.ContainerRecreateRequest) { r.Status.Phase = phase }
}

func is(name string, phase kruise.ContainerRecreateRequestPhase, message ...string) state {
	s := state{Name: name, Phase: phase}
	if len(message) > 0 {
		s.Message = message[0]
	}
	return s
}

func killed(s state) state {
	s.IsKilled = true
	return s
}

// container is one that started some time after noon.
func container(name string, n int, started time.Duration, with ...cri.State) cri.Status {
	c := cri.Status{StartedAt: noon.Add(started), Container: cri.Container{
		ID: fmt.Sprintf("%s%d", name, n), Name: name, PodUID: "p", SandboxID: "box", State: cri.Running, CreatedAt: noon.Add(started), Attempt: uint32(n),
	}}
	for _, s := range with {
		c.State = s
	}
	return c
}

const before, after = -time.Hour, 10 * time.Second

func seeing(containers ...cri.Status) seen {
	s := seen{runtime: &critest.Runtime{}, containers: map[string]cri.Status{}}
	for _, c := range containers {
		s.containers[c.Name] = c
	}
	return s
}

func TestStates(t *testing.T) { // RX-6
	const none = "there is no such container on the node yet"
	for name, tc := range map[string]struct {
		r    *kruise.ContainerRecreateRequest
		on   *cri.Status
		at   time.Duration
		want state
	}{
		"done":                         {r: request(recorded(is("a", phaseSucceeded))), want: is("a", phaseSucceeded)},
		"failed":                       {r: request(recorded(is("a", phaseFailed, "x"))), on: new(container("a", 0, before)), want: is("a", phaseFailed, "x")},
		"not there":                    {r: request(), want: is("a", phasePending, none)},
		"not there by force":           {r: request(forced), want: is("a", phasePending, none)},
		"as it was":                    {r: request(), on: new(container("a", 0, before)), want: is("a", phasePending)},
		"ended":                        {r: request(), on: new(container("a", 0, before, cri.Exited)), want: is("a", phaseRecreating)},
		"ended, and by force":          {r: request(forced), on: new(container("a", 0, before, cri.Exited)), want: is("a", phaseRecreating)},
		"another":                      {r: request(), on: new(container("a", 1, after)), want: is("a", phaseRecreating)},
		"another, but by force":        {r: request(forced), on: new(container("a", 1, after)), want: is("a", phasePending)},
		"another, killed by force":     {r: request(forced, recorded(killed(is("a", phaseRecreating)))), on: new(container("a", 1, after)), want: killed(is("a", phaseRecreating))},
		"announced and still there":    {r: request(forced, recorded(is("a", phasePending, "stopping containerd://a1"))), on: new(container("a", 1, after)), want: is("a", phasePending, "stopping containerd://a1")},
		"announced and ended":          {r: request(forced, recorded(is("a", phasePending, "stopping containerd://a1"))), on: new(container("a", 1, after, cri.Exited)), want: killed(is("a", phaseRecreating))},
		"announced and replaced":       {r: request(forced, recorded(is("a", phasePending, "stopping containerd://a1"))), on: new(container("a", 2, after)), want: killed(is("a", phaseRecreating))},
		"announced and cleaned away":   {r: request(forced, recorded(is("a", phasePending, "stopping containerd://a1"))), want: killed(is("a", phaseRecreating))},
		"started in the same second":   {r: request(), on: new(container("a", 0, 900*time.Millisecond)), want: is("a", phasePending)},
		"started again under its ID":   {r: request(), on: new(container("a", 0, after)), want: is("a", phaseRecreating)},
		"back and ready":               {r: request(back("a", "a1", true)), on: new(container("a", 1, after)), at: 11 * time.Second, want: is("a", phaseSucceeded)},
		"back and not ready":           {r: request(back("a", "a1", false)), on: new(container("a", 1, after)), at: 11 * time.Second, want: is("a", phaseRecreating)},
		"another was ready":            {r: request(back("a", "a1", true)), on: new(container("a", 2, after)), at: time.Minute, want: is("a", phaseRecreating)},
		"ready for just long enough":   {r: request(back("a", "a1", true), atLeast(5)), on: new(container("a", 1, after)), at: 15 * time.Second, want: is("a", phaseRecreating)},
		"ready for longer than needed": {r: request(back("a", "a1", true), atLeast(5)), on: new(container("a", 1, after)), at: 16 * time.Second, want: is("a", phaseSucceeded)},
		"the annotation is no list": {r: request(func(r *kruise.ContainerRecreateRequest) {
			r.Annotations[kruise.ContainerRecreateRequestSyncContainerStatusesKey] = "x"
		}), on: new(container("a", 1, after)), want: is("a", phaseRecreating)},
	} {
		t.Run(name, func(t *testing.T) {
			s := seeing()
			if tc.on != nil {
				s = seeing(*tc.on)
			}
			tc.r.Spec.Containers = tc.r.Spec.Containers[:1]
			p := &plan{now: noon.Add(tc.at), phase: phaseRecreating}
			was := state{Name: "a"}
			if stored := tc.r.Status.ContainerRecreateStates; len(stored) > 0 {
				was = stored[0]
			}
			got := sight{tc.r, &tc.r.Spec.Containers[0], was, s.containers["a"], tc.on != nil, backAgain(tc.r)["a"], p.now, s.runtime}.state()
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// what a pass does, in short.
type pass struct {
	Phase   kruise.ContainerRecreateRequestPhase
	States  []state
	Kill    string
	Message string
	Recheck time.Duration
}

func TestDecide(t *testing.T) {
	pending := []state{is("a", phasePending), is("b", phasePending)}
	old := seeing(container("a", 0, before), container("b", 0, before))
	half := []state{is("a", phaseRecreating), is("b", phasePending)}
	marked := []state{killed(is("a", phaseRecreating)), is("b", phasePending)}
	halfway := seeing(container("a", 0, before, cri.Exited), container("b", 0, before))
	unready := func(since string) change {
		return func(r *kruise.ContainerRecreateRequest) {
			r.Spec.Strategy.UnreadyGracePeriodSeconds = new(int64(5))
			if since != "" {
				r.Annotations[kruise.ContainerRecreateRequestUnreadyAcquiredKey] = since
			}
		}
	}
	for name, tc := range map[string]struct {
		r    *kruise.ContainerRecreateRequest
		seen seen
		want pass
	}{
		// RX-3
		"its turn":            {request(in("")), seen{}, pass{Phase: phaseRecreating}},
		"its turn after some": {request(in(phasePending)), seen{}, pass{Phase: phaseRecreating}},
		// RX-4
		"not marked unready": {request(unready("")), old, pass{Phase: phaseRecreating}},
		"unready for a bit":  {request(unready("2026-01-02T11:59:58Z")), old, pass{Phase: phaseRecreating, Recheck: 3100 * time.Millisecond}},
		"unready for long":   {request(unready("2026-01-02T11:59:55Z")), old, pass{Phase: phaseRecreating, States: pending}},
		"unready since when": {request(unready("noon")), old, pass{Phase: phaseCompleted, Message: `annotation crr.apps.kruise.io/unready-acquired is no time: "noon"`}},
		// RX-5
		"no runtime": {request(), seen{problem: "none"}, pass{Phase: phaseCompleted, Message: "none"}},
		// RX-7
		"recorded first":     {request(), old, pass{Phase: phaseRecreating, States: pending}},
		"news recorded":      {request(recorded(pending...)), halfway, pass{Phase: phaseRecreating, States: half}},
		"recorded of others": {request(recorded(is("b", phaseFailed, "x"))), old, pass{Phase: phaseRecreating, States: []state{is("a", phasePending), is("b", phaseFailed, "x")}}},
		// RX-8
		"the first is stopped":                  {request(recorded(pending...)), old, pass{Phase: phaseRecreating, States: pending, Kill: "a0"}},
		"the next once the first is":            {request(recorded(half...)), halfway, pass{Phase: phaseRecreating, States: marked, Kill: "b0"}},
		"in order once the first has succeeded": {request(ordered, recorded(half...)), halfway, pass{Phase: phaseRecreating, States: marked}},
		"and then":                              {request(ordered, recorded(is("a", phaseSucceeded), is("b", phasePending))), old, pass{Phase: phaseRecreating, States: []state{is("a", phaseSucceeded), is("b", phasePending)}, Kill: "b0"}},
		"by force it is announced":              {request(forced, recorded(pending...)), old, pass{Phase: phaseRecreating, States: []state{is("a", phasePending, "stopping containerd://a0"), is("b", phasePending)}}},
		"and then stopped": {request(forced, recorded(is("a", phasePending, "stopping containerd://a0"), is("b", phasePending))), old,
			pass{Phase: phaseRecreating, States: []state{is("a", phasePending, "stopping containerd://a0"), is("b", phasePending)}, Kill: "a0"}},
		"who is not there is waited for": {request(recorded(is("a", phasePending, "there is no such container on the node yet"), is("b", phasePending))), seeing(container("b", 0, before)),
			pass{Phase: phaseRecreating, States: []state{is("a", phasePending, "there is no such container on the node yet"), is("b", phasePending)}}},
		"one failed":             {request(recorded(is("a", phaseFailed, "x"), is("b", phasePending))), old, pass{Phase: phaseCompleted, States: []state{is("a", phaseFailed, "x"), is("b", phasePending)}}},
		"one failed, never mind": {request(lenient, recorded(is("a", phaseFailed, "x"), is("b", phasePending))), old, pass{Phase: phaseRecreating, States: []state{is("a", phaseFailed, "x"), is("b", phasePending)}, Kill: "b0"}},
		// RX-9
		"all are done":  {request(recorded(is("a", phaseSucceeded), is("b", phaseSucceeded))), old, pass{Phase: phaseCompleted, States: []state{is("a", phaseSucceeded), is("b", phaseSucceeded)}}},
		"look again":    {request(atLeast(7), recorded(half...)), halfway, pass{Phase: phaseRecreating, States: marked, Kill: "b0", Recheck: 7 * time.Second}},
		"all but one's": {request(lenient, recorded(is("a", phaseFailed, "x"), is("b", phaseSucceeded))), old, pass{Phase: phaseCompleted, States: []state{is("a", phaseFailed, "x"), is("b", phaseSucceeded)}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := (&steps{}).Decide(tc.r, tc.seen, noon)
			got := pass{Phase: p.phase, States: p.states, Message: p.message, Recheck: p.recheck}
			if p.kill != nil {
				got.Kill = p.kill.container.ID
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPick(t *testing.T) { // RX-1
	of := func(name string, age time.Duration, phase kruise.ContainerRecreateRequestPhase, changes ...change) kruise.ContainerRecreateRequest {
		r := request(append([]change{in(phase), func(r *kruise.ContainerRecreateRequest) {
			r.Name, r.CreationTimestamp = name, metav1.NewTime(noon.Add(-age))
		}}, changes...)...)
		return *r
	}
	over := func(r *kruise.ContainerRecreateRequest) { r.Status.CompletionTime = new(metav1.NewTime(noon)) }
	goes := func(r *kruise.ContainerRecreateRequest) { r.DeletionTimestamp = new(metav1.NewTime(noon)) }
	others := func(r *kruise.ContainerRecreateRequest) { r.Spec.PodName = "other" }
	all := []kruise.ContainerRecreateRequest{
		of("new", time.Hour, ""), of("newer", time.Minute, ""), of("waits", time.Minute, phasePending), of("runs", 0, phaseRecreating),
		of("done", time.Hour, phaseCompleted, over), of("gone", time.Hour, phaseRecreating, goes), of("elsewhere", time.Hour, phaseRecreating, others),
	}
	var order []string
	for {
		first, waiting := pick(all, "web-x")
		if first == nil {
			break
		}
		line := first.Name
		for _, w := range waiting {
			line += " " + w.Name
		}
		order = append(order, line)
		over(first)
	}
	if d := cmp.Diff([]string{"runs new newer", "waits new newer", "new newer", "newer"}, order); d != "" {
		t.Error(d)
	}
}
