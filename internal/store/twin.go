package store

import (
	"errors"
	"fmt"

	"github.com/nave-hub/nave"
)

// Twin returns the twin, its documents never nil, or ErrNone. In an Update the
// row stays locked.
func (t *Tx) Twin(id nave.ID) (*nave.Twin, error) {
	tw := &nave.Twin{ID: id}
	var tags, desired, desiredMeta, reported, reportedMeta string
	err := t.one(`SELECT model, etag, tags, desired, desired_meta, desired_version, reported, reported_meta, reported_version
		FROM twin WHERE hub = ? AND device = ? AND module = ? FOR NO KEY UPDATE`, t.key(id),
		&tw.Model, &tw.ETag, &tags, &desired, &desiredMeta, &tw.Desired.Version, &reported, &reportedMeta, &tw.Reported.Version)
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		text string
		doc  *nave.Doc
	}{{tags, &tw.Tags}, {desired, &tw.Desired.Data}, {reported, &tw.Reported.Data}} {
		if *part.doc, err = parseDoc(part.text); err != nil {
			return nil, fmt.Errorf("store: twin of %s: %w", id, err)
		}
	}
	if tw.Desired.Meta, err = parseMeta(desiredMeta); err == nil {
		tw.Reported.Meta, err = parseMeta(reportedMeta)
	}
	if err != nil {
		return nil, fmt.Errorf("store: twin of %s: %w", id, err)
	}
	return tw, nil
}

// PutTwin adds or replaces the twin. It answers ErrStale when the stored ETag
// is greater than the twin's, and ErrNone without its identity. Documents are
// JSON; metadata is a tree of objects {"t":ticks,"v":version,"k":{name:…}}
// where v and k are left out when 0 and empty.
func (t *Tx) PutTwin(tw *nave.Twin) error {
	tags, err := docText(tw.Tags)
	if err != nil {
		return err
	}
	desired, err := docText(tw.Desired.Data)
	if err != nil {
		return err
	}
	reported, err := docText(tw.Reported.Data)
	if err != nil {
		return err
	}
	values := []any{tw.Model, tw.ETag, tags, desired, metaText(&tw.Desired.Meta), tw.Desired.Version,
		reported, metaText(&tw.Reported.Meta), tw.Reported.Version}
	n, err := t.exec(`UPDATE twin SET model = ?, etag = ?, tags = ?, desired = ?, desired_meta = ?, desired_version = ?,
		reported = ?, reported_meta = ?, reported_version = ? WHERE hub = ? AND device = ? AND module = ? AND etag <= ?`,
		append(t.set(tw.ID, values...), tw.ETag)...)
	if err != nil || n > 0 {
		return err
	}
	if err := t.exists(tw.ID); err != nil {
		return err
	}
	n, err = t.exec(`INSERT INTO twin (hub, device, module, model, etag, tags, desired, desired_meta, desired_version, reported, reported_meta,
		reported_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, t.key(tw.ID, values...)...)
	if err == nil && n == 0 {
		return ErrStale
	}
	return err
}

// PutModel sets the model id of the twin and nothing else. It answers ErrNone.
func (t *Tx) PutModel(id nave.ID, model string) error {
	return t.must(`UPDATE twin SET model = ? WHERE hub = ? AND device = ? AND module = ?`, t.set(id, model)...)
}

var errDocument = errors.New("the stored document is damaged")
