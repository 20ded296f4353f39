package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// check is one line of /healthz.
type check struct {
	name string
	fine func(context.Context) bool
}

// watched asks whether the objects of a kind were listed. It starts nothing that the part would not.
func watched(name string, c cache.Cache, kind client.Object) check {
	return check{name, func(ctx context.Context) bool {
		informer, err := c.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		return err == nil && informer.HasSynced()
	}}
}

// healthz names the first check that fails. Nothing here asks the container runtime: its restart must not become ours. // ND-5
func healthz(checks []check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, c := range checks {
			if !c.fine(r.Context()) {
				http.Error(w, c.name+" failed: its objects were not listed yet", http.StatusInternalServerError)
				return
			}
		}
		fmt.Fprint(w, "ok")
	})
}

// profiler serves Go's profiler for as long as the daemon runs.
func profiler(addr string) manager.Runnable {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return manager.RunnableFunc(func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { _ = server.Close() })
		defer stop()
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the profiler: %w", err)
		}
		return nil
	})
}
