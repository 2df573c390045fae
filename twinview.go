package nave

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// AppendDevice appends the section as devices see it: contents and $version.
func (s *Section) AppendDevice(b []byte) []byte {
	return appendVersion(openDoc(b, s.Data), s.Version)
}

// AppendService appends the section as services see it: contents, $metadata
// and $version.
func (s *Section) AppendService(b []byte) []byte {
	b = s.Meta.appendView(member(openDoc(b, s.Data), "$metadata"), nil)
	return appendVersion(b, s.Version)
}

// openDoc appends the object without its closing brace.
func openDoc(b []byte, d Doc) []byte {
	var names [32]string
	return appendMembers(append(b, '{'), d, names[:0])
}

func appendVersion(b []byte, version int64) []byte {
	return append(strconv.AppendInt(member(b, "$version"), version, 10), '}')
}

// AppendDevice appends the twin as its device reads it: both sections, without
// tags and metadata (hub-semantics 6.1).
func (t *Twin) AppendDevice(b []byte) []byte {
	b = t.Desired.AppendDevice(member(append(b, '{'), "desired"))
	return append(t.Reported.AppendDevice(member(b, "reported")), '}')
}

// AppendNotification appends the body of a desired notification: the document
// and $version. Call it only when Desired is not nil.
func (c *Change) AppendNotification(b []byte) []byte {
	return appendVersion(openDoc(b, c.Desired), c.Version)
}

// appendView writes $metadata as services see it; of a written patch, when one
// is given, only the keys it names.
func (m *Meta) appendView(b []byte, patch Doc) []byte {
	b = memberText(append(b, '{'), "$lastUpdated", Format(m.Updated))
	if m.Version != 0 {
		b = strconv.AppendInt(member(b, "$lastUpdatedVersion"), m.Version, 10)
	}
	for _, k := range sorted(m.Keys) {
		v, named := patch[k]
		if patch != nil && !named {
			continue
		}
		below, _ := v.(Doc)
		b = append(appendText(append(b, ','), k), ':')
		b = m.Keys[k].appendView(b, below)
	}
	return append(b, '}')
}

func sorted(keys map[string]*Meta) []string {
	if len(keys) == 0 {
		return nil
	}
	names := make([]string, 0, len(keys))
	for k := range keys {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// unixTicks is 1970 in units of 100 ns since the year 1.
const unixTicks = 621_355_968_000_000_000

func ticks(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.Unix()*10_000_000 + int64(at.Nanosecond()/100) + unixTicks
}

func fromTicks(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	n -= unixTicks
	return time.Unix(n/10_000_000, n%10_000_000*100).UTC()
}

// Append appends the metadata in the form that is stored: [ticks, version,
// {key: the same …}], missing parts cut off from the right, a lone number for
// a key without version and keys. Ticks are 100 ns since the year 1.
func (m *Meta) Append(b []byte) []byte {
	if m.Version == 0 && len(m.Keys) == 0 {
		return strconv.AppendInt(b, ticks(m.Updated), 10)
	}
	b = strconv.AppendInt(append(b, '['), ticks(m.Updated), 10)
	b = strconv.AppendInt(append(b, ','), m.Version, 10)
	if len(m.Keys) > 0 {
		b = append(b, ',', '{')
		for i, k := range sorted(m.Keys) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, k), ':')
			b = m.Keys[k].Append(b)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// ParseMeta reads what Append wrote; anything else is IotHubFormatError.
func ParseMeta(b []byte) (Meta, error) {
	p, err := newParser(b)
	if err != nil {
		return Meta{}, err
	}
	p.space()
	m, err := p.meta(0)
	if err != nil {
		return Meta{}, err
	}
	return *m, p.end()
}

func (p *parser) meta(depth int) (*Meta, error) {
	m := &Meta{}
	if p.peek() != '[' {
		n, err := p.integer()
		m.Updated = fromTicks(n)
		return m, err
	}
	if depth > maxNesting {
		return nil, fault.IotHubFormatError.New("JSON %s: expected at most %d levels of metadata", p.where(), maxNesting)
	}
	p.i++
	n, err := p.integer()
	if err != nil {
		return nil, err
	}
	m.Updated = fromTicks(n)
	if p.skip(',') {
		if m.Version, err = p.integer(); err != nil {
			return nil, err
		}
	}
	if p.skip(',') {
		if m.Keys, err = p.metaKeys(depth + 1); err != nil {
			return nil, err
		}
	}
	if !p.skip(']') {
		return nil, p.want("']' at the end of metadata")
	}
	return m, nil
}

func (p *parser) metaKeys(depth int) (map[string]*Meta, error) {
	if !p.skip('{') {
		return nil, p.want("the opening brace of metadata keys")
	}
	keys := make(map[string]*Meta)
	for {
		k, err := p.name()
		if err != nil {
			return nil, err
		}
		if _, twice := keys[k]; twice {
			return nil, fault.IotHubFormatError.New("JSON %s: expected a new key, found %q again", p.where(), brief(k))
		}
		if keys[k], err = p.meta(depth); err != nil {
			return nil, err
		}
		if more, err := p.more('}', "',' or a closing brace after metadata of a key"); !more {
			return keys, err
		}
	}
}

func (p *parser) integer() (int64, error) {
	start := p.i
	text, err := p.numberText()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.i = start
		return 0, p.want("an integer of 64 bits")
	}
	return n, nil
}

// TwinView is the twin together with what its identity adds to the service's
// document; both are set.
type TwinView struct {
	Twin     *Twin
	Identity *Identity
}

// Append appends the twin as services read it (hub-semantics 6.1, service-api
// 2.8).
func (v *TwinView) Append(b []byte) []byte { return append(v.AppendOpen(b), '}') }

// AppendOpen appends what Append does without the closing brace, so that a
// query result can add configurations.
func (v *TwinView) AppendOpen(b []byte) []byte {
	t, i := v.Twin, v.Identity
	b = memberText(t.appendID(append(b, '{')), "etag", t.ETagText())
	b = memberText(b, "deviceEtag", i.ETag)
	b = memberText(b, "status", i.status())
	b = memberIfSet(b, "statusReason", i.StatusReason)
	b = memberText(b, "statusUpdateTime", Format(i.StatusUpdated))
	b = memberText(b, "connectionState", i.Presence.state())
	b = memberText(b, "lastActivityTime", Format(i.Presence.Activity))
	b = strconv.AppendInt(member(b, "cloudToDeviceMessageCount"), int64(i.Pending), 10)
	b = memberText(b, "authenticationType", string(i.Auth.kind()))
	b = i.Auth.appendThumbprints(b)
	b = memberText(b, "modelId", t.Model)
	b = t.appendVersion(b)
	b = t.appendSections(t.appendTags(b))
	return i.appendScopes(i.appendCapabilities(b))
}

func (t *Twin) appendID(b []byte) []byte {
	return memberIfSet(memberText(b, "deviceId", t.ID.Device), "moduleId", t.ID.Module)
}

func (t *Twin) appendVersion(b []byte) []byte {
	return strconv.AppendInt(member(b, "version"), t.Version(), 10)
}

func (t *Twin) appendTags(b []byte) []byte { return t.Tags.Append(member(b, "tags")) }

func (t *Twin) appendSections(b []byte) []byte {
	b = append(member(b, "properties"), '{')
	b = t.Desired.AppendService(member(b, "desired"))
	return append(t.Reported.AppendService(member(b, "reported")), '}')
}

// AppendUpdateEvent appends the body of the event updateTwin: the root version
// and the sections that the change named, with what it wrote and its metadata
// (hub-semantics 13). The twin is as the change left it.
func (t *Twin) AppendUpdateEvent(b []byte, c *Change) []byte {
	b = t.appendVersion(append(b, '{'))
	if c.Patch.Tags != nil {
		b = c.Patch.Tags.Append(member(b, "tags"))
	}
	if c.Patch.Desired != nil || c.Patch.Reported != nil {
		b = append(member(b, "properties"), '{')
		b = t.Desired.appendPart(b, "desired", c.Patch.Desired)
		b = append(t.Reported.appendPart(b, "reported", c.Patch.Reported), '}')
	}
	return append(b, '}')
}

func (s *Section) appendPart(b []byte, name string, patch Doc) []byte {
	if patch == nil {
		return b
	}
	b = openDoc(member(b, name), patch)
	b = s.Meta.appendView(member(b, "$metadata"), patch)
	return appendVersion(b, s.Version)
}

// AppendReplaceEvent appends the body of the event replaceTwin: the whole twin
// without what belongs to the identity (hub-semantics 13).
func (t *Twin) AppendReplaceEvent(b []byte) []byte {
	b = memberText(t.appendID(append(b, '{')), "etag", t.ETagText())
	return append(t.appendSections(t.appendTags(t.appendVersion(b))), '}')
}

// AppendLifecycle appends the body of the events that tell of creation and
// deletion: as AppendReplaceEvent, without tags when there are none.
func (t *Twin) AppendLifecycle(b []byte) []byte {
	b = t.appendVersion(memberText(t.appendID(append(b, '{')), "etag", t.ETagText()))
	if len(t.Tags) > 0 {
		b = t.appendTags(b)
	}
	return append(t.appendSections(b), '}')
}

// ParsePatch reads the body of a service's twin write, PATCH or PUT by replace:
// tags and properties.desired count, everything else is ignored. It returns
// the etag of the body too, "" when there is none (service-api 2.8). A section
// that is null is left alone; one that is no object is IotHubFormatError.
func ParsePatch(b []byte, replace bool) (p Patch, etag string, err error) {
	d, err := ParseDoc(b)
	if err != nil {
		return Patch{}, "", err
	}
	return PatchOf(d, replace)
}

// PatchOf is ParsePatch for a body that is parsed already.
func PatchOf(d Doc, replace bool) (p Patch, etag string, err error) {
	p.Replace = replace
	if p.Tags, err = section(d, "tags", "tags"); err != nil {
		return Patch{}, "", err
	}
	properties, err := section(d, "properties", "properties")
	if err != nil {
		return Patch{}, "", err
	}
	if p.Desired, err = section(properties, "desired", "properties.desired"); err != nil {
		return Patch{}, "", err
	}
	etag, _ = d["etag"].(string)
	return p, etag, nil
}

func section(d Doc, name, path string) (Doc, error) {
	switch v := d[name].(type) {
	case nil:
		return nil, nil
	case Doc:
		return v, nil
	default:
		return nil, fault.IotHubFormatError.New("%s: expected an object, found %s", path, kind(v))
	}
}

// kind names the JSON type of a value of a Doc.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case []any:
		return "an array"
	}
	return "an object"
}
