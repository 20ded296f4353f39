package fleet

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// stages tell kwok how a node and its pods live: see the comments in the file.
//
//go:embed stages.yaml
var stages string

// fakeAnnotation marks the nodes that kwok plays.
const fakeAnnotation = "kwok.x-k8s.io/node"

// startFakeNodes starts kwok and makes the nodes.
func (r *Running) startFakeNodes(ctx context.Context, delay time.Duration) error {
	config := filepath.Join(r.dir, "stages.yaml")
	if err := writeFile(config, fakeStages(delay), 0o644); err != nil {
		return err
	}
	port := r.port(portKwok)
	kwok := component{name: r.component("kwok"), args: []string{
		r.fleet.programs["kwok"],
		"--kubeconfig=" + r.Kubeconfig(),
		"--config=" + config,
		"--manage-all-nodes=false",
		"--manage-nodes-with-annotation-selector=" + fakeAnnotation + "=fake",
		"--node-ip=127.0.0.1",
		"--cidr=" + fmt.Sprintf("10.%d.0.0/16", r.state.Index+1),
		fmt.Sprintf("--server-address=127.0.0.1:%d", port),
		"--node-lease-duration-seconds=40",
	}}
	if err := r.fleet.run(ctx, kwok, nil); err != nil {
		return err
	}
	return r.createFakeNodes(ctx)
}

func fakeStages(delay time.Duration) []byte {
	milliseconds := strconv.FormatInt(delay.Milliseconds(), 10)
	return []byte(strings.NewReplacer("DELAY", milliseconds, "KUBELET", "v1.37.2").Replace(stages))
}

func (r *Running) createFakeNodes(ctx context.Context) error {
	client, err := r.Client()
	if err != nil {
		return err
	}
	for _, n := range r.state.Nodes {
		node, err := fakeNode(n)
		if err != nil {
			return err
		}
		if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create node %s: %w", n.Name, err)
		}
	}
	return nil
}

func fakeNode(n Node) (*corev1.Node, error) {
	capacity := corev1.ResourceList{}
	for name, value := range map[corev1.ResourceName]string{
		corev1.ResourceCPU: or(n.CPU, "32"), corev1.ResourceMemory: or(n.Memory, "256Gi"), corev1.ResourcePods: or(n.Pods, "250"),
		corev1.ResourceEphemeralStorage: "1Ti",
	} {
		q, err := resource.ParseQuantity(value)
		if err != nil {
			return nil, fmt.Errorf("parse %s of node %s: %w", name, n.Name, err)
		}
		capacity[name] = q
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: n.labels(), Annotations: map[string]string{fakeAnnotation: "fake"}},
		Status:     corev1.NodeStatus{Capacity: capacity, Allocatable: capacity},
	}, nil
}

// labels are what the kubelet of such a node would register with.
func (n Node) labels() map[string]string {
	labels := map[string]string{
		corev1.LabelHostname:   n.Name,
		corev1.LabelOSStable:   "linux",
		corev1.LabelArchStable: "amd64",
	}
	if n.Zone != "" {
		labels[corev1.LabelTopologyZone] = n.Zone
	}
	if n.Region != "" {
		labels[corev1.LabelTopologyRegion] = n.Region
	}
	maps.Copy(labels, n.Labels)
	return labels
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
