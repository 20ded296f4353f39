package registry

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// layerOf resolves an image and returns the digest of its layer.
func layerOf(t *testing.T, s *httptest.Server, repository string) string {
	t.Helper()
	_, body := get(t, s, "/v2/"+repository+"/manifests/1?ns=registry.local")
	var m struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal(body, &m); err != nil || len(m.Layers) != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	return m.Layers[0].Digest
}

func TestFaultyImagesHaveLayersOfTheirOwn(t *testing.T) {
	s := newServer(t)
	plain, one, other := layerOf(t, s, "web"), layerOf(t, s, "faults/cut"), layerOf(t, s, "faults/cut/more")
	if plain == one || one == other {
		t.Errorf("%s, %s, %s", plain, one, other)
	}
}

func TestConnectionsAreCutThreeTimes(t *testing.T) {
	s := newServer(t)
	digest := layerOf(t, s, "faults/cut")
	for attempt := range 4 {
		resp, err := http.Get(s.URL + "/v2/faults/cut/blobs/" + digest)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if whole := err == nil && digestOf(body) == digest; whole != (attempt == 3) {
			t.Errorf("attempt %d: %d bytes, %v", attempt, len(body), err)
		}
	}
}

func TestPromisesAreBroken(t *testing.T) {
	s := newServer(t)
	digest := layerOf(t, s, "faults/wrong-digest")
	resp, body := get(t, s, "/v2/faults/wrong-digest/blobs/"+digest)
	if resp.StatusCode != http.StatusOK || digestOf(body) == digest {
		t.Errorf("%s with what was asked for", resp.Status)
	}
	for _, prefix := range []string{"", "/none"} {
		if resp, _ := get(t, s, prefix+"/v2/faults/failing/manifests/1"); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("out of order at %q: %s", prefix, resp.Status)
		}
	}
}

func TestSomeAreForTheRobotOnly(t *testing.T) {
	s := newServer(t)
	for password, want := range map[string]int{"": 401, "wrong": 401, robotPassword: 200} {
		req, err := http.NewRequest(http.MethodGet, s.URL+"/v2/faults/unauthorised/manifests/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth(robot, password)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want || want == 401 && resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("with password %q: %s", password, resp.Status)
		}
	}
}

func TestSlowLayersTakeTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, began, data := httptest.NewRecorder(), time.Now(), ballast("x")
		serveSlowly(w, httptest.NewRequest(http.MethodGet, "/", nil), data)
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second || w.Body.Len() != len(data) {
			t.Errorf("%d bytes in %s", w.Body.Len(), took)
		}
	})
}
