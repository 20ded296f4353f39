package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// approvalReason is what an approval made here says.
const approvalReason = "AcceptedByAdministrator"

func acceptCommand(k *kube) *cobra.Command {
	var patience time.Duration
	var waits bool
	var requester string
	c := &cobra.Command{
		Use: "accept CLUSTER...", Short: "Let clusters join", Args: cobra.MinimumNArgs(1),
		Long: "Let clusters join: approve the certificate that each asked for with bootstrap credentials, and accept it.\n" +
			"From then on its agent can read and update its own ManagedCluster and the namespace of its name, and no more.",
		Example: "  kubectl flotilla accept east west --wait",
		RunE: func(c *cobra.Command, names []string) error {
			hub, err := k.client()
			if err != nil {
				return err
			}
			ctx := c.Context()
			if waits {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, patience)
				defer cancel()
			}
			a := accepting{hub: hub, also: requester, waits: waits, say: func(format string, args ...any) {
				_, _ = fmt.Fprintf(c.OutOrStdout(), format+"\n", args...) // nobody listens; accepting goes on
			}}
			var failed []error
			for _, name := range names {
				if err := a.accept(ctx, name); err != nil {
					failed = append(failed, fmt.Errorf("cluster %s: %w", name, err))
				}
			}
			return errors.Join(failed...)
		},
	}
	c.Flags().BoolVar(&waits, "wait", false, "wait until each cluster has asked, and then until its agent has joined")
	c.Flags().DurationVar(&patience, "timeout", 5*time.Minute, "how long --wait waits for all of them")
	c.Flags().StringVar(&requester, "requester", "", "user whose requests you trust beside those of the bootstrap identities, by the whole name")
	return c
}

// accepting lets one cluster in after the other.
type accepting struct {
	hub   client.Client
	also  string
	waits bool
	say   func(format string, args ...any)
}

func (a accepting) accept(ctx context.Context, name string) error {
	approve, err := a.ready(ctx, name)
	if err != nil {
		return err
	}
	for _, request := range approve {
		if err := a.approve(ctx, request); err != nil {
			return err
		}
		a.say("cluster %s: approved certificate request %s of %s", name, request.Name, request.Spec.Username)
	}
	if err := setAccepted(ctx, a.hub, name, true); err != nil {
		return err
	}
	a.say("cluster %s: accepted", name)
	if !a.waits {
		return nil
	}
	last := ""
	err = poll(ctx, func() (bool, error) {
		cluster, err := get(ctx, a.hub, name)
		if err != nil {
			return false, err
		}
		last = verdict(cluster)
		return joined(cluster), nil
	})
	if err != nil {
		return fmt.Errorf("wait until it has joined: %w; %s", err, last)
	}
	a.say("cluster %s: joined", name)
	return nil
}

// verdict is what the hub said last of a cluster that has not joined yet.
func verdict(c *clusterv1.ManagedCluster) string {
	found := meta.FindStatusCondition(c.Status.Conditions, clusterv1.ManagedClusterConditionHubAccepted)
	switch {
	case found == nil:
		return "the hub has not let it in; does the hub process run?"
	case found.Status != metav1.ConditionTrue:
		return "the hub says: " + found.Message
	}
	return "the hub let it in; look at the agent's log"
}

// ready waits, if asked to, until the cluster has asked, and returns the requests to approve.
func (a accepting) ready(ctx context.Context, name string) ([]*certificatesv1.CertificateSigningRequest, error) {
	var approve []*certificatesv1.CertificateSigningRequest
	var missing error
	look := func() (bool, error) {
		var requests certificatesv1.CertificateSigningRequestList
		if err := a.hub.List(ctx, &requests, client.MatchingLabels{clusterv1.ClusterNameLabelKey: name}); err != nil {
			return false, fmt.Errorf("list certificate requests: %w", err)
		}
		cluster, err := get(ctx, a.hub, name)
		if err == nil {
			approve, err = choose(cluster, requests.Items, a.also)
		}
		missing = err
		if errors.Is(err, errNotAsked) && a.waits {
			return false, nil
		}
		return true, err
	}
	if !a.waits {
		_, err := look()
		return approve, err
	}
	if err := poll(ctx, look); err != nil {
		return nil, errors.Join(err, missing)
	}
	return approve, nil
}

func (a accepting) approve(ctx context.Context, request *certificatesv1.CertificateSigningRequest) error {
	approved := request.DeepCopy()
	approved.Status.Conditions = append(approved.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: approvalReason,
		Message: "Approved with kubectl flotilla accept.",
	})
	if err := a.hub.SubResource("approval").Update(ctx, approved); err != nil {
		return fmt.Errorf("approve certificate request %s: %w", request.Name, err)
	}
	return nil
}

func denyCommand(k *kube) *cobra.Command {
	return &cobra.Command{
		Use: "deny CLUSTER", Short: "Take a cluster's rights on the hub away", Args: cobra.ExactArgs(1),
		Long: "Take a cluster's rights on the hub away. What runs in the cluster goes on running, and its agent keeps the\n" +
			"right to finish the works it has. Let it in again with: kubectl flotilla accept CLUSTER",
		RunE: func(c *cobra.Command, names []string) error {
			hub, err := k.client()
			if err != nil {
				return err
			}
			if err := setAccepted(c.Context(), hub, names[0], false); err != nil {
				return fmt.Errorf("cluster %s: %w", names[0], err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "cluster %s: denied; what runs there goes on running\n", names[0])
			return err
		},
	}
}

// setAccepted writes nothing else, and nothing at all where it is so already.
func setAccepted(ctx context.Context, hub client.Client, name string, accepted bool) error {
	cluster, err := get(ctx, hub, name)
	if err != nil || cluster.Spec.HubAcceptsClient == accepted {
		return err
	}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"hubAcceptsClient":%t}}`, accepted))
	if err := hub.Patch(ctx, cluster, patch); err != nil {
		return fmt.Errorf("set spec.hubAcceptsClient to %t: %w", accepted, err)
	}
	return nil
}

func get(ctx context.Context, hub client.Client, name string) (*clusterv1.ManagedCluster, error) {
	cluster := &clusterv1.ManagedCluster{}
	err := hub.Get(ctx, client.ObjectKey{Name: name}, cluster)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: there is no ManagedCluster of this name; see: kubectl flotilla clusters", errNotAsked)
	}
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return cluster, nil
}

// poll asks every half second until done, an error, or the end of ctx.
func poll(ctx context.Context, done func() (bool, error)) error {
	return wait.PollUntilContextCancel(ctx, 500*time.Millisecond, true, func(context.Context) (bool, error) { return done() })
}
