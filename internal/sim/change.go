package sim

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// ChangeStatus asks for a status (SC-1 to SC-14). The result has a Part when
// the change is finished, a Monitor when it is under way.
func (a *Access) ChangeStatus(ctx context.Context, c StatusChange) (*Change, error) {
	t := a.t
	if err := a.enter(ctx, "", &opChange, 0); err != nil {
		return nil, err
	}
	product, _ := SplitID(c.Product)
	s, acct, err := t.row(ctx, product)
	if err != nil {
		return nil, err
	}
	if err := patchable(s, c.Product); err != nil {
		return nil, err
	}
	why := cause{a.actor, c.Reason, c.Origin.Correlation}
	w := wish{product: product, source: c.Product, to: c.To, test: c.Test, async: c.Async, cause: why, origin: c.Origin}
	var monitor *store.SIMMonitor
	if acct.embedded() {
		err = t.db.Update(ctx, func(tx *store.Tx) (err error) { monitor, err = t.changeOwn(tx, acct, &w); return err })
	} else {
		monitor, err = t.changeRemote(ctx, acct, &w)
	}
	if err != nil {
		return nil, known(err, fault.SIMProductNotFound, "No product with id %s.", product)
	}
	if monitor != nil {
		t.started(acct, monitor)
		return &Change{Monitor: t.monitorView(ctx, monitor)}, nil
	}
	part, err := t.part(ctx, c.Product, c.Origin.Correlation)
	return &Change{Part: part}, err
}

// wish is a status change that has been asked for.
type wish struct {
	product  string
	source   string // what the monitor is about; "" is the SIM card or terminal
	to, test Status
	async    bool
	cause    cause
	origin   Origin
	task     string // whose item position it is
	position int
}

// cardOf returns the suffix of the part that has the product's status: its SIM
// card or terminal.
func cardOf(s *store.SIM) string {
	if s.Connectivity == string(Satellite) {
		return Terminal
	}
	return SIMCard
}

// patchable refuses ids that are not those of the product's SIM card or
// terminal (SC-1).
func patchable(s *store.SIM, id string) error {
	switch _, suffix := SplitID(id); suffix {
	case cardOf(s):
		return nil
	case SIMCard, Terminal:
		return fault.SIMProductNotFound.New("Product %s has no part %s.", s.ID, suffix)
	}
	return fault.SIMNotPatchable.New("%s cannot be changed, change %s-%s.", id, s.ID, cardOf(s))
}

// part reads a sub-product back.
func (t *Tenant) part(ctx context.Context, id, correlation string) (p *SubProduct, err error) {
	product, suffix := SplitID(id)
	err = t.db.View(ctx, func(tx *store.Tx) error {
		s, err := tx.SIM(product)
		if err != nil {
			return err
		}
		shown, err := t.show(tx, s, true)
		if err != nil {
			return err
		}
		if p = shown.Part(suffix); p == nil {
			p = shown.Card()
		}
		if p == nil {
			return store.ErrNone
		}
		p.CorrelationID = correlation
		return nil
	})
	return p, known(err, fault.SIMProductNotFound, "No product with id %s.", id)
}

// checkBusy refuses a change while another is under way (SC-9).
func checkBusy(s *store.SIM) error {
	if s.Busy == "" {
		return nil
	}
	e := fault.SIMChangeInProgress.New("Another change of %s is in progress.", s.ID)
	e.Detail = map[string]any{DetailMonitor: s.Busy}
	return e
}

func checkTest(s *store.SIM, test Status) error {
	if test == "" || Status(s.Status) == test {
		return nil
	}
	return fault.SIMTestFailed.New("The status is %s, not %s.", s.Status, test)
}

// changeOwn carries a wish out at the reference platform, or makes a monitor
// for it.
func (t *Tenant) changeOwn(tx *store.Tx, a *account, w *wish) (*store.SIMMonitor, error) {
	s, err := tx.SIM(w.product)
	if err != nil {
		return nil, err
	}
	if !a.Enabled {
		return nil, disabled(a)
	}
	if err := checkTest(s, w.test); err != nil {
		return nil, err
	}
	next, err := t.settle(tx, a, s, w.to)
	if err != nil {
		return nil, err
	}
	if err := checkBusy(s); err != nil {
		return nil, err
	}
	same := Status(s.Status) == w.to
	if !same && (a.Mode == Async || w.async) {
		delay := time.Duration(0)
		if a.Mode == Async {
			delay = time.Duration(a.Embedded.AsyncDelay) * time.Millisecond
		}
		return t.newMonitor(tx, a, s, w, phaseApply, "", t.Now().Add(delay))
	}
	if same {
		return nil, nil
	}
	return nil, t.move(tx, a, s, next, w.cause)
}

// changeRemote carries a wish out at a remote platform, or makes a monitor for
// it.
func (t *Tenant) changeRemote(ctx context.Context, a *account, w *wish) (m *store.SIMMonitor, err error) {
	same := false
	later := w.async || a.Mode == Async
	err = t.update(ctx, later, func(tx *store.Tx) error {
		s, err := tx.SIM(w.product)
		if err != nil {
			return err
		}
		if err := t.allowRemote(a, s, w); err != nil {
			return err
		}
		if same = Status(s.Status) == w.to; same || !later {
			return nil
		}
		m, err = t.newMonitor(tx, a, s, w, phaseSend, "", t.Now())
		return err
	})
	if err != nil || m != nil || same {
		return m, err
	}
	out, err := t.send(ctx, a, w.product, w.to, w.cause)
	if err != nil || out.Ticket == "" {
		return nil, err
	}
	err = t.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		s, err := tx.SIM(w.product)
		if err != nil {
			return err
		}
		m, err = t.newMonitor(tx, a, s, w, phasePoll, out.Ticket, t.Now().Add(t.o.WorkEvery))
		return err
	})
	return m, err
}

// update runs f in an Update when it writes, else in a View.
func (t *Tenant) update(ctx context.Context, write bool, f func(*store.Tx) error) error {
	if write {
		return t.db.Update(ctx, f)
	}
	return t.db.View(ctx, f)
}

// allowRemote checks what the hub checks itself (SC-7, PL-1).
func (t *Tenant) allowRemote(a *account, s *store.SIM, w *wish) error {
	switch {
	case !a.Enabled:
		return disabled(a)
	case !can(a, CanStatus):
		return fault.SIMCapabilityMissing.New("Platform %s has no %s.", a.Platform, CanStatus)
	}
	if err := checkTest(s, w.test); err != nil {
		return err
	}
	if err := checkTo(a, w.to); err != nil {
		return err
	}
	if Status(s.Status) == Terminated && w.to != Terminated {
		return notAllowed(Terminated, w.to)
	}
	return checkBusy(s)
}

// send asks a remote platform for a status; an answer at once goes to the
// index.
func (t *Tenant) send(ctx context.Context, a *account, product string, to Status, c cause) (Outcome, error) {
	_, native, _ := Native(product)
	out, err := a.platform.SetStatus(ctx, native, to, c.reason)
	t.observe(a, err)
	if err != nil {
		t.recheck(a, product, err)
		return Outcome{}, t.failed(ctx, a, product, err, true)
	}
	if out.Record == nil {
		return out, nil
	}
	return out, t.take(context.WithoutCancel(ctx), a, product, out.Record, c)
}

// recheckAfter are the pauses after which a product is read again when the
// outcome of a change is unknown (HA-5).
var recheckAfter = []time.Duration{5 * time.Second, 30 * time.Second, 120 * time.Second}

// recheck reads the product again later when a change timed out.
func (t *Tenant) recheck(a *account, product string, err error) {
	var e *PlatformError
	if !errors.As(err, &e) || e.Class != ClassTimeout || t.ctx.Err() != nil {
		return
	}
	t.work.Go(func() {
		begin := time.Now()
		for _, pause := range recheckAfter {
			select {
			case <-t.ctx.Done():
				return
			case <-time.After(time.Until(begin.Add(pause))):
			}
			ctx, cancel := context.WithTimeout(t.ctx, bound)
			err := t.refresh(ctx, a, product)
			cancel()
			if err != nil && t.ctx.Err() == nil {
				t.o.Log.Warn("a product could not be read after a change timed out", "tenant", t.name, "product", product, "err", err)
			}
		}
	})
}

// Reset ends the open data session of a product (SM-3). The result is empty
// when it is finished.
func (a *Access) Reset(ctx context.Context, id string, o Origin) (*Change, error) {
	t := a.t
	if err := a.enter(ctx, "", &opChange, 0); err != nil {
		return nil, err
	}
	s, acct, err := t.bundle(ctx, id, CanReset)
	if err != nil {
		return nil, err
	}
	_, native, _ := Native(s.ID)
	out, err := acct.platform.Reset(ctx, native)
	t.observe(acct, err)
	if err != nil {
		return nil, t.failed(ctx, acct, s.ID, err, true)
	}
	if out.Ticket == "" {
		return &Change{}, nil
	}
	var m *store.SIMMonitor
	err = t.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		row, err := tx.SIM(s.ID)
		if err != nil {
			return err
		}
		w := wish{product: s.ID, source: s.ID, cause: cause{a.actor, "reset", o.Correlation}, origin: o}
		m, err = t.newMonitor(tx, acct, row, &w, phasePoll, out.Ticket, t.Now().Add(t.o.WorkEvery))
		return err
	})
	if err != nil {
		return nil, known(err, fault.SIMProductNotFound, "No product with id %s.", s.ID)
	}
	return &Change{Monitor: t.monitorView(ctx, m)}, nil
}

var propertyForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// Limits of custom properties (PR-7).
const (
	MaxProperties    = 20
	maxPropertyValue = 256
)

// CheckProperty answers SIMValidationFailed with pointer for a name or value
// that a custom property cannot have.
func CheckProperty(pointer string, p CustomProperty) error {
	var all []Issue
	if !propertyForm.MatchString(p.Name) {
		all = append(all, Issue{In: "body", Pointer: pointer + "/name", Code: "invalid_value", Detail: "A name has 1 to 64 letters, digits, '_', '.' and '-'."})
	}
	if utf8.RuneCountInString(p.Value) > maxPropertyValue {
		all = append(all, Issue{In: "body", Pointer: pointer + "/value", Code: "too_long", Detail: fmt.Sprintf("A value has at most %d characters.", maxPropertyValue)})
	}
	for _, r := range p.Value {
		if unicode.IsControl(r) {
			all = append(all, Issue{In: "body", Pointer: pointer + "/value", Code: "invalid_value", Detail: "A value has no control characters."})
			break
		}
	}
	return invalid(all)
}

// ChangeProperties changes custom properties of a SIM card or terminal, all or
// none (SC-5, PR-7), and returns it.
func (a *Access) ChangeProperties(ctx context.Context, c PropertyChange) (*SubProduct, error) {
	t := a.t
	if err := a.enter(ctx, "", &opChange, 0); err != nil {
		return nil, err
	}
	product, _ := SplitID(c.Product)
	s, acct, err := t.row(ctx, product)
	if err != nil {
		return nil, err
	}
	if err := patchable(s, c.Product); err != nil {
		return nil, err
	}
	if !acct.Enabled {
		return nil, disabled(acct)
	}
	if can(acct, CanCustomProperty) && !acct.embedded() {
		return nil, fault.SIMCapabilityMissing.New("Platform %s keeps its custom properties itself.", acct.Platform)
	}
	err = t.db.Update(ctx, func(tx *store.Tx) error {
		s, err := tx.SIM(product)
		if err != nil {
			return err
		}
		if err := checkTest(s, c.Test); err != nil {
			return err
		}
		changed, err := changeProperties(tx, product, c.Ops)
		if err != nil || !changed {
			return err
		}
		if s.Updated = t.Now(); acct.embedded() {
			if err := tx.PutSIM(s); err != nil {
				return err
			}
		}
		return t.event(tx, ProductAttributes, s.Device, map[string]any{"product": map[string]any{"id": s.ID}, "attribute": "customProperty", "actor": a.actor})
	})
	if err != nil {
		return nil, known(err, fault.SIMProductNotFound, "No product with id %s.", product)
	}
	return t.part(ctx, c.Product, c.Origin.Correlation)
}

// changeProperties applies the operations and says whether anything differs.
func changeProperties(tx *store.Tx, product string, ops []PropertyOp) (changed bool, err error) {
	before, err := properties(tx, product)
	if err != nil {
		return false, err
	}
	have, was := map[string]string{}, map[string]string{}
	for _, p := range before {
		have[p.Name], was[p.Name] = p.Value, p.Value
	}
	for i, op := range ops {
		pointer := fmt.Sprintf("/%d", i)
		_, known := have[op.Name]
		switch {
		case op.Op == ReplaceAllProperty:
			clear(have)
			for n, p := range op.All {
				if err := CheckProperty(fmt.Sprintf("/customProperty/%d", n), p); err != nil {
					return false, err
				}
				have[p.Name] = p.Value
			}
		case !known && op.Op != SetProperty:
			return false, invalid([]Issue{{In: "body", Pointer: pointer + "/path", Code: "invalid_value", Detail: "The product has no custom property " + op.Name + "."}})
		case op.Op == RemoveProperty:
			delete(have, op.Name)
		default:
			if err := CheckProperty(pointer+"/value", CustomProperty{op.Name, op.Value}); err != nil {
				return false, err
			}
			have[op.Name] = op.Value
		}
	}
	if len(have) > MaxProperties {
		return false, fault.SIMPropertyLimit.New("A product has at most %d custom properties.", MaxProperties)
	}
	for name := range was {
		if _, ok := have[name]; !ok {
			changed = true
			if err := tx.DeleteSIMProperty(product, name); err != nil {
				return false, err
			}
		}
	}
	for name, value := range have {
		if old, ok := was[name]; ok && old == value {
			continue
		}
		changed = true
		if err := tx.PutSIMProperty(store.SIMProperty{Product: product, Name: name, Value: value}); err != nil {
			return false, err
		}
	}
	return changed, nil
}
