package restart

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

const (
	reasonKilling    = "Killing"
	reasonHookFailed = "FailedPreStopHook"
	// leastGrace is what a container has to end in any case. // RX-10
	leastGrace = 2 * time.Second
	// answerLimit is how much of what a hook says goes into an event.
	answerLimit = 1024
)

// Killer stops containers as the kubelet does: with an event, their hook and their grace period.
type Killer struct {
	events record.EventRecorder
	http   *http.Client
}

// NewKiller is one that records its events there.
func NewKiller(events record.EventRecorder) *Killer {
	return &Killer{events: events, http: &http.Client{
		// As the kubelet does it: hooks are called by address, for which nobody has a certificate.
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Kill runs the container's hook, if there is one and time for it, and stops the container within what is left of the grace
// period. A hook that fails stops nothing. Ports are those that a hook may name. // RX-10
func (k *Killer) Kill(ctx context.Context, runtime cri.Runtime, pod *corev1.Pod, c cri.Status, grace time.Duration, preStop *corev1.LifecycleHandler, ports []corev1.ContainerPort) error {
	ref := containerOf(pod, c.Name)
	k.events.Eventf(ref, corev1.EventTypeNormal, reasonKilling, "Stopping container %s", c.Name)
	left := grace
	if preStop != nil && grace > 0 {
		begin := time.Now()
		if err := k.hook(ctx, runtime, c, grace, preStop, ports); err != nil && ctx.Err() == nil {
			k.events.Eventf(ref, corev1.EventTypeWarning, reasonHookFailed, "PreStop hook of container %s failed: %v", c.Name, err)
		}
		left -= time.Since(begin)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return runtime.Stop(ctx, c.ID, max(left, leastGrace))
}

// containerOf refers to a container for an event.
func containerOf(pod *corev1.Pod, name string) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		FieldPath: fmt.Sprintf("spec.containers{%s}", name),
	}
}

func (k *Killer) hook(ctx context.Context, runtime cri.Runtime, c cri.Status, grace time.Duration, h *corev1.LifecycleHandler, ports []corev1.ContainerPort) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	switch {
	case h.Exec != nil:
		return execute(ctx, runtime, c.ID, h.Exec.Command, grace)
	case h.HTTPGet != nil:
		return k.call(ctx, runtime, c, h.HTTPGet, ports)
	case h.Sleep != nil:
		return rest(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
	}
	return errors.New("hooks other than exec, httpGet and sleep are not supported") // RX-12
}

func execute(ctx context.Context, runtime cri.Runtime, id string, command []string, grace time.Duration) error {
	out, err := runtime.Exec(ctx, id, command, grace)
	if err != nil {
		return err
	}
	if out.Code != 0 {
		said := strings.TrimSpace(string(append(out.Stdout, out.Stderr...)))
		return fmt.Errorf("exit code %d: %s", out.Code, said[:min(len(said), answerLimit)])
	}
	return nil
}

func rest(ctx context.Context, how time.Duration) error {
	timer := time.NewTimer(how)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call asks the pod, or who the hook names. // RX-11
func (k *Killer) call(ctx context.Context, runtime cri.Runtime, c cri.Status, get *corev1.HTTPGetAction, ports []corev1.ContainerPort) error {
	host := get.Host
	if host == "" {
		ip, err := runtime.SandboxIP(ctx, c.SandboxID)
		if err != nil {
			return fmt.Errorf("find the pod's address: %w", err)
		}
		if host = ip; ip == "" {
			host = "localhost" // on the host's network, as we are
		}
	}
	request, err := newCall(ctx, host, get, ports)
	if err != nil {
		return err
	}
	answer, err := k.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, answerLimit))
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the answer was %s", answer.Status)
	}
	return nil
}

func newCall(ctx context.Context, host string, get *corev1.HTTPGetAction, ports []corev1.ContainerPort) (*http.Request, error) {
	port, err := number(get.Port, ports)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(get.Path)
	if err != nil {
		return nil, fmt.Errorf("parse path %q: %w", get.Path, err)
	}
	at.Scheme, at.Host = "http", net.JoinHostPort(host, strconv.Itoa(port))
	if get.Scheme == corev1.URISchemeHTTPS {
		at.Scheme = "https"
	}
	if !strings.HasPrefix(at.Path, "/") {
		at.Path = "/" + at.Path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("make the call: %w", err)
	}
	for _, h := range get.HTTPHeaders {
		request.Header.Add(h.Name, h.Value)
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			request.Host = h.Value
		}
	}
	return request, nil
}

// number is a port's, which may be named.
func number(port intstr.IntOrString, ports []corev1.ContainerPort) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, p := range ports {
		if p.Name == port.StrVal {
			return int(p.ContainerPort), nil
		}
	}
	n, err := strconv.Atoi(port.StrVal)
	if err != nil {
		return 0, fmt.Errorf("the container has no port %q", port.StrVal)
	}
	return n, nil
}
