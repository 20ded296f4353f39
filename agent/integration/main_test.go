package integration_test

import (
	"testing"

	"github.com/flotilla-project/flotilla/test/fleet"
)

// member is the one cluster of this test binary: an API server, and nobody else.
const member = "member"

func TestMain(m *testing.M) {
	fleet.Main(m, fleet.Config{Name: "agent", Clusters: []fleet.Cluster{{Name: member, ControlPlaneOnly: true}}})
}
