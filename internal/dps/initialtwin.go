package dps

import (
	"encoding/json"
	"maps"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// ParseInitialTwin reads {"tags": {…}, "properties": {"desired": {…}}}, both
// optional, as enrolments and webhooks give it; nil for nothing. The contents
// must be what a hub's twin takes: ArgumentInvalid (dps 3.9).
func ParseInitialTwin(b json.RawMessage) (*TwinState, error) {
	if b == nil || isNull(b) {
		return nil, nil
	}
	d, err := nave.ParseDoc(b)
	if err != nil {
		return nil, fault.DPSArgumentInvalid.Wrap(err, "initialTwin is not a JSON object of at most 32 levels")
	}
	t := &TwinState{}
	if t.Tags, err = part(d, "tags", "tags"); err != nil {
		return nil, err
	}
	properties, err := part(d, "properties", "properties")
	if err != nil {
		return nil, err
	}
	t.Desired, err = part(properties, "desired", "properties.desired")
	if err != nil {
		return nil, err
	}
	// Twins that were read from a hub carry what only the hub writes.
	t.Desired = maps.Clone(t.Desired)
	delete(t.Desired, "$version")
	delete(t.Desired, "$metadata")
	return t, t.check()
}

// part returns the object below a member; nil when it is missing or null.
func part(d nave.Doc, name, path string) (nave.Doc, error) {
	v, ok := d[name]
	if !ok || v == nil {
		return nil, nil
	}
	object, ok := v.(nave.Doc)
	if !ok {
		return nil, fault.DPSArgumentInvalid.New("%s of initialTwin is not an object", path)
	}
	return object, nil
}

func (t *TwinState) check() error {
	limits := nave.Defaults()
	for _, s := range []struct {
		name  string
		doc   nave.Doc
		limit int
	}{{"tags", t.Tags, limits.Tags}, {"properties.desired", t.Desired, limits.Desired}} {
		if err := s.doc.Check(s.name); err != nil {
			return fault.DPSArgumentInvalid.Wrap(err, "initialTwin: %s", fault.From(err).Text)
		}
		if size := s.doc.Size(); size > s.limit {
			return fault.DPSArgumentInvalid.New("%s of initialTwin has %d bytes, %d are allowed", s.name, size, s.limit)
		}
	}
	return nil
}
