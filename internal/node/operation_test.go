package node_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/nave-hub/nave/internal/node"
)

// TestOperations compares the list with the declarations: an operation that is
// missing in it could not be made to fail on purpose.
func TestOperations(t *testing.T) {
	declared := regexp.MustCompile(`gate\.Op\{Name: "([a-z0-9]+\.[a-zA-Z0-9]+)"`)
	var want []string
	for _, folder := range []string{"hub", "control", "sim"} {
		files, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if ok, _ := filepath.Match("*_test.go", filepath.Base(file)); ok {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllSubmatch(text, -1) {
				want = append(want, string(m[1]))
			}
		}
	}
	slices.Sort(want)
	if got := node.Operations(); !slices.Equal(got, want) {
		t.Errorf("the list has %v, declared are %v", got, want)
	}
}
