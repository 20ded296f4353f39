package imagepull

import (
	"context"
	"fmt"
	"strings"

	"github.com/flotilla-project/flotilla/agent/imageref"
	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

// present reports whether the runtime has the image, under any spelling of its name. // IM-6
func present(images []cri.Image, k Key) bool {
	for _, i := range images {
		spellings := i.Tags
		if imageref.IsDigest(k.Tag) {
			spellings = i.Digests // IM-7
		}
		for _, s := range spellings {
			if name, tag, err := imageref.Parse(s); err == nil && name == k.Image && tag == k.Tag {
				return true
			}
		}
	}
	return false
}

// imageID is what a status calls an image that is there, or nothing if the runtime does not say. // IM-11
func imageID(ctx context.Context, r cri.Runtime, w Work) string {
	i, err := r.Image(ctx, w.Reference())
	if err != nil || i.ID == "" {
		return ""
	}
	return nameAndID(w.Image, i)
}

func nameAndID(image string, i cri.Image) string { return fmt.Sprintf("%s@%s", image, i.ID) }

// maxMessage keeps what a registry says within what a status should hold.
const maxMessage = 1024

// words are an error's, cut to size and in one line.
func words(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}
