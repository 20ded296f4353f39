// Package pernode decides for kinds that want one pod on each of some nodes:
// which nodes lack one, which pods are in the wrong place, and which are
// replaced next. Its answer is a podset.Plan, which podset.Hands carry out.
//
// It owns the arithmetic of workloads.md 3.5 to 3.7 and the counts of 3.10. It
// reads nothing but its arguments and writes nothing. It promises: the same
// facts give the same plan, whatever the order of their lists; no state is
// kept between calls; a plan may be carried out in part; an update takes down
// no more available pods than maxUnavailable leaves, and none at all where
// pods surge; and what the user pins (partition, selector, pause) stays as it
// is. podset/DESIGN.md says how this stands beside the counts of a CloneSet.
package pernode
