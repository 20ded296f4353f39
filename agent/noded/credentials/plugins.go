package credentials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1 "k8s.io/kubelet/config/v1"
	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

const (
	// pluginTimeout is how long a plugin may think.
	pluginTimeout = time.Minute
	apiGroup      = "credentialprovider.kubelet.k8s.io/"
)

// Plugins are the kubelet's credential providers: programs that know what a registry may be asked with. // IM-8
type Plugins struct {
	providers []kubeletv1.CredentialProvider
	folder    string
	clock     clock.PassiveClock
	log       logr.Logger
	// run is the program; a test puts itself in its place.
	run func(ctx context.Context, p kubeletv1.CredentialProvider, request []byte) ([]byte, error)

	mu    sync.Mutex
	given map[string]given // by provider and cache key
}

type given struct {
	ring  ring
	until time.Time
}

// LoadPlugins reads the kubelet's configuration. A file that is not there is fine, and means no plugins.
func LoadPlugins(file, folder string, log logr.Logger) (*Plugins, error) {
	raw, err := os.ReadFile(file)
	if file == "" || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read credential provider plugins: %w", err)
	}
	var c kubeletv1.CredentialProviderConfig
	if err := yaml.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("read credential provider plugins from %s: %w", file, err)
	}
	p := &Plugins{folder: folder, clock: clock.RealClock{}, log: log, given: map[string]given{}}
	p.run = p.execute
	for _, one := range c.Providers {
		if err := usable(one, folder); err != nil {
			return nil, fmt.Errorf("credential provider %s of %s: %w", one.Name, file, err)
		}
		if one.TokenAttributes != nil {
			log.Info("skipping a credential provider that acts for a pod's service account; what is pulled here is for no pod", "provider", one.Name)
			continue
		}
		p.providers = append(p.providers, one)
	}
	return p, nil
}

func usable(p kubeletv1.CredentialProvider, folder string) error {
	if p.Name == "" || filepath.Base(p.Name) != p.Name || p.Name == "." || p.Name == ".." {
		return errors.New("its name must be that of a program, without a path")
	}
	if len(p.MatchImages) == 0 || !strings.HasPrefix(p.APIVersion, apiGroup) {
		return fmt.Errorf("it needs matchImages, and an apiVersion of %s", strings.TrimSuffix(apiGroup, "/"))
	}
	_, err := os.Stat(filepath.Join(folder, p.Name))
	return err
}

// lookup asks every plugin that says it knows the repository. One that fails is told of and left out, as the kubelet does.
func (p *Plugins) lookup(ctx context.Context, repository string) (found []cri.Auth) {
	for _, one := range p.providers {
		if !slices.ContainsFunc(one.MatchImages, func(m string) bool { return matches(pattern(m), repository) }) {
			continue
		}
		r, err := p.ask(ctx, one, repository)
		if err != nil {
			p.log.Error(err, "a credential provider gave no answer", "provider", one.Name, "repository", repository)
			continue
		}
		found = append(found, r.lookup(repository)...)
	}
	return found
}

func (p *Plugins) ask(ctx context.Context, one kubeletv1.CredentialProvider, repository string) (ring, error) {
	if r, ok := p.remembered(one.Name, repository); ok {
		return r, nil
	}
	request, err := json.Marshal(credentialproviderv1.CredentialProviderRequest{
		TypeMeta: metav1.TypeMeta{APIVersion: one.APIVersion, Kind: "CredentialProviderRequest"}, Image: repository,
	})
	if err != nil {
		return nil, err
	}
	answer, err := p.run(ctx, one, request)
	if err != nil {
		return nil, err
	}
	var response credentialproviderv1.CredentialProviderResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		return nil, errors.New("its answer is no CredentialProviderResponse") // the decoder's words may quote it
	}
	r := ring{}
	for match, a := range response.Auth {
		r = append(r, entry{pattern(match), cri.Auth{Username: a.Username, Password: a.Password}})
	}
	r.sort()
	p.remember(one, response, repository, r)
	return r, nil
}

// cacheKeys are the keys under which an answer for a repository may be kept, the widest last.
func cacheKeys(provider, repository string) map[credentialproviderv1.PluginCacheKeyType]string {
	registry, _, _ := strings.Cut(repository, "/")
	return map[credentialproviderv1.PluginCacheKeyType]string{
		credentialproviderv1.ImagePluginCacheKeyType:    provider + " image " + repository,
		credentialproviderv1.RegistryPluginCacheKeyType: provider + " registry " + registry,
		credentialproviderv1.GlobalPluginCacheKeyType:   provider + " global",
	}
}

func (p *Plugins) remembered(provider, repository string) (ring, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range cacheKeys(provider, repository) {
		if g, ok := p.given[key]; ok && p.clock.Now().Before(g.until) {
			return g.ring, true
		}
	}
	return nil, false
}

func (p *Plugins) remember(one kubeletv1.CredentialProvider, r credentialproviderv1.CredentialProviderResponse, repository string, answer ring) {
	key, known := cacheKeys(one.Name, repository)[r.CacheKeyType]
	for _, d := range []*metav1.Duration{r.CacheDuration, one.DefaultCacheDuration} {
		if d == nil {
			continue
		}
		if known && d.Duration > 0 {
			p.mu.Lock()
			p.given[key] = given{answer, p.clock.Now().Add(d.Duration)}
			p.mu.Unlock()
		}
		return
	}
}

// execute runs the program. What it complains of stays with it: it may hold secrets.
func (p *Plugins) execute(ctx context.Context, one kubeletv1.CredentialProvider, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(p.folder, one.Name), one.Args...)
	c.Stdin, c.Env = bytes.NewReader(request), os.Environ()
	for _, e := range one.Env {
		c.Env = append(c.Env, e.Name+"="+e.Value)
	}
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", one.Name, err)
	}
	return out, nil
}
