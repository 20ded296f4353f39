package inventory

import (
	corev1 "k8s.io/api/core/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

// Capacity sums all nodes up. Keys that no node reports stay as they were: somebody else wrote them. OCM-5.1
func Capacity(before clusterv1.ResourceList, nodes []corev1.Node) clusterv1.ResourceList {
	sum := clusterv1.ResourceList{}
	for i := range nodes {
		add(sum, nodes[i].Status.Capacity)
	}
	for name, value := range before {
		if _, reported := sum[name]; !reported {
			sum[name] = value
		}
	}
	return keep(before, sum)
}

// Allocatable sums the schedulable nodes up. OCM-5.1
func Allocatable(before clusterv1.ResourceList, nodes []corev1.Node) clusterv1.ResourceList {
	sum := clusterv1.ResourceList{}
	for i := range nodes {
		if !nodes[i].Spec.Unschedulable {
			add(sum, nodes[i].Status.Allocatable)
		}
	}
	return keep(before, sum)
}

func add(sum clusterv1.ResourceList, more corev1.ResourceList) {
	for name, value := range more {
		have := sum[clusterv1.ResourceName(name)]
		have.Add(value)
		sum[clusterv1.ResourceName(name)] = have
	}
}

// keep returns before when both lists say the same in other words, so that nothing is written for it.
func keep(before, sum clusterv1.ResourceList) clusterv1.ResourceList {
	if len(before) != len(sum) {
		return sum
	}
	for name, value := range sum {
		if was, there := before[name]; !there || was.Cmp(value) != 0 {
			return sum
		}
	}
	return before
}
