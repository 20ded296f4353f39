package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/revision"
)

// rolling is what the commands about updates share: one FederatedDeployment.
type rolling struct {
	hub client.Client
	key client.ObjectKey
	out io.Writer
	now func() time.Time
}

func rolloutCommands(k *kube) []*cobra.Command {
	var to int64
	undo := rolloutCommand(k, "undo", "Bring back an earlier template", func(ctx context.Context, r rolling) error { return r.undo(ctx, to) })
	undo.Long = "Bring back an earlier template: the one before, or the one that history shows under the number. It goes out like\n" +
		"any change, in waves if updates go in waves."
	undo.Example = "  kubectl flotilla undo web --to-revision 3"
	undo.Flags().Int64Var(&to, "to-revision", 0, "number of the revision to bring back; 0 is the one before")
	return []*cobra.Command{
		undo,
		rolloutCommand(k, "history", "Show the templates that there were",
			func(ctx context.Context, r rolling) error { return r.history(ctx) }),
		rolloutCommand(k, "pause", "Stop an update where it is; what was updated stays updated",
			func(ctx context.Context, r rolling) error { return r.pause(ctx) }),
		rolloutCommand(k, "resume", "Let an update go on that was paused, or that waits for somebody after a wave",
			func(ctx context.Context, r rolling) error { return r.resume(ctx) }),
	}
}

func rolloutCommand(k *kube, verb, short string, run func(context.Context, rolling) error) *cobra.Command {
	var namespace string
	c := &cobra.Command{
		Use: verb + " FEDERATEDDEPLOYMENT", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			space, err := k.namespace(namespace)
			if err != nil {
				return err
			}
			hub, err := k.client()
			if err != nil {
				return err
			}
			return run(c.Context(), rolling{hub: hub, key: client.ObjectKey{Namespace: space, Name: args[0]}, out: c.OutOrStdout(), now: time.Now})
		},
	}
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace of the FederatedDeployment; empty is the kubeconfig's")
	return c
}

// revisions are those of d, oldest first.
func (r rolling) revisions(ctx context.Context, d *appsv1alpha1.FederatedDeployment) ([]appsv1.ControllerRevision, error) {
	var list appsv1.ControllerRevisionList
	if err := r.hub.List(ctx, &list, client.InNamespace(r.key.Namespace)); err != nil {
		return nil, fmt.Errorf("list revisions: %w", err)
	}
	own := slices.DeleteFunc(list.Items, func(o appsv1.ControllerRevision) bool { return !metav1.IsControlledBy(&o, d) })
	return revision.Sorted(own), nil
}

func (r rolling) history(ctx context.Context) error {
	d, err := fdep(ctx, r.hub, r.key)
	if err != nil {
		return err
	}
	all, err := r.revisions(ctx, d)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, one := range all {
		rows = append(rows, []string{
			strconv.FormatInt(one.Revision, 10), one.Name, duration.HumanDuration(r.now().Sub(one.CreationTimestamp.Time)),
			orNone(role(d, one.Name)), orNone(strings.Join(images(one.Data.Raw), ",")),
		})
	}
	return printTable(r.out, []string{"REVISION", "NAME", "AGE", "USE", "IMAGES"}, rows)
}

// role says what a revision is to d now.
func role(d *appsv1alpha1.FederatedDeployment, name string) string {
	rollout := d.Status.Rollout
	switch {
	case rollout != nil && rollout.Revision == name && (rollout.Phase == appsv1alpha1.RolloutRolledBack || rollout.Phase == appsv1alpha1.RolloutRollingBack):
		return "failed, rolled back"
	case name == d.Status.CurrentRevision:
		return "current"
	case name == d.Status.UpdateRevision:
		return "going out"
	}
	return ""
}

// wanted is the part of a revision's data that is the template.
type wanted struct {
	Spec struct {
		Template map[string]json.RawMessage `json:"template"`
	} `json:"spec"`
}

// images are what the containers of a revision's template run.
func images(data []byte) (all []string) {
	var w wanted
	if json.Unmarshal(data, &w) != nil {
		return nil
	}
	for _, raw := range w.Spec.Template {
		var workload struct {
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct{ Image string } `json:"containers"`
					} `json:"spec"`
				} `json:"template"`
			} `json:"spec"`
		}
		if json.Unmarshal(raw, &workload) != nil {
			continue // the marker that says: replace
		}
		for _, c := range workload.Spec.Template.Spec.Containers {
			all = append(all, c.Image)
		}
	}
	return all
}

func (r rolling) undo(ctx context.Context, number int64) error {
	d, err := fdep(ctx, r.hub, r.key)
	if err != nil {
		return err
	}
	all, err := r.revisions(ctx, d)
	if err != nil {
		return err
	}
	target, err := choice(d, all, number)
	if err != nil {
		return err
	}
	var w wanted
	if err := json.Unmarshal(target.Data.Raw, &w); err != nil {
		return fmt.Errorf("decode revision %d: %w", target.Revision, err)
	}
	delete(w.Spec.Template, "$patch")
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/metadata/resourceVersion", "value": d.ResourceVersion},
		{"op": "replace", "path": "/spec/template", "value": w.Spec.Template},
	})
	if err != nil {
		return err
	}
	if err := r.hub.Patch(ctx, d, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("bring back revision %d: %w", target.Revision, err)
	}
	_, err = fmt.Fprintf(r.out, "federateddeployment %s: the template of revision %d (%s) is wanted again; watch it: kubectl flotilla status %s -w\n",
		r.key.Name, target.Revision, target.Name, r.key.Name)
	return err
}

// choice is the revision of that number or, of an update that has not gone out, the one that it would go back to, or the
// newest that is not wanted now.
func choice(d *appsv1alpha1.FederatedDeployment, all []appsv1.ControllerRevision, number int64) (*appsv1.ControllerRevision, error) {
	if rollout := d.Status.Rollout; number == 0 && rollout != nil && rollout.Revision == d.Status.UpdateRevision && rollout.StableRevision != rollout.Revision {
		i := slices.IndexFunc(all, func(one appsv1.ControllerRevision) bool { return one.Name == rollout.StableRevision })
		if i >= 0 {
			return &all[i], nil
		}
	}
	for _, one := range slices.Backward(all) {
		switch {
		case number != 0 && one.Revision == number && one.Name == d.Status.UpdateRevision:
			return nil, fmt.Errorf("revision %d is the one that is wanted now", number)
		case number == 0 && one.Name != d.Status.UpdateRevision, number != 0 && one.Revision == number:
			return &one, nil
		}
	}
	if number == 0 {
		return nil, fmt.Errorf("there is no earlier revision; see: kubectl flotilla history %s", d.Name)
	}
	return nil, fmt.Errorf("there is no revision %d; see: kubectl flotilla history %s", number, d.Name)
}

func (r rolling) pause(ctx context.Context) error {
	d, err := fdep(ctx, r.hub, r.key)
	if err != nil {
		return err
	}
	return r.merge(ctx, d, `{"spec":{"updateStrategy":{"paused":true}}}`, "is paused; let it go on: kubectl flotilla resume "+d.Name)
}

func (r rolling) resume(ctx context.Context) error {
	d, err := fdep(ctx, r.hub, r.key)
	if err != nil {
		return err
	}
	rollout := d.Status.Rollout
	switch {
	case d.Spec.UpdateStrategy.Paused:
		return r.merge(ctx, d, `{"spec":{"updateStrategy":{"paused":false}}}`, "goes on")
	case rollout == nil || rollout.Phase != appsv1alpha1.RolloutPaused && rollout.Phase != appsv1alpha1.RolloutFailed:
		return fmt.Errorf("%s does not wait for anybody; see: kubectl flotilla status %s", d.Name, d.Name)
	}
	goOn := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%s/%d"}}}`, appsv1alpha1.AnnotationResume, rollout.Revision, rollout.Wave)
	means := "goes on after wave %d of %d"
	if rollout.Phase == appsv1alpha1.RolloutFailed {
		means = "tries wave %d of %d again"
	}
	return r.merge(ctx, d, goOn, fmt.Sprintf(means, rollout.Wave, rollout.Waves))
}

// merge patches d as it was seen, and says what that means.
func (r rolling) merge(ctx context.Context, d *appsv1alpha1.FederatedDeployment, patch, means string) error {
	if err := r.hub.Patch(ctx, d, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return fmt.Errorf("patch FederatedDeployment %s: %w", d.Name, err)
	}
	_, err := fmt.Fprintf(r.out, "federateddeployment %s: %s\n", d.Name, means)
	return err
}
