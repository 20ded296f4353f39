package meta

import (
	"encoding/json"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

// defaultGrace is what a container has whose kubelet left no word of it.
const defaultGrace = 30 * time.Second

// ending is how the kubelet would end a container, from what it wrote onto it. // CM-6
type ending struct {
	grace   time.Duration
	preStop *corev1.LifecycleHandler
	ports   []corev1.ContainerPort
}

func endingOf(c cri.Container) ending {
	e := ending{grace: defaultGrace}
	for _, key := range []string{cri.AnnotationPodGracePeriod, cri.AnnotationPodDeletionGracePeriod} {
		if seconds, err := strconv.ParseInt(c.Annotations[key], 10, 64); err == nil {
			e.grace = time.Duration(seconds) * time.Second
		}
	}
	var hook corev1.LifecycleHandler
	if raw := c.Annotations[cri.AnnotationPreStopHandler]; raw != "" && json.Unmarshal([]byte(raw), &hook) == nil {
		e.preStop = &hook
	}
	if raw := c.Annotations[cri.AnnotationPorts]; raw != "" && json.Unmarshal([]byte(raw), &e.ports) != nil {
		e.ports = nil
	}
	return e
}
