package podsettest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

type decide = func(podset.Spec, []podset.Pod, time.Time) podset.Plan

// caught is a test that notes its failure.
type caught struct {
	testing.TB
	message string
}

func (c *caught) Helper() {}

func (c *caught) Fatalf(format string, args ...any) {
	c.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure plays story with a broken engine until a seed fails, and returns what it said.
func failure(t *testing.T, engine func(decide) decide, story func(*World, func())) string {
	t.Helper()
	for seed := range int64(200) {
		c := &caught{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			w := New(c, seed)
			w.Decide = engine(w.Decide)
			story(w, func() { w.AtLeastUp(); w.AtMostLive() })
		}()
		<-done
		if c.message != "" {
			return c.message
		}
	}
	return ""
}

func rollTo(revision string) func(*World, func()) {
	return func(w *World, look func()) {
		w.RollTo(revision)
		w.UntilStill(look)
		w.AllOn(revision)
	}
}

// spec lets an engine decide on another spec than it is asked for.
func spec(change func(*podset.Spec)) func(decide) decide {
	return func(engine decide) decide {
		return func(s podset.Spec, pods []podset.Pod, now time.Time) podset.Plan {
			change(&s)
			return engine(s, pods, now)
		}
	}
}

// facts lets an engine see other pods than there are.
func facts(change func(*podset.Pod)) func(decide) decide {
	return func(engine decide) decide {
		return func(s podset.Spec, pods []podset.Pod, now time.Time) podset.Plan {
			for i := range pods {
				change(&pods[i])
			}
			return engine(s, pods, now)
		}
	}
}

// plans lets an engine do something else than it should.
func plans(change func(*podset.Plan)) func(decide) decide {
	return func(engine decide) decide {
		return func(s podset.Spec, pods []podset.Pod, now time.Time) podset.Plan {
			p := engine(s, pods, now)
			change(&p)
			return p
		}
	}
}

// A simulation that no broken engine fails proves nothing.
func TestBrokenEnginesAreCaught(t *testing.T) {
	partitioned := func(w *World, look func()) {
		w.KeepOld(w.Size(8))
		rollTo("b")(w, look)
	}
	broken := func(w *World, look func()) {
		w.Spec.ScaleMaxUnavailable = podset.Unlimited
		w.Break("b")
		w.RollTo("b")
		w.UntilStill(look)
		w.StuckOn("b")
	}
	for name, tc := range map[string]struct {
		engine func(decide) decide
		story  func(*World, func())
		says   string
	}{
		"one more unavailable than allowed": {spec(func(s *podset.Spec) { s.MaxUnavailable++ }), rollTo("b"), "pods are up"},
		"one more than surge allows":        {spec(func(s *podset.Spec) { s.MaxSurge++ }), rollTo("b"), "pods are there"},
		"minReadySeconds forgotten":         {spec(func(s *podset.Spec) { s.MinReady = 0 }), rollTo("b"), "pods are up"},
		"readiness forgotten":               {facts(func(p *podset.Pod) { p.Ready = true }), rollTo("b"), "pods are up"},
		"the partition forgotten":           {spec(func(s *podset.Spec) { s.Partition = 0 }), partitioned, "are there"},
		"the partition too small":           {spec(func(s *podset.Spec) { s.Partition = max(0, s.Partition-1) }), partitioned, "but"},
		"nothing is ever updated":           {plans(func(p *podset.Plan) { p.Update = nil }), rollTo("b"), "all up and all but"},
		"nothing is ever created":           {plans(func(p *podset.Plan) { p.Create = nil }), rollTo("b"), ""},
		"pods made twice": {plans(func(p *podset.Plan) {
			for _, c := range p.Create {
				c.Slot += "x"
				p.Create = append(p.Create, c)
			}
		}), rollTo("b"), "pods are there"},
		"time is never waited for": {func(engine decide) decide {
			return func(s podset.Spec, pods []podset.Pod, now time.Time) podset.Plan {
				p := engine(s, pods, now)
				return podset.Plan{Create: p.Create, Delete: p.Delete, Update: p.Update, Refresh: p.Refresh}
			}
		}, rollTo("b"), ""},
		"a broken image goes on and on": {spec(func(s *podset.Spec) { s.MaxUnavailable = s.Replicas }), broken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			message := failure(t, tc.engine, tc.story)
			if message == "" || !strings.Contains(message, tc.says) {
				t.Errorf("want a failure about %q, got %q", tc.says, message)
			}
			if message != "" && (!strings.Contains(message, "seed ") || !strings.Contains(message, "order: roll to b")) {
				t.Errorf("no transcript in %q", message)
			}
		})
	}
}

func TestASeedAlwaysPlaysTheSame(t *testing.T) {
	play := func(seed int64) string {
		w := New(t, seed)
		rollTo("b")(w, func() {})
		return strings.Join(w.script, "\n")
	}
	if first, second := play(7), play(7); first != second {
		t.Error("seed 7 played differently the second time")
	}
	if play(7) == play(8) {
		t.Error("seeds 7 and 8 play the same")
	}
}
