// Package fence stops the replicas of works that must not run twice, when their hub was not heard for longer than the
// work says (annotation apps.flotilla.dev/step-down-after), so that the hub can start them elsewhere.
//
// It owns a Lease beside the hub credentials with the time the hub was last heard, and the annotation
// apps.flotilla.dev/stepped-down of AppliedManifestWorks; it reads these records and writes spec.replicas of the
// objects they own. It promises that objects and volumes stay, that works which do not ask for it are never touched,
// that neither a restart of the agent nor a clock that is set makes it later than agreed, and that what was stopped
// stays so until the hub was heard again and the work, as the hub has it then, was applied.
package fence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/patch"
)

const (
	leaseName   = "flotilla-hub-contact"
	tick        = time.Second
	enforce     = 10 * time.Second // how often what is stopped is looked at
	callTimeout = 30 * time.Second
	// ReasonSteppedDown is the reason of the event.
	ReasonSteppedDown = "SteppedDown"
)

// Options are what a Fence works with.
type Options struct {
	Local     client.Client                          // direct
	Records   client.Reader                          // cached AppliedManifestWorks
	Namespace string                                 // of the Lease
	Ours      func(*workv1.AppliedManifestWork) bool // whether this agent made a record
	// Acting returns a client that acts as whoever a record's objects were applied as.
	Acting func(*workv1.AppliedManifestWork) (dynamic.Interface, error)
}

// Fence is a runnable of the agent; it needs no hub.
type Fence struct {
	options Options

	mu      sync.Mutex
	contact Contact
	down    map[string]bool // by name of the record: stopped and not restored; true: the hub was not heard since
	pace    time.Duration
	back    func()

	written  time.Time            // the contact that is in the Lease
	enforced map[string]time.Time // only Run uses it
}

// New prepares a fence.
func New(o Options) *Fence {
	now := time.Now()
	return &Fence{options: o, contact: Contact{Last: now, Began: now}, down: map[string]bool{}, enforced: map[string]time.Time{}}
}

// Tried is told of every try to renew the lease on the hub, with the time it was begun.
func (f *Fence) Tried(begun time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.contact.Trouble = err != nil; err != nil {
		return
	}
	f.contact.Last, f.contact.Wall = begun, begun.Round(0)
	news := false
	for name, away := range f.down {
		news = news || away
		f.down[name] = false
	}
	if news && f.back != nil {
		go f.back()
	}
}

// OnReturn sets what is called when the hub is heard again after something was stopped.
func (f *Fence) OnReturn(back func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.back = back
}

// Pace is how often the lease has to be renewed at least, so that a healthy agent never steps down; 0 is any.
func (f *Fence) Pace() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pace
}

// Away reports that a record's replicas are stopped and the hub was not heard since.
func (f *Fence) Away(record string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down[record]
}

// Down reports that a record's replicas are stopped and were not restored.
func (f *Fence) Down(record string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, down := f.down[record]
	return down
}

// Up is told that a record's replicas were restored.
func (f *Fence) Up(record string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.down, record)
}

// Run keeps watch until ctx ends.
func (f *Fence) Run(ctx context.Context) {
	for !f.remember(ctx) {
		if !pause(ctx, tick) {
			return
		}
	}
	for {
		next := tick
		switch err := f.round(ctx, time.Now()); {
		case errors.Is(err, errUnlisted): // their CRD may come with the first work
			logf.FromContext(ctx).V(1).Info("No works to keep a fence for yet", "cause", err.Error())
			next = enforce
		case err != nil && ctx.Err() == nil:
			logf.FromContext(ctx).Error(err, "Fence not kept, will try again")
		}
		if !pause(ctx, next) {
			return
		}
	}
}

// errUnlisted says that it is not known which works there are.
var errUnlisted = errors.New("list AppliedManifestWorks")

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// remember takes over when an earlier process last heard the hub. A hub of which nothing is written down counts as
// heard when this process began: nothing says that it was not.
func (f *Fence) remember(ctx context.Context) bool {
	lease, err := f.lease(ctx)
	if err != nil && !apierrors.IsForbidden(err) {
		return false
	}
	if lease == nil || lease.Spec.RenewTime == nil {
		return true
	}
	at := lease.Spec.RenewTime.Time
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written = at
	if f.contact.Last.Equal(f.contact.Began) && at.Before(f.contact.Last) {
		f.contact.Last = at
	}
	return true
}

func (f *Fence) lease(ctx context.Context) (*coordinationv1.Lease, error) {
	var lease coordinationv1.Lease
	err := f.options.Local.Get(ctx, client.ObjectKey{Namespace: f.options.Namespace, Name: leaseName}, &lease)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Lease %s: %w", leaseName, err)
	}
	return &lease, nil
}

// round looks at all records once.
func (f *Fence) round(ctx context.Context, now time.Time) error {
	var records workv1.AppliedManifestWorkList
	if err := f.options.Records.List(ctx, &records, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("%w: %w", errUnlisted, err)
	}
	contact := f.known()
	shortest := time.Duration(0)
	var all []error
	for i := range records.Items {
		record := &records.Items[i]
		after := After(record)
		if !f.options.Ours(record) || !record.DeletionTimestamp.IsZero() {
			continue
		}
		if after > 0 && (shortest == 0 || after < shortest) {
			shortest = after
		}
		all = append(all, f.visit(ctx, record, after, contact, now))
	}
	f.mu.Lock()
	f.pace = shortest / shares
	f.mu.Unlock()
	if shortest > 0 {
		all = append(all, f.write(ctx, contact.Last, shortest))
	}
	return errors.Join(all...)
}

func (f *Fence) known() Contact {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.contact
}

// visit stops a record's replicas when it is time, and keeps them so until the hub is heard.
func (f *Fence) visit(ctx context.Context, record *workv1.AppliedManifestWork, after time.Duration, c Contact, now time.Time) error {
	stopped := StoppedOf(record)
	due, _ := Due(after, c, now)
	due = due && after > 0
	f.mu.Lock()
	away, known := f.down[record.Name]
	if stopped != nil && !known {
		away = due // of an earlier process; it may be that the hub was heard already
		f.down[record.Name] = away
	}
	if stopped == nil && known && !away {
		delete(f.down, record.Name) // restored
	}
	if due && !away {
		away = true
		f.down[record.Name] = true // first of all, so that no apply brings back what is being stopped
		delete(f.enforced, record.Name)
	}
	f.mu.Unlock()
	if !away || now.Sub(f.enforced[record.Name]) < enforce {
		return nil
	}
	f.enforced[record.Name] = now
	return f.stepDown(ctx, record.Name, after, c, now)
}

// stepDown writes down what it is about to stop, and stops it.
func (f *Fence) stepDown(ctx context.Context, name string, after time.Duration, c Contact, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	record := &workv1.AppliedManifestWork{}
	if err := f.options.Local.Get(ctx, client.ObjectKey{Name: name}, record); err != nil {
		return client.IgnoreNotFound(err)
	}
	acting, err := f.options.Acting(record)
	if err != nil {
		return fmt.Errorf("step down %s: %w", name, err)
	}
	found, left, err := f.running(ctx, acting, record)
	first := StoppedOf(record) == nil
	if len(found) > 0 || first {
		if noted := f.note(ctx, record, found, now); noted != nil {
			return errors.Join(err, noted)
		}
	}
	for _, o := range found {
		err = errors.Join(err, o.stop(ctx))
	}
	if first {
		err = errors.Join(err, f.say(ctx, record, len(found), left, after, c.Silence(now)))
	}
	return err
}

// running is an object to be stopped.
type running struct {
	key   string
	had   int64
	place dynamic.ResourceInterface
	name  string
	patch []byte
}

// running finds what to stop; left are reasons why something is not.
func (f *Fence) running(ctx context.Context, acting dynamic.Interface, record *workv1.AppliedManifestWork) (found []running, left []string, all error) {
	for _, r := range record.Status.AppliedResources {
		if r.Group == "" && r.Resource != "replicationcontrollers" || r.Namespace == "" {
			continue // nothing else of the core has replicas, and nothing without a namespace
		}
		place := acting.Resource(schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Resource}).Namespace(r.Namespace)
		live, err := place.Get(ctx, r.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			all = errors.Join(all, fmt.Errorf("get %s %s to stop it: %w", r.Resource, r.Name, err))
			continue
		}
		change, had, reason := stop(live, record, r.UID)
		if reason != "" {
			left = append(left, reason)
		}
		if change == nil {
			continue
		}
		change["metadata"] = map[string]any{"uid": live.GetUID(), "resourceVersion": live.GetResourceVersion()}
		data, err := json.Marshal(change)
		if err != nil {
			all = errors.Join(all, fmt.Errorf("encode patch: %w", err))
			continue
		}
		found = append(found, running{key: Key(r.Group, r.Resource, r.Namespace, r.Name), had: had, place: place, name: r.Name, patch: data})
	}
	return found, left, all
}

func (r running) stop(ctx context.Context) error {
	if _, err := r.place.Patch(ctx, r.name, types.MergePatchType, r.patch, metav1.PatchOptions{FieldManager: "flotilla-fence"}); err != nil {
		return fmt.Errorf("stop %s: %w", r.key, err)
	}
	return nil
}

// note writes on the record what is stopped. What was noted before is what there was before.
func (f *Fence) note(ctx context.Context, record *workv1.AppliedManifestWork, found []running, now time.Time) error {
	next := record.DeepCopy()
	s := StoppedOf(record)
	if s == nil {
		s = &Stopped{At: metav1.NewTime(now.Truncate(time.Second))}
	}
	if s.Replicas == nil {
		s.Replicas = map[string]int64{}
	}
	for _, o := range found {
		if _, known := s.Replicas[o.key]; !known {
			s.Replicas[o.key] = o.had
		}
	}
	if err := s.mark(next); err != nil {
		return err
	}
	if _, err := patch.Metadata(ctx, f.options.Local, record, next); err != nil {
		return fmt.Errorf("note on AppliedManifestWork %s what is stopped: %w", record.Name, err)
	}
	*record = *next
	return nil
}

// say leaves an event on the member: its hub is out of reach.
func (f *Fence) say(ctx context.Context, record *workv1.AppliedManifestWork, stopped int, left []string, after, silence time.Duration) error {
	note := fmt.Sprintf("hub not heard for %s, longer than the %s after which work %s steps down: %d workloads stopped until it is heard again",
		silence.Round(time.Second), after, record.Spec.ManifestWorkName, stopped)
	if len(left) > 0 {
		note += "; left running: " + strings.Join(left, ", ")
	}
	logf.FromContext(ctx).Info("Stepped down", "appliedManifestWork", record.Name, "note", note)
	err := f.options.Local.Create(ctx, &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, GenerateName: "stepped-down-"},
		EventTime:           metav1.NowMicro(),
		ReportingController: "klusterlet-agent", ReportingInstance: "flotilla-agent",
		Action: "Stop", Reason: ReasonSteppedDown, Type: corev1.EventTypeWarning, Note: note[:min(len(note), 1024)],
		Regarding: corev1.ObjectReference{
			APIVersion: workv1.GroupVersion.String(), Kind: "AppliedManifestWork", Name: record.Name, UID: record.UID,
		},
	})
	if err != nil {
		return fmt.Errorf("create event: %w", err)
	}
	return nil
}

// write keeps the Lease close enough behind that a restart steps down earlier, by a third at most, and never later.
func (f *Fence) write(ctx context.Context, last time.Time, shortest time.Duration) error {
	f.mu.Lock()
	fresh := !f.written.IsZero() && last.Sub(f.written) < shortest/shares
	f.mu.Unlock()
	if fresh {
		return nil
	}
	lease, err := f.lease(ctx)
	if err != nil {
		return err
	}
	renewed := &metav1.MicroTime{Time: last}
	if lease == nil {
		err = f.options.Local.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.options.Namespace, Name: leaseName}, Spec: coordinationv1.LeaseSpec{RenewTime: renewed},
		})
	} else {
		lease.Spec.RenewTime = renewed
		err = f.options.Local.Update(ctx, lease)
	}
	if err != nil {
		return fmt.Errorf("write Lease %s: %w", leaseName, err)
	}
	f.mu.Lock()
	f.written = last
	f.mu.Unlock()
	return nil
}
