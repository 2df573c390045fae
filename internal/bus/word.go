package bus

import (
	"fmt"
	"strings"
)

const hexDigits = "0123456789abcdef"

// Word returns text as one safe word of a subject: letters, digits, '-' and '_'
// stay, each other byte becomes '=' and two hex digits, and the empty text is
// "=". Different texts give different words.
func Word(text string) string {
	if text == "" {
		return "="
	}
	n := 0
	for i := range len(text) {
		if !plain(text[i]) {
			n++
		}
	}
	if n == 0 {
		return text
	}
	b := make([]byte, 0, len(text)+2*n)
	for i := range len(text) {
		if c := text[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '=', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func checkSubject(subject string) error {
	for word := range strings.SplitSeq(subject, ".") {
		if word == "" || strings.ContainsAny(word, "*> \t\r\n\x00") {
			return fmt.Errorf("bus: subject %q is not a list of words joined by '.'", subject)
		}
	}
	return nil
}
