// Package imageref splits image references the one way that the controllers of images and the node daemon share: what one
// writes into a NodeImage the other pulls. It is pure.
package imageref

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
)

// Parse splits a reference into the familiar name, without docker.io/ and library/, and the tag: "latest" where there is
// none, and for a digest the whole digest, next to which a tag counts for nothing. // IP-3
func Parse(image string) (name, tag string, err error) {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", "", fmt.Errorf("parse image %q: %w", image, err)
	}
	name = reference.FamiliarName(ref)
	if digested, ok := ref.(reference.Digested); ok {
		return name, digested.Digest().String(), nil
	}
	if tagged, ok := ref.(reference.Tagged); ok {
		return name, tagged.Tag(), nil
	}
	return name, "latest", nil
}

// Join is the reference of a name and a tag that Parse gave. // IM-7
func Join(name, tag string) string {
	if IsDigest(tag) {
		return name + "@" + tag
	}
	return name + ":" + tag
}

// IsDigest says that a tag that Parse gave is a digest.
func IsDigest(tag string) bool { return strings.Contains(tag, ":") }
