package link

import (
	"context"
	"errors"
	"fmt"
	"io"

	"k8s.io/client-go/rest"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/register"
	"github.com/flotilla-project/flotilla/agent/link/work"
)

// Detach lets go of all that was applied here for hubs, leaves it running, and says so on out. The agent must not run
// meanwhile: it would take everything up again. OCM-7.3
func Detach(ctx context.Context, local *rest.Config, o Options, out io.Writer) error {
	c, err := client.New(local, client.Options{Scheme: newScheme()})
	if err != nil {
		return fmt.Errorf("prepare local client: %w", err)
	}
	acting, err := work.Acting(local)
	if err != nil {
		return err
	}
	id, err := agentID(ctx, c, o)
	if err != nil {
		return err
	}
	works := 0
	err = work.Detach(ctx, c, acting, id, func(record *workv1.AppliedManifestWork, objects int, failed error) {
		if failed == nil {
			works++
			_, _ = fmt.Fprintf(out, "work %s: let go, %d objects left running\n", record.Spec.ManifestWorkName, objects)
		}
	})
	_, _ = fmt.Fprintf(out, "agent %s: %d works let go, nothing was deleted\n", id, works)
	return err
}

// agentID is the one that records carry: by flag, else the hash of the hub that the credentials are for. OCM-2.1
func agentID(ctx context.Context, local client.Client, o Options) (string, error) {
	if o.AgentID != "" {
		return o.AgentID, nil
	}
	store := register.Store{Local: local, Namespace: o.AgentNamespace, Name: o.HubKubeconfigSecret, Dir: o.HubKubeconfigDir}
	stored, err := store.Peek(ctx)
	if err != nil {
		return "", err
	}
	hub, err := stored.Hub()
	if err != nil {
		return "", errors.New("no hub credentials are stored, so whose works these are is not known: give --agent-id")
	}
	return work.HubHash(hub.Server), nil
}
