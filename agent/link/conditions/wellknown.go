package conditions

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	workv1 "open-cluster-management.io/api/work/v1"
)

// wellKnown knows when Jobs and Pods have finished; of other kinds and conditions it says nothing. Failed is
// finished too. OCM-13.1
func wellKnown(obj *unstructured.Unstructured, rule *workv1.ConditionRule) (metav1.Condition, bool) {
	if rule.Condition != workv1.ManifestComplete {
		return metav1.Condition{}, false
	}
	var done bool
	var message string
	switch obj.GetAPIVersion() + "/" + obj.GetKind() {
	case "batch/v1/Job":
		done, message = jobFinished(obj)
	case "v1/Pod":
		done, message = podFinished(obj)
	default:
		return metav1.Condition{}, false
	}
	if rule.Message != "" {
		message = rule.Message
	}
	return evaluated(done, message), true
}

func jobFinished(job *unstructured.Unstructured) (bool, string) {
	all, _, _ := unstructured.NestedSlice(job.Object, "status", "conditions")
	for _, one := range all {
		c, ok := one.(map[string]any)
		if !ok || c["status"] != string(corev1.ConditionTrue) {
			continue
		}
		if c["type"] == string(batchv1.JobComplete) || c["type"] == string(batchv1.JobFailed) {
			return true, "Job is finished"
		}
	}
	return false, "Job is not finished"
}

func podFinished(pod *unstructured.Unstructured) (bool, string) {
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	if phase == "" {
		phase = string(corev1.PodUnknown)
	}
	return phase == string(corev1.PodSucceeded) || phase == string(corev1.PodFailed), "Pod is in phase " + phase
}
