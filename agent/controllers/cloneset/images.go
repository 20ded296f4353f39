package cloneset

import (
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
)

// preDownload is what to do so that nodes have the images before their pods change. // WL-1.14
func (p *plan) preDownload(jobs []kruise.ImagePullJob) predownload.Plan {
	if !p.options.PreDownload {
		return predownload.Plan{}
	}
	status, update := p.set.Status, p.revisions.Update
	ask := predownload.Ask{
		Set: p.set, Ref: ownerRef(p.set), Selector: p.set.Spec.Selector,
		Update: update, Old: []*appsv1.ControllerRevision{p.revisions.Current},
		Done:     update.Name == p.revisions.Current.Name,
		Replicas: p.spec.Replicas, Needless: p.needless(),
	}
	if status.UpdateRevision == update.Name {
		ask.Ready = int(status.UpdatedReadyReplicas)
	}
	return predownload.Decide(ask, jobs)
}

// fewest is how many replicas are too few to pull ahead for.
const fewest = 3

// needless is why the nodes need no image ahead. // WL-1.14
func (p *plan) needless() string {
	strategy := p.set.Spec.UpdateStrategy
	if strategy.Type == kruise.RecreateCloneSetUpdateStrategyType {
		return "pods are recreated, maybe elsewhere"
	}
	if p.spec.Replicas <= fewest {
		return fmt.Sprintf("%d replicas are few", p.spec.Replicas)
	}
	if at, err := podset.Scaled(*strategy.MaxUnavailable, p.spec.Replicas, false); p.spec.Partition == 0 && err == nil && at >= p.spec.Replicas {
		return "all pods change at once"
	}
	from, to := p.revisions.Current, p.revisions.Update
	if p.needsOtherClaims(from, to) {
		return "claims change"
	}
	aside := *p // what is found out here is not why a pod is refused
	if _, fits, err := aside.change(from, to); err != nil || !fits {
		return "the update does not fit in running pods"
	}
	return ""
}
