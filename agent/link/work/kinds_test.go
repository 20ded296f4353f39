package work

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	workv1 "open-cluster-management.io/api/work/v1"
)

func TestWhatTheMemberFilledInStays(t *testing.T) { // OCM-11.1
	const service = "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: "
	for name, tc := range map[string]struct{ live, want, merged string }{
		"a service's addresses": {
			service + "{clusterIP: 10.0.0.7, clusterIPs: [10.0.0.7], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, type: ClusterIP, ports: [{port: 80, protocol: TCP, targetPort: 80}]}}",
			service + "{ports: [{port: 81}]}}",
			service + "{clusterIP: 10.0.0.7, clusterIPs: [10.0.0.7], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, type: ClusterIP, ports: [{port: 81}]}}",
		},
		"a service's node ports": {
			service + "{type: NodePort, healthCheckNodePort: 30009, ports: [{name: a, port: 80, protocol: TCP, nodePort: 30001}, {name: b, port: 80, protocol: UDP, nodePort: 30002}]}}",
			service + "{type: LoadBalancer, ports: [{name: b, port: 80, protocol: UDP}, {name: a, port: 80, nodePort: 30005}]}}",
			service + "{type: LoadBalancer, healthCheckNodePort: 30009, ports: [{name: b, port: 80, protocol: UDP, nodePort: 30002}, {name: a, port: 80, nodePort: 30005}]}}",
		},
		"but not when it has none any more": {
			service + "{type: NodePort, clusterIP: 10.0.0.7, ports: [{port: 80, nodePort: 30001}]}}",
			service + "{type: ClusterIP, ports: [{port: 80}]}}",
			service + "{type: ClusterIP, clusterIP: 10.0.0.7, ports: [{port: 80}]}}",
		},
		"nor an address of a name": {
			service + "{type: ClusterIP, clusterIP: 10.0.0.7}}", service + "{type: ExternalName, externalName: x}}", service + "{type: ExternalName, externalName: x}}",
		},
		"nor another address": {
			service + "{clusterIP: 10.0.0.7, clusterIPs: [10.0.0.7]}}", service + "{clusterIP: None}}", service + "{clusterIP: None}}",
		},
		"a service account's secrets": {
			"{apiVersion: v1, kind: ServiceAccount, metadata: {name: s}, secrets: [{name: token}], imagePullSecrets: [{name: pull}]}",
			"{apiVersion: v1, kind: ServiceAccount, metadata: {name: s}, secrets: [{name: mine}], imagePullSecrets: [{name: pull}]}",
			"{apiVersion: v1, kind: ServiceAccount, metadata: {name: s}, secrets: [{name: token}, {name: mine}], imagePullSecrets: [{name: pull}]}",
		},
		"a service account's token": {
			"{apiVersion: v1, kind: Secret, metadata: {name: s}, type: kubernetes.io/service-account-token, data: {token: dA==, extra: eA==}}",
			"{apiVersion: v1, kind: Secret, metadata: {name: s}, type: kubernetes.io/service-account-token, data: {extra: eQ==}}",
			"{apiVersion: v1, kind: Secret, metadata: {name: s}, type: kubernetes.io/service-account-token, data: {token: dA==, extra: eQ==}}",
		},
		"replicas nobody asked for": {
			"{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 7, paused: true}}",
			"{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {minReadySeconds: 3}}",
			"{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 7, minReadySeconds: 3}}",
		},
		"the rules of an aggregated role": {
			"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, aggregationRule: {x: y}, rules: [{verbs: [get]}]}",
			"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, aggregationRule: {x: z}, rules: []}",
			"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, aggregationRule: {x: z}, rules: [{verbs: [get]}]}",
		},
		"a webhook's bundle": {
			"{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: w}, webhooks: [{name: b, clientConfig: {caBundle: injected}}, {name: c, clientConfig: {caBundle: theirs}}]}",
			"{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: w}, webhooks: [{name: a, clientConfig: {}}, {name: b, clientConfig: {service: {name: s}}}, {name: c, clientConfig: {caBundle: mine}}]}",
			"{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: w}, webhooks: [{name: a, clientConfig: {}}, {name: b, clientConfig: {service: {name: s}, caBundle: injected}}, {name: c, clientConfig: {caBundle: mine}}]}",
		},
		"a conversion's bundle": {
			"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: c}, spec: {conversion: {strategy: Webhook, webhook: {clientConfig: {caBundle: injected}}}}}",
			"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: c}, spec: {scope: Cluster, conversion: {strategy: Webhook, webhook: {clientConfig: {url: u}}}}}",
			"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: c}, spec: {scope: Cluster, conversion: {strategy: Webhook, webhook: {clientConfig: {url: u, caBundle: injected}}}}}",
		},
		"an aggregated API's bundle": {
			"{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, spec: {caBundle: injected, group: g}}",
			"{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, spec: {group: h}}",
			"{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: a}, spec: {caBundle: injected, group: h}}",
		},
		"all of a pod but what is asked": {
			`{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: n, tolerations: [{key: a}, {key: b}], containers: [{name: main, image: "m:1", volumeMounts: [{name: v, mountPath: /v}, {name: tok, mountPath: /t}]}, {name: injected}]}}`,
			`{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {tolerations: [{key: b}], containers: [{name: main, image: "m:2", volumeMounts: [{name: v, mountPath: /v}]}]}}`,
			`{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: n, tolerations: [{key: a}, {key: b}], containers: [{name: main, image: "m:2", volumeMounts: [{name: v, mountPath: /v}, {name: tok, mountPath: /t}]}, {name: injected}]}}`,
		},
		"where a claim is bound": {
			"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {volumeName: v, storageClassName: fast, resources: {requests: {storage: 1Gi}}}}",
			"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {resources: {requests: {storage: 2Gi}}}}",
			"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {volumeName: v, storageClassName: fast, resources: {requests: {storage: 2Gi}}}}",
		},
		"how a job finds its pods": {
			"{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {parallelism: 1, selector: {matchLabels: {uid: x}}, template: {metadata: {labels: {uid: x}}, spec: {containers: [{name: c, image: i, terminationMessagePath: p}]}}}}",
			"{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {parallelism: 3, template: {spec: {containers: [{name: c, image: i}]}}}}",
			"{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {parallelism: 3, selector: {matchLabels: {uid: x}}, template: {metadata: {labels: {uid: x}}, spec: {containers: [{name: c, image: i, terminationMessagePath: p}]}}}}",
		},
		"nothing of other kinds": {
			"{apiVersion: example.com/v1, kind: Service, metadata: {name: s}, spec: {clusterIP: x, replicas: 1}}",
			"{apiVersion: example.com/v1, kind: Service, metadata: {name: s}, spec: {}}",
			"{apiVersion: example.com/v1, kind: Service, metadata: {name: s}, spec: {}}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			live, want := object(t, tc.live), object(t, tc.want)
			got := merge(live, want, ours(), true)
			if d := cmp.Diff(object(t, tc.merged), got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(object(t, tc.want), want); d != "" {
				t.Errorf("the manifest was changed: %s", d)
			}
			if d := cmp.Diff(object(t, tc.live), live); d != "" {
				t.Errorf("the live object was changed: %s", d)
			}
		})
	}
}

func TestAnObjectThatIsAsItShouldBeIsNotWritten(t *testing.T) { // OCM-11.1
	live := configMap(t, "v")
	live.SetOwnerReferences([]metav1.OwnerReference{*ours()})
	live.SetLabels(map[string]string{"theirs": "x"})
	c := members(t, live)
	m := asManifest(t, configMap(t, "v"), workv1.UpdateStrategyTypeUpdate, "h")
	(&applier{client: c, owner: ours(), hashes: map[objectKey]applied{}}).applyAll(t.Context(), []*manifest{m})
	if d := cmp.Diff([]string{"get"}, verbs(c)); d != "" || m.failed != nil {
		t.Error(m.failed, d)
	}
}

func TestAnOrphanIsReleasedThoughNothingElseChanged(t *testing.T) { // OCM-15.2
	for strategy, verb := range map[workv1.UpdateStrategyType]string{
		workv1.UpdateStrategyTypeUpdate: "update", workv1.UpdateStrategyTypeCreateOnly: "patch", workv1.UpdateStrategyTypeServerSideApply: "patch",
	} {
		live := configMap(t, "v")
		live.SetResourceVersion("5")
		live.SetOwnerReferences([]metav1.OwnerReference{*ours()})
		c := members(t, live)
		m := asManifest(t, configMap(t, "v"), strategy, "h")
		c.PrependReactor("patch", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
			return true, live, nil
		})
		a := &applier{client: c, owner: ours(), hashes: map[objectKey]applied{m.key(): {hash: "h", version: "5"}}}
		a.applyAll(t.Context(), []*manifest{m})
		if d := cmp.Diff([]string{"get"}, verbs(c)); d != "" {
			t.Errorf("%s: %s", strategy, d)
		}
		a.option = &workv1.DeleteOption{PropagationPolicy: workv1.DeletePropagationPolicyTypeOrphan}
		a.applyAll(t.Context(), []*manifest{m})
		if got := verbs(c); len(got) < 2 || got[1] != verb {
			t.Errorf("%s: %v", strategy, got)
		}
	}
}
