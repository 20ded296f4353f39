package work

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"

	"github.com/flotilla-project/flotilla/agent/link/brake"
	"github.com/flotilla-project/flotilla/agent/link/history"
)

const heldRecheck = time.Minute // of a work held by history; a confirmation is seen at once

// History tells whether the hub is still the hub that works were applied from.
type History interface {
	// Check asks the hub. An error means that nothing may be removed or changed now.
	Check(ctx context.Context) (history.Verdict, error)
	// Last is the latest answer, without asking.
	Last() history.Verdict
	// Void has the next check ask, also right after the last one.
	Void()
	// Suspect hands in evidence of a jump.
	Suspect(evidence string)
}

// Fence knows whose replicas were stopped because the hub was not heard.
type Fence interface {
	// Away reports that a record's replicas are stopped, and the hub was not heard since.
	Away(record string) bool
	// Down reports that a record's replicas are stopped, and were not restored.
	Down(record string) bool
	// Up is told that a record's replicas were restored.
	Up(record string)
}

// noHistory and noFence are those of an agent that was given none.
type (
	noHistory struct{}
	noFence   struct{}
)

func (noHistory) Check(context.Context) (history.Verdict, error) { return history.Verdict{}, nil }
func (noHistory) Last() history.Verdict                          { return history.Verdict{} }
func (noHistory) Void()                                          {}
func (noHistory) Suspect(string)                                 {}
func (noFence) Away(string) bool                                 { return false }
func (noFence) Down(string) bool                                 { return false }
func (noFence) Up(string)                                        {}

// vet says whether a work may be applied now; after is when to ask again if not.
func (a *Agent) vet(ctx context.Context, work *workv1.ManifestWork, s *state) (may bool, after time.Duration) {
	if may, after := a.passFence(ctx, work); !may {
		return false, after
	}
	if s.applied && work.Generation < s.generation {
		a.deps.History.Suspect(fmt.Sprintf("work %s went back from generation %d to %d", work.Name, s.generation, work.Generation))
	}
	verdict := a.deps.History.Last()
	if !s.applied || s.generation != work.Generation {
		if !a.deps.Online() {
			return false, offlineLook
		}
		var err error
		if verdict, err = a.deps.History.Check(ctx); err != nil {
			logf.FromContext(ctx).V(1).Info("Work waits until the hub's history is known", "cause", err.Error())
			return false, offlineLook
		}
	}
	s.frozen = verdict.Held != "" && !brake.Confirmed(work.Name, work)
	return verdict.News(work), heldRecheck
}

// only looks at a work that must not be applied, so that its hub is told the truth all the same.
func (a *Agent) only(ctx context.Context, work *workv1.ManifestWork, s *state, after time.Duration) (time.Duration, error) {
	f := facts{work: work, state: s, touched: a.memory.isTouched(s), online: a.deps.Online()}
	due, again := decideStatus(f, time.Now(), true)
	if due != statusRound {
		return min(max(again, time.Millisecond), after), nil
	}
	if err := a.lookAt(ctx, work, s); err != nil && !apierrors.IsConflict(err) {
		return failFirst, err
	}
	return writeGap, nil
}

// cluster is the own ManagedCluster; an empty one when it cannot be read, which confirms nothing.
func (a *Agent) cluster(ctx context.Context) *clusterv1.ManagedCluster {
	cluster := &clusterv1.ManagedCluster{}
	cluster.Name = a.deps.Cluster
	if !a.known() {
		return cluster
	}
	if err := a.deps.Works.Get(ctx, client.ObjectKey{Name: a.deps.Cluster}, cluster); err != nil {
		logf.FromContext(ctx).V(1).Info("ManagedCluster not read", "cause", err.Error())
		cluster.Name = a.deps.Cluster
	}
	return cluster
}

// removal is what the brake is asked about.
type removal struct {
	work      string
	record    *workv1.AppliedManifestWork
	objects   int
	confirmed bool
	state     *state
}

// consult asks the brake. A question without an answer is logged and asked again; nothing is removed meanwhile.
func (a *Agent) consult(ctx context.Context, r removal) (brake.Verdict, error) {
	f := brake.Facts{
		Work: r.work, Namespace: a.deps.Cluster, Objects: r.objects, Confirmed: r.confirmed, AliveSince: r.state.aliveSince,
	}
	var err error
	if f.Objects > 0 && !f.Confirmed {
		f, err = a.suspicions(ctx, f, r.record)
	}
	now := time.Now()
	if err != nil {
		r.state.aliveSince = time.Time{}
		f.Answer = ""
		return brake.Decide(brake.Facts{Work: f.Work, Objects: f.Objects}, now), err
	}
	verdict := brake.Decide(f, now)
	switch {
	case f.Answer != brake.Alive:
		r.state.aliveSince = time.Time{}
	case r.state.aliveSince.IsZero():
		r.state.aliveSince = now
	}
	if verdict.Lasting {
		a.tellOfCrowd(ctx, f.Crowd, verdict.Held)
	}
	return verdict, nil
}

// suspicions fills in what may speak against a removal that would delete something.
func (a *Agent) suspicions(ctx context.Context, f brake.Facts, record *workv1.AppliedManifestWork) (brake.Facts, error) {
	verdict, err := a.deps.History.Check(ctx)
	if err != nil {
		return f, err
	}
	f.History, f.Before = verdict.Held, record.Annotations[annotationHeld]
	if order, ordered := a.cluster(ctx).Annotations[appsv1alpha1.AnnotationDetach]; ordered && f.History == "" {
		f.History = fmt.Sprintf("cluster %s is being detached (%s), which leaves everything running", a.deps.Cluster, order)
	}
	if f.Crowd, err = a.crowdOf(ctx, record.Name); err != nil {
		return f, err
	}
	if (f.Crowd.Count > 0 || f.Before != "") && f.History == "" && a.cluster(ctx).Annotations[brake.ConfirmMass] == a.deps.Cluster {
		f.Confirmed = true
		return f, nil
	}
	if f.History != "" || f.Before != "" || f.Crowd.Count > 0 {
		return f, nil // held whatever the answer
	}
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	f.Answer, err = a.ask(ctx)
	return f, err
}
