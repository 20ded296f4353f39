package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link"
	"github.com/flotilla-project/flotilla/test/fleet"
)

const (
	soon    = 30 * time.Second
	quickly = 8 * time.Second
	glance  = 100 * time.Millisecond
)

// world is a hub, a member and one agent between them.
type world struct {
	*testing.T
	*WithT
	fleet   *fleet.Fleet
	there   *fleet.Running // the hub
	at      *fleet.Running // the member
	hub     client.Client  // the administrators
	member  client.Client
	cluster string
	options link.Options
	stop    func()
}

// furnished are the clusters that have what an administrator installs.
var furnished struct {
	sync.Mutex
	done map[string]bool
}

// newWorld prepares both clusters; the agent is not started yet.
func newWorld(t *testing.T, cluster string) *world {
	t.Helper()
	return newWorldWith(t, cluster, "hub")
}

// newRoughWorld is one whose hub may be stopped and its kinds taken away: no other test needs that one meanwhile.
func newRoughWorld(t *testing.T, cluster string) *world {
	t.Helper()
	t.Parallel()
	rough.Lock()
	t.Cleanup(rough.Unlock)
	return newWorldWith(t, cluster, "rough")
}

var rough sync.Mutex

func newWorldWith(t *testing.T, cluster, hub string) *world {
	t.Helper()
	f := fleet.Shared(t)
	member := <-members
	t.Cleanup(func() { members <- member })
	w := &world{T: t, WithT: NewWithT(t), fleet: f, there: f.Cluster(hub), at: f.Cluster(member), cluster: cluster}
	w.SetDefaultEventuallyTimeout(soon)
	w.SetDefaultEventuallyPollingInterval(glance)
	w.hub, w.member = admin(t, f, hub), admin(t, f, member)
	w.Expect(errors.Join(w.furnish(hub, furnishHub, w.hub), w.furnish(member, furnishMember, w.member))).To(Succeed())
	w.options = link.Defaults()
	w.options.ClusterName, w.options.AgentName = cluster, "a1"
	w.options.HubKubeconfigDir = filepath.Join(t.TempDir(), "hub-kubeconfig")
	w.options.BootstrapKubeconfig = filepath.Join(t.TempDir(), "bootstrap")
	w.options.HealthCheckPeriod, w.options.StatusSyncInterval = 2*time.Second, 5*time.Second
	w.writeBootstrap()
	t.Cleanup(w.cleanUp)
	return w
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, clusterv1.Install, clusterv1alpha1.Install, workv1.Install, apiextensionsv1.AddToScheme, addonv1alpha1.Install,
	} {
		utilruntime.Must(add(s))
	}
	return s
}

func admin(t *testing.T, f *fleet.Fleet, cluster string) client.Client {
	t.Helper()
	c, err := client.New(f.Cluster(cluster).RESTConfig(), client.Options{Scheme: scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// furnish has a cluster furnished once.
func (w *world) furnish(cluster string, how func(context.Context, client.Client) error, c client.Client) error {
	furnished.Lock()
	defer furnished.Unlock()
	if furnished.done[cluster] {
		return nil
	}
	if furnished.done == nil {
		furnished.done = map[string]bool{}
	}
	err := how(w.Context(), c)
	furnished.done[cluster] = err == nil
	return err
}

// deployed are the manifests that an administrator would apply.
var deployed = filepath.Join("..", "..", "..", "deploy")

// furnishHub installs CRDs, the bootstrap identity and the shared roles.
func furnishHub(ctx context.Context, hub client.Client) error {
	return errors.Join(
		applyFiles(ctx, hub, filepath.Join(deployed, "hub", "crds", "*open-cluster-management.io_m*.yaml")), established(ctx, hub),
		applyFiles(ctx, hub, filepath.Join(deployed, "hub", "rbac", "bootstrap.yaml")), sharedRoles(ctx, hub),
	)
}

// furnishMember installs CRDs and the agent's rights.
func furnishMember(ctx context.Context, member client.Client) error {
	return errors.Join(
		applyFiles(ctx, member, filepath.Join(deployed, "member", "crds", "*open-cluster-management.io_*.yaml")), established(ctx, member),
		applyFiles(ctx, member, filepath.Join(deployed, "member", "rbac", "namespace.yaml")),
		applyFiles(ctx, member, filepath.Join(deployed, "member", "rbac", "*.yaml")), aggregate(ctx, member),
	)
}

// aggregate grants what a controller manager would sum up in the agent's aggregated role.
func aggregate(ctx context.Context, member client.Client) error {
	var roles rbacv1.ClusterRoleList
	if err := member.List(ctx, &roles, client.MatchingLabels{"open-cluster-management.io/aggregate-to-work": "true"}); err != nil {
		return err
	}
	for _, role := range roles.Items {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role.Name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "open-cluster-management-agent", Name: "agent"}},
		}
		if err := member.Create(ctx, binding); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

func applyFiles(ctx context.Context, c client.Client, pattern string) error {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no files match %s: %w", pattern, err)
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := createAll(ctx, c, data); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func createAll(ctx context.Context, c client.Client, data []byte) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var o unstructured.Unstructured
		if err := decoder.Decode(&o.Object); err != nil {
			return nil //nolint:nilerr // the end of the file
		}
		if len(o.Object) == 0 {
			continue
		}
		if err := c.Create(ctx, &o); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
}

func established(ctx context.Context, c client.Client) error {
	for ctx.Err() == nil {
		var crds apiextensionsv1.CustomResourceDefinitionList
		if err := c.List(ctx, &crds); err != nil {
			return err
		}
		waiting := 0
		for _, crd := range crds.Items {
			ready := false
			for _, cond := range crd.Status.Conditions {
				ready = ready || cond.Type == apiextensionsv1.Established && cond.Status == apiextensionsv1.ConditionTrue
			}
			if !ready {
				waiting++
			}
		}
		if waiting == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(glance):
		}
	}
	return ctx.Err()
}

func rule(verbs, groups, resources []string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: verbs, APIGroups: groups, Resources: resources, ResourceNames: names}
}

func list(s ...string) []string { return s }

// sharedRoles are the two shared ClusterRoles, verb by verb as in OCM-3.6.
func sharedRoles(ctx context.Context, hub client.Client) error {
	const addon = "addon.open-cluster-management.io"
	for name, rules := range map[string][]rbacv1.PolicyRule{
		"open-cluster-management:managedcluster:registration": {
			rule(list("get", "list", "watch", "update"), list("coordination.k8s.io"), list("leases")),
			rule(list("get", "list", "watch"), list(addon), list("managedclusteraddons")),
			rule(list("patch", "update"), list(addon), list("managedclusteraddons/status")),
			rule(list("create"), list("events.k8s.io"), list("events")),
		},
		"open-cluster-management:managedcluster:work": {
			rule(list("create", "patch", "update"), list("", "events.k8s.io"), list("events")),
			rule(list("get", "list", "watch", "update", "patch"), list("work.open-cluster-management.io"), list("manifestworks")),
			rule(list("patch", "update"), list("work.open-cluster-management.io"), list("manifestworks/status")),
		},
	} {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
		if err := hub.Create(ctx, role); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// writeBootstrap gives the agent the way in of an administrator who runs `kubectl flotilla bootstrap`.
func (w *world) writeBootstrap() { w.writeBootstrapTo("the-hub") }

func (w *world) writeBootstrapTo(entry string) {
	w.Helper()
	config, err := w.there.UserConfig("system:bootstrap:test", "system:bootstrappers:managedcluster")
	w.Expect(err).NotTo(HaveOccurred())
	out := clientcmdapi.NewConfig()
	out.Clusters[entry] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	out.AuthInfos["bootstrap"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	out.Contexts["x"] = &clientcmdapi.Context{Cluster: entry, AuthInfo: "bootstrap"}
	out.CurrentContext = "x"
	w.Expect(clientcmd.WriteToFile(*out, w.options.BootstrapKubeconfig)).To(Succeed())
}

// start runs the agent until the test ends or stop is called.
func (w *world) start() {
	w.Helper()
	config, err := w.at.UserConfig("system:serviceaccount:open-cluster-management-agent:agent",
		"system:serviceaccounts", "system:serviceaccounts:open-cluster-management-agent", "system:authenticated")
	w.Expect(err).NotTo(HaveOccurred())
	w.startWith(config)
}

func (w *world) startWith(config *rest.Config) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	done := make(chan error, 1)
	go func() { done <- link.Run(ctx, config, w.options) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				w.Errorf("agent ended with %v", err)
			}
		case <-time.After(soon):
			w.Error("agent did not end")
		}
	})
	w.Cleanup(w.stop)
}

// cleanUp makes room for the next test's agent.
func (w *world) cleanUp() {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.options.AgentNamespace, Name: w.options.HubKubeconfigSecret}}
	if err := client.IgnoreNotFound(w.member.Delete(ctx, secret)); err != nil {
		w.Error(err)
	}
	cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: w.cluster}}
	if err := client.IgnoreNotFound(w.hub.Delete(ctx, cluster)); err != nil {
		w.Error(err)
	}
}

// get reads an object, and fails the assertion it is used in.
func get[T client.Object](g Gomega, ctx context.Context, c client.Client, o T, namespace, name string) T {
	g.Expect(c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)).To(Succeed())
	return o
}

func (w *world) managedCluster(g Gomega) *clusterv1.ManagedCluster {
	return get(g, w.Context(), w.hub, &clusterv1.ManagedCluster{}, "", w.cluster)
}

// approve approves the cluster's waiting requests, and returns the last.
func (w *world) approve() *certificatesv1.CertificateSigningRequest {
	w.Helper()
	var approved *certificatesv1.CertificateSigningRequest
	w.Eventually(func(g Gomega) {
		var all certificatesv1.CertificateSigningRequestList
		g.Expect(w.hub.List(w.Context(), &all, client.MatchingLabels{clusterv1.ClusterNameLabelKey: w.cluster})).To(Succeed())
		for i := range all.Items {
			csr := &all.Items[i]
			if len(csr.Status.Conditions) > 0 {
				continue
			}
			csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{
				Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test", Message: "test",
			}}
			g.Expect(w.hub.SubResource("approval").Update(w.Context(), csr)).To(Succeed())
			approved = csr
		}
		g.Expect(approved).NotTo(BeNil())
	}).Should(Succeed())
	return approved
}

// accept does on the hub what OCM-3.6 and 4.1 say: namespace, rights, condition, lease.
func (w *world) accept() {
	w.Helper()
	ctx, c := w.Context(), w.cluster
	cluster := w.managedCluster(w)
	cluster.Spec.HubAcceptsClient, cluster.Spec.LeaseDurationSeconds = true, 2
	w.Expect(w.hub.Update(ctx, cluster)).To(Succeed())
	const clusterGroup, certGroup, registerGroup = "cluster.open-cluster-management.io", "certificates.k8s.io", "register.open-cluster-management.io"
	name := "open-cluster-management:managedcluster:" + c
	groups := []rbacv1.Subject{
		{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:open-cluster-management:" + c},
		{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "open-cluster-management:" + c},
	}
	bind := func(suffix string, finalizers ...string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: c, Name: name + ":" + suffix, Finalizers: finalizers}, Subjects: groups,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "open-cluster-management:managedcluster:" + suffix},
		}
	}
	now := metav1.NowMicro()
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c, Labels: map[string]string{clusterv1.ClusterNameLabelKey: c}}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
			rule(list("create", "get", "list", "watch"), list(certGroup), list("certificatesigningrequests")),
			rule(list("renew"), list(registerGroup), list("managedclusters/clientcertificates")),
			rule(list("get", "list", "update", "watch"), list(clusterGroup), list("managedclusters"), c),
			rule(list("patch", "update"), list(clusterGroup), list("managedclusters/status"), c),
		}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: groups, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}},
		bind("registration"),
		bind("work", workv1.ManifestWorkFinalizer),
		&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: c, Name: "managed-cluster-lease", Labels: map[string]string{clusterv1.ClusterNameLabelKey: c}},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: new("managed-cluster-lease"), RenewTime: &now},
		},
	} {
		w.Expect(w.hub.Create(ctx, o)).To(Succeed())
	}
	cluster = w.managedCluster(w)
	meta.SetStatusCondition(&cluster.Status.Conditions, metav1.Condition{
		Type: clusterv1.ManagedClusterConditionHubAccepted, Status: metav1.ConditionTrue, Reason: "HubClusterAdminAccepted", Message: "Accepted by hub cluster admin",
	})
	w.Expect(w.hub.Status().Update(ctx, cluster)).To(Succeed())
}

// join brings an agent up to where it tells that it is available.
func (w *world) join() {
	w.Helper()
	w.start()
	w.approve()
	w.accept()
	w.Eventually(func(g Gomega) {
		g.Expect(meta.IsStatusConditionTrue(w.managedCluster(g).Status.Conditions, clusterv1.ManagedClusterConditionAvailable)).To(BeTrue())
	}).Should(Succeed())
}
