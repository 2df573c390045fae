package store

import (
	"database/sql"
	"time"
)

// SIMUsage is what a product has moved in an hour; Hour counts hours since
// 1970.
type SIMUsage struct {
	Hour             int64
	Up, Down, MO, MT int64
}

// AddSIMUsage adds to an hour of the product.
func (t *Tx) AddSIMUsage(product string, u SIMUsage) error {
	_, err := t.exec(`INSERT INTO sim_usage (hub, product, hour, up, down, mo, mt) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (hub, product, hour) DO UPDATE SET up = sim_usage.up + excluded.up, down = sim_usage.down + excluded.down,
		mo = sim_usage.mo + excluded.mo, mt = sim_usage.mt + excluded.mt`, t.db.hub, product, u.Hour, u.Up, u.Down, u.MO, u.MT)
	return err
}

// SIMUsage returns the hours of the product that have usage, from from up to,
// not including, to, in order.
func (t *Tx) SIMUsage(product string, from, to int64) ([]SIMUsage, error) {
	return list(t, func(rows *sql.Rows) (u SIMUsage, err error) {
		err = rows.Scan(&u.Hour, &u.Up, &u.Down, &u.MO, &u.MT)
		return u, err
	}, `SELECT hour, up, down, mo, mt FROM sim_usage WHERE hub = ? AND product = ? AND hour >= ? AND hour < ? ORDER BY hour`, t.db.hub, product, from, to)
}

// SIMSession is a data session; a zero Ended is open.
type SIMSession struct {
	ID, Product, Device, Node string
	Began, Ended, Seen        time.Time
	Protocol, IP              string
	Up, Down                  int64
	Cause                     string
}

const sessionColumns = `id, product, device, node, began, ended, seen, protocol, ip, up, down, cause`

const selectSession = `SELECT ` + sessionColumns + ` FROM sim_session WHERE hub = ? AND `

func scanSession(rows *sql.Rows) (*SIMSession, error) {
	var s SIMSession
	var began, ended, seen int64
	err := rows.Scan(&s.ID, &s.Product, &s.Device, &s.Node, &began, &ended, &seen, &s.Protocol, &s.IP, &s.Up, &s.Down, &s.Cause)
	s.Began, s.Ended, s.Seen = moment(began), moment(ended), moment(seen)
	return &s, err
}

// InsertSIMSession adds a data session.
func (t *Tx) InsertSIMSession(s *SIMSession) error {
	_, err := t.exec(`INSERT INTO sim_session (hub, `+sessionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.db.hub, s.ID, s.Product, s.Device, s.Node, ticks(s.Began), ticks(s.Ended), ticks(s.Seen), s.Protocol, s.IP, s.Up, s.Down, s.Cause)
	return err
}

// AddSIMSession adds bytes to a data session that is open; ErrNone.
func (t *Tx) AddSIMSession(product, id string, up, down int64, seen time.Time) error {
	return t.must(`UPDATE sim_session SET up = up + ?, down = down + ?, seen = ? WHERE hub = ? AND product = ? AND id = ? AND ended = 0`,
		up, down, ticks(seen), t.db.hub, product, id)
}

// EndSIMSession ends a data session; ErrNone when it has ended.
func (t *Tx) EndSIMSession(product, id string, at time.Time, cause string) error {
	return t.must(`UPDATE sim_session SET ended = ?, cause = ? WHERE hub = ? AND product = ? AND id = ? AND ended = 0`,
		ticks(at), cause, t.db.hub, product, id)
}

// OpenSIMSession returns the open data session of the product and protocol, or
// ErrNone.
func (t *Tx) OpenSIMSession(product, protocol string) (*SIMSession, error) {
	return first(list(t, scanSession, selectSession+`product = ? AND ended = 0 AND protocol = ? ORDER BY id LIMIT 1 FOR NO KEY UPDATE`, t.db.hub, product, protocol))
}

// OpenSIMSessions returns the open data sessions of the product.
func (t *Tx) OpenSIMSessions(product string) ([]*SIMSession, error) {
	return list(t, scanSession, selectSession+`product = ? AND ended = 0 ORDER BY id`, t.db.hub, product)
}

// IdleSIMSessions returns up to limit open data sessions of the protocol that
// were last seen before a time.
func (t *Tx) IdleSIMSessions(protocol string, before time.Time, limit int) ([]*SIMSession, error) {
	return list(t, scanSession, selectSession+`ended = 0 AND seen <= ? AND protocol = ? LIMIT ?`, t.db.hub, ticks(before), protocol, limit)
}

// LostSIMSessions returns up to limit open data sessions of the node, or with
// "" of any node, that were last seen before a time.
func (t *Tx) LostSIMSessions(node string, before time.Time, limit int) ([]*SIMSession, error) {
	if node == "" {
		return list(t, scanSession, selectSession+`ended = 0 AND seen < ? LIMIT ?`, t.db.hub, ticks(before), limit)
	}
	return list(t, scanSession, selectSession+`node = ? AND ended = 0 AND seen < ? LIMIT ?`, t.db.hub, node, ticks(before), limit)
}

// SIMSessions returns a page of the product's data sessions that overlap from
// to to, the newest first, and how many there are. A zero time does not limit;
// state is OPEN, CLOSED or anything else for all.
func (t *Tx) SIMSessions(product, state string, from, to time.Time, offset, limit int) (all []*SIMSession, total int, err error) {
	until := ticks(to)
	if to.IsZero() {
		until = 1 << 62
	}
	open, closed := bit(state != "CLOSED"), bit(state != "OPEN")
	const where = `product = ? AND (ended = 0 AND ? = 1 OR ended > 0 AND ? = 1) AND (ended = 0 OR ended > ?) AND began < ?`
	args := []any{t.db.hub, product, open, closed, ticks(from), until}
	if err := t.one(`SELECT COUNT(*) FROM sim_session WHERE hub = ? AND `+where, args, &total); err != nil {
		return nil, 0, err
	}
	all, err = list(t, scanSession, selectSession+where+` ORDER BY began DESC, id DESC LIMIT ? OFFSET ?`, append(args, limit, offset)...)
	return all, total, err
}

// SIMMessage is a short message.
type SIMMessage struct {
	ID, Product, Device, Payload, Encoding, State string
	Submitted, Expires, Final                     time.Time
}

const selectSMS = `SELECT id, product, device, payload, encoding, state, submitted, expires, final FROM sim_sms WHERE hub = ? AND `

func scanSMS(rows *sql.Rows) (*SIMMessage, error) {
	var m SIMMessage
	var submitted, expires, final int64
	err := rows.Scan(&m.ID, &m.Product, &m.Device, &m.Payload, &m.Encoding, &m.State, &submitted, &expires, &final)
	m.Submitted, m.Expires, m.Final = moment(submitted), moment(expires), moment(final)
	return &m, err
}

// InsertSIMMessage adds a short message.
func (t *Tx) InsertSIMMessage(m *SIMMessage) error {
	_, err := t.exec(`INSERT INTO sim_sms (hub, id, product, device, payload, encoding, state, submitted, expires, final) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.db.hub, m.ID, m.Product, m.Device, m.Payload, m.Encoding, m.State, ticks(m.Submitted), ticks(m.Expires), ticks(m.Final))
	return err
}

// EndSIMMessage writes how a short message ended; ErrNone when it is unknown or
// has ended.
func (t *Tx) EndSIMMessage(id, state string, at time.Time) error {
	return t.must(`UPDATE sim_sms SET state = ?, final = ? WHERE hub = ? AND id = ? AND state = 'SUBMITTED'`, state, ticks(at), t.db.hub, id)
}

// SIMMessage returns the short message, or ErrNone.
func (t *Tx) SIMMessage(id string) (*SIMMessage, error) {
	return first(list(t, scanSMS, selectSMS+`id = ?`, t.db.hub, id))
}

// SIMMessages returns a page of the product's short messages, the newest
// first, and how many there are.
func (t *Tx) SIMMessages(product string, offset, limit int) (all []*SIMMessage, total int, err error) {
	if err := t.one(`SELECT COUNT(*) FROM sim_sms WHERE hub = ? AND product = ?`, []any{t.db.hub, product}, &total); err != nil {
		return nil, 0, err
	}
	all, err = list(t, scanSMS, selectSMS+`product = ? ORDER BY submitted DESC, id DESC LIMIT ? OFFSET ?`, t.db.hub, product, limit, offset)
	return all, total, err
}

// ExpireSIMMessages ends short messages whose validity is over.
func (t *Tx) ExpireSIMMessages(now time.Time) (int64, error) {
	return t.exec(`UPDATE sim_sms SET state = 'EXPIRED', final = ? WHERE hub = ? AND state = 'SUBMITTED' AND expires <= ?`, ticks(now), t.db.hub, ticks(now))
}

// SIMHistory is an entry of a product's history.
type SIMHistory struct {
	Product                                                 string
	At                                                      time.Time
	Kind, Was, Becomes, Actor, ActorID, Reason, Correlation string
}

// AddSIMHistory appends an entry.
func (t *Tx) AddSIMHistory(h *SIMHistory) error {
	_, err := t.exec(`INSERT INTO sim_history (hub, product, at, kind, was, becomes, actor, actor_id, reason, correlation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.db.hub, h.Product, ticks(h.At), h.Kind, h.Was, h.Becomes, h.Actor, h.ActorID, h.Reason, h.Correlation)
	return err
}

// SIMHistory returns a page of the product's history, the newest first, and
// how many entries there are.
func (t *Tx) SIMHistory(product string, offset, limit int) (all []*SIMHistory, total int, err error) {
	if err := t.one(`SELECT COUNT(*) FROM sim_history WHERE hub = ? AND product = ?`, []any{t.db.hub, product}, &total); err != nil {
		return nil, 0, err
	}
	all, err = list(t, func(rows *sql.Rows) (*SIMHistory, error) {
		var h SIMHistory
		var at int64
		err := rows.Scan(&h.Product, &at, &h.Kind, &h.Was, &h.Becomes, &h.Actor, &h.ActorID, &h.Reason, &h.Correlation)
		h.At = moment(at)
		return &h, err
	}, `SELECT product, at, kind, was, becomes, actor, actor_id, reason, correlation FROM sim_history
		WHERE hub = ? AND product = ? ORDER BY no DESC LIMIT ? OFFSET ?`, t.db.hub, product, limit, offset)
	return all, total, err
}

// ForgetSIMs removes usage, data sessions and short messages from before a
// time of the products whose ids follow after up to and including last.
func (t *Tx) ForgetSIMs(after, last string, before time.Time) error {
	hour := before.Unix() / 3600
	if _, err := t.exec(`DELETE FROM sim_usage WHERE hub = ? AND product > ? AND product <= ? AND hour < ?`, t.db.hub, after, last, hour); err != nil {
		return err
	}
	if _, err := t.exec(`DELETE FROM sim_session WHERE hub = ? AND product > ? AND product <= ? AND ended > 0 AND ended < ?`, t.db.hub, after, last, ticks(before)); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM sim_sms WHERE hub = ? AND product > ? AND product <= ? AND final > 0 AND final < ?`, t.db.hub, after, last, ticks(before))
	return err
}
