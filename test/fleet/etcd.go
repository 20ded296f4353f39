package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func (f *Fleet) startEtcd(ctx context.Context) error {
	client, peer := f.etcdEndpoint(), fmt.Sprintf("http://127.0.0.1:%d", f.slot().port(portPeer))
	args := []string{
		f.programs["etcd"],
		"--data-dir=" + filepath.Join(f.dir, "etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		// The data of a test is worth nothing after a power cut.
		"--unsafe-no-fsync",
		"--quota-backend-bytes=8589934592",
		// A member alone elects itself; it need not wait a second for others.
		"--heartbeat-interval=50", "--election-timeout=250",
		"--log-level=warn",
	}
	return f.run(ctx, component{name: "etcd", args: args}, func(ctx context.Context) error {
		// A client that connects too early waits a second before it tries again.
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(client, "http://"))
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
		return f.etcd(ctx, func(c *clientv3.Client) error {
			_, err := c.Status(ctx, client)
			return err
		})
	})
}

func (f *Fleet) etcdEndpoint() string {
	return fmt.Sprintf("http://127.0.0.1:%d", f.slot().port(portEtcd))
}

// etcd calls use with a client of the fleet's etcd.
func (f *Fleet) etcd(ctx context.Context, use func(*clientv3.Client) error) error {
	c, err := clientv3.New(clientv3.Config{
		Context: ctx, Endpoints: []string{f.etcdEndpoint()}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		return fmt.Errorf("connect to etcd: %w", err)
	}
	return errors.Join(use(c), c.Close())
}

// Snapshot saves the etcd of all clusters to a file, whole or not at all.
func (f *Fleet) Snapshot(ctx context.Context, path string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".snapshot-*")
	if err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	err = f.etcd(ctx, func(c *clientv3.Client) error {
		r, err := c.Snapshot(ctx)
		if err != nil {
			return err
		}
		_, err = io.Copy(tmp, r)
		return errors.Join(err, r.Close())
	})
	if err := errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	return os.Rename(tmp.Name(), path)
}

// wipe deletes all keys of one cluster. The slash ends the name, or hub would take
// hub2 with it.
func (f *Fleet) wipe(ctx context.Context, cluster string) error {
	return f.etcd(ctx, func(c *clientv3.Client) error {
		_, err := c.Delete(ctx, etcdPrefix(cluster)+"/", clientv3.WithPrefix())
		return err
	})
}

func etcdPrefix(cluster string) string { return "/" + cluster }
