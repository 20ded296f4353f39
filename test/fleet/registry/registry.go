// Package registry is the image registry of real test nodes: it serves every name and
// tag anyone asks for, each as an image of its own digest made from one static
// program. It owns nothing but memory. Names or tags that hold "bad", "invalid" or
// "notexist" are never found, so that tests can ask for what cannot be pulled; those under faults/ can be pulled with
// difficulty (see fault).
package registry

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

const (
	layerType    = "application/vnd.oci.image.layer.v1.tar"
	configType   = "application/vnd.oci.image.config.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
)

var (
	manifestPath = regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`)
	blobPath     = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]{64})$`)
	unknown      = regexp.MustCompile(`bad|invalid|notexist`)
)

// links are the names under which images find the program.
var links = []string{"pause", "bin/sleep", "bin/hello", "bin/env", "bin/true", "bin/false"}

// Registry answers the pull half of the distribution API.
type Registry struct {
	layer    string // digest
	programs string // folder
	app      []byte

	mu    sync.Mutex
	blobs map[string]blob
	pulls map[string]int
	cuts  map[string]int
}

type blob struct {
	mediaType string
	data      []byte
}

// New makes a registry whose images hold app as /app. An image called like a file in the folder programs holds and runs
// that static program instead; an empty folder name means that there are none.
func New(app []byte, programs string) (*Registry, error) {
	r := &Registry{programs: programs, app: app, blobs: map[string]blob{}, pulls: map[string]int{}, cuts: map[string]int{}}
	layer, err := makeLayer("app", app, nil)
	if err != nil {
		return nil, fmt.Errorf("make the image layer: %w", err)
	}
	r.layer = r.put(layerType, layer)
	return r, nil
}

// makeLayer is a root folder with the program and the folders that volumes and
// runtimes mount on.
func makeLayer(name string, program, ballast []byte) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, dir := range []string{"bin", "data", "dev", "etc", "proc", "root", "sys", "tmp", "var", "var/run"} {
		if err := t.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(program)), Mode: 0o755}); err != nil {
		return nil, err
	}
	if _, err := t.Write(program); err != nil {
		return nil, err
	}
	if len(ballast) > 0 {
		if err := t.WriteHeader(&tar.Header{Name: "ballast", Typeflag: tar.TypeReg, Size: int64(len(ballast)), Mode: 0o644}); err != nil {
			return nil, err
		}
		if _, err := t.Write(ballast); err != nil {
			return nil, err
		}
	}
	for _, link := range links {
		if err := t.WriteHeader(&tar.Header{Name: link, Typeflag: tar.TypeSymlink, Linkname: "/" + name, Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	err := t.Close()
	return b.Bytes(), err
}

func (r *Registry) put(mediaType string, data []byte) (digest string) {
	digest = digestOf(data)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blobs[digest] = blob{mediaType, data}
	return digest
}

func (r *Registry) get(digest string) (blob, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.blobs[digest]
	return b, ok
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// image makes the manifest of a name. The name is in the config, so every name has a
// digest of its own, which is how in-place updates tell images apart.
func (r *Registry) image(name string) (digest string, err error) {
	content, entrypoint := r.layer, "/app"
	if strings.Contains(name, "pause") {
		entrypoint = "/pause"
	}
	base, _, _ := strings.Cut(path.Base(name), ":")
	if program, err := os.ReadFile(filepath.Join(r.programs, base)); r.programs != "" && err == nil {
		own, err := makeLayer(base, program, nil)
		if err != nil {
			return "", fmt.Errorf("make the image layer of %s: %w", base, err)
		}
		content, entrypoint = r.put(layerType, own), "/"+base
	}
	if faultOf(name) != "" {
		own, err := makeLayer("app", r.app, ballast(name))
		if err != nil {
			return "", fmt.Errorf("make the image layer of %s: %w", name, err)
		}
		content = r.put(layerType, own)
	}
	layer, _ := r.get(content)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{
			"Entrypoint": []string{entrypoint},
			"Env":        []string{"PATH=/bin", "FLOTILLA_IMAGE=" + name},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{content}},
	})
	if err != nil {
		return "", err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": map[string]any{"mediaType": configType, "digest": r.put(configType, config), "size": len(config)},
		"layers": []any{map[string]any{"mediaType": layerType, "digest": content, "size": len(layer.data)}},
	})
	if err != nil {
		return "", err
	}
	return r.put(manifestType, manifest), nil
}

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	// Where nodes look when the mirror has refused them they are refused in the same words.
	if strings.HasPrefix(req.URL.Path, "/none/") && refuse(w, req, faultOf(req.URL.Path)) {
		return
	}
	if m := manifestPath.FindStringSubmatch(req.URL.Path); m != nil {
		r.serveManifest(w, req, m[1], m[2])
		return
	}
	if m := blobPath.FindStringSubmatch(req.URL.Path); m != nil {
		r.serveLayer(w, req, m[1], m[2])
		return
	}
	switch req.URL.Path {
	case "/v2", "/v2/":
	case "/pulls":
		r.servePulls(w)
	default:
		http.NotFound(w, req)
	}
}

func (r *Registry) serveManifest(w http.ResponseWriter, req *http.Request, repository, reference string) {
	if refuse(w, req, faultOf(repository)) {
		return
	}
	if strings.HasPrefix(reference, "sha256:") {
		r.serveBlob(w, req, reference)
		return
	}
	// Mirrors are asked with the name of the registry they stand for.
	name := repository + ":" + reference
	if host := req.URL.Query().Get("ns"); host != "" {
		name = host + "/" + name
	}
	if unknown.MatchString(name) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
		return
	}
	digest, err := r.image(name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	r.mu.Lock()
	r.pulls[name]++
	r.mu.Unlock()
	r.serveBlob(w, req, digest)
}

// serveLayer serves what a manifest speaks of, which is where faults lie.
func (r *Registry) serveLayer(w http.ResponseWriter, req *http.Request, repository, digest string) {
	f := faultOf(repository)
	if refuse(w, req, f) {
		return
	}
	if b, ok := r.get(digest); ok && f != "" && b.mediaType == layerType && req.Method == http.MethodGet {
		r.serveFaulty(w, req, digest, b, f)
		return
	}
	r.serveBlob(w, req, digest)
}

func (r *Registry) serveBlob(w http.ResponseWriter, req *http.Request, digest string) {
	b, ok := r.get(digest)
	if !ok {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Content-Type", b.mediaType)
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Length", strconv.Itoa(len(b.data)))
	if req.Method != http.MethodHead {
		_, _ = w.Write(b.data)
	}
}

// servePulls tells how often each name was resolved.
func (r *Registry) servePulls(w http.ResponseWriter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(r.pulls)
}
