package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Row is one conformance row of a specification.
type Row struct{ ID, Document, Section, Action, Expected string }

// Rows reads rows.csv.
func Rows(file string) (rows []Row, err error) {
	records, err := readCSV(file)
	for _, r := range records {
		rows = append(rows, Row{r[0], r[1], r[2], r[3], r[4]})
	}
	return rows, err
}

func readCSV(file string) ([][]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil || len(records) == 0 {
		return nil, err
	}
	return records[1:], nil
}

// Standing is where each row stands.
type Standing struct {
	Row
	State  string // proven, failing, untested, otherwise, later
	Reason string // for otherwise and later
}

// States of a row.
const (
	Proven    = "proven"
	Failing   = "failing"
	Untested  = "untested"
	Otherwise = "otherwise" // answered otherwise on purpose
	Later     = "later"     // belongs to a part that is not finished
)

var rowID = regexp.MustCompile(`[A-Z]+-[A-Z]?\d+`)

// Join tells where each row stands: proven by a passing subtest that bears its
// id, or excused by one of the lists in folder: otherwise.csv (id, reason) and
// later.csv (id or "document/section prefix", reason).
func (r *Result) Join(folder string) ([]Standing, error) {
	rows, err := Rows(filepath.Join(folder, "rows.csv"))
	if err != nil {
		return nil, err
	}
	otherwise, err := readCSV(filepath.Join(folder, "otherwise.csv"))
	if err != nil {
		return nil, err
	}
	later, err := readCSV(filepath.Join(folder, "later.csv"))
	if err != nil {
		return nil, err
	}
	outcomes := r.byRow()
	var all []Standing
	for _, row := range rows {
		s := Standing{Row: row, State: Untested}
		switch reason, excused := find(later, row); {
		case outcomes[row.ID] == Fail:
			s.State = Failing
		case excuse(otherwise, row.ID) != "":
			s.State, s.Reason = Otherwise, excuse(otherwise, row.ID)
		case outcomes[row.ID] == Pass:
			s.State = Proven
		case excused:
			s.State, s.Reason = Later, reason
		}
		all = append(all, s)
	}
	return all, nil
}

// byRow returns the outcome of each row id that stands in a subtest's name.
func (r *Result) byRow() map[string]string {
	outcomes := map[string]string{}
	for _, t := range r.Tests {
		for _, id := range rowID.FindAllString(t.Name, -1) {
			if t.Outcome == Fail || outcomes[id] == "" || outcomes[id] == Skip {
				outcomes[id] = t.Outcome
			}
		}
	}
	return outcomes
}

func excuse(list [][]string, id string) string {
	for _, r := range list {
		if r[0] == id {
			return r[1]
		}
	}
	return ""
}

func find(list [][]string, row Row) (string, bool) {
	for _, r := range list {
		if r[0] == row.ID || strings.HasPrefix(row.Document+"/"+row.Section, r[0]) {
			return r[1], true
		}
	}
	return "", false
}

// PrintRows writes the table a document at a time, then the rows that fail or
// lack a test, and says whether all owned rows are proven.
func PrintRows(out io.Writer, all []Standing) bool {
	counts := map[string]map[string]int{}
	var documents []string
	for _, s := range all {
		if counts[s.Document] == nil {
			counts[s.Document] = map[string]int{}
			documents = append(documents, s.Document)
		}
		counts[s.Document][s.State]++
		counts[s.Document]["all"]++
	}
	slices.Sort(documents)
	fmt.Fprintf(out, "%-24s %6s %7s %8s %9s %10s %10s\n", "document", "rows", "proven", "failing", "untested", "otherwise", "not yet")
	for _, d := range documents {
		c := counts[d]
		fmt.Fprintf(out, "%-24s %6d %7d %8d %9d %10d %10d\n", d, c["all"], c[Proven], c[Failing], c[Untested], c[Otherwise], c[Later])
	}
	ok := true
	for _, s := range all {
		switch s.State {
		case Failing, Untested:
			ok = false
			fmt.Fprintf(out, "%-9s %s %s: %s\n", s.State, s.ID, s.Section, s.Action)
		case Otherwise:
			fmt.Fprintf(out, "%-9s %s: %s\n", s.State, s.ID, s.Reason)
		}
	}
	return ok
}
