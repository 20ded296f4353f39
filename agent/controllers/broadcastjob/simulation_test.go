package broadcastjob

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// sim is a cluster without an API server: nodes come, go and are cordoned, pods run and end as luck has it, writes fail, and the
// agent is killed between any two of them.
type sim struct {
	*testing.T
	random *rand.Rand
	steps  *steps
	job    *kruise.BroadcastJob
	now    time.Time
	nodes  []corev1.Node
	pods   []pod
	uids   int
	story  []string
}

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{T: t, random: rand.New(rand.NewPCG(seed, 1)), steps: &steps{}, now: noon}
	s.job = broadcastJob(onFailure(kruise.FailurePolicyTypeContinue, 1))
	s.job.Spec.Parallelism = new(intstr.FromInt32(int32(1 + s.random.IntN(4))))
	if s.random.IntN(2) == 0 {
		s.job.Spec.Parallelism = new(intstr.FromString(fmt.Sprintf("%d%%", 1+s.random.IntN(100))))
	}
	for range s.random.IntN(6) {
		s.addNode()
	}
	return s
}

func (s *sim) say(format string, args ...any) {
	s.story = append(s.story, fmt.Sprintf(format, args...))
}

func (s *sim) wrong(format string, args ...any) {
	s.Helper()
	for _, line := range s.story {
		s.Log(line)
	}
	s.Fatalf(format, args...)
}

func (s *sim) addNode() {
	s.uids++
	s.nodes = append(s.nodes, *node(fmt.Sprintf("n%03d", s.uids)))
	s.say("node n%03d comes", s.uids)
}

// happens is one stroke of luck.
func (s *sim) happens() {
	s.now = s.now.Add(time.Second)
	switch n := s.random.IntN(12); {
	case n == 0 && len(s.nodes) < 9:
		s.addNode()
	case n == 1 && len(s.nodes) > 0:
		i := s.random.IntN(len(s.nodes))
		gone := s.nodes[i].Name
		s.nodes = slices.Delete(s.nodes, i, i+1)
		s.pods = slices.DeleteFunc(s.pods, func(p pod) bool { return p.node == gone }) // by the garbage collector of pods
		s.say("node %s goes", gone)
	case n <= 3 && len(s.nodes) > 0:
		i := s.random.IntN(len(s.nodes))
		s.nodes[i].Spec.Unschedulable = !s.nodes[i].Spec.Unschedulable
		s.say("node %s is cordoned: %v", s.nodes[i].Name, s.nodes[i].Spec.Unschedulable)
	case n == 4 && len(s.pods) > 0:
		i := s.random.IntN(len(s.pods))
		s.pods[i].leaving = true
		s.say("somebody deletes pod %s", s.pods[i].name)
	case n > 4 && len(s.pods) > 0:
		s.runs(s.random.IntN(len(s.pods)))
	}
}

// runs takes a pod a step further.
func (s *sim) runs(i int) {
	p := &s.pods[i]
	switch {
	case p.leaving:
		s.say("pod %s is gone", p.name)
		s.pods = slices.Delete(s.pods, i, i+1)
	case p.phase == "":
		p.phase = corev1.PodRunning
	case p.phase == corev1.PodRunning:
		p.phase = []corev1.PodPhase{corev1.PodSucceeded, corev1.PodSucceeded, corev1.PodFailed}[s.random.IntN(3)]
		s.say("pod %s %s", p.name, p.phase)
	}
}

var errKilled = errors.New("killed")

// round is one of the controller's, which luck may cut short or make fail.
func (s *sim) round(luck bool) {
	found := seen{pods: slices.Clone(s.pods), nodes: slices.Clone(s.nodes)}
	if finished(s.job) {
		found = seen{}
	}
	p := s.steps.Decide(s.job, found, s.now)
	acted := s.act(p, luck)
	s.check(p)
	if luck && s.random.IntN(5) == 0 {
		s.say("the agent is killed before it writes the status")
		return
	}
	s.steps.Report(s.job, found, p, acted)
}

func (s *sim) act(p *plan, luck bool) error {
	unlucky := func() bool { return luck && s.random.IntN(6) == 0 }
	for _, r := range p.remove {
		if unlucky() {
			return errKilled
		}
		i := slices.IndexFunc(s.pods, func(there pod) bool { return there.uid == r.pod.uid })
		if i >= 0 && s.pods[i].done() {
			s.pods = slices.Delete(s.pods, i, i+1)
		} else if i >= 0 {
			s.pods[i].leaving = true
		}
		s.say("pod %s is deleted: %s", r.pod.name, r.why)
	}
	for _, node := range p.create {
		if unlucky() {
			return errKilled
		}
		name := p.nameOn(node)
		if slices.ContainsFunc(s.pods, func(there pod) bool { return there.name == name }) {
			s.wrong("a second pod called %s", name)
		}
		s.uids++
		s.pods = append(s.pods, pod{name: name, uid: types.UID(fmt.Sprint(s.uids)), node: node})
		p.made++
		s.say("pod %s is made on %s", name, node)
	}
	return nil
}

// check is what holds after every round.
func (s *sim) check(p *plan) {
	s.Helper()
	on, active := map[string]int{}, 0
	for _, p := range s.pods {
		on[p.node]++
		if on[p.node] > 1 {
			s.wrong("node %s has two pods", p.node)
		}
		if !p.done() && !p.leaving {
			active++
		}
	}
	// What runs when nodes go may be more than their share; then none is made.
	if most, err := width(s.job, int(p.counts.desired)); err != nil || p.made > 0 && active > most {
		s.wrong("%d pods are active, parallelism allows %d (%v)", active, most, err)
	}
}

// BJ-5, BJ-7, BJ-13: whatever happens, a node never has two pods and no more run at a time than may; once luck runs out, the job is
// done on every node that fits, or waits for one.
func TestAJobKeepsItsPromises(t *testing.T) {
	for seed := range uint64(1000) {
		s := newSim(t, seed)
		for range 60 {
			s.happens()
			if s.random.IntN(3) > 0 {
				s.round(true)
			}
		}
		s.calm()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// calm lets everything run to its end.
func (s *sim) calm() {
	s.Helper()
	for range 100 {
		s.now = s.now.Add(time.Second)
		s.round(false)
		for i := len(s.pods) - 1; i >= 0; i-- {
			s.runs(i)
		}
	}
	fitting := slices.DeleteFunc(slices.Clone(s.nodes), func(n corev1.Node) bool { return n.Spec.Unschedulable })
	if finished(s.job) {
		return // maybe before the last node came
	}
	if len(fitting) > 0 {
		s.wrong("it is %s with %d fitting nodes: %+v", s.job.Status.Phase, len(fitting), s.job.Status)
	}
	if c := s.job.Status.Conditions; len(c) != 1 || c[0].Reason != reasonNoNode {
		s.wrong("without a node it says %+v", c)
	}
}

// The end comes when every node that fits is done, and not before.
func TestAJobEndsWhenAllNodesAreDone(t *testing.T) {
	for seed := range uint64(300) {
		s := newSim(t, seed)
		for range 40 {
			before := finished(s.job)
			s.happens()
			undone := s.undone()
			s.round(false)
			if !before && finished(s.job) && undone != "" {
				s.wrong("seed %d: the job ended while node %s was not done", seed, undone)
			}
		}
	}
}

// undone is a node that fits and has no pod that is done.
func (s *sim) undone() string {
	for i := range s.nodes {
		name := s.nodes[i].Name
		done := slices.ContainsFunc(s.pods, func(p pod) bool { return p.node == name && p.done() })
		if !s.nodes[i].Spec.Unschedulable && !done {
			return name
		}
	}
	return ""
}
