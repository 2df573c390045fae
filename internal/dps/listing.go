package dps

import (
	"context"
	"encoding/json"
	"errors"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Page sizes of listings and queries (dps 3.6).
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// maxScan is how many rows one call looks at: a page of a query that matches
// little ends early, and its token leads on.
const maxScan = 20_000

// scanPage is how many rows are read at once.
const scanPage = 250

// listing reads pages of rows in the order of keys.
type listing[T any] struct {
	name string // of the collection, which its tokens are good for
	// rows returns up to n rows after the key.
	rows func(tx *store.Tx, after string, n int) ([]*store.DPSRow, error)
	// take returns what a row shows, and whether it belongs to the result.
	take func(tx *store.Tx, row *store.DPSRow) (v T, ok bool, err error)
}

// kindRows lists all rows of a kind.
func kindRows(kind string) func(*store.Tx, string, int) ([]*store.DPSRow, error) {
	return func(tx *store.Tx, after string, n int) ([]*store.DPSRow, error) { return tx.DPSAfter(kind, after, n) }
}

// page returns up to limit items (0: DefaultPage, at most MaxPage) after the
// token, "" for the first page, and the next token, "" after the last page. It
// answers ArgumentInvalid for a token that is none.
func page[T any](ctx context.Context, a *Access, l *listing[T], token string, limit int) (items []T, next string, err error) {
	place := "continuation/" + l.name
	after, err := a.s.seal.Open(place, token)
	if err != nil {
		return nil, "", fault.DPSArgumentInvalid.Wrap(err, "the continuation token is not one of this listing")
	}
	if limit <= 0 {
		limit = DefaultPage
	}
	limit = min(limit, MaxPage)
	err = a.view(ctx, func(tx *store.Tx) error {
		items, next, err = l.scan(tx, after, limit)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return items, a.s.seal.Seal(place, next), nil
}

// scan returns up to limit items and the key that the next page starts after.
func (l *listing[T]) scan(tx *store.Tx, after string, limit int) (items []T, next string, err error) {
	last := "" // key of the last item
	for seen := 0; seen < maxScan; {
		rows, err := l.rows(tx, after, scanPage)
		if err != nil {
			return nil, "", err
		}
		for _, row := range rows {
			v, ok, err := l.take(tx, row)
			switch {
			case err != nil:
				return nil, "", err
			case ok && len(items) == limit:
				return items, last, nil
			case ok:
				items, last = append(items, v), row.Key
			}
		}
		if len(rows) < scanPage {
			return items, "", nil
		}
		seen += len(rows)
		after = rows[len(rows)-1].Key
	}
	return items, after, nil
}

// Enrollments returns individual enrolments that match the query, in the order
// of ids, without keys; token and limit as for pages of all listings (dps 3.6).
// It answers ArgumentInvalid.
func (a *Access) Enrollments(ctx context.Context, query, token string, limit int) ([]*Enrollment, string, error) {
	return a.search(ctx, opEnrollmentQuery, KindEnrollment, query, token, limit)
}

// Groups is Enrollments for groups.
func (a *Access) Groups(ctx context.Context, query, token string, limit int) ([]*Enrollment, string, error) {
	return a.search(ctx, opGroupQuery, KindGroup, query, token, limit)
}

func (a *Access) search(ctx context.Context, op *serviceOp, kind, text, token string, limit int) ([]*Enrollment, string, error) {
	if err := a.enter(ctx, op, ""); err != nil {
		return nil, "", err
	}
	source, member := "enrollments", "registrationId"
	if kind == KindGroup {
		source, member = "enrollmentGroups", "enrollmentGroupId"
	}
	q, err := parseQuery(text, source)
	if err != nil {
		return nil, "", err
	}
	l := &listing[*Enrollment]{name: source, rows: kindRows(kind), take: q.enrollment}
	if id, ok := q.where.only(member); ok {
		l.rows = oneRow(kind, key(id))
	}
	return page(ctx, a, l, token, limit)
}

// oneRow lists the row with the key, if there is one.
func oneRow(kind, id string) func(*store.Tx, string, int) ([]*store.DPSRow, error) {
	return func(tx *store.Tx, after string, _ int) ([]*store.DPSRow, error) {
		row, err := tx.DPS(kind, id)
		if errors.Is(err, store.ErrNone) || err == nil && id <= after {
			return nil, nil
		}
		return []*store.DPSRow{row}, err
	}
}

// enrollment returns what a row shows and whether it matches. Conditions see
// what the answer has, so that none can find out a key.
func (q *query) enrollment(tx *store.Tx, row *store.DPSRow) (*Enrollment, bool, error) {
	e, err := decodeRow[Enrollment](row)
	if err != nil {
		return nil, false, err
	}
	e = e.public()
	// The state costs a row more, so it is read last where no condition asks
	// for it.
	early := q.where.mentions("registrationState")
	if early {
		if err := fillState(tx, e); err != nil {
			return nil, false, err
		}
	}
	ok, err := q.matches(e)
	if ok && err == nil && !early {
		err = fillState(tx, e)
	}
	return e, ok, err
}

// matches says whether the JSON form of v fulfils the query.
func (q *query) matches(v any) (bool, error) {
	if q.where == nil {
		return true, nil
	}
	b, err := jsonv2.Marshal(v)
	if err != nil {
		return false, err
	}
	var doc any
	if err := json.Unmarshal(b, &doc); err != nil {
		return false, err
	}
	return q.where.match(doc), nil
}
