package protection

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	ctrl "sigs.k8s.io/controller-runtime"
)

// file is the name of the journal. // NP-9 (DP-2)
const file = "protection.log"

// Journal is a file of refusals, a line of JSON each.
type Journal struct {
	mutex sync.Mutex
	to    io.Writer
}

// OpenJournal appends to the journal in a folder.
func OpenJournal(folder string) (*Journal, error) {
	f, err := os.OpenFile(filepath.Join(folder, file), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the protection log: %w", err)
	}
	return &Journal{to: f}, nil
}

// entry is a line. The user's name stands where its agent should, as it always did. // NP-9 (DP-2)
type entry struct {
	Event     string
	Kind      string
	Namespace string
	Name      string
	UserAgent string
}

// write loses a line rather than an answer.
func (j *Journal) write(e entry) {
	if j == nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		j.mutex.Lock()
		defer j.mutex.Unlock()
		_, err = j.to.Write(append(line, '\n'))
	}
	if err != nil {
		ctrl.Log.Error(err, "protection log lacks a refusal", "kind", e.Kind, "namespace", e.Namespace, "name", e.Name)
	}
}
