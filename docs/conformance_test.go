// Package docs guards what the documents promise.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var row = regexp.MustCompile(`^\| ([A-Z]{2,3}-[0-9.]+) \| (kept|part|differs|not yet) \| (.+) \| (.+) \|$`)

// listed is a line that means to be a row.
var listed = regexp.MustCompile(`^\| [A-Z]{2,3}-`)

// TestEveryClauseThatIsKeptHasItsTest fails when the list names a test that is not there or does not cite the clause.
func TestEveryClauseThatIsKeptHasItsTest(t *testing.T) {
	raw, err := os.ReadFile("conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	seen := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if !listed.MatchString(line) {
			continue
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not a row: %s", line)
			continue
		}
		rows++
		clause, state, guard := m[1], m[2], m[4]
		if seen[clause] {
			t.Errorf("%s is listed twice", clause)
		}
		seen[clause] = true
		if state == "not yet" {
			if guard != "–" {
				t.Errorf("%s is not yet kept and has a guard", clause)
			}
			continue
		}
		file := filepath.Join("..", filepath.FromSlash(strings.Trim(guard, "`")))
		test, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%s: %v", clause, err)
			continue
		}
		if !strings.HasSuffix(file, "_test.go") || !regexp.MustCompile(regexp.QuoteMeta(clause)+`\b`).Match(test) {
			t.Errorf("%s: %s does not cite it", clause, guard)
		}
	}
	if rows < 80 {
		t.Errorf("only %d rows were read, the list is longer", rows)
	}
}
