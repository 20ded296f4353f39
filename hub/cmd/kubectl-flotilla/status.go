package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

var subsetHeading = []string{"SUBSET", "CLUSTER", "ZONE", "DESIRED", "READY", "UPDATED", "AVAILABLE", "MESSAGE"}

func statusCommand(k *kube) *cobra.Command {
	var namespace string
	var watches, untilReady bool
	c := &cobra.Command{
		Use: "status FEDERATEDDEPLOYMENT", Short: "Show where the subsets of a FederatedDeployment stand", Args: cobra.ExactArgs(1),
		Example: "  kubectl flotilla status web -w",
		RunE: func(c *cobra.Command, args []string) error {
			space, err := k.namespace(namespace)
			if err != nil {
				return err
			}
			hub, err := k.client()
			if err != nil {
				return err
			}
			s := showing{hub: hub, key: client.ObjectKey{Namespace: space, Name: args[0]}, out: c.OutOrStdout()}
			if !watches && !untilReady {
				fdep, err := s.get(c.Context())
				if err != nil {
					return err
				}
				_, err = s.show(fdep)
				return err
			}
			err = s.follow(c.Context(), untilReady)
			if watches && errors.Is(err, context.Canceled) {
				return nil // ended as people end it
			}
			return err
		},
	}
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace of the FederatedDeployment; empty is the kubeconfig's")
	c.Flags().BoolVarP(&watches, "watch", "w", false, "go on showing whatever changes")
	c.Flags().BoolVar(&untilReady, "until-ready", false, "go on showing whatever changes, until it is ready")
	return c
}

// showing prints a FederatedDeployment whenever what is to be seen of it changes.
type showing struct {
	hub  client.WithWatch
	key  client.ObjectKey
	out  io.Writer
	last string
}

func (s *showing) get(ctx context.Context) (*appsv1alpha1.FederatedDeployment, error) {
	return fdep(ctx, s.hub, s.key)
}

// fdep reads a FederatedDeployment, and says where to look when there is none.
func fdep(ctx context.Context, hub client.Reader, key client.ObjectKey) (*appsv1alpha1.FederatedDeployment, error) {
	d := &appsv1alpha1.FederatedDeployment{}
	err := hub.Get(ctx, key, d)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("no FederatedDeployment %s in namespace %s; see: kubectl get fdep -A", key.Name, key.Namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("read FederatedDeployment %s: %w", key.Name, err)
	}
	return d, nil
}

// show prints and says whether it is ready.
func (s *showing) show(fdep *appsv1alpha1.FederatedDeployment) (bool, error) {
	var text bytes.Buffer
	if err := describe(&text, fdep); err != nil {
		return false, err
	}
	if text.String() == s.last {
		return ready(fdep), nil
	}
	between := ""
	if s.last != "" {
		between = "\n"
	}
	s.last = text.String()
	_, err := io.WriteString(s.out, between+s.last)
	return ready(fdep), err
}

// follow shows changes until ctx ends, the object goes, or it is ready, should that be enough.
func (s *showing) follow(ctx context.Context, untilReady bool) error {
	for {
		fdep, err := s.get(ctx)
		if err != nil {
			return err
		}
		done, err := s.show(fdep)
		if err != nil || done && untilReady {
			return err
		}
		done, err = s.changes(ctx, fdep.ResourceVersion, untilReady)
		if err != nil || done {
			return err
		}
		if err := pause(ctx); err != nil { // the server ends watches now and then
			return err
		}
	}
}

// changes shows what one watch brings, and says whether that was the last.
func (s *showing) changes(ctx context.Context, since string, untilReady bool) (bool, error) {
	w, err := s.hub.Watch(ctx, &appsv1alpha1.FederatedDeploymentList{}, client.InNamespace(s.key.Namespace),
		client.MatchingFields{"metadata.name": s.key.Name}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: since}})
	if err != nil {
		return false, fmt.Errorf("watch FederatedDeployment %s: %w", s.key.Name, err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		fdep, ok := e.Object.(*appsv1alpha1.FederatedDeployment)
		if !ok {
			return false, nil // an error of the watch: start over
		}
		if e.Type == watch.Deleted {
			_, err := fmt.Fprintf(s.out, "\nFederatedDeployment %s is gone\n", s.key.Name)
			return true, err
		}
		done, err := s.show(fdep)
		if err != nil || done && untilReady {
			return true, err
		}
	}
	return false, ctx.Err()
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
		return nil
	}
}

// ready says whether the status speaks of the present spec and calls it ready.
func ready(fdep *appsv1alpha1.FederatedDeployment) bool {
	return fdep.Status.ObservedGeneration == fdep.Generation &&
		meta.IsStatusConditionTrue(fdep.Status.Conditions, appsv1alpha1.ConditionReady)
}

// describe is a line that sums up, one for each thing to act upon, and the subsets.
func describe(out *bytes.Buffer, fdep *appsv1alpha1.FederatedDeployment) error {
	s := &fdep.Status
	if s.ObservedGeneration == 0 {
		_, err := fmt.Fprintf(out, "%s: the hub has not looked at it yet\n", fdep.Name)
		return err
	}
	fmt.Fprintf(out, "%s: %d of %d ready, %d updated, %d available, clusters %s%s\n", fdep.Name,
		s.ReadyReplicas, s.DesiredReplicas, s.UpdatedReplicas, s.AvailableReplicas, orNone(s.Clusters), headline(fdep))
	if stalled := meta.FindStatusCondition(s.Conditions, appsv1alpha1.ConditionStalled); stalled != nil && stalled.Status == metav1.ConditionTrue {
		fmt.Fprintf(out, "stalled: %s: %s\n", stalled.Reason, stalled.Message)
	}
	if s.UnconfirmedReplicas > 0 {
		fmt.Fprintf(out, "%d more were last reported by clusters that are silent now\n", s.UnconfirmedReplicas)
	}
	return printTable(out, subsetHeading, subsetRows(s.Subsets))
}

// headline is the reason of Ready.
func headline(fdep *appsv1alpha1.FederatedDeployment) string {
	found := meta.FindStatusCondition(fdep.Status.Conditions, appsv1alpha1.ConditionReady)
	switch {
	case fdep.Status.ObservedGeneration != fdep.Generation:
		return "; the hub has not looked at the newest change yet"
	case found == nil:
		return ""
	}
	return "; " + found.Reason
}

func subsetRows(subsets []appsv1alpha1.SubsetStatus) (rows [][]string) {
	for _, s := range subsets {
		message := s.Message
		if s.Silent {
			message = "cluster is silent, numbers are its last"
			if s.Message != "" {
				message += "; " + s.Message
			}
		}
		row := []string{s.Name, orNone(s.Cluster), orNone(s.Zone)}
		for _, n := range []int32{s.DesiredReplicas, s.ReadyReplicas, s.UpdatedReplicas, s.AvailableReplicas} {
			row = append(row, strconv.Itoa(int(n)))
		}
		rows = append(rows, append(row, orNone(message)))
	}
	return rows
}
