package backup

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-project/flotilla/hub/history"
)

const root = "/registry/"

func state(pairs ...string) live {
	l := live{}
	for i := 0; i < len(pairs); i += 2 {
		l[root+pairs[i]] = entry{[]byte(root + pairs[i]), []byte(pairs[i+1]), int64(10 + i)}
	}
	return l
}

func saves(pairs ...string) map[string][]byte {
	m := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		m[root+pairs[i]] = []byte(pairs[i+1])
	}
	return m
}

// steps are changes in short.
func steps(changes []change) (all []string) {
	for _, c := range changes {
		s := c.verb() + " " + strings.TrimPrefix(c.key, root)
		if c.value != nil {
			s += "=" + string(c.value)
		}
		all = append(all, s)
	}
	return all
}

const (
	works  = "work.open-cluster-management.io/manifestworks/"
	east   = "cluster.open-cluster-management.io/managedclusters/east"
	marked = `{"metadata":{"annotations":{"flotilla.dev/hub-history":"new"},"name":"east"},"spec":{}}`
)

func TestCompare(t *testing.T) {
	for name, tc := range map[string]struct {
		saved map[string][]byte
		now   live
		want  []string
	}{
		"nothing differs": {saves(works+"east/a", "1"), state(works+"east/a", "1"), nil},
		"changed, gone and new": {
			saves(works+"east/a", "1", works+"east/b", "1"), state(works+"east/a", "2", works+"east/c", "1"),
			[]string{"change " + works + "east/a=1", "create " + works + "east/b=1", "delete " + works + "east/c"},
		},
		"what is alive stays as it is": {
			saves("leases/east/managed-cluster-lease", "old", "pods/default/a", "1"), state("leases/east/managed-cluster-lease", "new", "events/east/x", "1"), nil,
		},
		"a kind whose name only begins like an excluded one": {
			saves("podtemplates/default/a", "1"), state(), []string{"create podtemplates/default/a=1"},
		},
		"the saved history is not brought back": {
			saves(historyKey, "old"), state(historyKey, "older"), nil,
		},
		"a cluster that is told already": {
			saves(east, `{"spec":{}, "metadata":{"name":"east","annotations":{"flotilla.dev/hub-history":"old"}}}`), state(east, marked), nil,
		},
		"a cluster comes back with the new history": {
			saves(east, `{"metadata":{"name":"east"},"spec":{}}`), state(), []string{"create " + east + "=" + marked},
		},
		"a cluster whose form is not known": {
			saves(east, "k8s\x00binary"), state(), []string{"create " + east + "=k8s\x00binary"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := compare(root, tc.saved, tc.now, DefaultExcludes, "new")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, steps(p.rest)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTheNewHistoryComesFirst(t *testing.T) {
	now := state(east, `{"metadata":{"name":"east"},"spec":{}}`, "cluster.open-cluster-management.io/managedclusters/west", "k8s\x00binary", historyKey, "old")
	p, err := compare(root, saves(), now, DefaultExcludes, "new")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.announce) != 2 || p.announce[0].key != root+historyKey || p.announce[0].mod == 0 || string(p.announce[1].value) != marked {
		t.Errorf("%q", steps(p.announce))
	}
	var kept corev1.ConfigMap
	if err := json.Unmarshal(p.announce[0].value, &kept); err != nil || kept.Kind != "ConfigMap" || kept.Data[history.Key] != "new" || kept.UID == "" {
		t.Errorf("%s %v", p.announce[0].value, err)
	}
	if d := cmp.Diff([]string{"west"}, p.unmarked); d != "" {
		t.Error(d)
	}
}

func TestThePlanIsTold(t *testing.T) {
	p, err := compare(root, saves(works+"east/a", "1", works+"east/b", "1", "configmaps/default/c", "1"), state(works+"east/a", "2", works+"east/d", "1"), nil, "new")
	if err != nil {
		t.Fatal(err)
	}
	var short, long bytes.Buffer
	if err := p.Print(&short, false); err != nil {
		t.Fatal(err)
	}
	if err := p.Print(&long, true); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{
		{"new history id new, told to 0 clusters"},
		{"manifestworks.work.open-cluster-management.io", "1 come back", "1 change", "1 are deleted"},
		{"configmaps", "1 come back", "0 change", "0 are deleted"},
	} {
		if !onOneLine(short.String(), words) {
			t.Errorf("%s\ndoes not say %q", short.String(), words)
		}
	}
	if line := "delete " + root + works + "east/d"; strings.Contains(short.String(), line) || !strings.Contains(long.String(), line) {
		t.Errorf("%s\n%s", short.String(), long.String())
	}
}

func onOneLine(text string, words []string) bool {
	for line := range strings.Lines(text) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

func TestTransactionsStayWithinTheLimitsOfEtcd(t *testing.T) {
	small := make([]change, 100)
	if n := together(small); n != batch {
		t.Errorf("%d keys together", n)
	}
	large := []change{{value: make([]byte, batchBytes+1)}, {value: make([]byte, batchBytes/2)}, {value: make([]byte, batchBytes)}}
	if n := together(large); n != 1 {
		t.Errorf("%d large keys together", n)
	}
	if n := together(large[1:]); n != 1 {
		t.Errorf("%d large keys together", n)
	}
	if n := together(small[:3]); n != 3 {
		t.Errorf("%d of 3", n)
	}
}

func TestOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		etcd     Etcd
		problems int
	}{
		"fine":              {Etcd{Endpoints: []string{"http://127.0.0.1:2379"}, Prefix: "/registry"}, 0},
		"everything":        {Etcd{Cert: "c", Prefix: "/"}, 3},
		"a prefix of a hub": {Etcd{Endpoints: []string{"x"}, Prefix: "hub/"}, 0},
	} {
		if got := tc.etcd.Validate(); len(got) != tc.problems {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := (&Etcd{Prefix: "hub"}).root(); got != "/hub/" {
		t.Errorf("%s would take /hub2 with it", got)
	}
}

func TestMissingCertificatesAreNamed(t *testing.T) {
	for _, e := range []Etcd{{CACert: "nowhere.crt"}, {CACert: "diff_test.go"}, {Cert: "nowhere.crt", Key: "nowhere.key"}} {
		if _, err := e.tls(); err == nil || !strings.Contains(err.Error(), "--c") {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if c, err := (&Etcd{}).tls(); c != nil || err != nil {
		t.Errorf("%v %v", c, err)
	}
}
