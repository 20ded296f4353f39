// Package integration proves the hub's behaviour against a real API server: schema, admission policies, and rights
// under the real service accounts.
package integration

import (
	"testing"

	"github.com/flotilla-project/flotilla/test/fleet"
)

// TestMain gives the tests one API server; nothing but the hub under test acts on it.
func TestMain(m *testing.M) {
	fleet.Main(m, fleet.Config{Name: "hub", Clusters: []fleet.Cluster{{Name: "hub", ControlPlaneOnly: true}}})
}
