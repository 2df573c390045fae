package store

import (
	"database/sql"
	"time"
)

// SIMAccount is a platform account; Doc is its configuration without secrets.
type SIMAccount struct {
	Name         string
	Platform     string
	Doc          string
	Secret       []byte // encrypted
	Success      time.Time
	Failure      time.Time
	FailureClass string
	Synced       time.Time // end of the last complete synchronisation
	Failed       time.Time // end of the last that failed, zero after a complete one
	Next         time.Time // when the next synchronisation is due
}

const selectAccount = `SELECT name, platform, doc, secret, success, failure, failure_class, synced, failed, next FROM sim_account WHERE hub = ? AND `

func scanAccount(rows *sql.Rows) (*SIMAccount, error) {
	var a SIMAccount
	var success, failure, synced, failed, next int64
	err := rows.Scan(&a.Name, &a.Platform, &a.Doc, &a.Secret, &success, &failure, &a.FailureClass, &synced, &failed, &next)
	a.Success, a.Failure, a.Synced, a.Failed, a.Next = moment(success), moment(failure), moment(synced), moment(failed), moment(next)
	return &a, err
}

// SIMAccounts returns all accounts in the order of names.
func (t *Tx) SIMAccounts() ([]*SIMAccount, error) {
	return list(t, scanAccount, selectAccount+`TRUE ORDER BY name`, t.db.hub)
}

// SIMAccount returns the account, or ErrNone. In an Update the row stays
// locked.
func (t *Tx) SIMAccount(name string) (*SIMAccount, error) {
	return first(list(t, scanAccount, selectAccount+`name = ? FOR NO KEY UPDATE`, t.db.hub, name))
}

// InsertSIMAccount adds an account; ErrExists.
func (t *Tx) InsertSIMAccount(a *SIMAccount) error {
	n, err := t.exec(`INSERT INTO sim_account (hub, name, platform, doc, secret, success, failure, failure_class, synced, failed, next, lease)
		VALUES (?, ?, ?, ?, ?, 0, 0, '', 0, 0, ?, 0) ON CONFLICT DO NOTHING`, t.db.hub, a.Name, a.Platform, a.Doc, a.Secret, ticks(a.Next))
	if err == nil && n == 0 {
		err = ErrExists
	}
	return err
}

// PutSIMAccount replaces configuration and secret; ErrNone.
func (t *Tx) PutSIMAccount(a *SIMAccount) error {
	return t.must(`UPDATE sim_account SET platform = ?, doc = ?, secret = ?, next = ? WHERE hub = ? AND name = ?`,
		a.Platform, a.Doc, a.Secret, ticks(a.Next), t.db.hub, a.Name)
}

// PutSIMHealth writes when calls to the platform went well and failed, and
// where synchronisation stands; ErrNone.
func (t *Tx) PutSIMHealth(a *SIMAccount) error {
	return t.must(`UPDATE sim_account SET success = ?, failure = ?, failure_class = ?, synced = ?, failed = ?, next = ? WHERE hub = ? AND name = ?`,
		ticks(a.Success), ticks(a.Failure), a.FailureClass, ticks(a.Synced), ticks(a.Failed), ticks(a.Next), t.db.hub, a.Name)
}

// LeaseSIMAccount has nobody else synchronise the account until a time; ErrStale
// when somebody does.
func (t *Tx) LeaseSIMAccount(name string, now, until time.Time) error {
	n, err := t.exec(`UPDATE sim_account SET lease = ? WHERE hub = ? AND name = ? AND lease <= ?`, ticks(until), t.db.hub, name, ticks(now))
	if err == nil && n == 0 {
		err = ErrStale
	}
	return err
}

// RenewSIMAccount prolongs the lease of whoever has it.
func (t *Tx) RenewSIMAccount(name string, until time.Time) error {
	_, err := t.exec(`UPDATE sim_account SET lease = ? WHERE hub = ? AND name = ?`, ticks(until), t.db.hub, name)
	return err
}

// FreeSIMAccount ends the lease.
func (t *Tx) FreeSIMAccount(name string) error {
	_, err := t.exec(`UPDATE sim_account SET lease = 0 WHERE hub = ? AND name = ?`, t.db.hub, name)
	return err
}

// DeleteSIMAccount removes the account and its offerings; the products are the
// caller's to remove. ErrNone.
func (t *Tx) DeleteSIMAccount(name string) error {
	if _, err := t.exec(`DELETE FROM sim_offering WHERE hub = ? AND account = ?`, t.db.hub, name); err != nil {
		return err
	}
	return t.must(`DELETE FROM sim_account WHERE hub = ? AND name = ?`, t.db.hub, name)
}

// SIMOffering is a tariff; Doc is all of it.
type SIMOffering struct{ ID, Account, Doc string }

func scanOffering(rows *sql.Rows) (*SIMOffering, error) {
	var o SIMOffering
	err := rows.Scan(&o.ID, &o.Account, &o.Doc)
	return &o, err
}

// SIMOfferings returns all tariffs in the order of ids.
func (t *Tx) SIMOfferings() ([]*SIMOffering, error) {
	return list(t, scanOffering, `SELECT id, account, doc FROM sim_offering WHERE hub = ? ORDER BY id`, t.db.hub)
}

// SIMOffering returns the tariff, or ErrNone.
func (t *Tx) SIMOffering(id string) (*SIMOffering, error) {
	return first(list(t, scanOffering, `SELECT id, account, doc FROM sim_offering WHERE hub = ? AND id = ?`, t.db.hub, id))
}

// InsertSIMOffering adds a tariff; ErrExists.
func (t *Tx) InsertSIMOffering(o *SIMOffering) error {
	n, err := t.exec(`INSERT INTO sim_offering (hub, id, account, doc) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`, t.db.hub, o.ID, o.Account, o.Doc)
	if err == nil && n == 0 {
		err = ErrExists
	}
	return err
}

// PutSIMOffering replaces a tariff; ErrNone.
func (t *Tx) PutSIMOffering(o *SIMOffering) error {
	return t.must(`UPDATE sim_offering SET doc = ? WHERE hub = ? AND id = ?`, o.Doc, t.db.hub, o.ID)
}

// NextSIM reserves n numbers of a counter and returns the first.
func (t *Tx) NextSIM(counter string, n int) (first int64, err error) {
	if _, err := t.exec(`INSERT INTO sim_counter (hub, name, next) VALUES (?, ?, 1) ON CONFLICT DO NOTHING`, t.db.hub, counter); err != nil {
		return 0, err
	}
	err = t.one(`UPDATE sim_counter SET next = next + ? WHERE hub = ? AND name = ? RETURNING next`, []any{n, t.db.hub, counter}, &first)
	return first - int64(n), err
}

// RenameSIMOffering gives the products of a tariff its new name.
func (t *Tx) RenameSIMOffering(id, name string) error {
	if err := t.lockBlocks(true); err != nil {
		return err
	}
	rows, err := list(t, scanSIM, selectSIM+`offering = ? ORDER BY id FOR NO KEY UPDATE`, t.db.hub, id)
	for _, s := range rows {
		if err == nil {
			s.OfferingName = name
			err = t.PutSIM(s)
		}
	}
	return err
}
