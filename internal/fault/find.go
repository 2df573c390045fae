package fault

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	findMost = 8 // most answers to free text
	nearMost = 5 // most near misses
)

// Find returns the codes that text may mean, the best first, for "nave explain". It understands a number, a
// name in any letter case, an HTTP status, an AMQP condition, a pasted error that contains number or name, and
// free text ("lock lost") matched against names, causes and remedies. When nothing matches it returns the codes
// whose number or name differs from text in a few letters ("DeviceNotOnlne", "404109"). Nil when nothing is close.
func Find(text string) []*Code {
	text = strings.TrimSpace(text)
	if found := exact(text); found != nil {
		return found
	}
	tokens := strings.FieldsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_'
	})
	var found []*Code
	for _, token := range tokens {
		if telling(token) {
			found = merge(found, exact(token))
		}
	}
	if found != nil {
		return found
	}
	if len(tokens) == 1 {
		if found := near(tokens[0]); found != nil {
			return found
		}
	}
	return ranked(tokens)
}

// exact returns the codes with this number, name, condition or status. The current one of two equal names comes first.
func exact(text string) []*Code {
	if text == "" {
		return nil
	}
	var found []*Code
	if c := ByName(text); c != nil {
		found = append(found, c)
	}
	number, err := strconv.Atoi(text)
	for c := range All() {
		hit := strings.EqualFold(c.Name, text) || strings.EqualFold(c.variable, text) || strings.EqualFold(c.AMQP, text) ||
			err == nil && (c.ID == number || c.HTTP == number)
		if hit {
			found = merge(found, []*Code{c})
		}
	}
	return found
}

// telling reports whether a word within a longer text is surely meant as a number or name of a code.
func telling(token string) bool {
	if _, err := strconv.Atoi(token); err == nil {
		return len(token) >= 4
	}
	return strings.Contains(token, "_") || len(words(token)) > 1
}

func merge(to, more []*Code) []*Code {
	for _, c := range more {
		if !slices.Contains(to, c) {
			to = append(to, c)
		}
	}
	return to
}

// near returns the codes whose number or name is a few edits from token, the closest first.
func near(token string) []*Code {
	token = strings.ToLower(token)
	_, err := strconv.Atoi(token)
	numeric := err == nil
	allowed := max(1, len(token)/5)
	if numeric {
		allowed = 1
	}
	type miss struct {
		code *Code
		by   int
		same int // letters up to the first difference
	}
	var misses []miss
	for c := range All() {
		name := strings.ToLower(c.Name)
		if numeric {
			name = strconv.Itoa(c.ID)
		}
		if by := distance(token, name); by <= allowed {
			misses = append(misses, miss{c, by, shared(token, name)})
		}
	}
	slices.SortStableFunc(misses, func(a, b miss) int {
		return cmp.Or(cmp.Compare(a.by, b.by), cmp.Compare(foreign(a.code), foreign(b.code)), cmp.Compare(b.same, a.same))
	})
	var found []*Code
	for _, m := range misses[:min(len(misses), nearMost)] {
		found = append(found, m.code)
	}
	return found
}

// foreign is 1 for a code that this hub never writes, so that it comes after the one it does.
func foreign(c *Code) int {
	if c == DeviceNotOnlineOlder {
		return 1
	}
	return 0
}

// shared counts the letters that a and b have in common before they differ.
func shared(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// distance counts the letters to insert, delete, replace or swap with their neighbour to turn a into b.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// ranked scores every code by the words it shares with the question: rare words count more than frequent ones, and
// a word of the name more than one of the cause or the remedy.
func ranked(tokens []string) []*Code {
	var asked []string
	for _, token := range tokens {
		for _, w := range words(token) {
			if !filler[w] && !slices.Contains(asked, w) {
				asked = append(asked, w)
			}
		}
	}
	type page struct {
		code   *Code
		weight map[string]float64
		score  float64
	}
	var pages []page
	seen := map[string]float64{}
	for c := range All() {
		p := page{code: c, weight: map[string]float64{}}
		for i, part := range []string{c.Fix, c.Why, c.Name} {
			for _, w := range words(part) {
				p.weight[w] = []float64{1, 3, 6}[i]
			}
		}
		for w := range p.weight {
			seen[w]++
		}
		pages = append(pages, p)
	}
	for i := range pages {
		p, hits := &pages[i], 0
		for _, w := range asked {
			if p.weight[w] > 0 {
				p.score += p.weight[w] * math.Log(1+float64(len(pages))/seen[w])
				hits++
			}
		}
		// A code that knows every word of the question comes before one that knows a single rare word well.
		p.score *= float64(hits * hits)
	}
	slices.SortStableFunc(pages, func(a, b page) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(foreign(a.code), foreign(b.code)))
	})
	var found []*Code
	for _, p := range pages[:findMost] {
		if p.score == 0 || p.score < pages[0].score/4 {
			break
		}
		found = append(found, p.code)
	}
	return found
}

// filler are words that say nothing about an error.
var filler = map[string]bool{"a": true, "an": true, "and": true, "are": true, "at": true, "by": true, "for": true,
	"from": true, "i": true, "in": true, "is": true, "it": true, "my": true, "of": true, "on": true, "or": true,
	"the": true, "to": true, "was": true, "why": true, "with": true, "error": true, "code": true}

// words cuts text into lower-case word stems; CamelCase and snake_case names fall into their parts.
func words(text string) []string {
	var found []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			found = append(found, stem(string(word)))
			word = word[:0]
		}
	}
	lower := false
	for _, r := range text {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end()
		case unicode.IsUpper(r) && lower:
			end()
			fallthrough
		default:
			word = append(word, unicode.ToLower(r))
		}
		lower = unicode.IsLower(r)
	}
	end()
	return found
}

// stem takes the commonest endings off, so that "queues", "queued" and "queue" meet.
func stem(word string) string {
	for _, ending := range []string{"ing", "ed", "es", "s", "e"} {
		if cut, ok := strings.CutSuffix(word, ending); ok && len(cut) >= 3 {
			return cut
		}
	}
	return word
}
