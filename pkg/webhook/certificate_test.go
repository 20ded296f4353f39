package webhook

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func made(t testing.TB, old Pair, now time.Time, names ...string) Pair {
	t.Helper()
	p, err := renew(old, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// NP-8 (WH-10)
func TestWhenACertificateIsReplaced(t *testing.T) {
	const name = "hub-webhook.flotilla-system.svc"
	good := made(t, Pair{}, noon, name, "localhost")
	other := made(t, Pair{}, noon, name, "localhost")
	for what, tc := range map[string]struct {
		pair  Pair
		names []string
		now   time.Time
		fault string
	}{
		"a fresh one is good":                     {good, []string{name, "localhost"}, noon, ""},
		"one that lasts half a year is good":      {good, []string{name}, noon.Add(lifetime - renewBefore - time.Minute), ""},
		"one that lasts less is not":              {good, []string{name}, noon.Add(lifetime - renewBefore + time.Minute), "not good for " + name + " 180 days from now"},
		"none":                                    {Pair{}, []string{name}, noon, "there is none"},
		"one of another name":                     {good, []string{"10.0.0.1"}, noon, "not good for 10.0.0.1"},
		"the key of another":                      {Pair{CA: good.CA, Cert: good.Cert, Key: other.Key}, []string{name}, noon, "do not match"},
		"the authority of another":                {Pair{CA: other.CA, Cert: good.Cert, Key: good.Key}, []string{name}, noon, "not good for"},
		"garbage":                                 {Pair{CA: []byte("x"), Cert: []byte("y"), Key: []byte("z")}, []string{name}, noon, "cannot be read"},
		"an address is good when it was asked":    {made(t, Pair{}, noon, "127.0.0.1"), []string{"127.0.0.1"}, noon, ""},
		"an address of version 6 is good as well": {made(t, Pair{}, noon, "::1"), []string{"::1"}, noon, ""},
	} {
		t.Run(what, func(t *testing.T) {
			fault := tc.pair.fault(tc.names, tc.now)
			if !strings.Contains(fault, tc.fault) || (tc.fault == "") != (fault == "") {
				t.Errorf("fault %q", fault)
			}
		})
	}
}

// NP-8 (WH-11): the authority is kept while it lasts, so a new certificate is trusted by those who trusted the last.
func TestANewCertificateKeepsItsAuthority(t *testing.T) {
	old := made(t, Pair{}, noon, "a", "localhost")
	later := noon.Add(lifetime - authorityMargin - time.Hour)
	fresh := made(t, old, later, "b", "localhost")
	if !bytes.Equal(old.CA, fresh.CA) || bytes.Equal(old.Cert, fresh.Cert) {
		t.Error("the authority changed, or the certificate did not")
	}
	if fault := fresh.fault([]string{"b", "localhost"}, later); fault != "" {
		t.Error(fault)
	}
}

func TestAnAuthorityAtItsEndIsReplacedAndStillTrusted(t *testing.T) {
	old := made(t, Pair{}, noon, "a")
	later := noon.Add(lifetime - authorityMargin + time.Hour)
	fresh := made(t, old, later, "a")
	if !bytes.HasSuffix(fresh.CA, old.CA) || len(fresh.CA) == len(old.CA) {
		t.Error("certificates of the last authority are not trusted while replicas still serve them")
	}
	if fault := fresh.fault([]string{"a"}, later); fault != "" {
		t.Error(fault)
	}
	third := made(t, fresh, later.Add(lifetime+day), "a")
	if bytes.Contains(third.CA, old.CA) || bytes.Count(third.CA, []byte("BEGIN")) != 1 {
		t.Error("authorities past their end are carried along")
	}
}
