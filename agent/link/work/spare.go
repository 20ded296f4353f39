package work

import (
	"slices"
	"time"

	workv1 "open-cluster-management.io/api/work/v1"
)

const longestSparing = 15 * time.Minute // a watch that fell silent unnoticed is found out by then

// spare marks the manifests that need no look: the hub was told all of them, for this generation, and the watch
// still sees the version that was told. settled, if given, also has to know of that version what was applied.
func (a *Agent) spare(work *workv1.ManifestWork, s *state, manifests []*manifest, settled func(*manifest) (string, bool)) {
	if s.told != work.Generation || s.returning || time.Since(s.looked) > longestSparing {
		return
	}
	for _, m := range manifests {
		version, told := s.seen[m.key()]
		if !told || m.broken != nil {
			continue
		}
		if settled != nil {
			if of, ok := settled(m); !ok || of != version {
				continue
			}
		}
		m.same = a.watcher.still(m.place(), version)
	}
}

// noteTold remembers what the hub knows now.
func (s *state) noteTold(work *workv1.ManifestWork, manifests []*manifest, now time.Time) {
	s.told = work.Generation
	if !slices.ContainsFunc(manifests, func(m *manifest) bool { return m.same }) {
		s.looked = now
		clear(s.seen)
	}
	for _, m := range manifests {
		switch {
		case m.same:
		case m.live != nil && m.unread == nil:
			s.seen[m.key()] = m.live.GetResourceVersion()
		default:
			delete(s.seen, m.key())
		}
	}
}

func allSame(manifests []*manifest) bool {
	return !slices.ContainsFunc(manifests, func(m *manifest) bool { return !m.same })
}
