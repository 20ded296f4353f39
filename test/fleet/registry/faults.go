package registry

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// fault is a way in which images of the repository faults/NAME cannot be had, or not easily. Each image there has a layer of
// its own, so that no node has it yet. A registry's name before it, and a path after it, make no difference.
type fault string

const (
	// slow serves its layer within ten seconds and a half.
	slow fault = "slow"
	// failing answers that it is out of order.
	failing fault = "failing"
	// unauthorised wants the user robot with the password secret.
	unauthorised fault = "unauthorised"
	// wrongDigest serves another layer than it promises.
	wrongDigest fault = "wrong-digest"
	// cut ends the connection in the middle of a layer, the first three times.
	cut fault = "cut"
)

const (
	robot, robotPassword = "robot", "secret"
	// faultySize is that of a layer, pieces in how many it is served if slowly.
	faultySize  = 1 << 20
	pieces      = 21
	pieceEvery  = 500 * time.Millisecond
	cutsPerBlob = 3
)

var faulty = regexp.MustCompile(`(?:^|/)faults/([a-z-]+)`)

// faultOf is that of a repository, or of an image's name.
func faultOf(name string) fault {
	if m := faulty.FindStringSubmatch(name); m != nil {
		return fault(m[1])
	}
	return ""
}

// ballast is what makes a layer one of its own, and worth an interruption: it does not compress.
func ballast(name string) []byte {
	var b bytes.Buffer
	for sum := sha256.Sum256([]byte(name)); b.Len() < faultySize; sum = sha256.Sum256(sum[:]) {
		b.Write(sum[:])
	}
	return b.Bytes()
}

// refuse answers instead of the registry, or not.
func refuse(w http.ResponseWriter, req *http.Request, f fault) bool {
	switch f {
	case failing:
		http.Error(w, `{"errors":[{"code":"UNAVAILABLE","message":"out of order until further notice"}]}`, http.StatusServiceUnavailable)
		return true
	case unauthorised:
		user, password, _ := req.BasicAuth()
		if user == robot && password == robotPassword {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="faults"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		return true
	}
	return false
}

// serveFaulty serves a layer as its fault has it.
func (r *Registry) serveFaulty(w http.ResponseWriter, req *http.Request, digest string, b blob, f fault) {
	w.Header().Set("Content-Type", b.mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b.data)))
	switch f {
	case slow:
		serveSlowly(w, req, b.data)
	case wrongDigest:
		_, _ = w.Write(append(slices.Clone(b.data[:len(b.data)-1]), 'x'))
	case cut:
		if r.cutAgain(digest) {
			hangUp(w, b.data[:len(b.data)/2])
			return
		}
		_, _ = w.Write(b.data)
	default:
		_, _ = w.Write(b.data)
	}
}

// hangUp serves the beginning and ends the connection.
func hangUp(w http.ResponseWriter, beginning []byte) {
	_, _ = w.Write(beginning)
	c := http.NewResponseController(w)
	_ = c.Flush()
	if conn, _, err := c.Hijack(); err == nil {
		_ = conn.Close()
	}
}

func serveSlowly(w http.ResponseWriter, req *http.Request, data []byte) {
	tick := time.NewTicker(pieceEvery)
	defer tick.Stop()
	size := len(data)/pieces + 1
	for len(data) > 0 {
		n := min(size, len(data))
		if _, err := w.Write(data[:n]); err != nil {
			return
		}
		data = data[n:]
		_ = http.NewResponseController(w).Flush()
		select {
		case <-req.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// cutAgain counts the cuts of a layer.
func (r *Registry) cutAgain(digest string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cuts[digest]++
	return r.cuts[digest] <= cutsPerBlob
}
