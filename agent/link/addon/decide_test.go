package addon

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"open-cluster-management.io/api/addon/v1alpha1"
	"open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/register"
)

var (
	noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	east = register.Identity{Cluster: "east", Agent: "a1"}
)

const kubeSigner = "kubernetes.io/kube-apiserver-client"

// alpha is an add-on called logs that asks for registrations.
func alpha(registrations ...v1alpha1.RegistrationConfig) *v1alpha1.ManagedClusterAddOn {
	return &v1alpha1.ManagedClusterAddOn{
		ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "logs", UID: "u1"},
		Status:     v1alpha1.ManagedClusterAddOnStatus{Registrations: registrations},
	}
}

func kube() v1alpha1.RegistrationConfig { return v1alpha1.RegistrationConfig{SignerName: kubeSigner} }

func TestBothVersionsSayTheSame(t *testing.T) { // OCM-1.3, OCM-19.4
	old := alpha(
		v1alpha1.RegistrationConfig{SignerName: kubeSigner, Subject: v1alpha1.Subject{User: "u", Groups: []string{"g"}}},
		v1alpha1.RegistrationConfig{SignerName: "example.com/s", Subject: v1alpha1.Subject{User: "v", OrganizationUnits: []string{"ou"}}},
	)
	old.Status.Namespace, old.Status.KubeClientDriver = "tools", "csr"
	old.Status.HealthCheck.Mode = v1alpha1.HealthCheckModeCustomized
	fresh := &v1beta1.ManagedClusterAddOn{ObjectMeta: old.ObjectMeta, Status: v1beta1.ManagedClusterAddOnStatus{
		Namespace: "tools", HealthCheck: v1beta1.HealthCheck{Mode: v1beta1.HealthCheckModeCustomized},
		Registrations: []v1beta1.RegistrationConfig{
			{Type: v1beta1.KubeClient, KubeClient: &v1beta1.KubeClientConfig{Driver: "csr",
				Subject: v1beta1.KubeClientSubject{BaseSubject: v1beta1.BaseSubject{User: "u", Groups: []string{"g"}}}}},
			{Type: v1beta1.CustomSigner, CustomSigner: &v1beta1.CustomSignerConfig{SignerName: "example.com/s",
				Subject: v1beta1.Subject{BaseSubject: v1beta1.BaseSubject{User: "v"}, OrganizationUnits: []string{"ou"}}}},
		},
	}}
	a, b := read(old), read(fresh)
	a.object, b.object = nil, nil
	if d := cmp.Diff(a, b, cmp.AllowUnexported(installation{}, registration{})); d != "" {
		t.Error(d)
	}
}

func TestTheNamespaceIsFoundInOrder(t *testing.T) { // OCM-19.4
	noted := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Annotations: map[string]string{"addon.open-cluster-management.io/v1alpha1-install-namespace": name}}
	}
	for want, o := range map[string]client.Object{
		"status": &v1alpha1.ManagedClusterAddOn{Spec: v1alpha1.ManagedClusterAddOnSpec{InstallNamespace: "spec"},
			Status: v1alpha1.ManagedClusterAddOnStatus{Namespace: "status"}},
		"spec":                                &v1alpha1.ManagedClusterAddOn{Spec: v1alpha1.ManagedClusterAddOnSpec{InstallNamespace: "spec"}},
		"annotated":                           &v1alpha1.ManagedClusterAddOn{ObjectMeta: noted("annotated"), Spec: v1alpha1.ManagedClusterAddOnSpec{InstallNamespace: defaultNamespace}},
		"noted":                               &v1beta1.ManagedClusterAddOn{ObjectMeta: noted("noted")},
		"open-cluster-management-agent-addon": &v1beta1.ManagedClusterAddOn{},
	} {
		if got := read(o).namespace; got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

func TestCredentials(t *testing.T) { // OCM-19.4
	const group = "system:open-cluster-management:cluster:east:addon:logs"
	secret := func(name string) types.NamespacedName {
		return types.NamespacedName{Namespace: defaultNamespace, Name: name}
	}
	for name, tc := range map[string]struct {
		driver string
		asked  v1alpha1.RegistrationConfig
		want   credential
	}{
		"defaults": {driver: "csr", asked: kube(), want: credential{
			addOn: "logs", secret: secret("logs-hub-kubeconfig"), kube: true, signer: kubeSigner,
			user: group + ":agent:a1", groups: []string{group, "system:open-cluster-management:addon:logs"},
		}},
		"as asked": {driver: "csr", asked: v1alpha1.RegistrationConfig{SignerName: kubeSigner, Subject: v1alpha1.Subject{User: "u", Groups: []string{"g"}}}, want: credential{
			addOn: "logs", secret: secret("logs-hub-kubeconfig"), kube: true, signer: kubeSigner, user: "u", groups: []string{"g"},
		}},
		"a token was wanted before": {driver: "csr", asked: v1alpha1.RegistrationConfig{SignerName: kubeSigner, Subject: v1alpha1.Subject{User: "system:serviceaccount:east:logs-agent"}}, want: credential{
			addOn: "logs", secret: secret("logs-hub-kubeconfig"), kube: true, signer: kubeSigner,
			user: group + ":agent:a1", groups: []string{group, "system:open-cluster-management:addon:logs"},
		}},
		"custom signer": {driver: "token", asked: v1alpha1.RegistrationConfig{SignerName: "example.com/a/b"}, want: credential{
			addOn: "logs", secret: secret("logs-example.com-a-b-client-cert"), signer: "example.com/a/b", user: group + ":agent:a1",
		}},
		"token": {driver: "token", asked: kube(), want: credential{
			addOn: "logs", secret: secret("logs-hub-kubeconfig"), kube: true, token: true, signer: kubeSigner,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := credentials("logs", read(alpha(tc.asked, tc.asked)), east, tc.driver)
			if d := cmp.Diff([]credential{tc.want}, got, cmp.AllowUnexported(credential{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestARequestHasTheContractsContents(t *testing.T) { // OCM-19.4
	c := credentials("logs", read(alpha(kube())), east, driverCSR)[0]
	csr, _, err := c.request("east", 0).New()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"open-cluster-management.io/cluster-name": "east", "open-cluster-management.io/addon-name": "logs"}
	if d := cmp.Diff(labels, csr.Labels); d != "" || csr.GenerateName != "addon-east-logs-" || csr.Spec.SignerName != kubeSigner {
		t.Errorf("%s, %s: %s", csr.GenerateName, csr.Spec.SignerName, d)
	}
	if names := c.request("east", 0).DNSNames; len(names) != 1 || names[0] != "logs.addon.open-cluster-management.io" {
		t.Errorf("DNS names %q", names)
	}
}

func leaseOf(age time.Duration) *coordinationv1.Lease {
	return &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: noon.Add(-age)}}}
}

func TestHealth(t *testing.T) { // OCM-19.6
	for name, tc := range map[string]struct {
		lease  *coordinationv1.Lease
		status metav1.ConditionStatus
		reason string
		left   time.Duration
	}{
		"no lease":      {nil, "Unknown", "ManagedClusterAddOnLeaseNotFound", 0},
		"fresh":         {leaseOf(time.Minute), "True", "ManagedClusterAddOnLeaseUpdated", 4 * time.Minute},
		"just in time":  {leaseOf(5*time.Minute - time.Second), "True", "ManagedClusterAddOnLeaseUpdated", time.Second},
		"too old":       {leaseOf(5 * time.Minute), "False", "ManagedClusterAddOnLeaseUpdateStopped", 0},
		"never renewed": {&coordinationv1.Lease{}, "False", "ManagedClusterAddOnLeaseUpdateStopped", 0},
		"clocks differ": {leaseOf(-time.Hour), "True", "ManagedClusterAddOnLeaseUpdated", 65 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			c, left := health("logs", "tools", tc.lease, noon)
			if c.Type != "Available" || c.Status != tc.status || c.Reason != tc.reason || left != tc.left || c.Message == "" {
				t.Errorf("%+v, for %s", c, left)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	o := Options{Driver: driverCSR}.complete()
	kubeSecret := types.NamespacedName{Namespace: defaultNamespace, Name: "logs-hub-kubeconfig"}
	other := types.NamespacedName{Namespace: "tools", Name: "logs-hub-kubeconfig"}
	deleting := alpha(kube())
	deleting.DeletionTimestamp = &metav1.Time{Time: noon}
	declared := alpha(kube())
	declared.Status.KubeClientDriver = driverCSR
	for name, tc := range map[string]struct {
		seen    facts
		wanted  int
		keep    bool
		remove  []types.NamespacedName
		written bool
		beat    bool
	}{
		"gone":                  {seen: facts{made: []types.NamespacedName{kubeSecret, other}}, remove: []types.NamespacedName{kubeSecret, other}},
		"never there":           {},
		"new":                   {seen: facts{there: read(alpha(kube()))}, wanted: 1, written: true},
		"nothing new":           {seen: facts{there: read(declared), made: []types.NamespacedName{kubeSecret}}, wanted: 1},
		"no place for a driver": {seen: facts{there: read(alpha(kube())), keepless: true}, wanted: 1},
		"moved":                 {seen: facts{there: read(declared), made: []types.NamespacedName{kubeSecret, other}}, wanted: 1, remove: []types.NamespacedName{other}},
		"wants none any more":   {seen: facts{there: read(alpha()), made: []types.NamespacedName{kubeSecret}}, remove: []types.NamespacedName{kubeSecret}},
		"deleting":              {seen: facts{there: read(deleting), made: []types.NamespacedName{kubeSecret, other}}, keep: true},
		"looked at":             {seen: facts{there: read(declared), look: true}, wanted: 1, written: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := decide("logs", tc.seen, east, o, noon)
			if len(p.wanted) != tc.wanted || p.keep != tc.keep || p.beat != tc.beat || (p.after != nil) != tc.written {
				t.Errorf("%+v", p)
			}
			if d := cmp.Diff(tc.remove, p.remove, cmp.Comparer(func(a, b []types.NamespacedName) bool { return fmt.Sprint(a) == fmt.Sprint(b) })); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTheWorkloadManagerIsRenewedOnlyWhereItRuns(t *testing.T) { // OCM-19.6
	own := alpha()
	own.Name = WorkloadManager
	for workloads, want := range map[bool]bool{true: true, false: false} {
		o := Options{Workloads: workloads}.complete()
		if p := decide(WorkloadManager, facts{there: read(own), look: true}, east, o, noon); p.beat != want {
			t.Errorf("workloads %v: renewed %v", workloads, p.beat)
		}
		if p := decide("logs", facts{there: read(alpha()), look: true}, east, o, noon); p.beat {
			t.Error("the lease of another's add-on is renewed")
		}
	}
}

func TestOnlyOurConditionsAreWritten(t *testing.T) { // OCM-19.6
	a := alpha()
	a.Status.Conditions = []metav1.Condition{{Type: "Configured", Status: "True"}, {Type: "Available", Status: "Unknown", Reason: "ManagedClusterLeaseUpdateStopped"}}
	p := decide("logs", facts{there: read(a), look: true, lease: leaseOf(0)}, east, Options{}.complete(), noon)
	got := *conditionsOf(p.after)
	if len(got) != 2 || got[0] != a.Status.Conditions[0] || !meta.IsStatusConditionTrue(got, "Available") {
		t.Errorf("%+v", got)
	}
	a.Status.HealthCheck.Mode = v1alpha1.HealthCheckModeCustomized
	if p := decide("logs", facts{there: read(a)}, east, Options{}.complete(), noon); p.after != nil || p.again != 0 {
		t.Errorf("the health of an add-on that the hub judges: %+v", p)
	}
}

func TestATokenNamesItsAccountInBothVersions(t *testing.T) { // OCM-19.4
	const user = "system:serviceaccount:east:logs-agent"
	beta := &v1beta1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Name: "logs"}}
	beta.Status.Registrations = []v1beta1.RegistrationConfig{{Type: v1beta1.KubeClient}, {Type: v1beta1.CustomSigner, CustomSigner: &v1beta1.CustomSignerConfig{SignerName: "example.com/s"}}}
	for _, o := range []client.Object{alpha(kube(), v1alpha1.RegistrationConfig{SignerName: "example.com/s"}), beta} {
		p := decide("logs", facts{there: read(o)}, east, Options{Driver: driverToken}.complete(), noon)
		if p.after == nil {
			t.Fatalf("%T: nothing is declared", o)
		}
		got := read(p.after)
		if got.driver != "token" || got.registrations[0].user != user || got.registrations[1].user != "" {
			t.Errorf("%T: %+v", o, got)
		}
		if again := decide("logs", facts{there: got}, east, Options{Driver: driverToken}.complete(), noon); again.after != nil {
			t.Errorf("%T: declared twice", o)
		}
	}
}

func TestTheAccountIsReadFromTheHubsWord(t *testing.T) { // OCM-19.4
	ready := func(status metav1.ConditionStatus, message string) []metav1.Condition {
		return []metav1.Condition{{Type: "TokenInfrastructureReady", Status: status, Message: message}}
	}
	for want, conditions := range map[string][]metav1.Condition{
		"":    nil,
		"u-1": ready("True", "ServiceAccount east/logs-agent is ready (UID: u-1)"),
	} {
		if got := accountUID(conditions); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	for _, conditions := range [][]metav1.Condition{ready("False", "(UID: u-1)"), ready("True", "ready"), ready("True", "(UID: u-1")} {
		if got := accountUID(conditions); got != "" {
			t.Errorf("%q from %v", got, conditions)
		}
	}
}

// token is one that nobody signed: what it says is all that is read.
func token(uid string, issued, expires time.Time) []byte {
	claims := fmt.Sprintf(`{"iat":%d,"exp":%d,"kubernetes.io":{"serviceaccount":{"uid":%q}}}`, issued.Unix(), expires.Unix(), uid)
	return []byte("e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln")
}

func TestATokenIsRenewedWhenAFifthOfItsLifeIsLeft(t *testing.T) { // OCM-19.4
	for name, tc := range map[string]struct {
		token []byte
		due   bool
	}{
		"none":            {nil, true},
		"garbage":         {[]byte("a.b.c"), true},
		"fresh":           {token("u1", noon, noon.Add(time.Hour)), false},
		"a bit more":      {token("u1", noon.Add(-47*time.Minute), noon.Add(13*time.Minute)), false},
		"a fifth":         {token("u1", noon.Add(-48*time.Minute), noon.Add(12*time.Minute)), true},
		"over":            {token("u1", noon.Add(-time.Hour), noon.Add(-time.Second)), true},
		"another account": {token("u2", noon, noon.Add(time.Hour)), true},
		"no life":         {token("u1", noon, noon), true},
	} {
		if why := tokenDue(tc.token, "u1", noon); (why != "") != tc.due {
			t.Errorf("%s: %q", name, why)
		}
	}
}

func TestAnOutcomeNeverShowsATokenOrKey(t *testing.T) {
	c := refreshed([]byte("secret.secret.secret"), nil)
	if c.Status != metav1.ConditionFalse || c.Reason != "TokenCreationFailed" || c.Message != "token does not say how long it lives" {
		t.Errorf("%+v", c)
	}
	if c := refreshed(token("u1", noon, noon.Add(time.Hour)), nil); c.Status != metav1.ConditionTrue || c.Message != "Addon token refreshed, expires at 2026-01-01T13:00:00Z" {
		t.Errorf("%+v", c)
	}
}
