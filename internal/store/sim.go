package store

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"
)

// SIM is a product of the connectivity API: a SIM card, or a terminal of a
// remote platform (connectivity-api 13).
type SIM struct {
	ID           string
	Account      string
	Connectivity string
	Status       string
	Reason       string // of the status
	ICCID        string
	IMSI         string
	MSISDN       string
	IMEI         string
	EID          string
	Serial       string
	Offering     string // id, "" at remote platforms
	OfferingName string
	Start        time.Time
	Added        time.Time
	Activated    time.Time
	Updated      time.Time
	Due          time.Time // when a timer of the product runs out
	Period       time.Time // start of the billing period that Used and SMS count in
	Used         int64     // bytes
	SMS          int64
	Noted        int // percent of the limit that were told of
	Device       string
	Linked       time.Time
	Busy         string // id of the monitor of a change in progress
	Locked       string // IMEI that the product is locked to
	Synced       time.Time
	Run          int64 // synchronisation that saw it last

	class int64 // as read
}

const simColumns = `id, account, connectivity, status, reason, iccid, imsi, msisdn, imei, eid, serial, offering, offering_name,
	start, added, activated, updated, due, period, used, sms, noted, device, linked, busy, locked, synced, run, class`

const selectSIM = `SELECT ` + simColumns + ` FROM sim_product WHERE hub = ? AND `

func scanSIM(rows *sql.Rows) (*SIM, error) {
	var s SIM
	var start, added, activated, updated, due, period, linked, synced int64
	err := rows.Scan(&s.ID, &s.Account, &s.Connectivity, &s.Status, &s.Reason, &s.ICCID, &s.IMSI, &s.MSISDN, &s.IMEI, &s.EID, &s.Serial,
		&s.Offering, &s.OfferingName, &start, &added, &activated, &updated, &due, &period, &s.Used, &s.SMS, &s.Noted, &s.Device, &linked,
		&s.Busy, &s.Locked, &synced, &s.Run, &s.class)
	s.Start, s.Added, s.Activated, s.Updated = moment(start), moment(added), moment(activated), moment(updated)
	s.Due, s.Period, s.Linked, s.Synced = moment(due), moment(period), moment(linked), moment(synced)
	return &s, err
}

func (s *SIM) values() []any {
	return []any{s.Account, s.Connectivity, s.Status, s.Reason, s.ICCID, s.IMSI, s.MSISDN, s.IMEI, s.EID, s.Serial, s.Offering, s.OfferingName,
		ticks(s.Start), ticks(s.Added), ticks(s.Activated), ticks(s.Updated), ticks(s.Due), ticks(s.Period), s.Used, s.SMS, s.Noted, s.Device,
		ticks(s.Linked), s.Busy, s.Locked, ticks(s.Synced), s.Run, s.class}
}

// SIM returns the product, or ErrNone. In an Update the row stays locked.
func (t *Tx) SIM(id string) (*SIM, error) {
	return first(list(t, scanSIM, selectSIM+`id = ? FOR NO KEY UPDATE`, t.db.hub, id))
}

// SIMOfDevice returns the product that the device is linked to, or ErrNone. In
// an Update the row stays locked.
func (t *Tx) SIMOfDevice(device string) (*SIM, error) {
	return first(list(t, scanSIM, selectSIM+`device = ? AND device <> '' FOR NO KEY UPDATE`, t.db.hub, device))
}

const selectID = `SELECT id FROM sim_product WHERE hub = ? AND `

// simKeys are the statements that find products by an identifier. They ask for
// the id alone, because without statistics SQLite takes the narrow index only
// when it covers the query.
var simKeys = map[string]string{
	"id":     selectID + `id = ? AND id <> '' LIMIT 100`,
	"iccid":  selectID + `iccid = ? AND iccid <> '' LIMIT 100`,
	"imsi":   selectID + `imsi = ? AND imsi <> '' LIMIT 100`,
	"msisdn": selectID + `msisdn = ? AND msisdn <> '' LIMIT 100`,
	"imei":   selectID + `imei = ? AND imei <> '' LIMIT 100`,
	"eid":    selectID + `eid = ? AND eid <> '' LIMIT 100`,
	"serial": selectID + `serial = ? AND serial <> '' LIMIT 100`,
	"device": selectID + `device = ? AND device <> '' LIMIT 100`,
}

// SIMsBy returns up to 100 products with the value of an identifier: id, iccid,
// imsi, msisdn, imei, eid, serial or device, in the order of ids.
func (t *Tx) SIMsBy(key, value string) ([]*SIM, error) {
	q, ok := simKeys[key]
	if !ok {
		return nil, errors.New("store: products have no key " + key)
	}
	ids, err := list(t, scanText, q, t.db.hub, value)
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	return t.simsOf(ids)
}

// handful is how many keys one statement of simsOf and its like takes: fewer
// are filled up with the last one, so that there is one statement to prepare.
const handful = 50

var handfulOf = strings.Repeat("?, ", handful-1) + "?"

// handfuls calls f with the keys, a handful a time.
func handfuls[T any](keys []T, f func(args []any) error) error {
	for some := range slices.Chunk(keys, handful) {
		args := make([]any, handful)
		for i := range args {
			args[i] = some[min(i, len(some)-1)]
		}
		if err := f(args); err != nil {
			return err
		}
	}
	return nil
}

// simsOf returns the products with the ids, in their order.
func (t *Tx) simsOf(ids []string) ([]*SIM, error) {
	if len(ids) == 1 {
		return list(t, scanSIM, selectSIM+`id = ?`, t.db.hub, ids[0])
	}
	found := make(map[string]*SIM, len(ids))
	err := handfuls(ids, func(args []any) error {
		rows, err := list(t, scanSIM, selectSIM+`id IN (`+handfulOf+`)`, append([]any{t.db.hub}, args...)...)
		for _, s := range rows {
			found[s.ID] = s
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make([]*SIM, 0, len(ids))
	for _, id := range ids {
		if s := found[id]; s != nil {
			all = append(all, s)
		}
	}
	return all, nil
}

// SIMsAfter returns up to limit products whose ids follow after, in the order
// of ids.
func (t *Tx) SIMsAfter(after string, limit int) ([]*SIM, error) {
	return list(t, scanSIM, selectSIM+`id > ? ORDER BY id LIMIT ?`, t.db.hub, after, limit)
}

// DueSIMs returns up to limit products whose timer has run out.
func (t *Tx) DueSIMs(now time.Time, limit int) ([]*SIM, error) {
	return list(t, scanSIM, selectSIM+`due > 0 AND due <= ? ORDER BY due LIMIT ? FOR NO KEY UPDATE SKIP LOCKED`, t.db.hub, ticks(now), limit)
}

// LimitedSIMs returns up to limit products suspended for data_limit whose ids
// follow after, in the order of ids.
func (t *Tx) LimitedSIMs(after string, limit int) ([]*SIM, error) {
	return list(t, scanSIM, selectSIM+`reason = 'data_limit' AND id > ? ORDER BY id LIMIT ?`, t.db.hub, after, limit)
}

// InsertSIMs adds products; ErrExists when one of the ids is taken.
func (t *Tx) InsertSIMs(all []*SIM) error {
	if err := t.lockBlocks(true); err != nil {
		return err
	}
	var moved tallies
	for _, s := range all {
		var err error
		if s.class, err = t.class(s); err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO sim_product (hub, `+simColumns+`) VALUES
			(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			append([]any{t.db.hub, s.ID}, s.values()...)...)
		if err == nil && n == 0 {
			err = ErrExists
		}
		if err != nil {
			return err
		}
		moved.add(s.ID, s.class, 1)
	}
	return t.count(moved, true)
}

// PutSIM replaces the product, which was read in this transaction; ErrNone,
// and ErrExists when its device is linked elsewhere.
func (t *Tx) PutSIM(s *SIM) error {
	was := s.class
	var err error
	if s.class, err = t.class(s); err != nil {
		return err
	}
	if s.class != was {
		if err := t.lockBlocks(false); err != nil {
			return err
		}
	}
	err = t.must(`UPDATE sim_product SET account = ?, connectivity = ?, status = ?, reason = ?, iccid = ?, imsi = ?, msisdn = ?, imei = ?, eid = ?,
		serial = ?, offering = ?, offering_name = ?, start = ?, added = ?, activated = ?, updated = ?, due = ?, period = ?, used = ?, sms = ?,
		noted = ?, device = ?, linked = ?, busy = ?, locked = ?, synced = ?, run = ?, class = ? WHERE hub = ? AND id = ?`,
		append(s.values(), t.db.hub, s.ID)...)
	if err != nil || s.class == was {
		return err
	}
	var moved tallies
	moved.add(s.ID, was, -1)
	moved.add(s.ID, s.class, 1)
	return t.count(moved, false)
}

// DeleteSIMs removes products, as far as they are there, with everything that
// belongs to them.
func (t *Tx) DeleteSIMs(ids []string) error {
	if err := t.lockBlocks(true); err != nil {
		return err
	}
	var moved tallies
	for _, id := range ids {
		var class int64
		err := t.one(`DELETE FROM sim_product WHERE hub = ? AND id = ? RETURNING class`, []any{t.db.hub, id}, &class)
		if errors.Is(err, ErrNone) {
			continue
		}
		if err != nil {
			return err
		}
		moved.add(id, class, -1)
	}
	if err := t.count(moved, true); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM sim_block WHERE hub = ? AND n = 0 AND low <> ''`, t.db.hub)
	return err
}

// UnseenSIMs returns up to limit ids of the account's products that the
// synchronisation run has not seen, and whose ids follow after, in order.
func (t *Tx) UnseenSIMs(account string, run int64, after string, limit int) ([]string, error) {
	return t.ofAccount(account, limit, `SELECT id FROM sim_product WHERE hub = ? AND class = ? AND id > ? AND run <> ? ORDER BY id LIMIT ?`, after, run, limit)
}

// SIMsOfAccount returns up to limit ids of the account's products.
func (t *Tx) SIMsOfAccount(account string, limit int) ([]string, error) {
	return t.ofAccount(account, limit, `SELECT id FROM sim_product WHERE hub = ? AND class = ? ORDER BY id LIMIT ?`, limit)
}

// LinkedSIMs returns up to limit ids of the account's products that are linked
// to a device and whose ids follow after, in order.
func (t *Tx) LinkedSIMs(account, after string, limit int) ([]string, error) {
	return t.ofAccount(account, limit, `SELECT p.id FROM sim_product p JOIN sim_class c ON c.no = p.class
		WHERE p.hub = ? AND p.class = ? AND c.linked = 1 AND p.id > ? ORDER BY p.id LIMIT ?`, after, limit)
}

// ofAccount runs a query for each class of the account and merges the ids.
func (t *Tx) ofAccount(account string, limit int, q string, args ...any) (all []string, err error) {
	classes, err := list(t, func(rows *sql.Rows) (no int64, err error) { err = rows.Scan(&no); return no, err },
		`SELECT no FROM sim_class WHERE hub = ? AND account = ?`, t.db.hub, account)
	for _, class := range classes {
		ids, err := list(t, scanText, q, append([]any{t.db.hub, class}, args...)...)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	slices.Sort(all)
	return all[:min(limit, len(all))], err
}

func scanText(rows *sql.Rows) (s string, err error) {
	err = rows.Scan(&s)
	return s, err
}

// SIMRecord returns the JSON that a remote platform said last of the product,
// or ErrNone.
func (t *Tx) SIMRecord(id string) (doc string, err error) {
	err = t.one(`SELECT doc FROM sim_record WHERE hub = ? AND product = ?`, []any{t.db.hub, id}, &doc)
	return doc, err
}

// PutSIMRecord replaces it.
func (t *Tx) PutSIMRecord(id, doc string) error {
	_, err := t.exec(`INSERT INTO sim_record (hub, product, doc) VALUES (?, ?, ?)
		ON CONFLICT (hub, product) DO UPDATE SET doc = excluded.doc`, t.db.hub, id, doc)
	return err
}

// SIMProperty is a custom property of a product.
type SIMProperty struct{ Product, Name, Value string }

func scanProperty(rows *sql.Rows) (p SIMProperty, err error) {
	err = rows.Scan(&p.Product, &p.Name, &p.Value)
	return p, err
}

// SIMProperties returns the custom properties of the product in the order of
// names.
func (t *Tx) SIMProperties(id string) ([]SIMProperty, error) {
	return list(t, scanProperty, `SELECT product, name, value FROM sim_property WHERE hub = ? AND product = ? ORDER BY name`, t.db.hub, id)
}

// PutSIMProperty sets a custom property.
func (t *Tx) PutSIMProperty(p SIMProperty) error {
	_, err := t.exec(`INSERT INTO sim_property (hub, product, name, value) VALUES (?, ?, ?, ?)
		ON CONFLICT (hub, product, name) DO UPDATE SET value = excluded.value`, t.db.hub, p.Product, p.Name, p.Value)
	return err
}

// DeleteSIMProperty removes a custom property; ErrNone.
func (t *Tx) DeleteSIMProperty(id, name string) error {
	return t.must(`DELETE FROM sim_property WHERE hub = ? AND product = ? AND name = ?`, t.db.hub, id, name)
}

// SIMWish is a device that has no SIM yet and whose registration names one.
type SIMWish struct{ Device, ICCID string }

// SIMWishes returns up to limit such devices whose ids follow after, in the
// order of ids.
func (t *Tx) SIMWishes(after string, limit int) ([]SIMWish, error) {
	return list(t, func(rows *sql.Rows) (w SIMWish, err error) {
		err = rows.Scan(&w.Device, &w.ICCID)
		return w, err
	}, `SELECT device, want_iccid FROM identity WHERE hub = ? AND module = '' AND want_iccid <> '' AND connectivity IS NULL AND device > ?
		ORDER BY device LIMIT ?`, t.db.hub, after, limit)
}
