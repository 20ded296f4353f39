package backup

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Save writes all keys of the hub, as they are at one revision, to a file.
func Save(ctx context.Context, e *Etcd, path string, now time.Time) (Summary, error) {
	var summary Summary
	err := e.with(ctx, func(c *clientv3.Client) error {
		header, err := e.look(ctx, c)
		if err != nil {
			return err
		}
		header.Taken = now.UTC()
		summary, err = save(path, header, func(add func(key, value []byte) error) error {
			err := scan(ctx, c, e.root(), header.Revision, func(k entry) error { return add(k.key, k.value) })
			return err
		})
		return err
	})
	if err == nil && summary.Keys == 0 {
		return summary, fmt.Errorf("there are no keys under %s; --prefix must be the --etcd-prefix of the API server", e.root())
	}
	return summary, err
}

// look asks etcd which revision is the newest, with its quorum, and a member for its version.
func (e *Etcd) look(ctx context.Context, c *clientv3.Client) (Header, error) {
	newest, err := c.Get(ctx, e.root(), clientv3.WithCountOnly())
	if err != nil {
		return Header{}, fmt.Errorf("ask etcd for its revision: %w", err)
	}
	status, err := c.Status(ctx, c.Endpoints()[0])
	if err != nil {
		return Header{}, fmt.Errorf("ask etcd for its status: %w", err)
	}
	if len(status.Errors) > 0 {
		return Header{}, fmt.Errorf("etcd reports %v; a backup of it could be damaged", status.Errors)
	}
	return Header{Revision: newest.Header.Revision, Prefix: e.root(), Etcd: fmt.Sprintf("%x", newest.Header.ClusterId), Version: status.Version}, nil
}
