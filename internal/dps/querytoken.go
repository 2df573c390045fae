package dps

import (
	"strconv"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
)

// tokenKind is the kind of a query's token.
type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenText
	tokenNumber
	tokenSign // operator, bracket, comma, star
)

// token is one token of a query.
type token struct {
	kind   tokenKind
	text   string // word, sign, or the decoded text
	number float64
	at     int // byte offset in the query
}

// is says whether the token is the word, in any case, or the sign.
func (t token) is(text string) bool {
	return t.kind == tokenWord && strings.EqualFold(t.text, text) || t.kind == tokenSign && t.text == text
}

// lexer cuts a query into tokens.
type lexer struct {
	s string
	i int
}

func badQuery(at int, format string, args ...any) *fault.Error {
	e := fault.DPSArgumentInvalid.New("the query is wrong at character "+strconv.Itoa(at+1)+": "+format, args...)
	return e
}

// signs are the operators, the longer ones first.
var signs = []string{"<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", "*"}

// next returns the next token.
func (l *lexer) next() (token, error) {
	for l.i < len(l.s) && strings.IndexByte(" \t\r\n", l.s[l.i]) >= 0 {
		l.i++
	}
	if l.i == len(l.s) {
		return token{at: l.i}, nil
	}
	switch c := l.s[l.i]; {
	case c == '\'' || c == '"':
		return l.quoted(c)
	case c >= '0' && c <= '9' || c == '-' || c == '+':
		return l.numeral()
	case isWord(c):
		at := l.i
		for l.i < len(l.s) && (isWord(l.s[l.i]) || l.s[l.i] == '.' || l.s[l.i] == '-') {
			l.i++
		}
		return token{kind: tokenWord, text: l.s[at:l.i], at: at}, nil
	}
	for _, sign := range signs {
		if strings.HasPrefix(l.s[l.i:], sign) {
			l.i += len(sign)
			return token{kind: tokenSign, text: sign, at: l.i - len(sign)}, nil
		}
	}
	return token{}, badQuery(l.i, "%q has no meaning here", l.s[l.i:l.i+1])
}

// isWord says whether c may stand in a member name; other characters than ASCII
// may.
func isWord(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80
}

// quoted reads a text; the quote within it is doubled or follows a backslash.
func (l *lexer) quoted(quote byte) (token, error) {
	at := l.i
	var b []byte
	for l.i++; l.i < len(l.s); l.i++ {
		c := l.s[l.i]
		switch {
		case c == '\\' && l.i+1 < len(l.s):
			l.i++
			c = l.s[l.i]
		case c == quote && l.i+1 < len(l.s) && l.s[l.i+1] == quote:
			l.i++
		case c == quote:
			l.i++
			return token{kind: tokenText, text: string(b), at: at}, nil
		}
		b = append(b, c)
	}
	return token{}, badQuery(at, "a text does not end")
}

func (l *lexer) numeral() (token, error) {
	at := l.i
	for l.i++; l.i < len(l.s) && strings.IndexByte("0123456789.eE+-", l.s[l.i]) >= 0; l.i++ {
	}
	n, err := strconv.ParseFloat(l.s[at:l.i], 64)
	if err != nil {
		return token{}, badQuery(at, "%q is not a number", l.s[at:l.i])
	}
	return token{kind: tokenNumber, number: n, at: at}, nil
}
