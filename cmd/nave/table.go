package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// table is an answer in columns. It fits the terminal: the widest columns are
// cut with an ellipsis; elsewhere nothing is cut.
type table struct {
	head []string
	rows [][]string
	bare bool // no heading
}

// newTable returns a table with these column headings.
func newTable(head ...string) *table { return &table{head: head} }

// add appends a row; missing cells are empty.
func (t *table) add(cells ...string) {
	row := make([]string, len(t.head))
	for i := range row {
		if i < len(cells) {
			row[i] = oneLine(cells[i])
		}
	}
	t.rows = append(t.rows, row)
}

// gap stands between two columns.
const gap = 2

// widths returns the columns' widths, cut to a line of limit columns unless it
// is 0. The first column names the row, so that it is cut half as much.
func (t *table) widths(limit int) []int {
	w := make([]int, len(t.head))
	for _, row := range t.lines() {
		for i, c := range row {
			w[i] = max(w[i], utf8.RuneCountInString(c))
		}
	}
	if limit == 0 {
		return w
	}
	for total(w) > limit {
		widest, most := 0, w[0]/2
		for i := 1; i < len(w); i++ {
			if w[i] > most {
				widest, most = i, w[i]
			}
		}
		if w[widest] <= 4 {
			break
		}
		w[widest]--
	}
	return w
}

func (t *table) lines() [][]string {
	if t.bare {
		return t.rows
	}
	return append([][]string{t.head}, t.rows...)
}

func total(w []int) (n int) {
	for _, c := range w {
		n += c + gap
	}
	return n - gap
}

// write writes the table to w for a line of limit columns, 0 for any, with a
// bold heading when color is on.
func (t *table) write(w io.Writer, limit int, color bool) error {
	widths := t.widths(limit)
	var b strings.Builder
	for n, row := range t.lines() {
		line := ""
		for i, c := range row {
			c = cut(c, widths[i])
			line += c
			if i < len(row)-1 {
				line += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+gap)
			}
		}
		line = strings.TrimRight(line, " ")
		b.WriteString(paint(color && n == 0 && !t.bare, bold, line))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cut shortens text to width characters.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return string([]rune(text)[:width-1]) + "…"
}

// table writes t as the answer.
func (e *env) table(t *table) error { return t.write(e.out, e.width, e.colorOut) }

// facts writes names and values as two columns, the values uncut, since they
// are there to be copied.
func (e *env) facts(pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		width = max(width, utf8.RuneCountInString(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		name := pairs[i] + strings.Repeat(" ", width-utf8.RuneCountInString(pairs[i]))
		e.print("%s  %s", paint(e.colorOut, bold, name), oneLine(pairs[i+1]))
	}
}
