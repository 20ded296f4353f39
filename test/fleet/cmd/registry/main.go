// Command registry serves test images to the real nodes of a fleet. See package
// registry for what it answers.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/flotilla-project/flotilla/test/fleet/registry"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:5000", "address to listen on")
	app := flag.String("app", "", "static program that the images run")
	programs := flag.String("programs", "", "folder of static programs that have an image of their own name")
	flag.Parse()
	if err := run(*addr, *app, *programs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(addr, app, programs string) error {
	program, err := os.ReadFile(app)
	if err != nil {
		return fmt.Errorf("read the images' program: %w", err)
	}
	r, err := registry.New(program, programs)
	if err != nil {
		return err
	}
	server := http.Server{Addr: addr, Handler: r, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}
