package standing

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
)

func logs(change ...func(*installation)) *installation {
	a := &installation{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "logs"}}
	for _, c := range change {
		c(a)
	}
	return a
}

func has(kind string, status metav1.ConditionStatus, reason string) func(*installation) {
	return func(a *installation) {
		meta.SetStatusCondition(&a.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason})
	}
}

var configured = has("Configured", metav1.ConditionTrue, "x")

// refers has a template as its configuration.
func refers(hash string) func(*installation) {
	return func(a *installation) {
		a.Status.ConfigReferences = []addonv1alpha1.ConfigReference{{ConfigGroupResource: config.Templates, DesiredConfig: &addonv1alpha1.ConfigSpecHash{ConfigReferent: addonv1alpha1.ConfigReferent{Name: "t"}, SpecHash: hash}}}
	}
}
func customized(a *installation) { a.Status.HealthCheck.Mode = addonv1alpha1.HealthCheckModeCustomized }
func leaving(a *installation)    { a.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }

func offer(change ...func(*addonv1alpha1.ClusterManagementAddOn)) *addonv1alpha1.ClusterManagementAddOn {
	o := &addonv1alpha1.ClusterManagementAddOn{ObjectMeta: metav1.ObjectMeta{Name: "logs", Annotations: map[string]string{}}}
	o.Spec.SupportedConfigs = []addonv1alpha1.ConfigMeta{{ConfigGroupResource: config.Templates}}
	for _, c := range change {
		c(o)
	}
	return o
}
func selfDriven(o *addonv1alpha1.ClusterManagementAddOn) {
	o.Annotations["addon.open-cluster-management.io/lifecycle"] = "self"
}
func plain(o *addonv1alpha1.ClusterManagementAddOn) { o.Spec.SupportedConfigs = nil }

func cluster(status metav1.ConditionStatus) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}}
	c.Status.Conditions = []metav1.Condition{{Type: "ManagedClusterConditionAvailable", Status: status, Reason: "ManagedClusterLeaseUpdateStopped", Message: "Registration agent stopped updating its lease."}}
	return c
}

// work deploys the template of that hash; its conditions are "Applied=True" and the like.
func work(hash string, conditions ...string) workv1.ManifestWork {
	w := workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "addon-logs-deploy-0", Generation: 2, Labels: map[string]string{catalog.NameLabel: "logs"},
		Annotations: map[string]string{"open-cluster-management.io/config-spec-hash": `{"addontemplates.addon.open-cluster-management.io/t":"` + hash + `"}`}}}
	for _, c := range conditions {
		kind, status, _ := strings.Cut(c, "=")
		w.Status.Conditions = append(w.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), ObservedGeneration: 2, Message: "so it is."})
	}
	return w
}

func reports(w workv1.ManifestWork, kind string, values ...any) workv1.ManifestWork {
	m := workv1.ManifestCondition{ResourceMeta: workv1.ManifestResourceMeta{Group: "apps", Kind: kind, Namespace: "n", Name: "agent"}}
	for i := 0; i+1 < len(values); i += 2 {
		m.StatusFeedbacks.Values = append(m.StatusFeedbacks.Values, workv1.FeedbackValue{Name: values[i].(string), Value: workv1.FieldValue{Type: workv1.Integer, Integer: new(int64(values[i+1].(int)))}})
	}
	w.Status.ResourceStatus.Manifests = append(w.Status.ResourceStatus.Manifests, m)
	return w
}

func verdict(conditions []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason
}

// OCM-19.6
func TestAvailable(t *testing.T) {
	run := logs(refers("h"), configured, customized)
	applied := work("h", "Applied=True")
	for name, tc := range map[string]struct {
		addon *installation
		seen  facts
		want  string
	}{
		"the agent judges":                      {logs(has("Available", metav1.ConditionTrue, "ManagedClusterAddOnLeaseUpdated")), facts{cluster: cluster(metav1.ConditionTrue), offer: offer(plain)}, "True ManagedClusterAddOnLeaseUpdated"},
		"nobody has judged":                     {logs(), facts{cluster: cluster(metav1.ConditionTrue), offer: offer(plain)}, ""},
		"the cluster is silent":                 {logs(has("Available", metav1.ConditionTrue, "x")), facts{cluster: cluster(metav1.ConditionUnknown), offer: offer(plain)}, "Unknown ManagedClusterLeaseUpdateStopped"},
		"whoever drives the add-on":             {logs(), facts{cluster: cluster(metav1.ConditionUnknown), offer: offer(selfDriven)}, "Unknown ManagedClusterLeaseUpdateStopped"},
		"an add-on without an offer":            {logs(), facts{cluster: cluster(metav1.ConditionUnknown)}, "Unknown ManagedClusterLeaseUpdateStopped"},
		"the cluster is not available":          {logs(has("Available", metav1.ConditionTrue, "x")), facts{cluster: cluster(metav1.ConditionFalse)}, "True x"},
		"there is no cluster":                   {logs(has("Available", metav1.ConditionTrue, "x")), facts{offer: offer()}, "True x"},
		"one that leaves":                       {logs(leaving, has("Available", metav1.ConditionTrue, "x")), facts{cluster: cluster(metav1.ConditionUnknown)}, "True x"},
		"by template, nothing deployed":         {run, facts{offer: offer()}, "Unknown WorkNotFound"},
		"by template, not applied":              {run, facts{offer: offer(), works: []workv1.ManifestWork{work("h", "Applied=False")}}, "False WorkNotApplied"},
		"by template, no answer":                {run, facts{offer: offer(), works: []workv1.ManifestWork{work("h")}}, "False WorkNotApplied"},
		"by template, nothing to probe":         {run, facts{offer: offer(), works: []workv1.ManifestWork{applied}}, "True WorkApplied"},
		"by template, no report":                {run, facts{offer: offer(), works: []workv1.ManifestWork{reports(applied, "Deployment")}}, "Unknown NoProbeResult"},
		"by template, no pod is ready":          {run, facts{offer: offer(), works: []workv1.ManifestWork{reports(applied, "Deployment", "Replicas", 2)}}, "False ProbeUnavailable"},
		"by template, one is":                   {run, facts{offer: offer(), works: []workv1.ManifestWork{reports(applied, "Deployment", "Replicas", 2, "ReadyReplicas", 1)}}, "True ProbeAvailable"},
		"by template, none is wanted":           {run, facts{offer: offer(), works: []workv1.ManifestWork{reports(applied, "DaemonSet", "DesiredNumberScheduled", 0)}}, "True ProbeAvailable"},
		"by template, one of two":               {run, facts{offer: offer(), works: []workv1.ManifestWork{reports(reports(applied, "Deployment", "Replicas", 1, "ReadyReplicas", 1), "DaemonSet", "DesiredNumberScheduled", 1, "NumberReady", 0)}}, "False ProbeUnavailable"},
		"by template, judged by lease":          {logs(refers("h"), configured), facts{offer: offer(), works: []workv1.ManifestWork{applied}}, ""},
		"customized, by its own controller":     {logs(customized), facts{offer: offer(plain), works: []workv1.ManifestWork{applied}}, ""},
		"the silence of the cluster goes first": {run, facts{cluster: cluster(metav1.ConditionUnknown), offer: offer(), works: []workv1.ManifestWork{applied}}, "Unknown ManagedClusterLeaseUpdateStopped"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verdict(decide(tc.addon, tc.seen).status.Conditions, "Available"); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// OCM-19.3, OCM-19.6
func TestProgressing(t *testing.T) {
	addon := logs(refers("h"), configured)
	broken := work("h")
	broken.Annotations = map[string]string{"open-cluster-management.io/config-spec-hash": "?"}
	old := work("h", "Applied=True", "Available=True")
	old.Generation = 3
	one := func(w workv1.ManifestWork) []workv1.ManifestWork { return []workv1.ManifestWork{w} }
	for name, tc := range map[string]struct {
		addon   *installation
		offer   *addonv1alpha1.ClusterManagementAddOn
		works   []workv1.ManifestWork
		want    string
		applied string
	}{
		"nothing to do":                     {logs(configured), offer(plain), nil, "", ""},
		"no offer":                          {addon, nil, nil, "", ""},
		"it drives itself":                  {addon, offer(selfDriven), nil, "", ""},
		"a kind that it does not support":   {addon, offer(plain), nil, "False ConfigurationUnsupported", ""},
		"configurations are missing":        {logs(refers("")), offer(), nil, "True Progressing", ""},
		"nothing deploys it":                {addon, offer(), nil, "True Progressing", ""},
		"the work has another hash":         {addon, offer(), one(work("g", "Applied=True", "Available=True")), "True Progressing", ""},
		"the work cannot be read":           {addon, offer(), one(broken), "True Progressing", ""},
		"the work was not answered":         {addon, offer(), one(work("h")), "True WaitingForManifestApplied", ""},
		"the answer is about older content": {addon, offer(), one(old), "True WaitingForManifestApplied", ""},
		"the work failed":                   {addon, offer(), one(work("h", "Applied=False")), "False Failed", ""},
		"the work is not available":         {addon, offer(), one(work("h", "Applied=True", "Available=False")), "True Progressing", ""},
		"all is well":                       {addon, offer(), one(work("h", "Applied=True", "Available=True")), "False Completed", "h"},
		"one of two works":                  {addon, offer(), []workv1.ManifestWork{work("h", "Applied=True", "Available=True"), work("g", "Applied=True", "Available=True")}, "True Progressing", ""},
		"it waits for its turn":             {logs(refers("h"), configured, has("Progressing", metav1.ConditionFalse, "WaitingForCanary")), offer(), one(work("h", "Applied=True", "Available=True")), "False WaitingForCanary", "h"},
	} {
		t.Run(name, func(t *testing.T) {
			got := decide(tc.addon, facts{offer: tc.offer, works: tc.works}).status
			applied := ""
			if len(got.ConfigReferences) > 0 && got.ConfigReferences[0].LastAppliedConfig != nil {
				applied = got.ConfigReferences[0].LastAppliedConfig.SpecHash
			}
			if verdict(got.Conditions, "Progressing") != tc.want || applied != tc.applied {
				t.Errorf("%q, applied %q", verdict(got.Conditions, "Progressing"), applied)
			}
		})
	}
}

func newHub(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clusterv1.Install, addonv1alpha1.Install, workv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&installation{}).WithIndex(catalog.IndexOf()).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
}

func round(t *testing.T, hub client.Client) error {
	t.Helper()
	_, err := newLoop(hub, Options{Works: true}).Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "east", Name: "logs"}})
	return err
}

func TestWorksOfOthersAndHooksDoNotCount(t *testing.T) {
	mine, hook, theirs, hosted := work("h", "Applied=True", "Available=True"), work("g"), work("g"), work("h", "Applied=True", "Available=True")
	hook.Name = "addon-logs-pre-delete"
	theirs.Labels = map[string]string{catalog.NameLabel: "logs", catalog.NamespaceLabel: "west"}
	theirs.Name = "addon-logs-deploy-hosting-west-0"
	hosted.Namespace, hosted.Name, hosted.Labels = "host", "addon-logs-deploy-hosting-east-0", map[string]string{catalog.NameLabel: "logs", catalog.NamespaceLabel: "east"}
	addon := logs(refers("h"), configured)
	addon.Annotations = map[string]string{"addon.open-cluster-management.io/hosting-cluster-name": "host"}
	hub := newHub(t, interceptor.Funcs{}, addon, offer(), &mine, &hook, &theirs, &hosted)
	for range 2 {
		if err := round(t, hub); err != nil {
			t.Fatal(err)
		}
	}
	var got installation
	if err := hub.Get(t.Context(), client.ObjectKeyFromObject(addon), &got); err != nil {
		t.Fatal(err)
	}
	if verdict(got.Status.Conditions, "Progressing") != "False Completed" {
		t.Errorf("%+v", got.Status.Conditions)
	}
	if requests := ofWork(t.Context(), &hosted); len(requests) != 1 || requests[0].Namespace != "east" {
		t.Errorf("a hosted work wakes %v", requests)
	}
}

// Absence is never an order.
func TestAFailedReadSaysNothing(t *testing.T) {
	addon := logs(has("Available", metav1.ConditionTrue, "x"))
	hub := newHub(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, ok := o.(*clusterv1.ManagedCluster); ok {
			return errors.New("timeout")
		}
		return c.Get(ctx, key, o, opts...)
	}}, addon)
	if err := round(t, hub); err == nil {
		t.Error("the failure is lost")
	}
}

func TestAClusterThatFallsSilentWakesItsAddOns(t *testing.T) {
	if clusterChanged().Update(event.UpdateEvent{ObjectOld: cluster(metav1.ConditionTrue), ObjectNew: cluster(metav1.ConditionTrue)}) {
		t.Error("nothing changed")
	}
	if !clusterChanged().Update(event.UpdateEvent{ObjectOld: cluster(metav1.ConditionTrue), ObjectNew: cluster(metav1.ConditionUnknown)}) {
		t.Error("the silence was not heard")
	}
	elsewhere := logs()
	elsewhere.Namespace = "west"
	w := wake{newHub(t, interceptor.Funcs{}, logs(), elsewhere)}
	if got := w.ofCluster(t.Context(), cluster(metav1.ConditionUnknown)); len(got) != 1 || got[0].Namespace != "east" {
		t.Errorf("%v", got)
	}
	if got := w.ofOffer(t.Context(), offer()); len(got) != 2 {
		t.Errorf("%v", got)
	}
}
