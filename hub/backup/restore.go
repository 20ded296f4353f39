package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-multierror"
	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/flotilla-project/flotilla/hub/history"
)

const (
	// batch is how many keys are written in one transaction, and batchBytes how much; etcd's limits are 128 and 1.5 MB.
	batch      = 64
	batchBytes = 512 << 10
)

// Restore is one restoring of a file.
type Restore struct {
	Etcd
	// From is the file.
	From string
	// Excludes are parts of the keys that stay as they are.
	Excludes []string
	// DryRun only says what would change, key by key.
	DryRun bool
	// Announce is how long agents have to learn of the new history before anything else changes.
	Announce time.Duration
	// Out is where the plan and the result are told.
	Out io.Writer
}

// Run compares the file with what etcd holds now and writes the differences.
func (r *Restore) Run(ctx context.Context) error {
	saved := map[string][]byte{}
	summary, err := Load(r.From, func(key, value []byte) error {
		saved[string(key)] = value
		return nil
	})
	if err != nil {
		return err
	}
	if summary.Prefix != r.root() {
		return fmt.Errorf("the backup is of %s and --prefix says %s; it must go back to where it was", summary.Prefix, r.root())
	}
	if err := r.say("backup: %v\n", summary); err != nil {
		return err
	}
	return r.with(ctx, func(c *clientv3.Client) error { return r.into(ctx, c, saved) })
}

func (r *Restore) say(format string, args ...any) error {
	_, err := fmt.Fprintf(r.Out, format, args...)
	return err
}

func (r *Restore) into(ctx context.Context, c *clientv3.Client, saved map[string][]byte) error {
	id := history.NewID()
	plan, err := r.plan(ctx, c, saved, id)
	if err != nil {
		return err
	}
	if err := plan.Print(r.Out, r.DryRun); err != nil || r.DryRun {
		return err
	}
	if err := write(ctx, keys{c}, plan.announce); err != nil {
		return fmt.Errorf("tell of the new history, before anything else was changed: %w", err)
	}
	if err := r.say("the new history is told; waiting %s for agents to see it\n", r.Announce); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(r.Announce):
	}
	// Compared anew: much may have happened meanwhile.
	if plan, err = r.plan(ctx, c, saved, id); err != nil {
		return err
	}
	if err := write(ctx, keys{c}, plan.rest); err != nil {
		return err
	}
	return r.say("%d keys written\n", len(plan.rest))
}

func (r *Restore) plan(ctx context.Context, c *clientv3.Client, saved map[string][]byte, id string) (Plan, error) {
	now := live{}
	err := scan(ctx, c, r.root(), 0, func(k entry) error {
		now[string(k.key)] = k
		return nil
	})
	if err != nil {
		return Plan{}, err
	}
	return compare(r.root(), saved, now, r.Excludes, id)
}

// store is what a restore writes to.
type store interface {
	// commit writes all or nothing; nothing if any key is not as it was compared.
	commit(ctx context.Context, changes []change) (bool, error)
	// version is the revision of a key; 0 is that it is not there.
	version(ctx context.Context, key string) (int64, error)
}

// write puts and deletes, each key only if it is still as it was compared. One that changed in between is tried again by
// itself: who restores a hub wants the saved state, not what a heartbeat has just written.
func write(ctx context.Context, s store, changes []change) error {
	var failed *multierror.Error
	for len(changes) > 0 {
		n := together(changes)
		done, err := s.commit(ctx, changes[:n])
		if err != nil {
			return err
		}
		for _, one := range changes[:n] {
			if !done {
				failed = multierror.Append(failed, again(ctx, s, one))
			}
		}
		changes = changes[n:]
	}
	return failed.ErrorOrNil()
}

// again writes a key over what has become of it.
func again(ctx context.Context, s store, x change) (err error) {
	for range 3 {
		if x.mod, err = s.version(ctx, x.key); err != nil {
			return err
		}
		if done, err := s.commit(ctx, []change{x}); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("%s changes faster than it can be written; stop who writes it and restore again", x.key)
}

// together is how many of the next changes fit into a transaction.
func together(changes []change) int {
	size := 0
	for n, c := range changes {
		if size += len(c.key) + len(c.value); n > 0 && (n == batch || size > batchBytes) {
			return n
		}
	}
	return len(changes)
}

// keys are those of etcd.
type keys struct{ clientv3.KV }

func (k keys) commit(ctx context.Context, changes []change) (bool, error) {
	var same []clientv3.Cmp
	var writes []clientv3.Op
	for _, x := range changes {
		same = append(same, clientv3.Compare(clientv3.ModRevision(x.key), "=", x.mod))
		if x.value == nil {
			writes = append(writes, clientv3.OpDelete(x.key))
		} else {
			writes = append(writes, clientv3.OpPut(x.key, string(x.value)))
		}
	}
	got, err := k.Txn(ctx).If(same...).Then(writes...).Commit()
	if err != nil {
		return false, fmt.Errorf("write %d keys from %s: %w", len(changes), changes[0].key, err)
	}
	return got.Succeeded, nil
}

func (k keys) version(ctx context.Context, key string) (int64, error) {
	got, err := k.Get(ctx, key, clientv3.WithKeysOnly())
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	if len(got.Kvs) == 0 {
		return 0, nil
	}
	return got.Kvs[0].ModRevision, nil
}

// historyObject is the ConfigMap in a form that every API server reads from its etcd.
func historyObject(id string) ([]byte, error) {
	m := history.ConfigMap(id)
	m.UID, m.CreationTimestamp = uuid.NewUUID(), metav1.Now()
	return json.Marshal(m)
}
