package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func env(key string) string {
	return map[string]string{imageEnv: "web:2", "HOSTNAME": "pod-1"}[key]
}

func TestFilesAreKept(t *testing.T) {
	file := t.TempDir() + "/kept"
	var out bytes.Buffer
	for _, args := range [][]string{{"app", "write", file, "it"}, {"app", "read", file}} {
		if code, err := run(args, env, &out, nil); code != 0 || err != nil {
			t.Errorf("%v ends with %d, %v", args, code, err)
		}
	}
	if out.String() != "it\n" {
		t.Errorf("read %q", out.String())
	}
	for _, args := range [][]string{{"app", "write", file}, {"app", "read", file + "/none"}} {
		if code, err := run(args, env, &out, nil); code == 0 || err == nil {
			t.Errorf("%v ends with %d, %v", args, code, err)
		}
	}
}

func TestModes(t *testing.T) {
	for args, want := range map[string]struct {
		code int
		out  string
	}{
		"/app hello":     {0, "hello world from pod-1\n"},
		"/app hello you": {0, "hello you from pod-1\n"},
		"/bin/hello you": {0, "hello you from pod-1\n"},
		"/app version":   {0, "web:2\n"},
		"/app exit 7":    {7, ""},
		"/bin/false":     {1, ""},
		"/app dance":     {2, ""},
		"/app sleep x":   {2, ""},
	} {
		var out bytes.Buffer
		code, err := run(strings.Fields(args), env, &out, nil)
		if code != want.code || out.String() != want.out {
			t.Errorf("%s gives %d, %q (%v), want %d, %q", args, code, out.String(), err, want.code, want.out)
		}
	}
}

func TestEnvPrintsItAll(t *testing.T) {
	t.Setenv("TEAM", "a b")
	var out bytes.Buffer
	if code, err := run([]string{"/bin/env"}, env, &out, nil); code != 0 || err != nil || !strings.Contains("\n"+out.String(), "\nTEAM=a b\n") {
		t.Errorf("%d, %v: %s", code, err, out.String())
	}
}

func TestWhatWaitsLeavesOnATermAtOnce(t *testing.T) {
	for _, args := range []string{"/pause", "/app sleep", "/app sleep 1h", "/bin/sleep infinity"} {
		stop := make(chan os.Signal, 1)
		stop <- syscall.SIGTERM
		if code, err := run(strings.Fields(args), env, nil, stop); code != 0 || err != nil {
			t.Errorf("%s ends with %d, %v", args, code, err)
		}
	}
}

func TestSleepTakesSecondsAndDurations(t *testing.T) {
	for arg, want := range map[string]time.Duration{"90": 90 * time.Second, "1.5": 1500 * time.Millisecond, "2m": 2 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			if _, err := sleep([]string{arg}, nil); err != nil {
				t.Fatal(err)
			}
			if slept := time.Since(start); slept != want {
				t.Errorf("sleep %s took %s, want %s", arg, slept, want)
			}
		})
	}
}

func TestServeTellsTheImage(t *testing.T) {
	for path, want := range map[string]string{"/": "ok\n", "/version": "web:2\n"} {
		w := httptest.NewRecorder()
		handler(env).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Body.String() != want {
			t.Errorf("%s answers %q, want %q", path, w.Body.String(), want)
		}
	}
}
