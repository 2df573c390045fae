package dps

import (
	"cmp"
	"context"
	"errors"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// resource is a kind of documents that are read and replaced as a whole under
// the rules of etags (dps 3.2).
type resource[T any] struct {
	kind   string
	noun   string // with article, for errors
	faults Faults
	etag   func(*T) *string
}

// unmarked is the etag of a row that was stored without one.
const unmarked = `"0"`

func (r *resource[T]) called(id string) string { return r.noun + " " + brief(id) }

// find returns the document, nil when there is none.
func (r *resource[T]) find(tx *store.Tx, id string) (*T, error) {
	v, err := readRow[T](tx, r.kind, key(id))
	if errors.Is(err, store.ErrNone) {
		return nil, nil
	}
	if err == nil {
		tag := r.etag(v)
		*tag = cmp.Or(*tag, unmarked)
	}
	return v, err
}

// need returns the document, or the fault that says there is none.
func (r *resource[T]) need(tx *store.Tx, id string) (*T, error) {
	v, err := r.find(tx, id)
	if err == nil && v == nil {
		err = r.faults.None.New("%s does not exist", r.called(id))
	}
	return v, err
}

func (r *resource[T]) tag(v *T) string {
	if v == nil {
		return ""
	}
	return *r.etag(v)
}

// toPut returns the document that a PUT replaces, nil for a new one; tag is the
// etag within the body.
func (r *resource[T]) toPut(tx *store.Tx, id, tag string, m Match) (*T, error) {
	before, err := r.find(tx, id)
	if err != nil {
		return nil, err
	}
	return before, m.Put(tag, r.tag(before), r.faults, r.called(id))
}

// toDelete returns the document that a DELETE removes.
func (r *resource[T]) toDelete(tx *store.Tx, id string, m Match) (*T, error) {
	before, err := r.find(tx, id)
	if err != nil {
		return nil, err
	}
	return before, m.Delete(r.tag(before), r.faults, r.called(id))
}

// store writes the row of v, which is new when fresh.
func (r *resource[T]) store(tx *store.Tx, row *store.DPSRow, fresh bool) error {
	if !fresh {
		return tx.PutDPS(row)
	}
	err := tx.InsertDPS(row)
	if errors.Is(err, store.ErrExists) { // made by somebody else meanwhile
		return r.faults.Conflict.New("%s exists", r.called(row.Key))
	}
	return err
}

// put writes v, whose row has neither references nor a time, under a new etag.
func (r *resource[T]) put(tx *store.Tx, id string, v *T, fresh bool) error {
	*r.etag(v) = newETag()
	row, err := newRow(r.kind, key(id), v)
	if err != nil {
		return err
	}
	return r.store(tx, row, fresh)
}

// room refuses another document beyond limit (dps 4.7).
func (r *resource[T]) room(tx *store.Tx, limit int, plural string) error {
	n, err := tx.CountDPS(r.kind)
	if err == nil && n >= limit {
		err = fault.DPSArgumentInvalid.Over(plural, limit, n+1, "the quota of %s is used up", plural)
	}
	return err
}

// listed returns a listing of all documents; show makes what is listed.
func (r *resource[T]) listed(name string, show func(*T) *T) *listing[*T] {
	return &listing[*T]{name: name, rows: kindRows(r.kind), take: func(_ *store.Tx, row *store.DPSRow) (*T, bool, error) {
		v, err := decodeRow[T](row)
		if err != nil {
			return nil, false, err
		}
		tag := r.etag(v)
		*tag = cmp.Or(*tag, unmarked)
		return show(v), true, nil
	}}
}

// same lists a document as it is stored.
func same[T any](v *T) *T { return v }

// every calls f with all documents, in the order of keys.
func (r *resource[T]) every(tx *store.Tx, f func(*T) error) error {
	const page = 500
	for after := ""; ; {
		rows, err := tx.DPSAfter(r.kind, after, page)
		if err != nil {
			return err
		}
		for _, row := range rows {
			v, err := decodeRow[T](row)
			if err == nil {
				err = f(v)
			}
			if err != nil {
				return err
			}
		}
		if len(rows) < page {
			return nil
		}
		after = rows[len(rows)-1].Key
	}
}

// read is the body of the methods that return one document.
func read[T any](ctx context.Context, a *Access, op *serviceOp, r *resource[T], id string) (v *T, err error) {
	if err := a.enter(ctx, op, id); err != nil {
		return nil, err
	}
	err = a.view(ctx, func(tx *store.Tx) error { v, err = r.need(tx, id); return err })
	return v, err
}

// pages is the body of the methods that list documents.
func pages[T any](ctx context.Context, a *Access, op *serviceOp, l *listing[*T], token string, limit int) ([]*T, string, error) {
	if err := a.enter(ctx, op, ""); err != nil {
		return nil, "", err
	}
	return page(ctx, a, l, token, limit)
}

// maxName is the longest name of a certificate, CA, bundle or policy in
// characters (dps 3.10).
const maxName = 256

// checkName answers ArgumentInvalid unless name has 1 to 256 letters, digits
// and - . _
func checkName(what, name string) error {
	if name == "" || len(name) > maxName {
		return fault.DPSArgumentInvalid.New("the name of %s has %d characters, 1 to %d are allowed", what, len(name), maxName)
	}
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && c != '-' && c != '.' && c != '_' {
			return fault.DPSArgumentInvalid.New("the name of %s has other characters than letters, digits and - . _", what)
		}
	}
	return nil
}

// checkResourceID is checkName for ids with the syntax of registration ids.
func checkResourceID(what, id string) error {
	if why := idProblem(id); why != "" {
		return fault.DPSArgumentInvalid.New("the id of %s %s", what, why)
	}
	return nil
}

// sameName answers ArgumentInvalid when a body names another resource than the
// path.
func sameName(member, path, body string) error {
	if body != "" && key(path) != key(body) {
		return fault.DPSArgumentInvalid.New("the path names %q, %s of the body %q", brief(path), member, brief(body))
	}
	return nil
}

// between answers ArgumentInvalid unless least <= n <= most.
func between(member string, n, least, most int) error {
	if n < least || n > most {
		return fault.DPSArgumentInvalid.New("%s is %d, %d to %d are allowed", member, n, least, most)
	}
	return nil
}
