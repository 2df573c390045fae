package dps

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
)

// Match are the conditions of a write: values of the headers If-Match and
// If-None-Match, "" when absent (dps 3.2).
type Match struct{ IfMatch, IfNoneMatch string }

// Faults are the codes of a resource: missing and in the way.
type Faults struct{ None, Conflict *fault.Code }

// Put judges a PUT. body is the etag within the body, which acts as If-Match
// where the headers are absent; etag is the stored one, "" when there is no
// resource. what names it in errors: f.None, f.Conflict or PreconditionFailed.
func (m Match) Put(body, etag string, f Faults, what string) error {
	want := m.IfMatch
	if want == "" && m.IfNoneMatch == "" {
		want = body
	}
	exists := etag != ""
	switch {
	case exists && m.IfNoneMatch != "" && sameETag(m.IfNoneMatch, etag):
		return f.Conflict.New("%s exists", what)
	case !exists && want != "":
		return f.None.New("%s does not exist, and an etag asks for an update", what)
	case !exists:
		return nil
	case want == "":
		return f.Conflict.New("%s exists; send its etag or * in If-Match to replace it", what)
	case !sameETag(want, etag):
		return stale(what)
	}
	return nil
}

// Delete judges a DELETE of what has the etag, "" when there is no resource.
func (m Match) Delete(etag string, f Faults, what string) error {
	switch {
	case etag == "":
		return f.None.New("%s does not exist", what)
	case m.IfMatch != "" && !sameETag(m.IfMatch, etag):
		return stale(what)
	}
	return nil
}

func stale(what string) error {
	return fault.DPSPreconditionFailed.New("%s has changed since the etag in If-Match was read", what)
}

// sameETag says whether the text of a header or body agrees with etag: the same
// text bare, quoted, marked W/, or a star; of several separated by commas one
// has to (RFC 9110 13.1.1).
func sameETag(text, etag string) bool {
	for part := range strings.SplitSeq(text, ",") {
		if bare := bareETag(part); bare == "*" || bare != "" && bare == bareETag(etag) {
			return true
		}
	}
	return false
}

// bareETag drops the weak mark and pairs of quotes, of which some clients add a
// second one, escaped or not.
func bareETag(text string) string {
	text = strings.TrimPrefix(strings.TrimSpace(text), "W/")
	text = strings.ReplaceAll(text, `\"`, `"`)
	for len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	return text
}

// newETag returns a new etag with its own quotes.
func newETag() string {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	h := hex.EncodeToString(b[:])
	return `"` + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:] + `"`
}
