// Command testapp is what containers on real test nodes run. It is static and needs
// nothing from its image. As PID 1 it leaves on SIGTERM at once, or every deletion
// would take the whole grace period.
//
//	app [serve]       serves HTTP on :8080 ($PORT): / says ok, /version the image's name, /env the environment
//	app sleep [1h]    sleeps, for good without a duration
//	app hello [NAME]  greets; what `kubectl exec POD -- /app hello` prints
//	app version       prints the image's name
//	app exit CODE     ends with a code
//	app write FILE X  writes X to a file; app read FILE prints it
//	app env           prints the environment, a variable to a line
//
// Called by another name - pause, sleep, hello, env, true, false - it does that.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	code, err := run(os.Args, os.Getenv, os.Stdout, stop)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// run does what the arguments ask for and returns the exit code.
func run(args []string, env func(string) string, out io.Writer, stop <-chan os.Signal) (int, error) {
	mode, rest := filepath.Base(args[0]), args[1:]
	if mode == "app" || mode == "testapp" {
		if mode = "serve"; len(rest) > 0 {
			mode, rest = rest[0], rest[1:]
		}
	}
	switch mode {
	case "serve":
		return serve(env, stop)
	case "pause":
		<-stop
		return 0, nil
	case "sleep":
		return sleep(rest, stop)
	case "hello":
		fmt.Fprintf(out, "hello %s from %s\n", strings.Join(append(rest, "world")[:max(1, len(rest))], " "), env("HOSTNAME"))
		return 0, nil
	case "version":
		fmt.Fprintln(out, env(imageEnv))
		return 0, nil
	case "exit":
		return exit(rest)
	case "write", "read":
		return file(mode, rest, out)
	case "env":
		fmt.Fprintln(out, strings.Join(os.Environ(), "\n"))
		return 0, nil
	case "true":
		return 0, nil
	case "false":
		return 1, nil
	}
	return 2, fmt.Errorf("mode %q is unknown: use serve, sleep, hello, version, exit, env, write or read", mode)
}

// imageEnv is set by the registry that makes the images.
const imageEnv = "FLOTILLA_IMAGE"

func serve(env func(string) string, stop <-chan os.Signal) (int, error) {
	port := env("PORT")
	if port == "" {
		port = "8080"
	}
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(":"+port, handler(env)) }()
	select {
	case <-stop:
		return 0, nil
	case err := <-failed:
		return 1, fmt.Errorf("serve on port %s: %w", port, err)
	}
}

func handler(env func(string) string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, env(imageEnv)) })
	mux.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) {
		for _, kv := range os.Environ() {
			fmt.Fprintln(w, kv)
		}
	})
	return mux
}

// sleep takes a Go duration, or seconds as the usual sleep does.
func sleep(args []string, stop <-chan os.Signal) (int, error) {
	var over <-chan time.Time
	if len(args) > 0 && args[0] != "infinity" {
		d, err := time.ParseDuration(args[0])
		if s, plain := strconv.ParseFloat(args[0], 64); plain == nil {
			d, err = time.Duration(s*float64(time.Second)), nil
		}
		if err != nil {
			return 2, fmt.Errorf("sleep: %w", err)
		}
		over = time.After(d)
	}
	select {
	case <-stop:
	case <-over:
	}
	return 0, nil
}

// file is what a volume has to keep.
func file(mode string, args []string, out io.Writer) (int, error) {
	if mode == "write" && len(args) == 2 {
		return codeOf(os.WriteFile(args[0], []byte(args[1]), 0o644))
	}
	if mode == "read" && len(args) == 1 {
		content, err := os.ReadFile(args[0])
		fmt.Fprintln(out, string(content))
		return codeOf(err)
	}
	return 2, fmt.Errorf("%s: a file is needed, and what to write", mode)
}

func codeOf(err error) (int, error) {
	if err != nil {
		return 1, err
	}
	return 0, nil
}

func exit(args []string) (int, error) {
	if len(args) != 1 {
		return 2, errors.New("exit: one code is needed")
	}
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return 2, fmt.Errorf("exit: %w", err)
	}
	return code, nil
}
