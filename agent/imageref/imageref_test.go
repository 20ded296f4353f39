package imageref

import (
	"strings"
	"testing"
)

var digest = "sha256:" + strings.Repeat("a", 64)

// IP-3, IM-7
func TestNames(t *testing.T) {
	for image, want := range map[string]struct{ name, tag, joined, repository string }{
		"nginx":                                {"nginx", "latest", "nginx:latest", "docker.io/library/nginx"},
		"docker.io/library/nginx:1.25":         {"nginx", "1.25", "nginx:1.25", "docker.io/library/nginx"},
		"index.docker.io/me/app:x":             {"me/app", "x", "me/app:x", "docker.io/me/app"},
		"registry.local:5000/app":              {"registry.local:5000/app", "latest", "registry.local:5000/app:latest", "registry.local:5000/app"},
		"nginx@" + digest:                      {"nginx", digest, "nginx@" + digest, "docker.io/library/nginx"},
		"registry.local/team/app:v1@" + digest: {"registry.local/team/app", digest, "registry.local/team/app@" + digest, "registry.local/team/app"},
	} {
		name, tag, err := Split(image)
		if err != nil || name != want.name || tag != want.tag {
			t.Errorf("%s is (%s, %s), %v", image, name, tag, err)
		}
		if got := Join(name, tag); got != want.joined {
			t.Errorf("%s becomes %s", image, got)
		}
		if got, err := Repository(name); got != want.repository || err != nil {
			t.Errorf("%s is of %s, %v", image, got, err)
		}
	}
	for _, image := range []string{"", "UPPER", "a b", "nginx:"} {
		if _, _, err := Split(image); err == nil {
			t.Errorf("%q is taken", image)
		}
	}
	if _, err := Repository("a b"); err == nil {
		t.Error("a name that is none has a repository")
	}
}
