package register

import (
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"
)

const (
	userPrefix   = "system:open-cluster-management:"
	managedGroup = "system:open-cluster-management:managed-clusters"
)

// Identity is who the agent is on the hub: the cluster it speaks for and the name of this agent instance.
type Identity struct {
	Cluster string
	Agent   string
}

// Complete fills what flags and stored names leave open with fresh random names. OCM-2.1
func (i Identity) Complete(stored Identity) Identity {
	if i.Cluster == "" {
		i.Cluster = stored.Cluster
	}
	if i.Cluster == "" {
		i.Cluster = string(uuid.NewUUID())
	}
	if i.Agent == "" {
		i.Agent = stored.Agent
	}
	if i.Agent == "" {
		i.Agent = rand.String(5)
	}
	return i
}

// CommonName is the user the hub knows this agent by. OCM-3.3
func (i Identity) CommonName() string { return userPrefix + i.Cluster + ":" + i.Agent }

// Subject is the subject of every certificate request of this agent. OCM-3.3
func (i Identity) Subject() pkix.Name {
	return pkix.Name{CommonName: i.CommonName(), Organization: []string{userPrefix + i.Cluster, managedGroup}}
}

// Owns reports whether a certificate subject is this identity's: same name, same sets of O and OU. OCM-6.1
func (i Identity) Owns(subject pkix.Name) bool { return sameSubject(subject, i.Subject()) }

func sameSubject(have, want pkix.Name) bool {
	return have.CommonName == want.CommonName &&
		sameSet(have.Organization, want.Organization) &&
		sameSet(have.OrganizationalUnit, want.OrganizationalUnit)
}

// ParseCommonName reads cluster and agent out of a certificate's common name.
func ParseCommonName(name string) (Identity, error) {
	rest, ok := strings.CutPrefix(name, userPrefix)
	cluster, agent, found := strings.Cut(rest, ":")
	if !ok || !found || cluster == "" || agent == "" || strings.Contains(agent, ":") {
		return Identity{}, fmt.Errorf("parse common name %q: it is not %s<cluster>:<agent>", name, userPrefix)
	}
	return Identity{Cluster: cluster, Agent: agent}, nil
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
