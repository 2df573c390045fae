package sim

import (
	"context"
	"slices"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// MaxUsage is how many entries of usage one request may ask for (US-2).
const MaxUsage = 745

// Usage returns usage of a product in buckets, empty ones included (US-2).
func (a *Access) Usage(ctx context.Context, id string, q UsageQuery) ([]UsageEntry, error) {
	if err := a.enter(ctx, "", &opRead, 0); err != nil {
		return nil, err
	}
	t := a.t
	s, acct, err := t.bundle(ctx, id, CanUsage)
	if err != nil {
		return nil, err
	}
	if err := t.fillUsage(ctx, s, &q); err != nil {
		return nil, err
	}
	_, native, _ := Native(s.ID)
	all, err := acct.platform.Usage(ctx, native, q.From, q.To, q.Granularity)
	t.observe(acct, err)
	if err != nil {
		return nil, t.failed(ctx, acct, s.ID, err, false)
	}
	return all, nil
}

// fillUsage puts in the defaults and checks the span.
func (t *Tenant) fillUsage(ctx context.Context, s *store.SIM, q *UsageQuery) error {
	if q.To.IsZero() {
		q.To = t.Now()
	}
	if q.Granularity == "" {
		q.Granularity = Daily
	}
	if q.From.IsZero() {
		err := t.db.View(ctx, func(tx *store.Tx) error {
			o, err := offeringOf(tx, s.Offering)
			if err == nil {
				q.From, _ = o.span(s, t.Now())
			}
			return err
		})
		if err != nil {
			return known(err, fault.SIMProductNotFound, "")
		}
	}
	if !q.From.Before(q.To) {
		return invalid([]Issue{{In: "query", Parameter: "from", Code: "invalid_value", Detail: "from must be before to."}})
	}
	n := 0
	for at := q.Granularity.floor(q.From); at.Before(q.To); at = q.Granularity.next(at) {
		if n++; n > MaxUsage {
			return invalid([]Issue{{In: "query", Parameter: "from", Code: "too_many", Detail: "A request may span at most 745 entries."}})
		}
	}
	return nil
}

// DataSessions returns data sessions of a product, the newest first, and how
// many there are (SE-1).
func (a *Access) DataSessions(ctx context.Context, id string, q DataSessionQuery) (all []DataSession, total int, err error) {
	if err := a.enter(ctx, "", &opRead, 0); err != nil {
		return nil, 0, err
	}
	t := a.t
	s, acct, err := t.bundle(ctx, id, CanDataSession)
	if err != nil {
		return nil, 0, err
	}
	if acct.embedded() {
		all, total, err = t.ownSessions(ctx, s.ID, q)
		return all, total, known(err, fault.SIMProductNotFound, "No product with id %s.", s.ID)
	}
	_, native, _ := Native(s.ID)
	every := q
	every.Offset, every.Limit = 0, 0
	all, err = acct.platform.DataSessions(ctx, native, every)
	t.observe(acct, err)
	if err != nil {
		return nil, 0, t.failed(ctx, acct, s.ID, err, false)
	}
	total = len(all)
	if q.Limit == 0 {
		q.Limit = total
	}
	return all[min(q.Offset, total):min(q.Offset+q.Limit, total)], total, nil
}

// Location returns the last known position; SIMNoData (SE-2).
func (a *Access) Location(ctx context.Context, id string) (*Location, error) {
	if err := a.enter(ctx, "", &opRead, 0); err != nil {
		return nil, err
	}
	t := a.t
	s, acct, err := t.bundle(ctx, id, CanLocation)
	if err != nil {
		return nil, err
	}
	_, native, _ := Native(s.ID)
	l, err := acct.platform.Location(ctx, native)
	t.observe(acct, err)
	if err == nil {
		return &l, nil
	}
	if e, ok := err.(*PlatformError); ok && e.Class == ClassNotFound {
		return nil, fault.SIMNoData.New("No position of product %s is known.", s.ID)
	}
	return nil, t.failed(ctx, acct, s.ID, err, false)
}

// History returns changes of a product, the newest first, and how many there
// are (SE-3).
func (a *Access) History(ctx context.Context, id string, p Paging) (all []HistoryEntry, total int, err error) {
	if err := a.enter(ctx, "", &opRead, 0); err != nil {
		return nil, 0, err
	}
	s, _, err := a.t.bundle(ctx, id, "")
	if err != nil {
		return nil, 0, err
	}
	var rows []*store.SIMHistory
	err = a.t.db.View(ctx, func(tx *store.Tx) (err error) {
		rows, total, err = tx.SIMHistory(s.ID, p.offset(), p.size())
		return err
	})
	all = []HistoryEntry{}
	for _, h := range rows {
		e := HistoryEntry{Timestamp: At(h.At), Kind: h.Kind, Actor: Actor{Type: h.Actor, ID: h.ActorID}, Reason: h.Reason, Correlation: h.Correlation}
		if h.Was != "" {
			e.From = &h.Was
		}
		if h.Becomes != "" {
			e.To = &h.Becomes
		}
		all = append(all, e)
	}
	return all, total, known(err, fault.SIMProductNotFound, "")
}

// Limits of short messages (SM-1).
const (
	maxText         = 160
	maxHex          = 280
	defaultValidity = 86400
	minValidity     = 60
	maxValidity     = 604800
)

// gsm7 are the characters of the GSM 7-bit alphabet with its extension, which
// take one and two places.
const (
	gsm7      = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsm7Extra = "\f^{}\\[~]|€"
)

// issues says what is wrong with a short message.
func (r *SMSRequest) issues() (all []Issue) {
	bad := func(pointer, code, detail string) {
		all = append(all, Issue{In: "body", Pointer: pointer, Code: code, Detail: detail})
	}
	switch r.Encoding {
	case "TEXT":
		n := 0
		for _, c := range r.Payload {
			switch {
			case slices.Contains([]rune(gsm7), c):
				n++
			case slices.Contains([]rune(gsm7Extra), c):
				n += 2
			default:
				bad("/payload", "special_character", "The payload has characters outside the GSM 7-bit alphabet.")
				return all
			}
			if n > maxText {
				bad("/payload", "too_long", "A text has at most 160 characters.")
				return all
			}
		}
	case "HEX":
		if _, err := unhex(r.Payload); err != nil || len(r.Payload)%2 == 1 {
			bad("/payload", "invalid_value", "The payload must be hexadecimal digits, an even number of them.")
		}
		if len(r.Payload) > maxHex {
			bad("/payload", "too_long", "The payload has at most 280 hexadecimal digits.")
		}
	default:
		bad("/encoding", "invalid_value", "Must be TEXT or HEX.")
	}
	if r.Payload == "" {
		bad("/payload", "required", "The payload is empty.")
	}
	if r.Validity < minValidity || r.Validity > maxValidity {
		bad("/validitySeconds", "out_of_range", "Must be from 60 to 604800.")
	}
	return all
}

// SendSMS sends a short message to the device (SM-1, SM-2).
func (a *Access) SendSMS(ctx context.Context, id string, r SMSRequest, o Origin) (*Message, error) {
	if err := a.enter(ctx, "", &opSMS, len(r.Payload)); err != nil {
		return nil, err
	}
	t := a.t
	if r.Encoding == "" {
		r.Encoding = "TEXT"
	}
	if r.Validity == 0 {
		r.Validity = defaultValidity
	}
	if err := invalid(r.issues()); err != nil {
		return nil, err
	}
	s, acct, err := t.bundle(ctx, id, CanSMS)
	if err != nil {
		return nil, err
	}
	switch {
	case !Status(s.Status).Carries():
		return nil, fault.SIMStatusNotAllowed.New("The product is %s and carries no traffic.", s.Status)
	case acct.embedded() && s.Device == "":
		return nil, fault.SIMNoDeviceLinked.New("Product %s has no linked device.", s.ID)
	}
	now := t.Now()
	m := &store.SIMMessage{ID: newUUID(), Product: s.ID, Device: s.Device, Payload: r.Payload, Encoding: r.Encoding, State: "SUBMITTED", Submitted: now,
		Expires: now.Add(time.Duration(r.Validity) * time.Second)}
	// The row comes first: the device may take the message before SendSMS
	// returns.
	if err := t.db.Update(ctx, func(tx *store.Tx) error { return tx.InsertSIMMessage(m) }); err != nil {
		return nil, known(err, fault.SIMProductNotFound, "No product with id %s.", s.ID)
	}
	_, native, _ := Native(s.ID)
	state, err := acct.platform.SendSMS(ctx, native, SMS{ID: m.ID, Payload: r.Payload, Encoding: r.Encoding, Validity: m.Expires.Sub(now)})
	t.observe(acct, err)
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		if e := t.endSMS(ctx, m.ID, "FAILED"); e != nil {
			return nil, e
		}
		return nil, t.failed(ctx, acct, s.ID, err, true)
	}
	err = t.db.Update(ctx, func(tx *store.Tx) error {
		row, err := tx.SIM(s.ID)
		if err != nil {
			return err
		}
		if !acct.embedded() {
			return nil
		}
		return t.consume(tx, row, store.SIMUsage{MT: 1})
	})
	if err != nil {
		return nil, known(err, fault.SIMProductNotFound, "No product with id %s.", s.ID)
	}
	if state.Status != "" && state.Status != m.State {
		if err := t.endSMS(ctx, m.ID, state.Status); err != nil {
			return nil, err
		}
		m.State, m.Final = state.Status, t.Now()
	}
	return messageView(m), nil
}

func (t *Tenant) endSMS(ctx context.Context, id, state string) error {
	err := t.db.Update(ctx, func(tx *store.Tx) error {
		err := tx.EndSIMMessage(id, state, t.Now())
		if err == store.ErrNone {
			return nil
		}
		return err
	})
	return known(err, fault.SIMSmsNotFound, "")
}

// settled hears from the hub how the message to a device ended (RP-11).
func (t *Tenant) settled(_, message string, completed bool) {
	state := "FAILED"
	if completed {
		state = "DELIVERED"
	} else {
		var m *store.SIMMessage
		err := t.db.View(t.ctx, func(tx *store.Tx) (err error) { m, err = tx.SIMMessage(message); return err })
		if err == nil && !t.Now().Before(m.Expires) {
			state = "EXPIRED"
		}
	}
	if err := t.endSMS(context.WithoutCancel(t.ctx), message, state); err != nil {
		t.o.Log.Warn("the end of a short message could not be written", "tenant", t.name, "sms", message, "err", err)
	}
}

func (t *Tenant) expireSMS(ctx context.Context) error {
	return t.db.Update(ctx, func(tx *store.Tx) error { _, err := tx.ExpireSIMMessages(t.Now()); return err })
}

func messageView(m *store.SIMMessage) *Message {
	return &Message{ID: m.ID, Status: m.State, Payload: m.Payload, Encoding: m.Encoding, SubmittedAt: At(m.Submitted), ExpiresAt: At(m.Expires), FinalAt: At(m.Final)}
}

// Message returns a short message of a product; SIMSmsNotFound.
func (a *Access) Message(ctx context.Context, id, message string) (*Message, error) {
	if err := a.enter(ctx, "", &opRead, 0); err != nil {
		return nil, err
	}
	s, _, err := a.t.bundle(ctx, id, CanSMS)
	if err != nil {
		return nil, err
	}
	var m *store.SIMMessage
	err = a.t.db.View(ctx, func(tx *store.Tx) (err error) { m, err = tx.SIMMessage(message); return err })
	if err == nil && m.Product != s.ID {
		err = store.ErrNone
	}
	if err != nil {
		return nil, known(err, fault.SIMSmsNotFound, "No message with id %s.", message)
	}
	return messageView(m), nil
}

// Messages returns short messages of a product, the newest first, and how many
// there are.
func (a *Access) Messages(ctx context.Context, id string, p Paging) (all []*Message, total int, err error) {
	if err := a.enter(ctx, "", &opRead, 0); err != nil {
		return nil, 0, err
	}
	s, _, err := a.t.bundle(ctx, id, CanSMS)
	if err != nil {
		return nil, 0, err
	}
	err = a.t.db.View(ctx, func(tx *store.Tx) error {
		rows, n, err := tx.SIMMessages(s.ID, p.offset(), p.size())
		total = n
		for _, m := range rows {
			all = append(all, messageView(m))
		}
		return err
	})
	return all, total, known(err, fault.SIMSmsNotFound, "")
}
