package stories

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/test/fleet/system"
)

// denies takes a cluster's rights away while works run there, and gives them back.
func (w *world) denies() {
	d := w.web(6)
	w.apply(d)
	w.ready(d)
	before := w.put(west)

	w.flotilla("deny", west)
	w.Cleanup(func() {
		if _, err := w.CLI(context.Background(), "accept", west); err != nil {
			w.Error(err)
		}
	})
	for what, args := range map[string][]string{
		"beat its lease":            {"get", "lease", "managed-cluster-lease", "-n", west},
		"report on its own cluster": {"patch", "managedcluster", west, "--subresource=status", "--type=merge", "-p", `{"status":{"version":{"kubernetes":"v0"}}}`},
		"ask for a certificate":     {"get", "csr"},
	} {
		w.until("west may not "+what, func() string {
			if w.may(west, args...) {
				return "it still may"
			}
			return ""
		})
	}
	if !w.may(west, "get", "manifestworks", "-n", west) {
		w.Error("west lost sight of its works, which it has to finish") // OCM-7.1
	}
	w.stays("a denial touches nothing on the member", func() string { return same(before, w.put(west)) })

	w.flotilla("accept", west, "--wait")
	w.says(west, clusterv1.ManagedClusterConditionHubAccepted, metav1.ConditionTrue)
	w.says(west, clusterv1.ManagedClusterConditionAvailable, metav1.ConditionTrue)
	w.change(d, func(d *appsv1alpha1.FederatedDeployment) { d.Spec.Replicas = new(int32(8)) })
	w.ready(d)
	if differs := same(before, w.put(west), "Pod"); strings.Contains(differs, "was") {
		w.Errorf("pods did not outlive denial and return:\n%s", differs)
	}
}

// credential is a certificate and its key, as a member keeps them.
type credential struct {
	cert []byte
	key  []byte
	leaf *x509.Certificate
}

// id is how an API server names the certificate in what it writes about a request.
func (c credential) id() string { return fmt.Sprintf("X509SHA256=%x", sha256.Sum256(c.leaf.Raw)) }

// credential reads what a member's agent has stored.
func (w *world) credential(member string) credential {
	w.Helper()
	secret := w.credentialSecret(member)
	c := credential{cert: secret.Data["tls.crt"], key: secret.Data["tls.key"]}
	if c.leaf = certificate(c.cert); c.leaf == nil {
		w.Fatal("what is stored is no certificate")
	}
	return c
}

func (w *world) credentialSecret(member string) *corev1.Secret {
	w.Helper()
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: "open-cluster-management-agent", Name: "hub-kubeconfig-secret"}
	if err := w.member(member).Get(w.Context(), key, secret); err != nil {
		w.Fatal(err)
	}
	return secret
}

// pulse is what the hub heard from a member: how far apart renewals of its lease were, and whether it was ever missed.
type pulse struct {
	mu     sync.Mutex
	last   time.Time
	widest time.Duration
	beats  int
	missed []string
}

// feel watches a member's lease and verdict until the story ends.
func (w *world) feel(member string) *pulse {
	w.Helper()
	p := &pulse{}
	leases, err := w.hub.Watch(w.Context(), &coordinationv1.LeaseList{}, client.InNamespace(member))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(leases.Stop)
	clusters, err := w.hub.Watch(w.Context(), &clusterv1.ManagedClusterList{}, client.MatchingFields{"metadata.name": member})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(clusters.Stop)
	go func() {
		for e := range leases.ResultChan() {
			if l, ok := e.Object.(*coordinationv1.Lease); ok && l.Name == "managed-cluster-lease" && l.Spec.RenewTime != nil {
				p.beat(l.Spec.RenewTime.Time)
			}
		}
	}()
	go func() {
		for e := range clusters.ResultChan() {
			if c, ok := e.Object.(*clusterv1.ManagedCluster); ok {
				p.verdict(c)
			}
		}
	}()
	return p
}

func (p *pulse) beat(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() && at.After(p.last) {
		p.widest = max(p.widest, at.Sub(p.last))
		p.beats++
	}
	p.last = at
}

// felt is how many beats there were.
func (p *pulse) felt() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.beats
}

func (p *pulse) verdict(c *clusterv1.ManagedCluster) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range c.Status.Conditions {
		if s.Type == clusterv1.ManagedClusterConditionAvailable && s.Status != metav1.ConditionTrue {
			p.missed = append(p.missed, fmt.Sprintf("%s: %s", s.Status, s.Message))
		}
	}
}

// shortLife is what certificates are issued for while the story of their renewal is told. The signer dates them back by
// five minutes, so that with a hundred seconds or less they would be due as soon as they are issued.
const shortLife = 110 * time.Second

// rotates renews a member's certificate again and again while work arrives every second.
func (w *world) rotates() {
	const period = 5
	steady := w.web(3, func(d *appsv1alpha1.FederatedDeployment) { d.Name = "steady"; relabel(d, "steady") })
	busy := w.web(4)
	for _, d := range []*appsv1alpha1.FederatedDeployment{steady, busy} {
		w.apply(d)
	}
	w.ready(steady)
	w.ready(busy)
	w.beatsEvery(west, period)
	// A lease that was to be renewed once a minute is late at once, and a busy hub may say so after the first beat. That is
	// not what is told here.
	for range 2 {
		since := time.Now()
		w.until("west beats", func() string { return w.beatSince(west, since) })
	}
	w.says(west, clusterv1.ManagedClusterConditionAvailable, metav1.ConditionTrue)
	before := w.podsOf(west, "steady")
	heard, works := w.feel(west), w.watchWorks(west)
	hub := w.Fleet.Cluster(system.HubCluster)
	if err := hub.RestartControllers(w.Context(), "--cluster-signing-duration="+shortLife.String()); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := hub.RestartControllers(context.Background()); err != nil {
			w.Error(err)
		}
	})
	seen := []credential{w.credential(west)}
	w.touchCredentials(west) // makes the agent renew now what is good for a year

	began := time.Now()
	for len(seen) < 4 || heard.felt() < 3 { // renewals may come so fast that hardly a beat falls between them
		w.change(busy, func(d *appsv1alpha1.FederatedDeployment) { d.Spec.Replicas = new(8 - *d.Spec.Replicas%5) })
		if c := w.credential(west); !bytes.Equal(c.cert, seen[len(seen)-1].cert) {
			w.Logf("%5.1fs certificate %d is good until %s", time.Since(began).Seconds(), len(seen), c.leaf.NotAfter.Format(time.TimeOnly))
			seen = append(seen, c)
		}
		if time.Since(began) > patience {
			w.Fatalf("the certificate was renewed %d times in %s, want 3", len(seen)-1, patience)
		}
		w.second()
	}
	w.ready(busy)
	w.onlyOne(west, seen)
	w.usedTheirOwn(west, seen)
	if differs := same(before, w.podsOf(west, "steady")); differs != "" {
		w.Errorf("pods that nobody scaled changed:\n%s", differs)
	}
	if lost := works.lost(); len(lost) > 0 {
		w.Errorf("works were lost: %v", lost)
	}
	heard.mu.Lock()
	defer heard.mu.Unlock()
	w.Logf("%d beats, the widest gap was %s", heard.beats, heard.widest.Round(time.Millisecond))
	if len(heard.missed) > 0 || heard.widest > 5*period*time.Second {
		w.Errorf("the hub missed the member: %v; %d beats, widest gap %s", heard.missed, heard.beats, heard.widest)
	}
}

// relabel gives a FederatedDeployment pods of its own.
func relabel(d *appsv1alpha1.FederatedDeployment, app string) {
	labels := map[string]string{"app": app}
	d.Spec.Selector.MatchLabels = labels
	d.Spec.Template.CloneSetTemplate.Labels = labels
	d.Spec.Template.CloneSetTemplate.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.CloneSetTemplate.Spec.Template.Labels = labels
}

func (w *world) podsOf(member, app string) map[string]string {
	w.Helper()
	all := map[string]string{}
	for _, p := range w.pods(member) {
		if p.Labels["app"] == app {
			all["Pod "+p.Name] = fmt.Sprintf("%s ready %v", p.UID, isReady(&p))
		}
	}
	return all
}

// second waits for the next moment to put load on.
func (w *world) second() {
	select {
	case <-w.Context().Done():
	case <-time.After(time.Second):
	}
}

// beatsEvery has a member renew its lease that often until the story ends.
func (w *world) beatsEvery(member string, seconds int) {
	w.Helper()
	set := func(n int) {
		_, err := w.Kubectl(context.Background(), system.HubCluster, "patch", "managedcluster", member, "--type=merge",
			"-p", fmt.Sprintf(`{"spec":{"leaseDurationSeconds":%d}}`, n))
		if err != nil {
			w.Error(err)
		}
	}
	set(seconds)
	w.Cleanup(func() { set(60) })
}

// beatSince says so if a member has not renewed its lease since then.
func (w *world) beatSince(member string, since time.Time) string {
	w.Helper()
	lease := &coordinationv1.Lease{}
	if err := w.hub.Get(w.Context(), client.ObjectKey{Namespace: member, Name: "managed-cluster-lease"}, lease); err != nil {
		return err.Error()
	}
	if lease.Spec.RenewTime == nil || lease.Spec.RenewTime.Time.Before(since) {
		return fmt.Sprintf("its lease was renewed at %v", lease.Spec.RenewTime)
	}
	return ""
}

// touchCredentials changes the stored kubeconfig in a comment: it is no longer what the agent would write. OCM-6.1
func (w *world) touchCredentials(member string) {
	w.Helper()
	secret := w.credentialSecret(member)
	before := secret.DeepCopy()
	secret.Data["kubeconfig"] = append(slices.Clone(secret.Data["kubeconfig"]), "# touched\n"...)
	if err := w.member(member).Patch(w.Context(), secret, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
}

// onlyOne waits until nothing is left of the keys before the last one, on the member and in the agent's folder. The agent
// may be renewing meanwhile, so what is read half-way is read again.
func (w *world) onlyOne(member string, seen []credential) {
	w.Helper()
	w.until("the last key is the only one", func() string {
		last, places := w.credential(member), map[string][]byte{}
		folder := filepath.Dir(w.HubCredentials(member))
		files, err := os.ReadDir(folder)
		for _, f := range files {
			if err == nil {
				places[f.Name()], err = os.ReadFile(filepath.Join(folder, f.Name()))
			}
		}
		if err != nil {
			return err.Error()
		}
		for key, value := range w.credentialSecret(member).Data {
			places["secret, "+key] = value
		}
		if !bytes.Equal(places["tls.key"], last.key) {
			return "the key in the folder is not that of the secret"
		}
		for i, old := range seen {
			for place, content := range places {
				if !bytes.Equal(old.key, last.key) && bytes.Contains(content, bytes.TrimSpace(old.key)) {
					return fmt.Sprintf("key %d is still in %s", i, place)
				}
			}
		}
		return ""
	})
}

// usedTheirOwn: each new certificate was asked for with the one before it, by the hub's own record. Who looks once a second
// may have missed one, so the record is followed back from the last to the first.
func (w *world) usedTheirOwn(member string, seen []credential) {
	w.Helper()
	var requests certificatesv1.CertificateSigningRequestList
	if err := w.hub.List(w.Context(), &requests, client.MatchingLabels{clusterv1.ClusterNameLabelKey: member}); err != nil {
		w.Fatal(err)
	}
	with := map[string]string{} // id of a certificate, to that of the one it was asked for with
	for _, r := range requests.Items {
		if cert := certificate(r.Status.Certificate); cert != nil {
			with[credential{leaf: cert}.id()] = strings.Join(r.Spec.Extra["authentication.kubernetes.io/credential-id"], ",")
		}
	}
	first, at := seen[0].id(), seen[len(seen)-1].id()
	for range len(with) {
		if at = with[at]; at == first {
			return
		}
	}
	w.Errorf("the last certificate does not go back to the first, %s, each asked for with the one before it: %v", first, with)
}

func certificate(raw []byte) *x509.Certificate {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert
}

// losses are the works of a member that were deleted.
type losses struct {
	mu   sync.Mutex
	gone []string
}

func (l *losses) lost() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.gone)
}

func (w *world) watchWorks(member string) *losses {
	w.Helper()
	events, err := w.hub.Watch(w.Context(), &workv1.ManifestWorkList{}, client.InNamespace(member))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(events.Stop)
	l := &losses{}
	go func() {
		for e := range events.ResultChan() {
			if work, ok := e.Object.(*workv1.ManifestWork); ok && !work.DeletionTimestamp.IsZero() {
				l.mu.Lock()
				l.gone = append(l.gone, work.Name)
				l.mu.Unlock()
			}
		}
	}()
	return l
}

// detachesTheLiving lets a cluster go whose agent is there.
func (w *world) detachesTheLiving() {
	d := w.web(6)
	w.apply(d)
	w.ready(d)
	before := w.put(west)
	w.flotilla("detach", west, "--reason", "the site moves")
	w.detached(west, "the site moves")
	if differs := same(before, w.put(west), "CloneSet", "Pod", "ConfigMap"); differs != "" {
		w.Errorf("detaching changed what runs:\n%s", differs)
	}
	if records := w.records(west); len(records) > 0 {
		w.Errorf("%d records of works are left", len(records))
	}

	// Its agent goes on as what it is without a hub: it keeps what runs there alive, and takes nothing away after a restart.
	if err := w.KillAgent(w.Context(), west); err != nil {
		w.Fatal(err)
	}
	if err := w.StartAgent(w.Context(), west); err != nil {
		w.Fatal(err)
	}
	victim := podOf(w.pods(west), "zone-c")
	if err := w.west.Delete(w.Context(), victim); err != nil {
		w.Fatal(err)
	}
	w.until("west heals itself", func() string {
		if pods := w.pods(west); len(pods) != 3 || readyOf(pods) != 3 || slices.Contains(uids(pods), victim.UID) {
			return fmt.Sprintf("%d of %d pods are ready", readyOf(pods), len(pods))
		}
		return ""
	})
	if differs := same(before, w.put(west), "CloneSet", "ConfigMap"); differs != "" {
		w.Errorf("the agent of a cluster without a hub changed:\n%s", differs)
	}
}

// detached: the cluster is gone from the hub with its works and its rights, and who did it and why is written where it stays.
func (w *world) detached(cluster, why string) {
	w.Helper()
	if c := w.cluster(cluster); c != nil {
		w.Errorf("ManagedCluster %s is still there, with finalizers %v", cluster, c.Finalizers)
	}
	var works workv1.ManifestWorkList
	if err := w.hub.List(w.Context(), &works, client.InNamespace(cluster)); err != nil || len(works.Items) > 0 {
		w.Errorf("%d works are left, %v", len(works.Items), err)
	}
	var home corev1.Namespace
	if err := w.hub.Get(w.Context(), client.ObjectKey{Name: cluster}, &home); err != nil {
		w.Fatal(err)
	}
	record := home.Annotations["flotilla.dev/detached"]
	w.Logf("the record on namespace %s: %s", cluster, record)
	if who := w.whoAmI(); !strings.Contains(record, why) || !strings.HasPrefix(record, who+" ") {
		w.Errorf("the record %q does not say that %s did it because %s", record, who, why)
	}
	for what, args := range map[string][]string{
		"its cluster": {"get", "managedcluster", cluster},
		"works":       {"get", "manifestworks", "-n", cluster},
		"its lease":   {"get", "lease", "managed-cluster-lease", "-n", cluster},
	} {
		if w.may(cluster, args...) {
			w.Errorf("the credentials of %s still show %s", cluster, what)
		}
	}
}

// whoAmI is the stories' administrator as the hub knows him.
func (w *world) whoAmI() string {
	w.Helper()
	return strings.TrimSpace(w.onHub("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"))
}

// detachesTheDead lets a cluster go that nobody hears from, and then it comes back.
func (w *world) detachesTheDead() {
	d := w.web(4, func(d *appsv1alpha1.FederatedDeployment) { d.Spec.Topology.Subsets = d.Spec.Topology.Subsets[:2] })
	w.apply(d)
	w.ready(d)
	before := w.put(east)
	w.quickSilence(east)
	w.wires[east].Cut()
	w.Cleanup(w.wires[east].Mend)
	w.says(east, clusterv1.ManagedClusterConditionAvailable, metav1.ConditionUnknown)
	w.anHourLater(east)
	w.flotilla("detach", east, "--reason", "the site burnt down")

	talked := w.wires[east].Passed()
	w.wires[east].Mend()
	w.until("the agent that is back has heard from the hub", func() string {
		if n := w.wires[east].Passed() - talked; n < 10_000 {
			return fmt.Sprintf("%d bytes have passed", n)
		}
		return ""
	})
	w.detached(east, "the site burnt down")
	w.stays("a cluster that comes back removes nothing", func() string { return same(before, w.put(east), "CloneSet", "Pod", "ConfigMap") })
}

// anHourLater moves back since when a cluster is missed: the hub waits for minutes before it gives one up for dead. No
// connection of before is left by then.
func (w *world) anHourLater(cluster string) {
	w.Helper()
	w.wires[cluster].Drop()
	w.until("an hour has passed", func() string {
		c := w.cluster(cluster)
		before := c.DeepCopy()
		for i := range c.Status.Conditions {
			if s := &c.Status.Conditions[i]; s.Type == clusterv1.ManagedClusterConditionAvailable {
				s.LastTransitionTime = metav1.NewTime(time.Now().Add(-time.Hour))
			}
		}
		if err := w.hub.Status().Patch(w.Context(), c, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return err.Error()
		}
		return ""
	})
}
