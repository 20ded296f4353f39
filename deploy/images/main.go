// Command images packs the binaries in dist/ into OCI images, one tar file each: a single static program on an empty
// root, run by nobody. It needs no Docker; `docker load`, `crane push` and `ctr images import` take the files.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const nobody = "65532:65532"

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: images FOLDER TAG BINARY...")
		os.Exit(2)
	}
	var failures []error
	for _, binary := range os.Args[3:] {
		failures = append(failures, pack(os.Args[1], os.Args[2], binary))
	}
	if err := errors.Join(failures...); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// pack writes folder/binary.tar from folder/binary.
func pack(folder, tag, binary string) error {
	image, err := image(filepath.Join(folder, binary), binary)
	if err != nil {
		return fmt.Errorf("make image of %s: %w", binary, err)
	}
	ref, err := name.NewTag("flotilla/"+binary+":"+tag, name.WithDefaultRegistry(""))
	if err != nil {
		return err
	}
	path := filepath.Join(folder, binary+".tar")
	if err := tarball.WriteToFile(path, ref, image); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	digest, err := image.Digest()
	fmt.Println(path, ref, digest)
	return err
}

func image(path, binary string) (v1.Image, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var root bytes.Buffer
	w := tar.NewWriter(&root)
	err = w.WriteHeader(&tar.Header{Name: binary, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(root.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config.Entrypoint, file.Config.User = []string{"/" + binary}, nobody
	return mutate.ConfigFile(image, file)
}
