package fleet

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/template"
)

// nodeFiles are the configuration files of a real node.
var nodeFiles = map[string]*template.Template{
	"containerd.toml": template.Must(template.New("").Parse(`version = 3
root = "{{.Dir}}/root"
state = "{{.Dir}}/state"
[grpc]
address = "{{.Socket}}"
[ttrpc]
address = "{{.Socket}}.ttrpc"
[debug]
level = "warn"
# Its socket has one address for the whole machine; who starts second finds it taken.
[plugins.'io.containerd.nri.v1.nri']
disable = true
[plugins.'io.containerd.cri.v1.images']
snapshotter = "{{.Snapshotter}}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "registry.k8s.io/pause:3.10"
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "{{.Dir}}/certs.d"
[plugins.'io.containerd.cri.v1.runtime']
# Containers inherit a score; lowering it takes a capability that not every root has.
restrict_oom_score_adj = true
# Else a killed containerd leaves mounts in a folder that others use too.
netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{{.CNI}}"]
conf_dir = "{{.Dir}}/cni"
use_internal_loopback = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
runtime_path = "{{.Shim}}"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{{.Runc}}"
Root = "{{.Dir}}/runc"
SystemdCgroup = false
`)),
	"certs.d/_default/hosts.toml": template.Must(template.New("").Parse(`# What the mirror does not have is asked for here, where nothing is found: the real
# registry would be out of reach, and finding that out takes minutes.
server = "http://{{.Registry}}/none"
[host."http://{{.Registry}}"]
capabilities = ["pull", "resolve"]
`)),
	"cni/10-fleet.conflist": template.Must(template.New("").Parse(`{
  "cniVersion": "1.0.0",
  "name": "{{.Network}}",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "{{.Dir}}/ipam",
        "ranges": [[{"subnet": "{{.PodCIDR}}"}]], "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`)),
	"kubelet.yaml": template.Must(template.New("").Parse(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
# Two kubelets under one root delete each other's pods.
cgroupRoot: /{{.Cgroup}}
enforceNodeAllocatable: []
oomScoreAdj: 0
podLogsDir: {{.Dir}}/logs
volumePluginDir: {{.Dir}}/volume-plugins
containerRuntimeEndpoint: unix://{{.Socket}}
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: {{.ClientCA}}}
authorization: {mode: Webhook}
# The machine's disk is not the node's: it may be full, and the node must not mind.
evictionHard: {memory.available: "100Mi"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
readOnlyPort: 0
registryPullQPS: 0
eventRecordQPS: 0
serializeImagePulls: false
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
`)),
}

// nodeValues is what the files are filled with.
type nodeValues struct {
	Dir, Socket, Snapshotter, CNI, Shim, Runc, Registry, Network, PodCIDR, Cgroup, ClientCA string
}

// configure writes the node's files and its credentials: those of a node, not of an
// administrator, so that the node authorizer has its say.
func (n realNode) configure() error {
	f := n.cluster.fleet
	runc, err := findTool("runc")
	if err != nil {
		return err
	}
	values := nodeValues{
		Dir: n.dir, Socket: n.socket(), Snapshotter: snapshotter(f.dir), CNI: cniDir(),
		Shim: f.programs["containerd-shim-runc-v2"], Runc: runc,
		Registry: f.registryAddress(), Network: fmt.Sprintf("%s-%d", f.state.ID, n.number),
		PodCIDR: n.podCIDR(), Cgroup: n.cgroup(), ClientCA: n.cluster.pki().path("ca.crt"),
	}
	var errs []error
	for _, dir := range []string{"certs.d/_default", "cni", "logs", "kubelet", "pki", "volume-plugins"} {
		errs = append(errs, os.MkdirAll(n.path(dir), 0o755))
	}
	for name, t := range nodeFiles {
		var text strings.Builder
		errs = append(errs, t.Execute(&text, values), writeFile(n.path(name), []byte(text.String()), 0o644))
	}
	kubeconfig, err := n.cluster.kubeconfig(f.slot().gateway(), "system:node:"+n.Name, "system:nodes")
	errs = append(errs, err, writeFile(n.path("kubeconfig"), kubeconfig, 0o600))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("configure the node: %w", err)
	}
	return nil
}
