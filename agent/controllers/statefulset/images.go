package statefulset

import (
	"errors"
	"fmt"

	"github.com/openkruise/kruise-api/apps/v1alpha1"
	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
)

// preDownload is what to do so that nodes have the images before their pods change. // WL-2.13
func (p *plan) preDownload(jobs []v1alpha1.ImagePullJob) predownload.Plan {
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

// needless is why the nodes need no image ahead. // WL-2.13
func (p *plan) needless() string {
	strategy := p.set.Spec.UpdateStrategy
	rolling := strategy.RollingUpdate
	switch {
	case strategy.Type != appsv1.RollingUpdateStatefulSetStrategyType || rolling == nil:
		return "pods change when somebody deletes them"
	case rolling.PodUpdatePolicy == kruise.RecreatePodUpdateStrategyType:
		return "pods are recreated, maybe elsewhere"
	case p.spec.Replicas <= fewest:
		return fmt.Sprintf("%d replicas are few", p.spec.Replicas)
	case p.atOnce(rolling):
		return "all pods change at once"
	case p.current() != nil:
		return "the update does not fit in running pods"
	}
	return ""
}

func (p *plan) atOnce(rolling *kruise.RollingUpdateStatefulSetStrategy) bool {
	at, err := podset.Scaled(*orOne(rolling.MaxUnavailable), p.spec.Replicas, false)
	return p.spec.Partition == 0 && err == nil && at >= p.spec.Replicas
}

// current is why pods of the current revision cannot be updated in place.
func (p *plan) current() error {
	from := p.revisions.Current
	if _, known := p.changes[from.Name]; known {
		return nil
	}
	aside := &plan{set: p.set, options: p.options, revisions: p.revisions, changes: map[string]inplace.Spec{}}
	aside.spec.InPlaceFrom = map[string]bool{}
	if err := aside.change(from); err != nil {
		return err
	}
	if _, fits := aside.changes[from.Name]; !fits {
		return errors.New(aside.unfit)
	}
	return nil
}
