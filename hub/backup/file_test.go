package backup

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var sample = map[string]string{"/registry/a": "1", "/registry/b": "", "/registry/c": strings.Repeat("x", 1<<20)}

func saveKeys(t *testing.T) (string, Summary) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hub.backup")
	s, err := save(path, Header{Revision: 7, Prefix: "/registry/", Taken: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Etcd: "e1", Version: "3.7.3"},
		func(add func(key, value []byte) error) error {
			for k, v := range sample {
				if err := add([]byte(k), []byte(v)); err != nil {
					return err
				}
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return path, s
}

func TestWhatIsSavedIsLoaded(t *testing.T) {
	path, saved := saveKeys(t)
	got := map[string]string{}
	loaded, err := Load(path, func(k, v []byte) error {
		got[string(k)] = string(v)
		return nil
	})
	if err != nil || !maps.Equal(got, sample) {
		t.Fatalf("%v, %d keys", err, len(got))
	}
	if d := cmp.Diff(saved, loaded); d != "" || loaded.Keys != 3 || loaded.Revision != 7 || len(loaded.SHA256) != 64 || loaded.File == 0 {
		t.Errorf("%+v %s", loaded, d)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v: secrets are in it", err, info.Mode())
	}
	for _, word := range []string{"revision 7", "3 keys", `"/registry/"`, "2026-01-01T12:00:00Z", loaded.SHA256} {
		if !strings.Contains(loaded.String(), word) {
			t.Errorf("%q does not say %s", loaded, word)
		}
	}
}

func TestADamagedFileIsNotLoaded(t *testing.T) {
	path, _ := saveKeys(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"cut off":        whole[:len(whole)-40],
		"cut off early":  whole[:len(magic)+3],
		"a flipped bit":  flipped(whole, len(whole)/2),
		"another file":   []byte("PK\x03\x04 a backup of something else"),
		"empty":          {},
		"only the magic": []byte(magic),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			if s, err := Load(path, nil); err == nil {
				t.Errorf("loaded as %v", s)
			}
		})
	}
}

func flipped(raw []byte, at int) []byte {
	raw = bytes.Clone(raw)
	raw[at] ^= 1
	return raw
}

// A file that is complete and not what was written is told by its checksum and its number of keys.
func TestTheChecksumIsChecked(t *testing.T) {
	var whole bytes.Buffer
	w, err := newWriter(&whole, Header{Revision: 7})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.add([]byte("key"), []byte("value")), w.end()); err != nil {
		t.Fatal(err)
	}
	if _, err := read(bytes.NewReader(whole.Bytes()), nil); err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"value", "key"} {
		other := bytes.Replace(whole.Bytes(), []byte(old), []byte(strings.ToUpper(old)), 1)
		if _, err := read(bytes.NewReader(other), nil); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", old, err)
		}
	}
	if _, err := read(bytes.NewReader(append(whole.Bytes(), 0)), nil); !errors.Is(err, errDamaged) {
		t.Errorf("more behind the end: %v", err)
	}
}

func TestAFailedBackupLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.backup")
	gone := errors.New("etcd is gone")
	if _, err := save(path, Header{}, func(func(key, value []byte) error) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
	if _, err := Load(path, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
