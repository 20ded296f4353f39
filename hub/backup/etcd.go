// Package backup saves what the etcd of a hub holds, and brings an earlier state back. It talks to etcd alone, through
// its client: no API server has to be down for it, and no etcd tool has to be there.
//
// It promises that a file holds one revision, whole; that a restore writes only what differs, each key only if it is
// still as it was compared, and always forward, so that no resourceVersion ever goes back; and that the hub has a new
// history id, on every ManagedCluster, before anything else changes, so that agents hold on to what they have.
package backup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	// page is how many keys are read at a time.
	page = 200
	// dial is how long a connection may take.
	dial = 10 * time.Second
)

// Etcd is how to reach the etcd of a hub.
type Etcd struct {
	// Endpoints of its members.
	Endpoints []string
	// CACert, Cert and Key are files; empty ones are not used.
	CACert, Cert, Key string
	// Prefix of the hub's keys, as the API server's --etcd-prefix.
	Prefix string
}

// Bind adds the flags.
func (e *Etcd) Bind(flags *pflag.FlagSet) {
	flags.StringSliceVar(&e.Endpoints, "etcd-endpoints", []string{"https://127.0.0.1:2379"}, "etcd of the hub's API server")
	flags.StringVar(&e.CACert, "cacert", "", "certificate of the authority that signed etcd's certificate")
	flags.StringVar(&e.Cert, "cert", "", "client certificate for etcd")
	flags.StringVar(&e.Key, "key", "", "key of the client certificate")
	flags.StringVar(&e.Prefix, "prefix", "/registry", "prefix of the hub's keys, the --etcd-prefix of its API server")
}

// Validate lists everything that is wrong.
func (e *Etcd) Validate() (problems []error) {
	if len(e.Endpoints) == 0 {
		problems = append(problems, errors.New("--etcd-endpoints names none"))
	}
	if (e.Cert == "") != (e.Key == "") {
		problems = append(problems, errors.New("--cert and --key go together"))
	}
	if strings.Trim(e.Prefix, "/") == "" {
		problems = append(problems, errors.New("--prefix is empty: other data may be in the same etcd"))
	}
	return problems
}

// root is the prefix with the slash that ends it: "/hub" must not take "/hub2" with it.
func (e *Etcd) root() string { return "/" + strings.Trim(e.Prefix, "/") + "/" }

// with calls use with a client.
func (e *Etcd) with(ctx context.Context, use func(*clientv3.Client) error) error {
	secured, err := e.tls()
	if err != nil {
		return err
	}
	c, err := clientv3.New(clientv3.Config{Context: ctx, Endpoints: e.Endpoints, DialTimeout: dial, TLS: secured, Logger: zap.NewNop()})
	if err != nil {
		return fmt.Errorf("connect to etcd: %w", err)
	}
	return errors.Join(use(c), c.Close())
}

func (e *Etcd) tls() (*tls.Config, error) {
	if e.CACert == "" && e.Cert == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CACert != "" {
		pem, err := os.ReadFile(e.CACert)
		if err != nil {
			return nil, fmt.Errorf("read --cacert: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read --cacert: there is no certificate in %s", e.CACert)
		}
	}
	if e.Cert != "" {
		pair, err := tls.LoadX509KeyPair(e.Cert, e.Key)
		if err != nil {
			return nil, fmt.Errorf("read --cert and --key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// entry is a key as it was read.
type entry struct {
	key, value []byte
	mod        int64
}

// scan hands on all keys below a root at one revision, in their order; revision 0 is the newest.
func scan(ctx context.Context, kv clientv3.KV, root string, revision int64, each func(entry) error) error {
	from, end := root, clientv3.GetPrefixRangeEnd(root)
	for {
		got, err := kv.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(revision))
		if err != nil {
			return fmt.Errorf("read keys from %q at revision %d: %w", from, revision, err)
		}
		if revision == 0 {
			revision = got.Header.Revision
		}
		for _, kv := range got.Kvs {
			if err := each(entry{kv.Key, kv.Value, kv.ModRevision}); err != nil {
				return err
			}
		}
		if !got.More || len(got.Kvs) == 0 {
			return nil
		}
		from = string(got.Kvs[len(got.Kvs)-1].Key) + "\x00"
	}
}
