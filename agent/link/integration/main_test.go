// Package integration proves the link between two real clusters: a hub with controllers, so that certificates are
// signed and namespaces end, and a member that is an API server alone. The hub side of the handshake is played by
// the test with the rights of OCM-3.6 and nothing more; the agent runs with those of deploy/member.
package integration

import (
	"os"
	"testing"

	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/flotilla-project/flotilla/test/fleet"
)

func TestMain(m *testing.M) {
	logf.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	fleet.Main(m, fleet.Config{
		Name:     "link",
		Clusters: []fleet.Cluster{{Name: "hub"}, {Name: "member", ControlPlaneOnly: true}},
	})
}
