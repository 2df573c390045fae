package nave

import (
	"encoding/base64"
	"encoding/binary"
	"maps"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// Doc is a JSON object of a twin. Values are bool, string, json.Number, Doc,
// []any, and in a patch nil, which deletes. Numbers keep the text they came in.
type Doc map[string]any

// Meta is the metadata of a section or of one key in it: when it was last
// written, for desired also by which $version, and the same for what is below.
type Meta struct {
	Updated time.Time
	Version int64 // desired only
	Keys    map[string]*Meta
}

// Section is the desired or the reported half of a twin.
type Section struct {
	Data    Doc
	Meta    Meta
	Version int64
}

// Twin is the document of a device or module (hub-semantics 6.1).
type Twin struct {
	ID                ID
	Model             string // model id announced by the device
	ETag              int64  // counter behind the etag text
	Tags              Doc
	Desired, Reported Section
}

// Patch is one write to a twin. A nil section is left alone.
type Patch struct {
	Tags, Desired, Reported Doc
	Replace                 bool  // PUT: sections given replace the stored ones
	Expect                  int64 // reported $version that must be current; 0 is a value only when HasExpect
	HasExpect               bool
}

// Change is what a write did: the notification for a connected device (nil
// Desired: none) and the changed sections for the twin change event.
type Change struct {
	Patch   Patch // as applied
	Desired Doc   // notification body without $version; nil when desired $version did not move
	Version int64 // desired $version after the write
}

// NewTwin returns the twin of a new identity: etag counter 1, both sections
// empty with $version 1 and no time (hub-semantics 6.4).
func NewTwin(id ID) *Twin {
	return &Twin{ID: id, ETag: 1, Tags: Doc{}, Desired: Section{Data: Doc{}, Version: 1}, Reported: Section{Data: Doc{}, Version: 1}}
}

// Version returns the root version: the sum of both $version.
func (t *Twin) Version() int64 { return t.Desired.Version + t.Reported.Version }

// ETagText returns the etag as clients see it, without quotes: base64 of the
// counter as 8 bytes, big-endian.
func (t *Twin) ETagText() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(t.ETag))
	return base64.StdEncoding.EncodeToString(b[:])
}

// ParseETag returns the counter of a twin etag, with or without quotes; other
// text is ArgumentInvalid.
func ParseETag(text string) (int64, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(bareETag(text))
	if err != nil || len(b) != 8 {
		return 0, fault.ArgumentInvalid.New("the twin etag %q is not base64 of 8 bytes", brief(text))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

// CheckETag answers PreconditionFailed unless the value of an If-Match header
// names the twin's etag.
func (t *Twin) CheckETag(ifMatch string) error {
	if MatchETag(ifMatch, t.ETagText()) {
		return nil
	}
	return fault.PreconditionFailed.New("the etag of twin %s is %q, the request expects %q", t.ID, t.ETagText(), brief(ifMatch))
}

// MatchETag says whether the value of an If-Match header agrees with etag: the
// same text bare, quoted or marked W/, or a star, or nothing (service-api 2.1).
func MatchETag(ifMatch, etag string) bool {
	want := bareETag(ifMatch)
	return want == "" || want == "*" || want == etag
}

func bareETag(text string) string {
	text = strings.TrimPrefix(strings.TrimSpace(text), "W/")
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		return text[1 : n-1]
	}
	return text
}

// Apply writes the patch by hub-semantics 6.2 to 6.6: rules, expected version
// and sizes first, then contents, metadata, versions and etag. On an error
// (ArgumentInvalid, PreconditionFailed, MessageTooLarge) nothing changes. A
// patch without a section changes nothing either. No Doc or Meta in use is
// ever modified, so a copy of *t taken before stays as it was; the patch must
// not be modified afterwards.
func (t *Twin) Apply(p Patch, at time.Time, l *Limits) (Change, error) {
	p.Tags, p.Desired, p.Reported = own(p.Tags), own(p.Desired), own(p.Reported)
	if err := p.check(); err != nil {
		return Change{}, err
	}
	if p.HasExpect && p.Expect != t.Reported.Version {
		return Change{}, fault.PreconditionFailed.New("the reported $version is %d, the patch expects %d", t.Reported.Version, p.Expect)
	}
	tags, desired, reported := p.result(p.Tags, t.Tags), p.result(p.Desired, t.Desired.Data), p.result(p.Reported, t.Reported.Data)
	if err := t.checkSizes(tags, desired, reported, &p, l); err != nil {
		return Change{}, err
	}
	at = at.UTC().Truncate(100 * time.Nanosecond)
	c := Change{Patch: p}
	if p.Tags != nil {
		t.Tags = tags
	}
	if p.Desired != nil {
		c.Desired = p.notification(t.Desired.Data)
		t.Desired.write(&p, p.Desired, desired, at, t.Desired.Version+1)
	} else if p.Tags != nil && l.TagsTouch {
		c.Desired = Doc{}
		t.Desired.Version++
		t.Desired.Meta.Updated, t.Desired.Meta.Version = at, t.Desired.Version
	}
	if p.Reported != nil {
		t.Reported.write(&p, p.Reported, reported, at, 0)
	}
	if p.Tags != nil || p.Desired != nil {
		t.ETag++
	}
	c.Version = t.Desired.Version
	return c, nil
}

// own removes what only the hub writes: clients send whole twins back.
func own(d Doc) Doc {
	_, version := d["$version"]
	_, metadata := d["$metadata"]
	if version || metadata {
		d = maps.Clone(d)
		delete(d, "$version")
		delete(d, "$metadata")
	}
	return d
}

func (p *Patch) check() error {
	if err := p.Tags.Check("tags"); err != nil {
		return err
	}
	if err := p.Desired.Check("desired"); err != nil {
		return err
	}
	return p.Reported.Check("reported")
}

func (t *Twin) checkSizes(tags, desired, reported Doc, p *Patch, l *Limits) error {
	if p.Tags != nil {
		if err := checkGrowth("tags", "twin.maxTags", l.Tags, t.Tags, tags); err != nil {
			return err
		}
	}
	if p.Desired != nil {
		if err := checkGrowth("desired", "twin.maxDesired", l.Desired, t.Desired.Data, desired); err != nil {
			return err
		}
	}
	if p.Reported != nil {
		return checkGrowth("reported", "twin.maxReported", l.Reported, t.Reported.Data, reported)
	}
	return nil
}

// result returns what the section holds after the write.
func (p *Patch) result(patch, stored Doc) Doc {
	if patch == nil {
		return stored
	}
	if p.Replace {
		stored = nil
	}
	return merge(stored, patch)
}

func merge(target, patch Doc) Doc {
	out := maps.Clone(target)
	if out == nil {
		out = make(Doc, len(patch))
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(out, k)
		case Doc:
			below, _ := out[k].(Doc)
			out[k] = merge(below, v)
		default:
			out[k] = v
		}
	}
	return out
}

// notification returns the body for a subscribed device: of a merge the patch,
// of a replacement the new content with null for whatever is gone.
func (p *Patch) notification(before Doc) Doc {
	if !p.Replace {
		return p.Desired
	}
	return gone(before, merge(nil, p.Desired))
}

func gone(before, after Doc) Doc {
	out := maps.Clone(after)
	for k, old := range before {
		now, kept := after[k]
		if !kept {
			out[k] = nil
			continue
		}
		was, both := old.(Doc)
		is, ok := now.(Doc)
		if both && ok {
			out[k] = gone(was, is)
		}
	}
	return out
}

// write takes over the result of a patch; version is the desired $version that
// metadata shows, 0 for reported.
func (s *Section) write(p *Patch, patch, result Doc, at time.Time, version int64) {
	before := &s.Meta
	if p.Replace {
		before = nil
	}
	s.Data, s.Meta = result, *before.touched(patch, at, version)
	s.Version++
}

// touched returns the metadata after a patch: new at every key it names and
// above, gone for deleted keys.
func (m *Meta) touched(patch Doc, at time.Time, version int64) *Meta {
	out := &Meta{Updated: at, Version: version}
	if m != nil {
		out.Keys = maps.Clone(m.Keys)
	}
	for k, v := range patch {
		if v == nil {
			delete(out.Keys, k)
			continue
		}
		if out.Keys == nil {
			out.Keys = make(map[string]*Meta, len(patch))
		}
		if d, ok := v.(Doc); ok {
			out.Keys[k] = out.Keys[k].touched(d, at, version)
		} else {
			out.Keys[k] = &Meta{Updated: at, Version: version}
		}
	}
	return out
}
