package app

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
)

// recorders record events that say which node they come from, which those of a manager do not.
type recorders struct {
	broadcaster record.EventBroadcaster
	sink        typedcorev1.EventsGetter
	scheme      *runtime.Scheme
	node        string
}

func newRecorders(cfg *rest.Config, scheme *runtime.Scheme, node string) (*recorders, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = userAgent
	sink, err := typedcorev1.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make client for events: %w", err)
	}
	return &recorders{broadcaster: record.NewBroadcaster(), sink: sink, scheme: scheme, node: node}, nil
}

// named is the recorder of a component. // IM-12
func (r *recorders) named(component string) record.EventRecorder {
	return r.broadcaster.NewRecorder(r.scheme, corev1.EventSource{Component: component, Host: r.node})
}

// Start implements manager.Runnable.
func (r *recorders) Start(ctx context.Context) error {
	watch := r.broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: r.sink.Events("")})
	<-ctx.Done()
	watch.Stop()
	r.broadcaster.Shutdown()
	return nil
}
