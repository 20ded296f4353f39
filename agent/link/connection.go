package link

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/addon"
	"github.com/flotilla-project/flotilla/agent/link/reach"
)

// userAgent contains the words that hubs look for in their audit log. OCM-10
const userAgent = "flotilla-agent (work-agent)"

// newScheme knows what the link reads and writes, on both clusters.
func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme, certificatesv1.AddToScheme, coordinationv1.AddToScheme, eventsv1.AddToScheme,
		clusterv1.Install, clusterv1alpha1.Install, workv1.Install, addonv1alpha1.Install, addonv1beta1.Install,
	} {
		utilruntime.Must(add(s))
	}
	return s
}

// hubMapper knows the few hub kinds by heart: an agent that starts while discovery is broken still works, and
// the hub is spared the question.
func hubMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for kind, scope := range map[schema.GroupVersionKind]meta.RESTScope{
		certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest"): meta.RESTScopeRoot,
		authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"):  meta.RESTScopeRoot,
		schema.GroupVersion(clusterv1.GroupVersion).WithKind("ManagedCluster"):  meta.RESTScopeRoot,
		coordinationv1.SchemeGroupVersion.WithKind("Lease"):                     meta.RESTScopeNamespace,
		eventsv1.SchemeGroupVersion.WithKind("Event"):                           meta.RESTScopeNamespace,
		schema.GroupVersion(workv1.GroupVersion).WithKind("ManifestWork"):       meta.RESTScopeNamespace,
		corev1.SchemeGroupVersion.WithKind("ServiceAccount"):                    meta.RESTScopeNamespace,
		addon.Kinds[0]: meta.RESTScopeNamespace,
		addon.Kinds[1]: meta.RESTScopeNamespace,
	} {
		m.Add(kind, scope)
		m.Add(kind.GroupVersion().WithKind(kind.Kind+"List"), scope) // a cache of one namespace asks whether lists are namespaced
	}
	return m
}

// connection is one way into the hub. All its clients share one transport, behind one gate.
type connection struct {
	config *rest.Config
	http   *http.Client
	hub    client.WithWatch
	gate   *reach.Gate
	dialer *connrotation.Dialer
}

// connect prepares a connection that lives as long as ctx. It sends nothing yet.
func connect(ctx context.Context, config *rest.Config, scheme *runtime.Scheme, o Options) (*connection, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst, config.UserAgent = o.HubQPS, o.HubBurst, userAgent
	c := &connection{config: config, dialer: connrotation.NewDialer((&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext)}
	if config.Dial == nil {
		config.Dial = c.dialer.DialContext // a dialer of its own also keeps client-go from reusing the transport of an older identity
	}
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("read hub server URL: %w", err)
	}
	config.Wrap(func(base http.RoundTripper) http.RoundTripper {
		c.gate = reach.New(ctx, base, server.String())
		return c.gate
	})
	if c.http, err = rest.HTTPClientFor(config); err != nil {
		return nil, fmt.Errorf("prepare hub transport: %w", err)
	}
	if c.hub, err = client.NewWithWatch(config, client.Options{HTTPClient: c.http, Scheme: scheme, Mapper: hubMapper()}); err != nil {
		return nil, fmt.Errorf("prepare hub client: %w", err)
	}
	context.AfterFunc(ctx, func() {
		c.dialer.CloseAll()
		utilnet.CloseIdleConnectionsFor(c.http.Transport)
	})
	return c, nil
}
