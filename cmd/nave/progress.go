package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress is a line on a terminal's stderr that is redrawn in place; anywhere
// else it draws nothing. Its methods may be called from any goroutine.
type progress struct {
	// Set by progress, then read only:
	w     io.Writer // nil: silent
	width int
	label string
	begun time.Time

	// Guarded by mu:
	mu     sync.Mutex
	drawn  time.Time
	length int
}

// redraw is the shortest pause between two drawings.
const redraw = 100 * time.Millisecond

// progress starts a line with this label.
func (e *env) progress(label string) *progress {
	p := &progress{label: label, begun: time.Now()}
	if e.live {
		p.w, p.width = e.err, max(60, columns(e.err))
	}
	return p
}

// step draws a bar for done of total parts, not more often than people can
// read; the last part is always drawn.
func (p *progress) step(done, total int) {
	if p.w == nil || total <= 0 {
		return
	}
	const bar = 24
	full := bar * min(done, total) / total
	text := fmt.Sprintf("%s [%s%s] %d of %d", p.label, strings.Repeat("=", full), strings.Repeat(" ", bar-full), done, total)
	if rest := p.rest(done, total); rest != "" {
		text += ", " + rest
	}
	p.draw(text, done >= total)
}

func (p *progress) rest(done, total int) string {
	gone := time.Since(p.begun)
	if done == 0 || done >= total || gone < 2*time.Second {
		return ""
	}
	left := time.Duration(float64(gone) / float64(done) * float64(total-done))
	return left.Round(time.Second).String() + " left"
}

// note draws a text in place of a bar, for work without a known end.
func (p *progress) note(format string, args ...any) {
	if p.w != nil {
		p.draw(p.label+" "+fmt.Sprintf(format, args...), false)
	}
}

func (p *progress) draw(text string, now bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now && time.Since(p.drawn) < redraw {
		return
	}
	text = cut(text, p.width-1)
	fmt.Fprintf(p.w, "\r%s\x1b[K", text)
	p.drawn, p.length = time.Now(), len(text)
}

// end takes the line away, so that what follows starts at the left edge.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && p.length > 0 {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.length = 0
	}
}
