package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

// messageLimit is in bytes. // PB-5
const messageLimit = 1024

// target is what is probed: containers by the runtime, pods by their address.
type target struct {
	runtime    cri.Runtime
	containers *containers
	// local says whether an address is one of this node.
	local func(ip string) bool
}

func newTarget(runtime cri.Runtime) *target {
	return &target{runtime: runtime, containers: &containers{runtime: runtime}, local: isLocal}
}

// try runs a probe once. What the runtime could not do is no outcome. // PB-5
func (t *target) try(ctx context.Context, k key, c cri.Container, p corev1.Probe) (outcome, bool) {
	switch {
	case p.Exec != nil:
		return t.execute(ctx, c, p)
	case p.TCPSocket != nil:
		return t.connect(ctx, k, c, p)
	}
	log.FromContext(ctx).Info("a probe that is neither exec nor tcpSocket is not run", "pod", k.namespace+"/"+k.pod, "probe", k.probe)
	return outcome{}, false
}

func (t *target) execute(ctx context.Context, c cri.Container, p corev1.Probe) (outcome, bool) {
	out, err := t.runtime.Exec(ctx, c.ID, p.Exec.Command, timeout(p))
	switch {
	case errors.Is(err, cri.ErrTimeout):
		return outcome{kruise.ProbeFailed, fmt.Sprintf("the command took longer than %s", timeout(p))}, true
	case err != nil:
		return outcome{}, false
	case out.Code != 0:
		return outcome{kruise.ProbeFailed, short(out.Stderr)}, true
	}
	return outcome{kruise.ProbeSucceeded, short(out.Stdout)}, true
}

// short cuts what a command printed, and what would not be text any more.
func short(said []byte) string {
	return strings.ToValidUTF8(string(said[:min(len(said), messageLimit)]), "")
}

func (t *target) connect(ctx context.Context, k key, c cri.Container, p corev1.Probe) (outcome, bool) {
	ip, err := t.runtime.SandboxIP(ctx, c.SandboxID)
	if err != nil {
		return outcome{}, false
	}
	host, port := t.address(k.ip, ip), p.TCPSocket.Port.IntValue()
	if p.TCPSocket.Port.Type == intstr.String {
		if port, err = strconv.Atoi(p.TCPSocket.Port.StrVal); err != nil {
			return outcome{}, false // the manager gives numbers
		}
	}
	dialer := net.Dialer{Timeout: timeout(p)}
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return outcome{kruise.ProbeFailed, short([]byte(err.Error()))}, true
	}
	_ = connection.Close()
	return outcome{kruise.ProbeSucceeded, ""}, true
}

// address is the pod's own, which the runtime knows. Only a pod on the host's network has none of its own there: it has the
// one that was recorded, if that is the node's.
func (t *target) address(recorded, own string) string {
	if own != "" {
		return own
	}
	if recorded != "" && t.local(recorded) {
		return recorded
	}
	return "localhost"
}

func isLocal(ip string) bool {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if on, ok := a.(*net.IPNet); ok && on.IP.Equal(net.ParseIP(ip)) {
			return true
		}
	}
	return false
}
