// Package integration proves the link between two real clusters: a hub with controllers, so that certificates are
// signed and namespaces end, and a member that is an API server alone. Tests that disturb nobody but their own member run
// side by side, each at a member of its own. Those that stop the hub or change its kinds have one to themselves, and those
// that measure time come first, alone. The hub side of the handshake is played by
// the test with the rights of OCM-3.6 and nothing more; the agent runs with those of deploy/member.
package integration

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/flotilla-project/flotilla/test/fleet"
)

// sideBySide is how many tests run at once, and how many members there are for them.
const sideBySide = 4

// members are those that no test is at.
var members = make(chan string, sideBySide)

func TestMain(m *testing.M) {
	logf.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(2*sideBySide)); err != nil { // most of their time they wait, some for their hub
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	clusters := []fleet.Cluster{{Name: "hub"}, {Name: "rough"}}
	for i := range sideBySide {
		name := fmt.Sprintf("member%d", i+1)
		clusters = append(clusters, fleet.Cluster{Name: name, ControlPlaneOnly: true})
		members <- name
	}
	fleet.Main(m, fleet.Config{Name: "link", Clusters: clusters})
}
