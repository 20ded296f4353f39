package imagepulljob

import (
	"fmt"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Report writes how far the nodes are. What is over stays as it was said. // IP-13 to IP-15
func (s *steps) Report(job *kruise.ImagePullJob, _ seen, p *plan, _ error) {
	status := &job.Status
	switch {
	case job.DeletionTimestamp != nil || status.CompletionTime != nil || p.protect:
		return
	case p.wait != "":
		status.Message = p.wait
		return
	}
	status.StartTime = p.start()
	status.Desired, status.Active, status.Succeeded = p.counts.desired, p.counts.active, p.counts.succeeded
	status.Failed, status.FailedNodes = int32(len(p.counts.failed)), slices.Sorted(slices.Values(p.counts.failed))
	status.Message = p.message()
	if p.end != "" {
		status.CompletionTime = &metav1.Time{Time: p.now.Truncate(time.Second)}
	}
}

// message is a printed column, and its texts are known. // IP-15
func (p *plan) message() string {
	switch {
	case p.end != "":
		return p.end
	case p.counts.desired == 0:
		return "job is running, no progress"
	}
	finished := p.counts.succeeded + int32(len(p.counts.failed))
	return fmt.Sprintf("job is running, progress %.1f%%", 100*float64(finished)/float64(p.counts.desired))
}
