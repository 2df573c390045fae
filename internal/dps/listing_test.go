package dps

import (
	"fmt"
	"testing"

	"github.com/nave-hub/nave/internal/store"
)

// TestListing goes through more rows than one call looks at.
func TestListing(t *testing.T) {
	const rows = maxScan + 3*scanPage/2
	name := func(i int) string { return fmt.Sprintf("r%06d", i) }
	for text, want := range map[string]string{
		"SELECT * WHERE n IN [3, 20100]":          "[3] [20100]",
		"SELECT * WHERE n < 5":                    "[0 1 2] [3 4] []",
		"SELECT * WHERE n > 20370":                "[] [20371 20372 20373] [20374]",
		"SELECT * WHERE n = 1 OR n = 2 OR n = 10": "[1 2 10] []",
		"SELECT * WHERE n = 19999 OR n = 20000":   "[19999] [20000]",
		"SELECT * WHERE n < 0":                    "[] []",
	} {
		q, err := parseQuery(text, "numbers")
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		l := &listing[int]{
			rows: func(_ *store.Tx, after string, n int) (all []*store.DPSRow, err error) {
				first := 0
				if after != "" {
					fmt.Sscanf(after, "r%d", &first)
					first++
				}
				for i := first; i < rows && len(all) < n; i++ {
					all = append(all, &store.DPSRow{Key: name(i)})
				}
				seen += len(all)
				return all, nil
			},
			take: func(_ *store.Tx, row *store.DPSRow) (n int, ok bool, err error) {
				fmt.Sscanf(row.Key, "r%d", &n)
				return n, q.where.match(map[string]any{"n": float64(n)}), nil
			}}
		got, after := "", ""
		for {
			seen = 0
			items, next, err := l.scan(nil, after, 3)
			if err != nil || seen > maxScan+scanPage {
				t.Fatalf("%s: %d rows, %v", text, seen, err)
			}
			if got += fmt.Sprint(items); next == "" {
				break
			}
			got, after = got+" ", next
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
