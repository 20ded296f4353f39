package manager

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
)

// Scheme knows the kinds of several APIs.
func Scheme(apis ...func(*runtime.Scheme) error) (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range apis {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("build scheme: %w", err)
		}
	}
	return scheme, nil
}
