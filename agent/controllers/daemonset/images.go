package daemonset

import (
	"math"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
)

// preDownload is what to do so that nodes have the images before their pods change. What the status says last counts, and
// the annotation about updated pods does not. A DaemonSet that is new updates nothing. // WL-3.9
func (p *plan) preDownload(jobs []kruise.ImagePullJob) predownload.Plan {
	if !p.options.PreDownload {
		return predownload.Plan{}
	}
	status := p.set.Status
	there := status.UpdatedNumberScheduled == status.DesiredNumberScheduled && status.DaemonSetHash == p.history.hash
	return predownload.Decide(predownload.Ask{
		Set: p.set, Ref: ownerRef(p.set), Selector: p.set.Spec.Selector, Update: p.history.current, Old: p.history.old,
		Done:  there || len(p.history.old) == 0,
		Ready: math.MaxInt, Replicas: int(status.DesiredNumberScheduled), Needless: p.needless(),
	}, jobs)
}

// needless is why the nodes need no image ahead. // WL-3.9
func (p *plan) needless() string {
	rolling := p.rolling()
	if rolling == nil {
		return "" // pods change one by one, when somebody deletes them
	}
	limit, desired := intstr.FromInt32(1), int(p.set.Status.DesiredNumberScheduled)
	if rolling.MaxUnavailable != nil {
		limit = *rolling.MaxUnavailable
	}
	if at, err := podset.Scaled(limit, desired, false); err == nil && at >= desired && (rolling.Partition == nil || *rolling.Partition == 0) {
		return "all pods change at once"
	}
	return ""
}
