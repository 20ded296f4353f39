package protection

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// counters count refusals, with the names and labels of NP-14. They name objects because somebody asked for each of them to
// be protected.
type counters struct{ namespaces, definitions, workloads *prometheus.CounterVec }

// newCounters takes those that a registry has already: one process may run several managers.
func newCounters(registry prometheus.Registerer) (c counters, err error) {
	for _, one := range []struct {
		at     **prometheus.CounterVec
		name   string
		help   string
		object string
	}{
		{&c.namespaces, "namespace_deletion_protection", "deletions of namespaces that were refused", "name"},
		{&c.definitions, "crd_deletion_protection", "deletions of definitions that were refused", "name"},
		{&c.workloads, "workload_deletion_protection", "deletions of workloads that were refused", "kind_namespace_name"},
	} {
		*one.at = prometheus.NewCounterVec(prometheus.CounterOpts{Name: one.name, Help: one.help}, []string{one.object, "username"})
		if err := register(registry, one.at); err != nil {
			return c, fmt.Errorf("register %s: %w", one.name, err)
		}
	}
	return c, nil
}

func register(registry prometheus.Registerer, at **prometheus.CounterVec) error {
	err := registry.Register(*at)
	if taken, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if there, same := taken.ExistingCollector.(*prometheus.CounterVec); same {
			*at = there
			return nil
		}
	}
	return err
}

// count leaves out Services and Ingresses. // WL-7.2
func (c counters) count(kind, namespace, name, user string) {
	switch {
	case c.workloads == nil:
	case kind == "Namespace":
		c.namespaces.WithLabelValues(name, user).Inc()
	case kind == "CustomResourceDefinition":
		c.definitions.WithLabelValues(name, user).Inc()
	default:
		c.workloads.WithLabelValues(kind+"_"+namespace+"_"+name, user).Inc()
	}
}
