package webhook

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Options are the flags of a process that serves webhooks.
type Options struct {
	// Host is where the API server finds us, for a process outside of the cluster; empty: through Service.
	Host string
	// Port to listen on; 0 serves no webhooks.
	Port int
	// Service is the namespace/name through which the API server finds us in the cluster.
	Service string
	// Secret is the namespace/name of the certificate that replicas share; empty: each process has one of its own.
	Secret string
	// Issued says that others write that Secret, as cert-manager does, and that it is only read.
	Issued bool
}

// Bind adds the flags, with the options' present values as defaults.
func (o *Options) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.Host, "webhook-host", o.Host, "name or address at which the API server finds the webhooks of a process outside of the cluster; empty is --webhook-service")
	flags.IntVar(&o.Port, "webhook-port", o.Port, "port of the webhooks; 0 serves none")
	flags.StringVar(&o.Service, "webhook-service", o.Service, "namespace/name of the Service through which the API server finds the webhooks")
	flags.StringVar(&o.Secret, "webhook-secret", o.Secret, "namespace/name of the Secret with the webhooks' certificate, made when missing; empty keeps it in memory, which is enough for one replica")
}

// Enabled says whether webhooks are served.
func (o *Options) Enabled() bool { return o.Port > 0 }

// Validate lists everything that is wrong.
func (o *Options) Validate() (problems []error) {
	if o.Port < 0 || o.Port > 65535 {
		problems = append(problems, fmt.Errorf("--webhook-port=%d must be between 0 and 65535", o.Port))
	}
	if o.Host != "" && !o.Enabled() {
		problems = append(problems, fmt.Errorf("--webhook-host=%s needs --webhook-port", o.Host))
	}
	if strings.ContainsAny(o.Host, "/ ") {
		problems = append(problems, fmt.Errorf("--webhook-host=%s must be a name or an address, without scheme or path", o.Host))
	}
	for flag, value := range map[string]string{"webhook-service": o.Service, "webhook-secret": o.Secret} {
		if namespace, name, ok := strings.Cut(value, "/"); value != "" && (!ok || namespace == "" || name == "" || strings.Contains(name, "/")) {
			problems = append(problems, fmt.Errorf("--%s=%s must be namespace/name", flag, value))
		}
	}
	if o.Enabled() && o.Host == "" && o.Service == "" {
		problems = append(problems, fmt.Errorf("--webhook-port=%d needs --webhook-host or --webhook-service", o.Port))
	}
	return problems
}

// names are what the certificate must be good for; the second is for the self-test. NP-8 (WH-7, WH-11)
func (o *Options) names() []string {
	if o.Host != "" {
		return distinct(o.Host, "localhost")
	}
	namespace, name, _ := strings.Cut(o.Service, "/")
	return []string{name + "." + namespace + ".svc", "localhost"}
}

func distinct(a, b string) []string {
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}

// bind listens on all addresses, but on no more than the loopback when nobody else could call anyway.
func (o *Options) bind() string {
	if o.Host == "localhost" {
		return "127.0.0.1"
	}
	if ip := net.ParseIP(o.Host); ip != nil && ip.IsLoopback() {
		return o.Host
	}
	return ""
}

// self is where the self-test calls.
func (o *Options) self() string {
	if at := o.bind(); at != "" {
		return at
	}
	return "127.0.0.1"
}

// address tells the API server where a path is served.
type address func(path string) admissionv1.WebhookClientConfig

func (o *Options) address() address {
	if o.Host != "" {
		base := "https://" + net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
		return func(path string) admissionv1.WebhookClientConfig {
			return admissionv1.WebhookClientConfig{URL: new(base + path)}
		}
	}
	namespace, name, _ := strings.Cut(o.Service, "/")
	return func(path string) admissionv1.WebhookClientConfig {
		return admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{
			Namespace: namespace, Name: name, Path: &path, Port: new(int32(443)),
		}}
	}
}

func (o *Options) store(c client.Client) store {
	if o.Secret == "" {
		return &memory{}
	}
	namespace, name, _ := strings.Cut(o.Secret, "/")
	if o.Issued {
		return &issued{client: c, key: client.ObjectKey{Namespace: namespace, Name: name}}
	}
	return &secret{client: c, key: client.ObjectKey{Namespace: namespace, Name: name}}
}
