package imageref

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) { // IP-3
	digest := "sha256:" + strings.Repeat("0a", 32)
	for image, want := range map[string][2]string{
		"nginx":                              {"nginx", "latest"},
		"nginx:1.25":                         {"nginx", "1.25"},
		"docker.io/library/nginx:1.25":       {"nginx", "1.25"},
		"docker.io/team/app":                 {"team/app", "latest"},
		"registry.test:5000/team/app:v1":     {"registry.test:5000/team/app", "v1"},
		"registry.test:5000/app":             {"registry.test:5000/app", "latest"},
		"nginx@" + digest:                    {"nginx", digest},
		"registry.test/app:v1@" + digest:     {"registry.test/app", digest},
		"index.docker.io/library/redis:7":    {"redis", "7"},
		"localhost/app:v1":                   {"localhost/app", "v1"},
		"registry.test/library/nginx:stable": {"registry.test/library/nginx", "stable"},
	} {
		name, tag, err := Parse(image)
		if err != nil || name != want[0] || tag != want[1] {
			t.Errorf("%s is %q and %q (%v)", image, name, tag, err)
		}
		again, same, err := Parse(Join(name, tag))
		if err != nil || again != name || same != tag {
			t.Errorf("%s does not survive: %q and %q (%v)", image, again, same, err)
		}
	}
	for _, image := range []string{"", "Nginx", "nginx:", "a b", "nginx@sha256:12", strings.Repeat("0a", 32)} {
		if name, tag, err := Parse(image); err == nil {
			t.Errorf("%q is taken for %q and %q", image, name, tag)
		}
	}
}

func TestJoin(t *testing.T) { // IM-7
	if got := Join("nginx", "sha256:ab"); got != "nginx@sha256:ab" {
		t.Error(got)
	}
	if got := Join("nginx", "1.25"); got != "nginx:1.25" {
		t.Error(got)
	}
}
