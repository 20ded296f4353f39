package cri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
)

// CRI says nothing of how far a pull is. containerd tells it in an API of its own on the same socket, of which this one call
// is spoken here by hand: a module for it would be larger than the daemon's own code.
const (
	listDownloads       = "/containerd.services.content.v1.Content/ListStatuses"
	containerd          = "containerd"
	namespaceHeader     = "containerd-namespace"
	kubernetesNamespace = "k8s.io"
)

// Download is what a runtime is fetching at the moment, for all pulls of the node: it does not say whose a layer is.
type Download struct {
	Layers int
	// Done and Total are bytes; a layer of unknown size counts in Done only.
	Done, Total int64
}

// Downloader is implemented by runtimes that tell.
type Downloader interface {
	Downloads(ctx context.Context) (Download, error)
}

// errUntold is a runtime that keeps it to itself.
var errUntold = errors.New("the container runtime does not tell what it downloads")

// Downloads implements Downloader.
func (r *remote) Downloads(ctx context.Context) (Download, error) {
	if r.name != containerd || r.content == nil {
		return Download{}, errUntold
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, namespaceHeader, kubernetesNamespace), runtimeTimeout)
	defer cancel()
	var answer []byte
	if err := r.content.Invoke(ctx, listDownloads, []byte{}, &answer, grpc.ForceCodec(bytesCodec{})); err != nil {
		return Download{}, translate(err)
	}
	return parseDownloads(answer)
}

// dialContent connects when it is first used.
func dialContent(endpoint string) (*grpc.ClientConn, error) {
	path := strings.TrimPrefix(endpoint, "unix://")
	return grpc.NewClient("passthrough:///"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", addr)
		}))
}

// bytesCodec leaves messages as they are on the wire.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) ([]byte, error) {
	raw, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is no message", v)
	}
	return raw, nil
}

func (bytesCodec) Unmarshal(raw []byte, v any) error {
	to, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T takes no message", v)
	}
	*to = append([]byte(nil), raw...)
	return nil
}

// Numbers of the fields that are read.
const (
	fieldStatuses = 1
	fieldRef      = 3
	fieldOffset   = 4
	fieldTotal    = 5
)

// parseDownloads adds up the layers among the statuses; manifests and configurations are small.
func parseDownloads(answer []byte) (d Download, err error) {
	err = fields(answer, func(n protowire.Number, _ uint64, status []byte) error {
		if n != fieldStatuses {
			return nil
		}
		var ref string
		var done, total int64
		err := fields(status, func(n protowire.Number, value uint64, text []byte) error {
			switch n {
			case fieldRef:
				ref = string(text)
			case fieldOffset:
				done = int64(value)
			case fieldTotal:
				total = int64(value)
			}
			return nil
		})
		if err == nil && strings.HasPrefix(ref, "layer-") {
			d.Layers, d.Done, d.Total = d.Layers+1, d.Done+done, d.Total+total
		}
		return err
	})
	return d, err
}

// fields calls see with each number or text of a message.
func fields(message []byte, see func(n protowire.Number, value uint64, text []byte) error) error {
	for len(message) > 0 {
		number, kind, used := protowire.ConsumeTag(message)
		if used < 0 {
			return protowire.ParseError(used)
		}
		message = message[used:]
		var value uint64
		var text []byte
		switch kind {
		case protowire.VarintType:
			value, used = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			text, used = protowire.ConsumeBytes(message)
		default:
			used = protowire.ConsumeFieldValue(number, kind, message)
		}
		if used < 0 {
			return protowire.ParseError(used)
		}
		message = message[used:]
		if err := see(number, value, text); err != nil {
			return err
		}
	}
	return nil
}
