// Package imageref names images as NodeImages do: by a familiar name and a tag, where a digest stands in for the tag. The
// controllers and the node daemon use it alike, so that what one asks for the other finds.
package imageref

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
)

// Split takes a reference apart: nginx is (nginx, latest), docker.io/library/nginx@sha256:… is (nginx, sha256:…), and a
// reference with both loses its tag. // IP-3
func Split(image string) (name, tag string, err error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", "", fmt.Errorf("parse image %q: %w", image, err)
	}
	name = reference.FamiliarName(named)
	if digested, ok := named.(reference.Digested); ok {
		return name, digested.Digest().String(), nil
	}
	if tagged, ok := named.(reference.Tagged); ok {
		return name, tagged.Tag(), nil
	}
	return name, "latest", nil
}

// Join is what a runtime is asked for: a digest is joined with @, for no parser takes it behind a colon. // IM-7
func Join(name, tag string) string {
	if IsDigest(tag) {
		return name + "@" + tag
	}
	return name + ":" + tag
}

// IsDigest tells a digest that stands in for a tag; a tag holds no colon.
func IsDigest(tag string) bool { return strings.Contains(tag, ":") }

// Repository is the full name with its registry, as credentials are matched: docker.io/library/nginx.
func Repository(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", fmt.Errorf("parse image %q: %w", name, err)
	}
	return reference.TrimNamed(named).Name(), nil
}
