package addon

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
)

type broken struct{ meta.RESTMapper }

func (broken) RESTMapping(schema.GroupKind, ...string) (*meta.RESTMapping, error) {
	return nil, errors.New("timeout")
}

// A kind that is not served is no failure; not knowing is.
func TestWhatIsNotServedIsToldFromWhatIsNotKnown(t *testing.T) {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(catalog.GroupVersion.WithKind("ManagedClusterAddOn"), meta.RESTScopeNamespace)
	s := serving{mapper, nil}
	if !s.served(catalog.GroupVersion.WithKind("ManagedClusterAddOn")) || s.served(catalog.GroupVersion.WithKind("AddOnTemplate")) || s.err != nil {
		t.Errorf("%v", s.err)
	}
	s = serving{broken{}, nil}
	if s.served(catalog.GroupVersion.WithKind("AddOnTemplate")) || s.err == nil {
		t.Errorf("%v", s.err)
	}
}
