// Package credentials finds what a registry may be asked with: pull secrets, and the credential provider plugins of the
// kubelet. It reads Secrets one by one, runs plugins, and keeps what they gave for as long as they say; it writes
// nothing and puts no credential into an error. IM-8, IM-9.
package credentials

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

// entry is a credential and the registries or repositories it is for.
type entry struct {
	pattern string
	auth    cri.Auth
}

// ring is credentials, the most exact pattern first.
type ring []entry

// login is one entry of a docker config file.
type login struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

var errNoDockerConfig = errors.New("holds neither .dockerconfigjson nor .dockercfg")

// fromSecret reads a pull secret of either kind.
func fromSecret(s *corev1.Secret) (ring, error) {
	var logins map[string]login
	var err error
	switch {
	case len(s.Data[corev1.DockerConfigJsonKey]) > 0:
		var file struct {
			Auths map[string]login `json:"auths"`
		}
		err = json.Unmarshal(s.Data[corev1.DockerConfigJsonKey], &file)
		logins = file.Auths
	case len(s.Data[corev1.DockerConfigKey]) > 0:
		err = json.Unmarshal(s.Data[corev1.DockerConfigKey], &logins)
	default:
		err = errNoDockerConfig
	}
	if err != nil && !errors.Is(err, errNoDockerConfig) {
		err = errors.New("its docker config is no valid JSON") // the decoder's words may quote what is in it
	}
	if err != nil {
		return nil, fmt.Errorf("read secret %s/%s: %w", s.Namespace, s.Name, err)
	}
	return newRing(logins), nil
}

func newRing(logins map[string]login) ring {
	var r ring
	for address, l := range logins {
		auth := cri.Auth{Username: l.Username, Password: l.Password, IdentityToken: l.IdentityToken, RegistryToken: l.RegistryToken}
		if user, password, ok := decode(l.Auth); ok {
			auth.Username, auth.Password = user, password
		}
		r = append(r, entry{pattern(address), auth})
	}
	r.sort()
	return r
}

func decode(auth string) (user, password string, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(auth)
	if auth == "" || err != nil {
		return "", "", false
	}
	return strings.Cut(string(raw), ":")
}

// sort puts the longer, and so more exact, of two patterns first.
func (r ring) sort() {
	slices.SortFunc(r, func(a, b entry) int { return strings.Compare(b.pattern, a.pattern) })
}

// pattern is host[:port][/path] of what people write for a registry: with a scheme, with the API's version, or none of it.
func pattern(address string) string {
	address = strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://")
	host, rest, _ := strings.Cut(address, "/")
	for _, version := range []string{"v1", "v2"} {
		if rest == version || strings.HasPrefix(rest, version+"/") {
			rest = strings.TrimPrefix(strings.TrimPrefix(rest, version), "/")
			break
		}
	}
	if host == "index.docker.io" {
		host = "docker.io" // the name that its images go by
	}
	return strings.TrimSuffix(host+"/"+strings.Trim(rest, "/"), "/")
}

// repositoryOf is an image's full name with its registry and without tag: docker.io/library/nginx.
func repositoryOf(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("parse image %q: %w", image, err)
	}
	return reference.TrimNamed(named).Name(), nil
}

// lookup is every credential for a repository such as docker.io/library/nginx.
func (r ring) lookup(repository string) (found []cri.Auth) {
	for _, e := range r {
		if matches(e.pattern, repository) {
			found = append(found, e.auth)
		}
	}
	return found
}

// matches compares host by host part, where * stands for a part, the port exactly and the path by its beginning.
func matches(pattern, repository string) bool {
	host, under, _ := strings.Cut(pattern, "/")
	asked, name, _ := strings.Cut(repository, "/")
	host, port, _ := strings.Cut(host, ":")
	asked, askedPort, _ := strings.Cut(asked, ":")
	parts, askedParts := strings.Split(host, "."), strings.Split(asked, ".")
	if port != askedPort || len(parts) != len(askedParts) || under != "" && name != under && !strings.HasPrefix(name, under+"/") {
		return false
	}
	for i := range parts {
		if ok, err := path.Match(parts[i], askedParts[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
