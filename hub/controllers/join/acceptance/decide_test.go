package acceptance

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// cluster is "east", which nobody has decided about, unless the case says more.
func cluster(change ...func(*clusterv1.ManagedCluster)) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east", UID: "east-1"}}
	for _, change := range change {
		change(c)
	}
	return c
}

func wants(c *clusterv1.ManagedCluster) { c.Spec.HubAcceptsClient = true }
func holds(c *clusterv1.ManagedCluster) { c.Finalizers = []string{clusterv1.ManagedClusterFinalizer} }
func goes(c *clusterv1.ManagedCluster)  { c.DeletionTimestamp = &metav1.Time{Time: noon} }
func called(name string) func(*clusterv1.ManagedCluster) {
	return func(c *clusterv1.ManagedCluster) { c.Name = name }
}
func says(v *metav1.Condition) func(*clusterv1.ManagedCluster) {
	return func(c *clusterv1.ManagedCluster) { meta.SetStatusCondition(&c.Status.Conditions, *v) }
}

// everything is what an accepted east has, changed by the case.
func everything(change ...func(map[ref]client.Object)) facts {
	seen := facts{have: map[ref]client.Object{}}
	for _, o := range wanted("east") {
		seen.have[refOf(o)] = o
	}
	for _, change := range change {
		change(seen.have)
	}
	return seen
}

func without(o client.Object) func(map[ref]client.Object) {
	return func(have map[ref]client.Object) { delete(have, refOf(o)) }
}

func with(o client.Object) func(map[ref]client.Object) {
	return func(have map[ref]client.Object) { have[refOf(o)] = o }
}

func going(o client.Object) func(map[ref]client.Object) {
	o.SetDeletionTimestamp(&metav1.Time{Time: noon})
	return with(o)
}

func holdingWorks(f facts) facts { f.works = true; return f }
func lastOne(f facts) facts      { f.last = true; return f }

// did is a plan in words.
type did struct {
	Accept, Finalize, LetGo bool
	Apply, Remove           []string
	Verdict                 string
}

func words(p plan) did {
	d := did{Accept: !p.accept.IsZero(), Finalize: p.addFinalizer, LetGo: p.dropFinal}
	for _, o := range p.apply {
		d.Apply = append(d.Apply, word(o))
	}
	for _, o := range p.remove {
		d.Remove = append(d.Remove, word(o))
	}
	if p.verdict != nil {
		d.Verdict = string(p.verdict.Status) + " " + p.verdict.Reason
	}
	return d
}

func word(o client.Object) string {
	short := map[string]string{
		registrationRole: "shared registration", workRole: "shared work", registrationName("east"): "registration", workName("east"): "work",
	}
	if name := short[o.GetName()]; name != "" {
		return name
	}
	return o.GetObjectKind().GroupVersionKind().Kind
}

func TestDecide(t *testing.T) {
	all := []string{"Namespace", "shared registration", "shared work", "ClusterRole", "ClusterRoleBinding", "registration", "work"}
	const yes, no, bad = "True HubClusterAdminAccepted", "False HubClusterAdminDenied", "False Error"
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		seen    facts
		auto    bool
		want    did
	}{
		// OCM-3.8, first trap
		"never accepted: nothing, not even a condition": {cluster: cluster()},
		// OCM-3.6
		"the finalizer comes before anything else":    {cluster: cluster(wants), want: did{Finalize: true}},
		"accepted: everything is made":                {cluster: cluster(wants, holds), want: did{Apply: all, Verdict: yes}},
		"everything is there: nothing is written":     {cluster: cluster(wants, holds, says(accepted())), seen: everything(), want: did{Verdict: yes}},
		"a role that was edited is put right":         {cluster: cluster(wants, holds), seen: everything(with(deniedRole("east"))), want: did{Apply: []string{"ClusterRole"}, Verdict: yes}},
		"a binding that lost a group is put right":    {cluster: cluster(wants, holds), seen: everything(with(oneSubject())), want: did{Apply: []string{"registration"}, Verdict: yes}},
		"a work binding without finalizer gets it":    {cluster: cluster(wants, holds), seen: everything(with(binding(workName("east"), "east", workRole))), want: did{Apply: []string{"work"}, Verdict: yes}},
		"a namespace of that name is adopted":         {cluster: cluster(wants, holds), seen: everything(with(unlabelled())), want: did{Apply: []string{"Namespace"}, Verdict: yes}},
		"a namespace of another cluster is not taken": {cluster: cluster(wants), seen: everything(with(foreign())), want: did{Verdict: bad}},
		// OCM-7.2, last trap
		"a namespace deleted by hand comes back": {
			cluster: cluster(wants, holds, says(accepted())),
			seen:    everything(without(namespaceOf("east")), without(registrationBinding("east")), without(workBinding("east"))),
			want:    did{Apply: []string{"Namespace", "registration", "work"}, Verdict: yes},
		},
		"a namespace on its way out is waited for; the agent is not told off": {
			cluster: cluster(wants, holds, says(accepted())),
			seen:    holdingWorks(everything(going(namespaceOf("east")), without(registrationBinding("east")), going(workBinding("east")))),
			want:    did{Verdict: yes},
		},
		"its work binding is released with the last work": {
			cluster: cluster(wants, holds, says(accepted())),
			seen:    everything(going(namespaceOf("east")), without(registrationBinding("east")), going(workBinding("east"))),
			want:    did{Remove: []string{"work"}, Verdict: yes},
		},
		"nobody is let in while the namespace goes": {
			cluster: cluster(wants, holds), seen: everything(going(namespaceOf("east"))), want: did{Verdict: bad},
		},
		// DESIGN: a cluster cannot be called like a system namespace
		"kube-system":              {cluster: cluster(wants, called("kube-system")), want: did{Verdict: bad}},
		"default, accepted by all": {cluster: cluster(called("default")), auto: true},
		"the group of all":         {cluster: cluster(wants, called("managed-clusters")), want: did{Verdict: bad}},
		"refused, then denied":     {cluster: cluster(called("default"), says(failed("no"))), want: did{Verdict: no}},
		// OCM-3.4
		"accepted automatically, the first time":     {cluster: cluster(), auto: true, want: did{Accept: true}},
		"denied after that: the denial is respected": {cluster: cluster(autoAccepted), auto: true},
		"denied after an administrator accepted it":  {cluster: cluster(holds, says(denied())), auto: true, seen: everything(with(deniedRole("east")), without(registrationBinding("east")), without(workBinding("east"))), want: did{Verdict: no}},
		// OCM-7.1
		"denied": {
			cluster: cluster(holds, says(accepted())), seen: everything(),
			want: did{Apply: []string{"ClusterRole"}, Remove: []string{"registration", "work"}, Verdict: no},
		},
		"denied, with works left: the verdict waits for them": {
			cluster: cluster(holds, says(accepted())), seen: holdingWorks(everything()),
			want: did{Apply: []string{"ClusterRole"}, Remove: []string{"registration"}},
		},
		// OCM-7.2
		"deleted without ever having been accepted": {cluster: cluster(goes)},
		"deleted, with works left": {
			cluster: cluster(goes, holds, wants), seen: holdingWorks(everything()),
			want: did{Remove: []string{"registration", "ClusterRoleBinding", "ClusterRole"}},
		},
		"deleted": {
			cluster: cluster(goes, holds, wants), seen: everything(),
			want: did{Remove: []string{"registration", "ClusterRoleBinding", "ClusterRole", "work"}, LetGo: true},
		},
		"deleted, the last one": {
			cluster: cluster(goes, holds), seen: lastOne(everything(without(namespaceOf("east")), without(registrationBinding("east")), without(workBinding("east")))),
			want: did{Remove: []string{"ClusterRoleBinding", "ClusterRole", "shared registration", "shared work"}, LetGo: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, words(decide(tc.cluster, tc.seen, tc.auto, noon))); d != "" {
				t.Error(d)
			}
		})
	}
}

func oneSubject() client.Object {
	b := registrationBinding("east")
	b.Subjects = b.Subjects[:1]
	return b
}

func unlabelled() client.Object {
	ns := namespaceOf("east")
	ns.Labels = nil
	return ns
}

func foreign() client.Object {
	ns := namespaceOf("east")
	ns.Labels[clusterv1.ClusterNameLabelKey] = "west"
	return ns
}

func autoAccepted(c *clusterv1.ManagedCluster) {
	c.Annotations = map[string]string{AutoAcceptedAnnotation: noon.Format(time.RFC3339)}
}

// OCM-3.6: names, verbs and groups are matched on by other software and checked by agents (OCM-3.7).
func TestRightsAreThoseOfTheContract(t *testing.T) {
	flat := func(rules []rbacv1.PolicyRule) (all []string) {
		for _, r := range rules {
			for _, g := range r.APIGroups {
				for _, resource := range r.Resources {
					all = append(all, strings.TrimSpace(g+"/"+resource+" "+strings.Join(r.ResourceNames, ",")+": "+strings.Join(r.Verbs, ",")))
				}
			}
		}
		slices.Sort(all)
		return all
	}
	shared := sharedRoles()
	for name, tc := range map[string]struct {
		role client.Object
		want []string
	}{
		"open-cluster-management:managedcluster:east": {clusterRole("east"), []string{
			"certificates.k8s.io/certificatesigningrequests : create,get,list,watch",
			"cluster.open-cluster-management.io/managedclusters east: get,list,update,watch",
			"cluster.open-cluster-management.io/managedclusters/status east: patch,update",
			"register.open-cluster-management.io/managedclusters/clientcertificates : renew",
		}},
		"open-cluster-management:managedcluster:east (denied)": {deniedRole("east"), []string{
			"cluster.open-cluster-management.io/managedclusters east: get,list,watch",
		}},
		"open-cluster-management:managedcluster:registration": {shared[0], []string{
			"addon.open-cluster-management.io/managedclusteraddons : get,list,watch",
			"addon.open-cluster-management.io/managedclusteraddons/status : patch,update",
			"coordination.k8s.io/leases : get,list,watch,update",
			"events.k8s.io/events : create",
		}},
		"open-cluster-management:managedcluster:work": {shared[1], []string{
			"/events : create,patch,update",
			"events.k8s.io/events : create,patch,update",
			"work.open-cluster-management.io/manifestworks : get,list,watch,update,patch",
			"work.open-cluster-management.io/manifestworks/status : patch,update",
		}},
	} {
		if got := tc.role.GetName(); got != strings.TrimSuffix(name, " (denied)") {
			t.Errorf("role %s is called %s", name, got)
		}
		if d := cmp.Diff(tc.want, flat(tc.role.(*rbacv1.ClusterRole).Rules)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	groups := []string{"system:open-cluster-management:east", "open-cluster-management:east"}
	for i, s := range subjects("east") {
		if s.Kind != "Group" || s.Name != groups[i] {
			t.Errorf("subject %d is %+v", i, s)
		}
	}
	work, registration := workBinding("east"), registrationBinding("east")
	if work.Name != "open-cluster-management:managedcluster:east:work" || work.Namespace != "east" ||
		!slices.Equal(work.Finalizers, []string{"cluster.open-cluster-management.io/manifest-work-cleanup"}) {
		t.Errorf("%+v", work.ObjectMeta)
	}
	if registration.Name != "open-cluster-management:managedcluster:east:registration" || len(registration.Finalizers) != 0 {
		t.Errorf("%+v", registration.ObjectMeta)
	}
}

// OCM-3.8
func TestReport(t *testing.T) {
	forbidden := apierrors.NewForbidden(rbacv1.Resource("clusterroles"), "x", errors.New("escalation"))
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		plan    plan
		acted   error
		want    string
	}{
		"all went well":                        {cluster: cluster(wants), plan: plan{verdict: accepted()}, want: "True HubClusterAdminAccepted Accepted by hub cluster admin"},
		"denied":                               {cluster: cluster(says(accepted())), plan: plan{verdict: denied()}, want: "False HubClusterAdminDenied Denied by hub cluster admin"},
		"a right could not be granted":         {cluster: cluster(wants), plan: plan{verdict: accepted()}, acted: forbidden, want: "False Error " + forbidden.Error()},
		"a fault that passes says nothing new": {cluster: cluster(wants, says(accepted())), plan: plan{verdict: accepted()}, acted: errors.New("timeout"), want: "True HubClusterAdminAccepted Accepted by hub cluster admin"},
		"nothing is known yet":                 {cluster: cluster(wants), plan: plan{verdict: accepted()}, acted: errors.New("timeout")},
		"a denial that failed is no denial":    {cluster: cluster(says(accepted())), plan: plan{verdict: denied()}, acted: forbidden, want: "True HubClusterAdminAccepted Accepted by hub cluster admin"},
	} {
		t.Run(name, func(t *testing.T) {
			(&Steps{}).Report(tc.cluster, facts{}, tc.plan, tc.acted)
			got := ""
			if c := meta.FindStatusCondition(tc.cluster.Status.Conditions, "HubAcceptedManagedCluster"); c != nil {
				got = strings.Join([]string{string(c.Status), c.Reason, c.Message}, " ")
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
