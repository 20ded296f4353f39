package app

import (
	"context"
	"fmt"
	"os"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	"github.com/spf13/pflag"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/controllers/imagelistpulljob"
	"github.com/flotilla-project/flotilla/agent/controllers/imagepulljob"
	"github.com/flotilla-project/flotilla/agent/controllers/nodeimage"
	"github.com/flotilla-project/flotilla/pkg/index"
)

// ImageOptions are the flags of what pulls images ahead, and what the cluster lets it do.
type ImageOptions struct {
	// CreationDelay is how long a node has to be ready before it gets a NodeImage (NI-3).
	CreationDelay time.Duration

	pulls   bool // ImagePullJobs are served and not switched off
	secrets bool // we may read pull secrets
}

func newImageOptions() ImageOptions { return ImageOptions{CreationDelay: 30 * time.Second} }

func (o *ImageOptions) bind(flags *pflag.FlagSet) { // NP-11.1
	flags.DurationVar(&o.CreationDelay, "nodeimage-creation-delay", o.CreationDelay, "how long a node has to be ready before it gets a NodeImage")
}

func (o *ImageOptions) validate() []error {
	if o.CreationDelay < 0 {
		return []error{fmt.Errorf("--nodeimage-creation-delay=%v must not be negative", o.CreationDelay)}
	}
	return nil
}

// narrowSecrets has the cache keep the contents of pull secrets only, where it holds Secrets at all.
func (o *Options) narrowSecrets() {
	if o.Manager.Watch == nil {
		o.Manager.Watch = map[client.Object]cache.ByObject{}
	}
	o.Manager.Watch[&corev1.Secret{}] = cache.ByObject{Transform: imagepulljob.Strip}
}

// prepareImages finds out what there is, and indexes jobs for whoever owns some.
func (o *Options) prepareImages(ctx context.Context, m ctrl.Manager) error {
	if !o.enabled(ImagePullJobGate) {
		return nil
	}
	there, err := served(m, "ImagePullJob")
	if err != nil || !there {
		return err
	}
	o.Images.pulls = true
	if o.Images.secrets, err = readsSecrets(ctx, m); err != nil {
		return err
	}
	return index.ByOwner(ctx, m.GetFieldIndexer(), &kruise.ImagePullJob{})
}

// served says that the cluster has the kind; without its definition its controller could not even start.
func served(m ctrl.Manager, kind string) (bool, error) {
	_, err := m.GetRESTMapper().RESTMapping(schema.GroupKind{Group: kruise.GroupVersion.Group, Kind: kind}, kruise.GroupVersion.Version)
	if meta.IsNoMatchError(err) {
		ctrl.Log.Info("the cluster has no such kind; install its definition and restart", "kind", kind)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for kind %s: %w", kind, err)
	}
	return true, nil
}

// readsSecrets asks whether we were given the right to read the Secrets that users name in jobs.
func readsSecrets(ctx context.Context, m ctrl.Manager) (bool, error) {
	c, err := client.New(m.GetConfig(), client.Options{Scheme: m.GetScheme()})
	if err != nil {
		return false, fmt.Errorf("make client: %w", err)
	}
	for _, verb := range []string{"list", "watch"} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Resource: "secrets"},
		}}
		if err := c.Create(ctx, review); err != nil {
			return false, fmt.Errorf("ask for the right to %s secrets: %w", verb, err)
		}
		if !review.Status.Allowed {
			return false, nil
		}
	}
	return true, nil
}

func registerNodeImages(m ctrl.Manager, _ *rest.Config, o *Options) error {
	if !o.enabled(KruiseDaemon) {
		return nil
	}
	for _, kind := range []string{"NodeImage", "ImagePullJob"} {
		if there, err := served(m, kind); err != nil || !there {
			return err
		}
	}
	return nodeimage.Register(m, nodeimage.Options{Delay: o.Images.CreationDelay})
}

func registerImagePulls(m ctrl.Manager, _ *rest.Config, o *Options) error {
	if !o.Images.pulls {
		return nil
	}
	return imagepulljob.Register(m, imagepulljob.Options{ConfigNamespace: os.Getenv("KRUISE_DAEMON_CONFIG_NS"), Secrets: o.Images.secrets}) // NP-11.3
}

func registerImageLists(m ctrl.Manager, _ *rest.Config, o *Options) error {
	if !o.Images.pulls {
		return nil
	}
	return imagelistpulljob.Register(m)
}

// pullsAhead says that updates of a kind have their images pulled ahead. // WL-1.14
func (o *Options) pullsAhead(inPlace bool) bool {
	if inPlace {
		return o.Images.pulls && o.enabled(PreDownloadImageForInPlaceUpdate)
	}
	return o.Images.pulls && o.enabled(PreDownloadImageForDaemonSetUpdate)
}
