package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTableFits(t *testing.T) {
	tb := newTable("A", "LONG", "C")
	tb.add("short", strings.Repeat("x", 100), "ümlaut")
	tb.add("a\x1b[31mb", "y")
	for _, width := range []int{0, 20, 40, 200} {
		var b bytes.Buffer
		if err := tb.write(&b, width, false); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if strings.Contains(text, "\x1b") {
			t.Error("a control character came through")
		}
		for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
			if n := utf8.RuneCountInString(line); width > 0 && n > width {
				t.Errorf("a line has %d columns of %d: %q", n, width, line)
			}
		}
		if width == 0 && !strings.Contains(text, strings.Repeat("x", 100)) {
			t.Error("a cell was cut although nothing limits it")
		}
	}
}

func TestProgressIsSilentElsewhere(t *testing.T) {
	var b bytes.Buffer
	e := newEnv(nil, &b, &b)
	p := e.progress("Working")
	p.step(1, 2)
	p.note("at it")
	p.end()
	if b.Len() > 0 {
		t.Errorf("progress wrote %q", b.String())
	}
	e.live = true
	p = e.progress("Working")
	p.step(2, 2)
	p.end()
	if text := b.String(); !strings.Contains(text, "2 of 2") || !strings.HasSuffix(text, "\r\x1b[K") {
		t.Errorf("progress wrote %q", text)
	}
}
