package work

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"

	"github.com/flotilla-project/flotilla/agent/link/patch"
)

// HubHash names a hub by its server URL, letter by letter as in the hub kubeconfig. OCM-15.1
func HubHash(server string) string {
	sum := sha256.Sum256([]byte(server))
	return hex.EncodeToString(sum[:])
}

// records are the AppliedManifestWorks of one hub on the local cluster.
type records struct {
	local   client.Client // direct: removing is decided on it
	hash    string
	agent   string
	cluster string // as the hub calls it
}

func (r records) ours(record *workv1.AppliedManifestWork) bool {
	return Ours(record, r.agent, r.cluster)
}

// Ours reports whether the agent of a cluster made a record, for whichever hub. Without an id of its own an agent is called by
// its hub's hash, and so would another cluster's agent be that runs on the same API server: the cluster's name tells
// them apart. Records without one are of a stock agent that was here before. OCM-2.1, OCM-15.6
func Ours(record *workv1.AppliedManifestWork, agentID, cluster string) bool {
	name, named := record.Annotations[annotationCluster]
	return record.Spec.AgentID == agentID && (!named || name == cluster)
}

func (r records) name(work string) string { return r.hash + "-" + work }

// work is the other way round; false for a record of another hub.
func (r records) work(record string) (string, bool) { return strings.CutPrefix(record, r.hash+"-") }

// get returns nil when there is none.
func (r records) get(ctx context.Context, work string) (*workv1.AppliedManifestWork, error) {
	var record workv1.AppliedManifestWork
	err := r.local.Get(ctx, client.ObjectKey{Name: r.name(work)}, &record)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get AppliedManifestWork of %s: %w", work, err)
	}
	return &record, nil
}

// ensure makes the record before anything is applied, with our name in it. OCM-10.1
func (r records) ensure(ctx context.Context, work *workv1.ManifestWork) (*workv1.AppliedManifestWork, error) {
	record, err := r.get(ctx, work.Name)
	if err != nil {
		return nil, err
	}
	want := workv1.AppliedManifestWorkSpec{HubHash: r.hash, AgentID: r.agent, ManifestWorkName: work.Name}
	if record == nil {
		record = &workv1.AppliedManifestWork{
			ObjectMeta: metav1.ObjectMeta{
				Name: r.name(work.Name), Labels: maps.Clone(work.Labels), Finalizers: []string{workv1.AppliedManifestWorkFinalizer},
				Annotations: carry(nil, work, r.cluster),
			},
			Spec: want,
		}
		if err := r.local.Create(ctx, record); err != nil {
			return nil, fmt.Errorf("create AppliedManifestWork of %s: %w", work.Name, err)
		}
		return record, nil
	}
	next := record.DeepCopy()
	next.Spec = want
	if _, err := patch.Spec(ctx, r.local, record, next); err != nil {
		return nil, fmt.Errorf("update AppliedManifestWork of %s: %w", work.Name, err)
	}
	kept := next.DeepCopy()
	if !slices.Contains(kept.Finalizers, workv1.AppliedManifestWorkFinalizer) && kept.DeletionTimestamp.IsZero() {
		kept.Finalizers = append(kept.Finalizers, workv1.AppliedManifestWorkFinalizer)
	}
	kept.Annotations = carry(kept.Annotations, work, r.cluster)
	if _, err := patch.Metadata(ctx, r.local, next, kept); err != nil {
		return nil, fmt.Errorf("keep AppliedManifestWork of %s: %w", work.Name, err)
	}
	return kept, nil
}

const (
	// annotationHeld is why the removal of a record's objects is held until somebody confirms it.
	annotationHeld = "flotilla.dev/removal-held"
	// annotationCluster is the name of the cluster on the hub that the work came from.
	annotationCluster = "flotilla.dev/cluster"
	// annotationExecutor is <namespace>/<name> of the work's executor, for when the work is not there any more.
	annotationExecutor = "flotilla.dev/executor"
)

// carry puts on a record what has to be known of its work when the hub is away or the work is gone.
func carry(annotations map[string]string, work *workv1.ManifestWork, cluster string) map[string]string {
	out := maps.Clone(annotations)
	if out == nil {
		out = map[string]string{}
	}
	executor := ""
	if e := work.Spec.Executor; e != nil && e.Subject.ServiceAccount != nil {
		executor = e.Subject.ServiceAccount.Namespace + "/" + e.Subject.ServiceAccount.Name
	}
	for key, value := range map[string]string{
		annotationCluster: cluster, annotationExecutor: executor, appsv1alpha1.AnnotationStepDownAfter: work.Annotations[appsv1alpha1.AnnotationStepDownAfter],
	} {
		if out[key] = value; value == "" {
			delete(out, key)
		}
	}
	return out
}

// executorOf is who a record's objects were applied as; nil is the agent itself.
func executorOf(record *workv1.AppliedManifestWork) *workv1.ManifestWorkExecutor {
	value, ok := record.Annotations[annotationExecutor]
	if !ok {
		return nil
	}
	namespace, name, _ := strings.Cut(value, "/")
	return &workv1.ManifestWorkExecutor{Subject: workv1.ManifestWorkExecutorSubject{
		Type: workv1.ExecutorSubjectTypeServiceAccount, ServiceAccount: &workv1.ManifestWorkSubjectServiceAccount{Namespace: namespace, Name: name},
	}}
}

// list writes what the record stands for, sorted, if it changed. OCM-15.1
func (r records) list(ctx context.Context, record *workv1.AppliedManifestWork, resources []workv1.AppliedManifestResourceMeta) error {
	slices.SortFunc(resources, compareResources)
	next := record.DeepCopy()
	next.Status.AppliedResources = slices.Compact(resources)
	if len(next.Status.AppliedResources) == 0 {
		next.Status.AppliedResources = nil
	}
	if _, err := patch.Status(ctx, r.local, record, next); err != nil {
		return fmt.Errorf("update AppliedManifestWork status: %w", err)
	}
	*record = *next
	return nil
}

func compareResources(a, b workv1.AppliedManifestResourceMeta) int {
	return cmp.Or(
		cmp.Compare(a.Group, b.Group), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Resource, b.Resource),
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID),
	)
}

// reference is the owner reference of what record stands for. OCM-15.2
func reference(record *workv1.AppliedManifestWork) *metav1.OwnerReference {
	return &metav1.OwnerReference{
		APIVersion: workv1.GroupVersion.String(), Kind: recordKind, Name: record.Name, UID: record.UID,
	}
}

const recordKind = "AppliedManifestWork"

// longestWorkName leaves room for the hash and a dash in the name of a cluster-scoped object. OCM-9.4
const longestWorkName = validation.DNS1123SubdomainMaxLength - sha256.Size*2 - 1

// badName is a work that no record can be called after. Only a work of another name helps, so it is no failure to
// try again soon.
type badName struct{ length int }

func (b *badName) Error() string {
	return fmt.Sprintf("the work's name has %d characters, of which the member can take %d; give it a shorter one", b.length, longestWorkName)
}
