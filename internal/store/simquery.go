package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// SIMFilter selects products by what classes do not tell; zero members do not
// limit. Properties must all match.
type SIMFilter struct {
	Classes    []int64 // nil: all
	ICCIDFrom  string
	ICCIDTo    string
	Properties []SIMProperty // Product is not read
	Total      int           // how many match, when it is known; 0: they are counted
}

// SIMOrder is a column to sort by: id, iccid or start.
type SIMOrder struct {
	Column     string
	Descending bool
}

var simOrders = map[string]string{"id": "p.id", "iccid": "p.iccid", "start": "p.start", "status": "p.status"}

// FilterSIMs returns a page of the products that match, and how many there
// are. It walks over the index of the narrowest filter.
func (t *Tx) FilterSIMs(f SIMFilter, order []SIMOrder, offset, limit int) (all []*SIM, total int, err error) {
	from, args := f.where(t.db.hub)
	if total = f.Total; total == 0 {
		err = t.loose(`SELECT COUNT(*) `+from, args, func(rows *sql.Rows) error { return rows.Scan(&total) })
	}
	if err != nil || offset >= total {
		return nil, total, err
	}
	var keys []string
	byID := false
	for _, o := range order {
		column := simOrders[o.Column]
		if column == "" || byID {
			continue
		}
		byID = o.Column == "id"
		if o.Descending {
			column += " DESC"
		}
		keys = append(keys, column)
	}
	if !byID {
		keys = append(keys, "p.id")
	}
	var ids []string
	err = t.loose(`SELECT p.id `+from+` ORDER BY `+strings.Join(keys, ", ")+` LIMIT ? OFFSET ?`, append(args, limit, offset), func(rows *sql.Rows) error {
		id, err := scanText(rows)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	all, err = t.simsOf(ids)
	return all, total, err
}

// where returns FROM and WHERE of the filter.
func (f *SIMFilter) where(hub string) (string, []any) {
	var b strings.Builder
	var args []any
	b.WriteString("FROM ")
	for i := range f.Properties {
		fmt.Fprintf(&b, "sim_property c%d, ", i)
	}
	b.WriteString("sim_product p WHERE ")
	for i, p := range f.Properties {
		fmt.Fprintf(&b, "c%[1]d.hub = ? AND c%[1]d.name = ? AND c%[1]d.value = ? AND c%[1]d.product = p.id AND ", i)
		args = append(args, hub, p.Name, p.Value)
	}
	b.WriteString("p.hub = ?")
	args = append(args, hub)
	if f.ICCIDFrom != "" {
		b.WriteString(" AND p.iccid >= ? AND length(p.iccid) = ?")
		args = append(args, f.ICCIDFrom, len(f.ICCIDFrom))
	}
	if f.ICCIDTo != "" {
		b.WriteString(" AND p.iccid <= ? AND length(p.iccid) = ?")
		args = append(args, f.ICCIDTo, len(f.ICCIDTo))
	}
	if f.Classes != nil {
		b.WriteString(" AND p.class IN (NULL" + strings.Repeat(", ?", len(f.Classes)) + ")")
		for _, c := range f.Classes {
			args = append(args, c)
		}
	}
	return b.String(), args
}

// loose runs a statement that is put together at run time and so is not kept
// prepared.
func (t *Tx) loose(q string, args []any, each func(*sql.Rows) error) error {
	if err := t.allow(q); err != nil {
		return err
	}
	var rows *sql.Rows
	var err error
	if t.pg != nil {
		rows, err = t.pg.QueryContext(t.ctx, numbered(q), args...)
	} else {
		rows, err = t.link.conn.QueryContext(context.WithoutCancel(t.ctx), q, args...)
	}
	if err != nil {
		return t.failed(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return t.failed(rows.Err())
}

// numbered gives the arguments of a statement PostgreSQL's form.
func numbered(q string) string {
	parts := strings.Split(q, "?")
	var b strings.Builder
	for i, part := range parts {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	return b.String()
}
