package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
)

var workHeading = []string{"WORK", "FATE", "OBJECTS"}

// shownObjects is how many objects a line names.
const shownObjects = 4

func removeCommand(k *kube) *cobra.Command {
	var patience time.Duration
	var yes bool
	c := &cobra.Command{
		Use: "remove CLUSTER", Short: "Delete what the hub put into a cluster, and let it go", Args: cobra.ExactArgs(1),
		Long: "Delete everything that the hub put into a cluster, and let the cluster go. It says first what that is, and asks.\n" +
			"The cluster's agent has to be there to do it. To let a cluster go and leave everything running, dead clusters\n" +
			"too: kubectl flotilla detach CLUSTER",
		RunE: func(c *cobra.Command, names []string) error {
			hub, err := k.client()
			if err != nil {
				return err
			}
			r := removing{hub: hub, leaving: leaving{hub: hub, name: names[0], out: c.OutOrStdout()}, in: c.InOrStdin(), yes: yes, now: time.Now}
			if err := r.run(c.Context(), patience); err != nil {
				return fmt.Errorf("cluster %s: %w", names[0], err)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().DurationVar(&patience, "timeout", 15*time.Minute, "how long to wait until everything is gone")
	return c
}

// removing empties one cluster.
type removing struct {
	hub     client.Client
	leaving leaving
	in      io.Reader
	yes     bool
	now     func() time.Time
}

func (r removing) run(ctx context.Context, patience time.Duration) error {
	cluster, err := get(ctx, r.hub, r.leaving.name)
	if err != nil {
		return err
	}
	var works workv1.ManifestWorkList
	if err := r.hub.List(ctx, &works, client.InNamespace(cluster.Name)); err != nil {
		return fmt.Errorf("list works: %w", err)
	}
	if why := r.refuse(cluster, len(works.Items)); why != "" {
		return errors.New(why)
	}
	if err := r.show(works.Items); err != nil {
		return err
	}
	if err := r.ask(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.remove(ctx, cluster, works.Items); err != nil {
		return err
	}
	if err := r.empty(ctx, cluster.Name); err != nil {
		return err
	}
	if err := r.leaving.gone(ctx); err != nil {
		return err
	}
	return r.leaving.say("removed")
}

// empty waits until the agent has removed everything, and says what keeps it from that.
func (r removing) empty(ctx context.Context, namespace string) error {
	last := ""
	err := poll(ctx, func() (bool, error) {
		var works workv1.ManifestWorkList
		if err := r.hub.List(ctx, &works, client.InNamespace(namespace)); err != nil || len(works.Items) == 0 {
			return err == nil, err
		}
		if now := left(works.Items); now != last {
			last = now
			return false, r.leaving.say("%s", last)
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("wait until it is empty: %w; %s", err, last)
	}
	return nil
}

// left says how many works are there still, and why the first of them is held.
func left(works []workv1.ManifestWork) string {
	text := fmt.Sprintf("%d works are left, such as %s", len(works), works[0].Name)
	for i := range works {
		if c := meta.FindStatusCondition(works[i].Status.Conditions, workv1.WorkDeleting); c != nil && c.Status == metav1.ConditionFalse {
			return text + "; " + works[i].Name + " is held: " + c.Message
		}
	}
	return text
}

// refuse says why the cluster cannot be removed, or nothing when it can.
func (r removing) refuse(cluster *clusterv1.ManagedCluster, works int) string {
	if detach.Ordered(cluster) {
		return fmt.Sprintf("it is being detached (%s), so everything in it stays", cluster.Annotations[appsv1alpha1.AnnotationDetach])
	}
	available := meta.FindStatusCondition(cluster.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
	instead := "; to let it go and leave everything in it running: kubectl flotilla detach " + cluster.Name
	switch {
	case works == 0:
		return ""
	case available == nil:
		return fmt.Sprintf("no agent of it has reported, so nobody would remove what its %d works hold%s", works, instead)
	case available.Status == metav1.ConditionUnknown:
		return fmt.Sprintf("it has been silent for %s, so nobody would remove what its %d works hold%s",
			duration.HumanDuration(since(available, r.now())), works, instead)
	}
	return ""
}

// show says what goes.
func (r removing) show(works []workv1.ManifestWork) error {
	if len(works) == 0 {
		return r.leaving.say("the hub has put nothing there; the cluster itself is let go")
	}
	if err := r.leaving.say("this is what the hub put there:"); err != nil {
		return err
	}
	return printTable(r.leaving.out, workHeading, workRows(works))
}

func workRows(works []workv1.ManifestWork) (rows [][]string) {
	for i := range works {
		rows = append(rows, []string{works[i].Name, fate(works[i].Spec.DeleteOption), objects(works[i].Spec.Workload.Manifests)})
	}
	return rows
}

// fate is what becomes of a work's objects. OCM-15.3
func fate(o *workv1.DeleteOption) string {
	switch {
	case o != nil && o.PropagationPolicy == workv1.DeletePropagationPolicyTypeOrphan:
		return "stays"
	case o != nil && o.PropagationPolicy == workv1.DeletePropagationPolicyTypeSelectivelyOrphan && o.SelectivelyOrphan != nil:
		return "is deleted in part"
	}
	return "is deleted"
}

// objects names what a work holds.
func objects(manifests []workv1.Manifest) string {
	var all []string
	for i := range manifests {
		if len(all) == shownObjects {
			all = append(all, fmt.Sprintf("and %d more", len(manifests)-shownObjects))
			break
		}
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(manifests[i].Raw, &o); err != nil || o.Name == "" {
			all = append(all, "?")
			continue
		}
		all = append(all, o.Kind+" "+o.Namespace+"/"+o.Name)
	}
	return orNone(strings.ReplaceAll(strings.Join(all, ", "), " /", " ")) // of what has no namespace
}

// ask goes on only with a word that nobody types by mistake.
func (r removing) ask() error {
	if r.yes {
		return nil
	}
	if _, err := fmt.Fprintf(r.leaving.out, "To go on, type the name of the cluster: "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(r.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read answer: %w", err)
	}
	if strings.TrimSpace(answer) != r.leaving.name {
		return errors.New("not confirmed, nothing was changed; --yes does not ask")
	}
	return nil
}

// remove confirms what the brakes of hub and agent would hold, and deletes the cluster before its works: so nobody
// sends them again, and its agent keeps the right to finish them.
func (r removing) remove(ctx context.Context, cluster *clusterv1.ManagedCluster, works []workv1.ManifestWork) error {
	if err := annotate(ctx, r.hub, cluster, appsv1alpha1.AnnotationConfirmMassRemoval, cluster.Name); err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	for i := range works {
		if err := annotate(ctx, r.hub, &works[i], appsv1alpha1.AnnotationConfirmRemoval, works[i].Name); err != nil {
			return fmt.Errorf("confirm the removal of work %s: %w", works[i].Name, err)
		}
	}
	if err := r.leaving.remove(ctx, cluster); err != nil {
		return err
	}
	var failed []error
	for i := range works {
		err := r.hub.Delete(ctx, &works[i], client.Preconditions{UID: new(works[i].UID)})
		if client.IgnoreNotFound(err) != nil {
			failed = append(failed, fmt.Errorf("delete work %s: %w", works[i].Name, err))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	return r.leaving.say("%d works are on their way out", len(works))
}
