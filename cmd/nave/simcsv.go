package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// simRow is a line of a CSV file with SIMs; members that are empty are allotted
// or left open by the hub.
type simRow struct {
	line int

	ICCID    string `json:"iccid,omitempty"`
	IMSI     string `json:"imsi,omitempty"`
	MSISDN   string `json:"msisdn,omitempty"`
	IMEI     string `json:"imei,omitempty"`
	EID      string `json:"eid,omitempty"`
	Offering string `json:"offering,omitempty"`
}

// lineError is what is wrong with a line.
type lineError struct {
	Line int    `json:"line"`
	Text string `json:"error"`
}

// simColumn is a column that a file may have.
type simColumn struct {
	name, form string // form in words
	valid      *regexp.Regexp
	field      func(*simRow) *string
	unique     bool // within the file
}

var simColumns = []simColumn{
	{"iccid", "18 to 22 digits that begin with 89", iccidText, func(r *simRow) *string { return &r.ICCID }, true},
	{"imsi", "14 or 15 digits", regexp.MustCompile(`^[0-9]{14,15}$`), func(r *simRow) *string { return &r.IMSI }, true},
	{"msisdn", "5 to 15 digits without a plus sign", regexp.MustCompile(`^[0-9]{5,15}$`), func(r *simRow) *string { return &r.MSISDN }, false},
	{"imei", "14 to 16 digits", regexp.MustCompile(`^[0-9]{14,16}$`), func(r *simRow) *string { return &r.IMEI }, false},
	{"eid", "32 digits", regexp.MustCompile(`^[0-9]{32}$`), func(r *simRow) *string { return &r.EID }, false},
	{"offering", "the id of an offering", regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`), func(r *simRow) *string { return &r.Offering }, false},
}

// maxSIMRows bounds what is read of a file.
const maxSIMRows = 1_000_000

// parseSIMs reads a CSV file: a header row that names columns, in any order and
// letter case, then a SIM on each line. Columns are separated by commas, or by
// semicolons or tabs when the header has those. It returns the lines that are
// good and everything that is wrong with the others; err is for a file that is
// no such file at all.
func parseSIMs(in io.Reader) (rows []simRow, wrong []lineError, err error) {
	b := bufio.NewReaderSize(in, 64<<10)
	if mark, _ := b.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		b.Discard(3)
	}
	r := csv.NewReader(b)
	r.FieldsPerRecord, r.ReuseRecord, r.Comma = -1, true, separator(b)
	head, err := r.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file is empty")
		}
		return nil, nil, err
	}
	columns, err := readHead(head)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]int{} // column and value to line
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, wrong, nil
		}
		if err != nil {
			return nil, nil, err // says the line; what follows cannot be told apart
		}
		line, _ := r.FieldPos(0)
		row, bad := readRow(fields, columns, line, seen)
		if bad != nil {
			wrong = append(wrong, bad...)
			continue
		}
		if rows = append(rows, row); len(rows) > maxSIMRows {
			return nil, nil, fmt.Errorf("the file has more than %d SIMs; split it", maxSIMRows)
		}
	}
}

// separator returns what the header row has between its columns.
func separator(b *bufio.Reader) rune {
	head, _ := b.Peek(1024)
	head, _, _ = bytes.Cut(head, []byte("\n"))
	for _, c := range []byte{',', ';', '\t'} {
		if bytes.IndexByte(head, c) >= 0 {
			return rune(c)
		}
	}
	return ','
}

// hasICCIDs says whether a file begins with the header row of a table that has
// the column iccid.
func hasICCIDs(b *bufio.Reader) bool {
	head, _ := b.Peek(1024)
	head, _, _ = bytes.Cut(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), []byte("\n"))
	columns, err := readHead(strings.Split(string(head), string(separator(b))))
	return err == nil && slices.ContainsFunc(columns, func(c *simColumn) bool { return c.name == "iccid" })
}

func readHead(head []string) (columns []*simColumn, err error) {
	for _, text := range head {
		name := strings.ToLower(strings.TrimSpace(text))
		n := slices.IndexFunc(simColumns, func(c simColumn) bool { return c.name == name })
		switch {
		case n < 0:
			return nil, fmt.Errorf("line 1: there is no column %q; columns are iccid, imsi, msisdn, imei, eid and offering", shorten(text))
		case slices.Contains(columns, &simColumns[n]):
			return nil, fmt.Errorf("line 1: the column %s stands there twice", name)
		}
		columns = append(columns, &simColumns[n])
	}
	return columns, nil
}

// readRow reads a line; seen tells where a value stood first.
func readRow(fields []string, columns []*simColumn, line int, seen map[string]int) (row simRow, wrong []lineError) {
	row.line = line
	bad := func(format string, args ...any) { wrong = append(wrong, lineError{line, fmt.Sprintf(format, args...)}) }
	if len(fields) != len(columns) {
		bad("%d columns, the header has %d", len(fields), len(columns))
		return row, wrong
	}
	empty := true
	for n, c := range columns {
		text := strings.TrimSpace(fields[n])
		if text == "" {
			continue
		}
		empty = false
		if !c.valid.MatchString(text) {
			bad("%s is %q, expected are %s%s", c.name, shorten(text), c.form, spoilt(text))
			continue
		}
		if c.unique {
			if first, there := seen[c.name+text]; there {
				bad("%s %s stands on line %d already", c.name, text, first)
				continue
			}
			seen[c.name+text] = line
		}
		*c.field(&row) = text
	}
	if empty {
		bad("every column is empty")
	}
	return row, wrong
}

// spoilt explains a number that a spreadsheet has rounded.
func spoilt(text string) string {
	if strings.ContainsAny(text, "eE") && strings.ContainsAny(text, ".,+") {
		return "; a spreadsheet has rounded it: format the column as text and export again"
	}
	return ""
}

// shorten makes a value fit into an error.
func shorten(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if utf8.RuneCountInString(text) > 40 {
		return string([]rune(text)[:39]) + "…"
	}
	return text
}
