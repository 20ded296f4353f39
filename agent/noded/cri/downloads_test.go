package cri

import (
	"errors"
	"testing"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
)

// ingest is a status as containerd sends it.
func ingest(ref string, offset, total uint64) []byte {
	var s []byte
	s = protowire.AppendTag(s, 1, protowire.BytesType) // when it was started, which nobody reads
	s = protowire.AppendBytes(s, []byte{8, 1})
	s = protowire.AppendTag(s, fieldRef, protowire.BytesType)
	s = protowire.AppendString(s, ref)
	s = protowire.AppendTag(s, fieldOffset, protowire.VarintType)
	s = protowire.AppendVarint(s, offset)
	s = protowire.AppendTag(s, fieldTotal, protowire.VarintType)
	s = protowire.AppendVarint(s, total)
	return protowire.AppendBytes(protowire.AppendTag(nil, fieldStatuses, protowire.BytesType), s)
}

// serveContent answers the one call of containerd's own API, and refuses it to other namespaces than Kubernetes'.
func serveContent(s *server, answer []byte) {
	s.grpc.RegisterService(&grpc.ServiceDesc{
		ServiceName: "containerd.services.content.v1.Content", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "ListStatuses", Handler: func(_ any, stream grpc.ServerStream) error {
			md, _ := metadata.FromIncomingContext(stream.Context())
			if got := md.Get("containerd-namespace"); len(got) != 1 || got[0] != "k8s.io" {
				return errors.New("no namespace")
			}
			return stream.SendMsg(answer)
		}}},
	}, s)
}

func TestDownloadsAreAddedUp(t *testing.T) {
	g := NewWithT(t)
	endpoint := "unix://" + folder(t) + "/r.sock"
	answer := append(append(ingest("layer-sha256:a", 10, 100), ingest("layer-sha256:b", 5, 50)...), ingest("manifest-sha256:c", 7, 7)...)
	s := serveWith(t, endpoint, func(s *server) { s.name = containerd; serveContent(s, answer) }, grpc.ForceServerCodec(mixedCodec{}))
	r, err := Connect(t.Context(), endpoint)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(r.(Downloader).Downloads(t.Context())).To(Equal(Download{Layers: 2, Done: 15, Total: 150}))
	s.grpc.Stop()
	_, err = r.(Downloader).Downloads(t.Context())
	g.Expect(err).To(MatchError(ErrGone))
}

func TestOtherRuntimesDoNotTell(t *testing.T) {
	g := NewWithT(t)
	endpoint := "unix://" + folder(t) + "/r.sock"
	serve(t, endpoint)
	r, err := Connect(t.Context(), endpoint)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = r.(Downloader).Downloads(t.Context())
	g.Expect(err).To(MatchError(errUntold))
}

func TestWhatIsNoAnswerIsAnError(t *testing.T) {
	for _, raw := range [][]byte{{0xff}, {0x0a, 0x05, 1}, {0x0a, 0x01, 0xff}, {0x08}} {
		if d, err := parseDownloads(raw); err == nil {
			t.Errorf("%x is %+v", raw, d)
		}
	}
}
