package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// fakeStore is an etcd of a few keys, in which others write too.
type fakeStore struct {
	mods    map[string]int64
	values  map[string]string
	next    int64
	meddle  func(*fakeStore) // before every commit
	commits int
	fail    error
}

func newStore(keys ...string) *fakeStore {
	s := &fakeStore{mods: map[string]int64{}, values: map[string]string{}, next: 100, meddle: func(*fakeStore) {}}
	for i, k := range keys {
		s.mods[k], s.values[k] = int64(i+1), "old"
	}
	return s
}

func (s *fakeStore) put(key, value string) {
	s.next++
	s.mods[key], s.values[key] = s.next, value
}

func (s *fakeStore) version(_ context.Context, key string) (int64, error) { return s.mods[key], s.fail }

func (s *fakeStore) commit(_ context.Context, changes []change) (bool, error) {
	s.commits++
	if s.fail != nil {
		return false, s.fail
	}
	s.meddle(s)
	for _, c := range changes {
		if s.mods[c.key] != c.mod {
			return false, nil
		}
	}
	for _, c := range changes {
		if c.value == nil {
			delete(s.mods, c.key)
			delete(s.values, c.key)
		} else {
			s.put(c.key, string(c.value))
		}
	}
	return true, nil
}

var wanted = []change{{"a", []byte("new"), 1}, {"b", nil, 2}, {"c", []byte("new"), 0}}

func (s *fakeStore) expectRestored(t *testing.T) {
	t.Helper()
	if got := fmt.Sprint(s.values); got != "map[a:new c:new]" {
		t.Error(got)
	}
}

func TestWhatDiffersIsWrittenTogether(t *testing.T) {
	s := newStore("a", "b")
	if err := write(context.Background(), s, wanted); err != nil || s.commits != 1 {
		t.Errorf("%v, %d transactions", err, s.commits)
	}
	s.expectRestored(t)
}

func TestAKeyThatChangedMeanwhileIsWrittenAllTheSame(t *testing.T) {
	s := newStore("a", "b")
	s.meddle = func(s *fakeStore) {
		if s.commits == 1 {
			s.put("a", "a heartbeat")
		}
	}
	if err := write(context.Background(), s, wanted); err != nil {
		t.Fatal(err)
	}
	s.expectRestored(t)
}

func TestAKeyThatNeverRestsIsNamed(t *testing.T) {
	s := newStore("a", "b")
	s.meddle = func(s *fakeStore) { s.put("a", "a heartbeat") }
	err := write(context.Background(), s, wanted)
	if err == nil || !strings.Contains(err.Error(), "a changes faster") {
		t.Errorf("%v", err)
	}
	if s.values["c"] != "new" || s.values["b"] != "" {
		t.Errorf("%v: one key held up the others", s.values)
	}
}

func TestAnEtcdThatFailsEndsTheRestore(t *testing.T) {
	s := newStore()
	s.fail = errors.New("etcd is gone")
	if err := write(context.Background(), s, make([]change, 3*batch)); !errors.Is(err, s.fail) || s.commits != 1 {
		t.Errorf("%v after %d transactions", err, s.commits)
	}
}

func TestABackupGoesBackToWhereItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.backup")
	if _, err := save(path, Header{Prefix: "/registry/"}, func(func(key, value []byte) error) error { return nil }); err != nil {
		t.Fatal(err)
	}
	r := Restore{Etcd: Etcd{Endpoints: []string{"http://127.0.0.1:1"}, Prefix: "/other"}, From: path, Out: &bytes.Buffer{}}
	if err := r.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "/other/") {
		t.Errorf("%v", err)
	}
}
