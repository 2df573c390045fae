package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Phases of monitors: what is to be done when they are due.
const (
	phaseApply = "apply" // the hub makes the change
	phaseSend  = "send"  // the platform is asked
	phaseSent  = "sent"  // the platform may have been asked, and the answer is unknown
	phasePoll  = "poll"  // the platform is asked how the change stands
	phaseSync  = "sync"  // an account is synchronised
)

// monitorDoc is what the store keeps of a monitor besides its columns.
type monitorDoc struct {
	To       Status          `json:"to,omitempty"`
	Actor    Actor           `json:"actor"`
	Reason   string          `json:"reason,omitempty"`
	Trace    string          `json:"trace,omitempty"`
	Tries    int             `json:"tries,omitempty"`
	Request  MonitorRequest  `json:"request"`
	Code     int             `json:"code"`
	Response json.RawMessage `json:"response,omitempty"`
}

func (d *monitorDoc) cause() cause { return cause{d.Actor, d.Reason, d.Trace} }

// newMonitor makes a monitor, and has the product be busy until it ends.
func (t *Tenant) newMonitor(tx *store.Tx, a *account, s *store.SIM, w *wish, phase, ticket string, due time.Time) (*store.SIMMonitor, error) {
	d := monitorDoc{To: w.to, Actor: w.cause.actor, Reason: w.cause.reason, Trace: w.cause.correlation, Code: 202,
		Request: MonitorRequest{w.origin.Method, w.origin.Path, w.origin.Header, w.origin.Body}}
	_, native, _ := Native(w.product)
	source := w.source
	if source == "" {
		source = s.ID + "-" + cardOf(s)
	}
	m := &store.SIMMonitor{Product: w.product, Source: source, Account: a.Account.Account, State: InProgress, Phase: phase, Ticket: ticket,
		Due: due, Created: t.Now(), Task: w.task, Position: w.position}
	if err := t.insertMonitor(tx, m, native, &d); err != nil {
		return nil, err
	}
	if s == nil {
		return m, nil
	}
	s.Busy = m.ID
	return m, tx.PutSIM(s)
}

func (t *Tenant) insertMonitor(tx *store.Tx, m *store.SIMMonitor, native string, d *monitorDoc) error {
	doc, err := json.Marshal(d)
	if err != nil {
		return err
	}
	m.Doc = string(doc)
	for ms := m.Created.UnixMilli(); ; ms++ {
		m.ID = fmt.Sprintf("%s-%d", native, ms)
		if err := tx.InsertSIMMonitor(m); !errors.Is(err, store.ErrExists) {
			return err
		}
	}
}

// started has the worker look at a new monitor when it is due.
func (t *Tenant) started(a *account, m *store.SIMMonitor) {
	wait := m.Due.Sub(t.Now())
	p := &t.remote
	if a.embedded() {
		p = &t.local
	}
	if wait <= 0 {
		p.poke()
		return
	}
	time.AfterFunc(wait, p.poke)
}

// Monitor returns the monitor; SIMMonitorNotFound.
func (a *Access) Monitor(ctx context.Context, id string) (*Monitor, error) {
	if err := a.enter(ctx, "", &opMonitor, 0); err != nil {
		return nil, err
	}
	var m *store.SIMMonitor
	err := a.t.db.View(ctx, func(tx *store.Tx) (err error) { m, err = tx.SIMMonitor(id); return err })
	if err == nil && !m.Ended.IsZero() && a.t.Now().Sub(m.Ended) >= a.t.o.MonitorKeep {
		err = store.ErrNone
	}
	if err != nil {
		return nil, known(err, fault.SIMMonitorNotFound, "No monitor with id %s.", id)
	}
	return a.t.monitorView(ctx, m), nil
}

// Monitors returns a page of monitors, the newest first, and how many match
// (MO-9).
func (a *Access) Monitors(ctx context.Context, q MonitorQuery) (all []*Monitor, total int, err error) {
	if err := a.enter(ctx, "", &opMonitor, 0); err != nil {
		return nil, 0, err
	}
	var rows []*store.SIMMonitor
	err = a.t.db.View(ctx, func(tx *store.Tx) (err error) {
		rows, total, err = tx.SIMMonitors(q.State, q.Source, q.Paging.offset(), q.Paging.size())
		return err
	})
	for _, m := range rows {
		all = append(all, a.t.monitorView(ctx, m))
	}
	return all, total, known(err, fault.SIMMonitorNotFound, "")
}

// monitorView returns the monitor as the API shows it.
func (t *Tenant) monitorView(ctx context.Context, m *store.SIMMonitor) *Monitor {
	var d monitorDoc
	if err := json.Unmarshal([]byte(m.Doc), &d); err != nil {
		t.o.Log.Error("a monitor cannot be read", "tenant", t.name, "monitor", m.ID, "err", err)
	}
	v := &Monitor{ID: m.ID, SourceHref: m.Source, State: m.State, Request: d.Request, Type: "monitor"}
	if v.Request.Header == nil {
		v.Request.Header = []HeaderItem{}
	}
	if v.Request.Body == nil {
		v.Request.Body = json.RawMessage("null")
	}
	v.Response = MonitorResponse{StatusCode: d.Code, Header: []HeaderItem{}}
	switch {
	case len(d.Response) == 0:
	case m.State == InError:
		p := new(Problem)
		if json.Unmarshal(d.Response, p) == nil {
			v.Response.Body = p
		}
	default:
		p := new(SubProduct)
		if json.Unmarshal(d.Response, p) == nil && p.ID != "" {
			v.Response.Body = p
		}
	}
	return v
}

// finish ends a monitor with the outcome of its change: the product is free
// again, and an item of a task that waits for it ends too. It does nothing
// when the monitor has ended.
func (t *Tenant) finish(tx *store.Tx, m *store.SIMMonitor, outcome error) error {
	now, err := tx.SIMMonitor(m.ID)
	if err != nil || now.State != InProgress {
		return err
	}
	m = now
	var d monitorDoc
	if err := json.Unmarshal([]byte(m.Doc), &d); err != nil {
		return err
	}
	s, err := tx.SIM(m.Product)
	if errors.Is(err, store.ErrNone) {
		s, err = nil, nil
	}
	if err != nil {
		return err
	}
	if s != nil && s.Busy == m.ID {
		s.Busy = ""
		if err := tx.PutSIM(s); err != nil {
			return err
		}
	}
	m.State, m.Ended, d.Code = Completed, t.Now(), 200
	if outcome != nil {
		p := NewProblem(outcome, t.Now(), d.Request.To, d.Trace)
		m.State, d.Code = InError, p.Status
		d.Response, err = json.Marshal(p)
	} else if s != nil {
		d.Response, err = t.cardJSON(tx, s, d.Trace)
	}
	if err != nil {
		return err
	}
	doc, err := json.Marshal(d)
	if err != nil {
		return err
	}
	m.Doc = string(doc)
	if err := tx.PutSIMMonitor(m); err != nil || m.Task == "" {
		return err
	}
	return t.finishItem(tx, m, s, outcome)
}

func (t *Tenant) cardJSON(tx *store.Tx, s *store.SIM, trace string) (json.RawMessage, error) {
	p, err := t.show(tx, s, true)
	if err != nil {
		return nil, err
	}
	card := p.Card()
	if card == nil {
		return nil, nil
	}
	card.CorrelationID = trace
	return json.Marshal(card)
}

// leaseFor is how long one node may work on a row alone; longer than any call
// to a platform.
const leaseFor = 3 * time.Minute

const monitorBatch = 100

// workLocal carries out due changes of the reference platform: those of
// monitors, then those of tasks.
func (t *Tenant) workLocal(ctx context.Context) error {
	return errors.Join(t.applyMonitors(ctx), t.workTasks(ctx, true))
}

func (t *Tenant) applyMonitors(ctx context.Context) error {
	for n := monitorBatch; n == monitorBatch; {
		due := time.Time{}
		err := t.db.View(ctx, func(tx *store.Tx) (err error) { due, err = tx.DueSIMMonitor(); return err })
		if err != nil || due.IsZero() || due.After(t.Now()) {
			return err
		}
		err = t.db.Update(ctx, func(tx *store.Tx) error {
			all, err := tx.LeaseSIMMonitors(true, "", t.Now(), time.Time{}, monitorBatch)
			n = len(all)
			for _, m := range all {
				if err == nil {
					err = t.apply(tx, m)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// apply makes the change of a monitor and ends it, in one transaction.
func (t *Tenant) apply(tx *store.Tx, m *store.SIMMonitor) error {
	var d monitorDoc
	if err := json.Unmarshal([]byte(m.Doc), &d); err != nil {
		return err
	}
	a := t.account(m.Account)
	s, err := tx.SIM(m.Product)
	if errors.Is(err, store.ErrNone) || a == nil {
		return t.finish(tx, m, fault.SIMProductNotFound.New("No product with id %s.", m.Product))
	}
	if err != nil {
		return err
	}
	next, err := t.settle(tx, a, s, d.To)
	if err == nil {
		return errors.Join(t.move(tx, a, s, next, d.cause()), t.finish(tx, m, nil))
	}
	if !coded(err) {
		return err
	}
	return t.finish(tx, m, err)
}
