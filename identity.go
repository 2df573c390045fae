package nave

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave/internal/fault"
)

// Append appends the identity as the registry shows it, keys included
// (service-api 5.1 to 5.3): a module when the id names one.
func (i *Identity) Append(b []byte) []byte {
	b = memberText(append(b, '{'), "deviceId", i.ID.Device)
	if i.ID.IsModule() {
		b = memberIfSet(memberText(b, "moduleId", i.ID.Module), "managedBy", i.ManagedBy)
	}
	b = memberText(b, "generationId", i.Generation)
	b = memberText(b, "etag", i.ETag)
	b = memberText(b, "connectionState", i.Presence.state())
	b = memberText(b, "connectionStateUpdatedTime", Format(i.Presence.Changed))
	if !i.ID.IsModule() {
		b = memberText(b, "status", i.status())
		b = memberIfSet(b, "statusReason", i.StatusReason)
		b = memberText(b, "statusUpdatedTime", Format(i.StatusUpdated))
	}
	b = memberText(b, "lastActivityTime", Format(i.Presence.Activity))
	b = strconv.AppendInt(member(b, "cloudToDeviceMessageCount"), int64(i.Pending), 10)
	b = i.Auth.Append(member(b, "authentication"))
	if !i.ID.IsModule() {
		b = i.appendScopes(i.appendCapabilities(b))
		if len(i.Attributes) > 0 {
			b = append(member(b, "attributes"), i.Attributes...)
		}
		b = i.appendConnectivity(b)
	}
	return append(b, '}')
}

// Append appends the authentication with all members, null where inapplicable.
func (a *Auth) Append(b []byte) []byte {
	b = append(member(append(b, '{'), "symmetricKey"), '{')
	b = memberOrNull(b, "primaryKey", a.Primary)
	b = append(memberOrNull(b, "secondaryKey", a.Secondary), '}')
	b = a.appendThumbprints(b)
	return append(memberText(b, "type", string(a.kind())), '}')
}

func (a *Auth) appendThumbprints(b []byte) []byte {
	b = append(member(b, "x509Thumbprint"), '{')
	b = memberOrNull(b, "primaryThumbprint", a.PrimaryThumbprint)
	return append(memberOrNull(b, "secondaryThumbprint", a.SecondThumbprint), '}')
}

func (i *Identity) appendCapabilities(b []byte) []byte {
	b = member(append(member(b, "capabilities"), '{'), "iotEdge")
	return append(strconv.AppendBool(b, i.Edge), '}')
}

func (i *Identity) appendScopes(b []byte) []byte {
	b = memberIfSet(b, "deviceScope", i.DeviceScope)
	if len(i.ParentScopes) == 0 {
		return b
	}
	b = append(member(b, "parentScopes"), '[')
	for n, s := range i.ParentScopes {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendText(b, s)
	}
	return append(b, ']')
}

// IdentityPatch is what the body of a registry write says. A nil member was
// absent or null.
type IdentityPatch struct {
	ID           ID     // parts are empty when absent
	ETag         string // of the body, unquoted
	Status       *string
	StatusReason *string
	Auth         *Auth // Type is never empty; keys and thumbprints are empty when absent
	Edge         *bool
	DeviceScope  *string
	ParentScopes *[]string
	ManagedBy    *string
	Attributes   json.RawMessage
	ICCID, IMEI  *string // wished for by connectivity, devices only
}

// ParseIdentity reads the body of a registry write for a device or a module.
// Unknown members are ignored, status and type are read in any case. A member
// of the wrong JSON type is ArgumentInvalid with its path; values are judged
// by Identity.Check.
func ParseIdentity(b []byte, module bool) (*IdentityPatch, error) {
	d, err := ParseDoc(b)
	if err != nil {
		return nil, err
	}
	p, err := IdentityOf(d, module)
	if err != nil || p.Attributes == nil {
		return p, err
	}
	var raw struct {
		Attributes jsontext.Value `json:"attributes"`
	}
	if err := jsonv2.Unmarshal(b, &raw); err != nil {
		return nil, fault.IotHubFormatError.Wrap(err, "attributes cannot be read")
	}
	p.Attributes = json.RawMessage(raw.Attributes)
	return p, nil
}

// IdentityOf is ParseIdentity for a body that is parsed already, as an entry
// of a bulk call is; the names in attributes come out sorted.
func IdentityOf(d Doc, module bool) (*IdentityPatch, error) {
	r := reader{d: d}
	p := &IdentityPatch{ETag: r.textOr("etag", ""), Auth: r.auth("authentication")}
	p.ID.Device = r.id("deviceId")
	if module {
		p.ID.Module = r.id("moduleId")
		p.ManagedBy = r.text("managedBy")
		return p, r.err
	}
	p.Status, p.StatusReason = r.text("status"), r.text("statusReason")
	if p.Status != nil {
		*p.Status = strings.ToLower(*p.Status)
	}
	capabilities := r.below("capabilities")
	p.Edge = capabilities.flag("iotEdge")
	r.join(capabilities)
	p.DeviceScope, p.ParentScopes = r.text("deviceScope"), r.texts("parentScopes")
	connectivity := r.below("connectivity")
	p.ICCID, p.IMEI = connectivity.text("iccid"), connectivity.text("imei")
	r.join(connectivity)
	if v := d["attributes"]; v != nil {
		if _, ok := v.(Doc); !ok {
			r.wrong("attributes", "an object", v)
		}
		p.Attributes = AppendValue(nil, v)
	}
	return p, r.err
}

// Create returns the identity that a registry write makes: defaults for what
// is absent, keys for sas without keys, scopes by service-api 5.5, generation
// and etag. It answers ArgumentInvalid or InvalidDeviceScope like Check.
func (p *IdentityPatch) Create(id ID, at time.Time, l *Limits) (*Identity, error) {
	i := &Identity{ID: id, Status: Enabled, Generation: NewGeneration(at), Created: at}
	if p.Edge != nil {
		i.Edge = *p.Edge
	}
	// service-api 5.5: the scope of an edge device is the hub's to choose, and
	// its generation is not known to the client before.
	if i.Edge {
		p = p.without()
	}
	return i, p.write(i, at, l)
}

func (p *IdentityPatch) without() *IdentityPatch {
	q := *p
	q.DeviceScope = nil
	return &q
}

// Update returns the identity after a registry write, i stays as it was
// (service-api 2.3): an absent statusReason or managedBy becomes empty, any
// other absent member keeps its value, and so do keys of a sas identity when
// the body has none.
func (p *IdentityPatch) Update(i *Identity, at time.Time, l *Limits) (*Identity, error) {
	if p.Edge != nil && *p.Edge != i.Edge {
		return nil, fault.ArgumentInvalid.New("capabilities.iotEdge of %s is %t and cannot be changed", i.ID, i.Edge)
	}
	n := *i
	if err := p.write(&n, at, l); err != nil {
		return nil, err
	}
	return &n, nil
}

// Check answers ArgumentInvalid for what is wrong with a body whatever the
// identity of that id is like now: a client hears of it before it hears that
// the identity is unknown or has another etag (service-api 2.1).
func (p *IdentityPatch) Check(id ID, l *Limits) error {
	q := *p
	q.DeviceScope, q.ParentScopes = nil, nil // depend on whether it is an edge device
	return q.write(&Identity{ID: id, Status: Enabled}, time.Time{}, l)
}

func (p *IdentityPatch) write(i *Identity, at time.Time, l *Limits) error {
	if err := p.checkID(i.ID); err != nil {
		return err
	}
	if p.Status != nil && *p.Status == "" {
		return fault.ArgumentInvalid.New("status is empty, allowed are %s and %s", Enabled, Disabled)
	}
	if p.Status != nil && *p.Status != i.Status {
		i.Status, i.StatusUpdated = *p.Status, at
	}
	i.StatusReason, i.ManagedBy = orEmpty(p.StatusReason), orEmpty(p.ManagedBy)
	if p.Attributes != nil {
		i.Attributes = p.Attributes
	}
	if p.Auth != nil {
		i.Auth = p.Auth.over(&i.Auth)
	}
	p.writeScopes(i)
	if err := p.writeConnectivity(i); err != nil {
		return err
	}
	if err := i.Check(l); err != nil {
		return err
	}
	i.Auth.fill()
	i.ETag = NewETag()
	return nil
}

func (p *IdentityPatch) checkID(id ID) error {
	if d := p.ID.Device; d != "" && d != id.Device {
		return fault.ArgumentInvalid.New("deviceId is %q, the path names %q", brief(d), id.Device)
	}
	if m := p.ID.Module; m != "" && m != id.Module {
		return fault.ArgumentInvalid.New("moduleId is %q, the path names %q", brief(m), id.Module)
	}
	return nil
}

// writeScopes keeps deviceScope and parentScopes of a leaf equal, whichever of
// them was sent.
func (p *IdentityPatch) writeScopes(i *Identity) {
	if p.DeviceScope != nil {
		i.DeviceScope = *p.DeviceScope
	}
	if p.ParentScopes != nil {
		i.ParentScopes = *p.ParentScopes
	}
	switch {
	case i.Edge:
		if i.DeviceScope == "" {
			i.DeviceScope = i.EdgeScope()
		}
	case p.DeviceScope != nil && (p.ParentScopes == nil || len(*p.ParentScopes) == 0):
		i.ParentScopes = nil
		if i.DeviceScope != "" {
			i.ParentScopes = []string{i.DeviceScope}
		}
	case p.ParentScopes != nil && len(*p.ParentScopes) == 0:
		i.DeviceScope = ""
	case p.ParentScopes != nil && (p.DeviceScope == nil || *p.DeviceScope == ""):
		i.DeviceScope = i.ParentScopes[0]
	}
}

// over returns the authentication a write leads to: keys stay when both sides
// are sas and the write has none.
func (a *Auth) over(stored *Auth) Auth {
	out := *a
	if a.kind() == AuthSAS && stored.kind() == AuthSAS && a.Primary == "" && a.Secondary == "" {
		out.Primary, out.Secondary = stored.Primary, stored.Secondary
	}
	return out
}

func (a *Auth) fill() {
	a.Type = a.kind()
	if a.Type == AuthSAS && a.Primary == "" {
		a.Primary, a.Secondary = NewKey(), NewKey()
	}
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
