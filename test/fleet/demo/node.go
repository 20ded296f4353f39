package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/flotilla-project/flotilla/test/fleet"
)

// again asks for one more start of the demo's container in a pod. The job goes a while after it is done.
const again = `apiVersion: apps.kruise.io/v1alpha1
kind: ContainerRecreateRequest
metadata: {name: %[1]s, namespace: default}
spec:
  podName: %[1]s
  containers: [{name: web}]
  ttlSecondsAfterFinished: 600
`

// node has the node daemon of a member pull an image and restart a container. Fake nodes have none.
func (d *Demo) node(ctx context.Context) error {
	if d.Kind != fleet.Real {
		return nil
	}
	if err := d.pull(ctx); err != nil {
		return err
	}
	return d.restart(ctx)
}

func (d *Demo) pull(ctx context.Context) error {
	d.headline("The next image, pulled to every node of east before anything runs it")
	d.command("kubectl --context east apply -f examples/pull.yaml")
	if _, err := d.system.Kubectl(ctx, "east", "apply", "-f", filepath.Join(d.Source, "examples", "pull.yaml")); err != nil {
		return err
	}
	err := d.eventually(ctx, "the image is not on every node", func() (bool, error) {
		done, err := d.system.Kubectl(ctx, "east", "get", "imagepulljob", "web-v3", "-o", "jsonpath={.status.completionTime}")
		return done != "", err
	})
	if err != nil {
		return err
	}
	return d.print(ctx, "east", "get", "imagepulljob", "web-v3")
}

func (d *Demo) restart(ctx context.Context) error {
	d.headline("One container started again, in a pod that stays")
	pods, err := d.pods(ctx, "east")
	if err != nil {
		return err
	}
	var pod string
	for _, name := range pods {
		pod = max(pod, name)
	}
	restarts := []string{"get", "pod", pod, "-o", "jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}"}
	before, err := d.system.Kubectl(ctx, "east", restarts...)
	if err != nil {
		return err
	}
	d.command("kubectl --context east create containerrecreaterequest for container web of " + pod)
	if err := d.system.Apply(ctx, "east", fmt.Sprintf(again, pod)); err != nil {
		return err
	}
	err = d.eventually(ctx, "the container was not started again", func() (bool, error) {
		phase, err := d.system.Kubectl(ctx, "east", "get", "containerrecreaterequest", pod, "-o", "jsonpath={.status.phase}")
		if phase == "Completed" || err != nil {
			return phase == "Completed", err
		}
		return false, fmt.Errorf("the request is %s", phase)
	})
	if err != nil {
		return err
	}
	if err := d.print(ctx, "east", "get", "containerrecreaterequest", pod); err != nil {
		return err
	}
	after, err := d.system.Kubectl(ctx, "east", restarts...)
	if err != nil {
		return err
	}
	was, is := strings.Fields(before), strings.Fields(after)
	if len(was) != 2 || len(is) != 2 || was[0] != is[0] || was[1] == is[1] {
		return fmt.Errorf("pod %s and its restarts were %q and are %q", pod, before, after)
	}
	fmt.Fprintf(d.Out, "  restarts of the container: %s before, %s now; the pod is the same\n", was[1], is[1])
	return nil
}

// print shows what kubectl prints.
func (d *Demo) print(ctx context.Context, cluster string, args ...string) error {
	out, err := d.system.Kubectl(ctx, cluster, args...)
	if err != nil {
		return err
	}
	d.command("kubectl --context " + cluster + " " + strings.Join(args, " "))
	fmt.Fprintln(d.indented(), strings.TrimRight(out, "\n"))
	return nil
}
