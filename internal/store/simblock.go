package store

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"
)

// Sizes of blocks of products: a block that grows beyond the first is split
// into parts of the second.
const (
	blockMost = 2000
	blockHalf = 1000
)

// SIMClass is a group of products that agree in what lists are filtered by
// most, and how many there are.
type SIMClass struct {
	No           int64
	Account      string
	Connectivity string
	Status       string
	Linked       bool
	Offering     string // name
	Count        int
}

// lockBlocks orders, on PostgreSQL, changes of the set of products (whole) and
// those of single products: a block is not split while counts in it move.
func (t *Tx) lockBlocks(whole bool) error {
	if t.pg == nil {
		return nil
	}
	var one int
	if whole {
		return t.one(`SELECT 1 FROM pg_advisory_xact_lock(6287, hashtext(?))`, []any{t.db.hub}, &one)
	}
	return t.one(`SELECT 1 FROM pg_advisory_xact_lock_shared(6287, hashtext(?))`, []any{t.db.hub}, &one)
}

// class returns the number of the product's class.
func (t *Tx) class(s *SIM) (no int64, err error) {
	key := []any{t.db.hub, s.Account, s.Connectivity, s.Status, bit(s.Device != ""), s.OfferingName}
	const find = `SELECT no FROM sim_class WHERE hub = ? AND account = ? AND connectivity = ? AND status = ? AND linked = ? AND offering = ?`
	if err = t.one(find, key, &no); !errors.Is(err, ErrNone) {
		return no, err
	}
	if _, err = t.exec(`INSERT INTO sim_class (hub, account, connectivity, status, linked, offering) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, key...); err != nil {
		return 0, err
	}
	err = t.one(find, key, &no)
	return no, err
}

// tallies are differences of counts that one transaction makes.
type tallies []tally

type tally struct {
	id    string
	class int64
	n     int
}

func (a *tallies) add(id string, class int64, n int) { *a = append(*a, tally{id, class, n}) }

// count enters differences into the blocks, and splits those that have become
// too large when the caller has locked the whole.
func (t *Tx) count(all tallies, whole bool) error {
	type key struct {
		low   string
		class int64
	}
	sums := map[key]int{}
	slices.SortStableFunc(all, func(a, b tally) int { return cmp.Compare(a.id, b.id) })
	low, next := "", ""
	for i, a := range all {
		// next is the low end of the following block, "" for none.
		if i == 0 || a.id < low || next != "" && a.id >= next {
			var err error
			if low, next, err = t.block(a.id); err != nil {
				return err
			}
		}
		sums[key{low, a.class}] += a.n
	}
	keys := make([]key, 0, len(sums))
	for k := range sums {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(cmp.Compare(a.low, b.low), cmp.Compare(a.class, b.class)) })
	for _, k := range keys {
		if _, err := t.exec(`INSERT INTO sim_block (hub, low, class, n) VALUES (?, ?, ?, ?)
			ON CONFLICT (hub, low, class) DO UPDATE SET n = sim_block.n + excluded.n`, t.db.hub, k.low, k.class, sums[k]); err != nil {
			return err
		}
	}
	for i, k := range keys {
		if whole && (i == 0 || keys[i-1].low != k.low) {
			if err := t.splitBlock(k.low); err != nil {
				return err
			}
		}
	}
	return nil
}

// block returns the bounds of the block that the id belongs to.
func (t *Tx) block(id string) (low, next string, err error) {
	err = t.one(`SELECT low FROM sim_block WHERE hub = ? AND low <= ? ORDER BY low DESC LIMIT 1`, []any{t.db.hub, id}, &low)
	if err != nil && !errors.Is(err, ErrNone) {
		return "", "", err
	}
	err = t.one(`SELECT low FROM sim_block WHERE hub = ? AND low > ? ORDER BY low LIMIT 1`, []any{t.db.hub, id}, &next)
	if errors.Is(err, ErrNone) {
		err = nil
	}
	return low, next, err
}

// splitBlock cuts a block until no part is too large.
func (t *Tx) splitBlock(low string) error {
	for {
		var n int
		if err := t.one(`SELECT COALESCE(SUM(n), 0) FROM sim_block WHERE hub = ? AND low = ?`, []any{t.db.hub, low}, &n); err != nil || n <= blockMost {
			return err
		}
		var at string
		if err := t.one(`SELECT id FROM sim_product WHERE hub = ? AND id >= ? ORDER BY id LIMIT 1 OFFSET ?`,
			[]any{t.db.hub, low, blockHalf}, &at); err != nil {
			return err
		}
		left, err := list(t, scanCount, `SELECT class, COUNT(*) FROM sim_product WHERE hub = ? AND id >= ? AND id < ? GROUP BY class`, t.db.hub, low, at)
		if err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO sim_block (hub, low, class, n) SELECT hub, ?, class, n FROM sim_block WHERE hub = ? AND low = ?`, at, t.db.hub, low); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE sim_block SET n = 0 WHERE hub = ? AND low = ?`, t.db.hub, low); err != nil {
			return err
		}
		for _, c := range left {
			if err := t.must(`UPDATE sim_block SET n = ? WHERE hub = ? AND low = ? AND class = ?`, c.n, t.db.hub, low, c.class); err != nil {
				return err
			}
			if err := t.must(`UPDATE sim_block SET n = n - ? WHERE hub = ? AND low = ? AND class = ?`, c.n, t.db.hub, at, c.class); err != nil {
				return err
			}
		}
		if _, err := t.exec(`DELETE FROM sim_block WHERE hub = ? AND n = 0 AND low IN (?, ?) AND low <> ''`, t.db.hub, low, at); err != nil {
			return err
		}
		low = at
	}
}

type classCount struct {
	low   string
	class int64
	n     int
}

func scanCount(rows *sql.Rows) (c classCount, err error) {
	err = rows.Scan(&c.class, &c.n)
	return c, err
}

// SIMClasses returns all classes with their counts; those without products may
// be among them.
func (t *Tx) SIMClasses() ([]SIMClass, error) {
	counts, err := list(t, scanCount, `SELECT class, SUM(n) FROM sim_block WHERE hub = ? GROUP BY class`, t.db.hub)
	if err != nil {
		return nil, err
	}
	n := map[int64]int{}
	for _, c := range counts {
		n[c.class] = c.n
	}
	return list(t, func(rows *sql.Rows) (c SIMClass, err error) {
		var linked int
		err = rows.Scan(&c.No, &c.Account, &c.Connectivity, &c.Status, &linked, &c.Offering)
		c.Linked, c.Count = linked == 1, n[c.No]
		return c, err
	}, `SELECT no, account, connectivity, status, linked, offering FROM sim_class WHERE hub = ? ORDER BY no`, t.db.hub)
}

// SIMPage returns the products with the ranks offset to offset+limit-1 among
// those of the classes (nil: all), in the order of ids or backwards. It looks at counts of
// blocks and at no more than a block and a page of ids a class.
func (t *Tx) SIMPage(classes []int64, backwards bool, offset, limit int) ([]*SIM, error) {
	ids, err := t.SIMRange(classes, backwards, offset, limit)
	if err != nil {
		return nil, err
	}
	return t.simsOf(ids)
}

// SIMRange is SIMPage for the ids alone.
func (t *Tx) SIMRange(classes []int64, backwards bool, offset, limit int) ([]string, error) {
	if offset == 0 && !backwards {
		return t.idsOf(classes, "", limit)
	}
	blocks, err := t.blocks(classes)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, b := range blocks {
		total += b.n
	}
	if limit = min(limit, total-offset); limit <= 0 || offset < 0 {
		return nil, nil
	}
	// A page counted from the end is one counted from the start, read the other
	// way round.
	from := offset
	if backwards {
		from = total - offset - limit
	}
	low := ""
	for _, b := range blocks {
		if from < b.n {
			low = b.low
			break
		}
		from -= b.n
	}
	ids, err := t.idsOf(classes, low, from+limit)
	if err != nil {
		return nil, err
	}
	ids = ids[min(from, len(ids)):min(from+limit, len(ids))]
	if backwards {
		slices.Reverse(ids)
	}
	return ids, nil
}

// blocks returns the blocks in order, each counting the classes wanted.
func (t *Tx) blocks(classes []int64) (all []classCount, err error) {
	if classes == nil {
		return list(t, func(rows *sql.Rows) (c classCount, err error) {
			err = rows.Scan(&c.low, &c.n)
			return c, err
		}, `SELECT low, SUM(n) FROM sim_block WHERE hub = ? GROUP BY low ORDER BY low`, t.db.hub)
	}
	want := map[int64]bool{}
	for _, c := range classes {
		want[c] = true
	}
	_, err = list(t, func(rows *sql.Rows) (struct{}, error) {
		var c classCount
		err := rows.Scan(&c.low, &c.class, &c.n)
		if len(all) == 0 || all[len(all)-1].low != c.low {
			all = append(all, classCount{low: c.low})
		}
		if want[c.class] {
			all[len(all)-1].n += c.n
		}
		return struct{}{}, err
	}, `SELECT low, class, n FROM sim_block WHERE hub = ? ORDER BY low, class`, t.db.hub)
	return all, err
}

// idsOf returns the first ids of the classes from low on.
func (t *Tx) idsOf(classes []int64, low string, limit int) (all []string, err error) {
	if classes == nil {
		return list(t, scanText, `SELECT id FROM sim_product WHERE hub = ? AND id >= ? ORDER BY id LIMIT ?`, t.db.hub, low, limit)
	}
	for _, class := range classes {
		ids, err := list(t, scanText, `SELECT id FROM sim_product WHERE hub = ? AND class = ? AND id >= ? ORDER BY id LIMIT ?`, t.db.hub, class, low, limit)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	if len(classes) > 1 {
		slices.Sort(all)
	}
	return all[:min(limit, len(all))], nil
}
