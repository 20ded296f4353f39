package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The accounts whose writes are counted.
const (
	agent = "system:serviceaccount:open-cluster-management-agent:agent"
	noded = "system:serviceaccount:open-cluster-management-agent:noded"
)

// policy makes the API server note every write with its user: its metrics do not tell ours from the kubelets'.
const policy = `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived","ResponseStarted"],
"rules":[{"level":"Metadata","users":["` + agent + `","` + noded + `"],"verbs":["create","update","patch","delete","deletecollection"]},{"level":"None"}]}`

// audit is what an API server notes of our writes.
type audit struct {
	log, policy string
	read        int64
}

func newAudit(b testing.TB) *audit {
	b.Helper()
	dir := b.TempDir()
	a := &audit{log: filepath.Join(dir, "audit.log"), policy: filepath.Join(dir, "policy.json")}
	if err := os.WriteFile(a.policy, []byte(policy), 0o600); err != nil {
		b.Fatal(err)
	}
	return a
}

// args are those of the API server.
func (a *audit) args() []string {
	return []string{"--audit-policy-file=" + a.policy, "--audit-log-path=" + a.log}
}

// since counts the writes since the last call, by account, then by verb, resource and answer. Leases are left out: they do
// not grow with what is asked. Events are shown but not summed up, for the clients of both sides merge and drop them.
func (a *audit) since(b testing.TB) map[string]map[string]int {
	b.Helper()
	file, err := os.Open(a.log)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(a.read, 0); err != nil {
		b.Fatal(err)
	}
	counts := map[string]map[string]int{agent: {}, noded: {}}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return counts // the rest of a half-written line belongs to the next phase
		}
		a.read += int64(len(line))
		var e struct {
			Verb           string                                 `json:"verb"`
			User           struct{ Username string }              `json:"user"`
			ObjectRef      struct{ Resource, Subresource string } `json:"objectRef"`
			ResponseStatus struct{ Code int }                     `json:"responseStatus"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			b.Fatal(err)
		}
		if of := counts[e.User.Username]; of != nil && e.ObjectRef.Resource != "leases" {
			what := strings.TrimSuffix(e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/")
			of[fmt.Sprintf("%s %s %d", e.Verb, what, e.ResponseStatus.Code)]++
		}
	}
}

// sum leaves out events.
func sum(writes map[string]int) (n int) {
	for what, count := range writes {
		if !strings.Contains(what, " events") {
			n += count
		}
	}
	return n
}
