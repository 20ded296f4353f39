package registry

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func newServer(t *testing.T) *httptest.Server {
	t.Helper()
	programs := t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, "agent"), []byte("a program of its own"), 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := New([]byte("program"), programs)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, s *httptest.Server, path string) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func TestEveryTagIsAnImageOfItsOwn(t *testing.T) {
	s, digests := newServer(t), map[string]bool{}
	paths := []string{"/v2/web/manifests/1", "/v2/web/manifests/2", "/v2/library/web/manifests/1", "/v2/web/manifests/1?ns=quay.io"}
	for _, path := range paths {
		resp, body := get(t, s, path)
		digest := resp.Header.Get("Docker-Content-Digest")
		if resp.StatusCode != http.StatusOK || digestOf(body) != digest {
			t.Errorf("%s: %s, digest %s of other content", path, resp.Status, digest)
		}
		digests[digest] = true
	}
	if len(digests) != len(paths) {
		t.Errorf("%d digests for %d names", len(digests), len(paths))
	}
	first, _ := get(t, s, paths[0])
	if !digests[first.Header.Get("Docker-Content-Digest")] {
		t.Error("the same name has another digest the second time")
	}
}

func TestAnImageCanBePulledWhole(t *testing.T) {
	s := newServer(t)
	resp, _ := get(t, s, "/v2/web/manifests/1")
	_, body := get(t, s, "/v2/web/manifests/"+resp.Header.Get("Docker-Content-Digest"))
	var manifest struct {
		Config struct{ Digest string }
		Layers []struct {
			Digest string
			Size   int
		}
	}
	if err := json.Unmarshal(body, &manifest); err != nil {
		t.Fatal(err)
	}
	if resp, config := get(t, s, "/v2/web/blobs/"+manifest.Config.Digest); resp.StatusCode != http.StatusOK || !bytes.Contains(config, []byte("FLOTILLA_IMAGE=web:1")) {
		t.Errorf("config: %s, %s", resp.Status, config)
	}
	_, layer := get(t, s, "/v2/web/blobs/"+manifest.Layers[0].Digest)
	if len(layer) != manifest.Layers[0].Size || digestOf(layer) != manifest.Layers[0].Digest {
		t.Fatalf("layer of %d bytes does not fit the manifest", len(layer))
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	for _, want := range []string{"app", "pause", "bin/sleep", "proc/"} {
		if !slices.Contains(names, want) {
			t.Errorf("the layer lacks %s: %v", want, names)
		}
	}
}

func TestWhatCannotBePulled(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{
		"/v2/web/manifests/bad", "/v2/notexist/manifests/1", "/v2/web/manifests/1?ns=invalid.registry",
		"/v2/web/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000", "/elsewhere",
	} {
		if resp, _ := get(t, s, path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s answers %s", path, resp.Status)
		}
	}
}

func TestPullsAreCounted(t *testing.T) {
	s := newServer(t)
	get(t, s, "/v2/web/manifests/1?ns=quay.io")
	get(t, s, "/v2/web/manifests/1?ns=quay.io")
	_, body := get(t, s, "/pulls")
	var pulls map[string]int
	if err := json.Unmarshal(body, &pulls); err != nil || pulls["quay.io/web:1"] != 2 {
		t.Errorf("pulls are %s (%v)", body, err)
	}
}

func TestAProgramHasAnImageOfItsName(t *testing.T) {
	s := newServer(t)
	for path, want := range map[string]string{"/v2/flotilla/agent/manifests/dev?ns=docker.io": "/agent", "/v2/flotilla/web/manifests/dev": "/app"} {
		_, body := get(t, s, path)
		var manifest struct{ Config struct{ Digest string } }
		if err := json.Unmarshal(body, &manifest); err != nil {
			t.Fatal(err)
		}
		_, body = get(t, s, "/v2/x/blobs/"+manifest.Config.Digest)
		var config struct{ Config struct{ Entrypoint []string } }
		if err := json.Unmarshal(body, &config); err != nil {
			t.Fatal(err)
		}
		if got := config.Config.Entrypoint; len(got) != 1 || got[0] != want {
			t.Errorf("%s runs %q, want %s", path, got, want)
		}
	}
}
