// Package plainname judges the names of kinds that have always taken letters, digits and dashes only. It is pure.
package plainname

import (
	"regexp"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

const longest = 63

var plain = regexp.MustCompile(`^[a-zA-Z0-9\-]+$`)

// Check lists what is wrong with a name. // BJ-2, CJ-3
func Check(name string) field.ErrorList {
	at := field.NewPath("metadata", "name")
	switch {
	case len(name) > longest:
		return field.ErrorList{field.TooLong(at, name, longest)}
	case !plain.MatchString(name):
		return field.ErrorList{field.Invalid(at, name, "must be letters, digits and dashes")}
	}
	return nil
}
