package control

import (
	"context"
	"errors"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// stored is how exactly the store keeps times.
const stored = 100 * time.Nanosecond

// defaultLifetime is how long a desired state waits (iot-v1 CM-6).
const defaultLifetime = 24 * time.Hour

// Set asks for a command to take a value, in place of an earlier request that
// is open; by says who asks. It returns when the request is durable and has
// gone to the device where that is connected. Answers: GenericNotFound,
// ArgumentInvalid for a value that does not fit the command.
func (c *Control) Set(ctx context.Context, device, command, value, by string) (*nave.DesiredState, error) {
	d, err := c.Find(ctx, device)
	if err != nil {
		return nil, named(err, "the hub has no control device %s", device)
	}
	source, err := d.Source(command, true)
	if err != nil {
		return nil, named(err, "the control device %s has no command %s", device, command)
	}
	if err := checkDesired(source, value); err != nil {
		return nil, err
	}
	// As exact as the store keeps it: the device gets one issued_at, however often it is told.
	now := c.Now().Truncate(stored)
	s := &nave.DesiredState{ID: nave.NewControlID("des", now), Device: device, Command: command, Source: source.No, Value: value,
		Issued: now, Status: nave.DesiredPending, By: by}
	switch {
	case source.Lifetime == 0:
		s.Expires = now.Add(defaultLifetime)
	case source.Lifetime > 0:
		s.Expires = now.Add(time.Duration(source.Lifetime) * time.Second)
	}
	err = c.db.Update(ctx, func(tx *store.Tx) error {
		state, err := tx.ControlState(source.No)
		if err != nil {
			return err
		}
		if err := c.supersede(tx, source.No, now); err != nil {
			return err
		}
		state.Desired, state.Sequence = value, state.Sequence+1
		s.Sequence = state.Sequence
		c.tellDesired(tx, s)
		return errors.Join(tx.InsertDesired(s), tx.PutControlState(state))
	})
	if errors.Is(err, store.ErrNone) {
		return nil, fault.GenericNotFound.New("the command %s was removed", command)
	}
	return s, operator(c.away(err))
}

func checkDesired(s *nave.ControlSource, value string) error {
	switch {
	case value == "" || len(value) > nave.MaxControlValue:
		return fault.ArgumentInvalid.New("the value has %d bytes, allowed are 1 to %d", len(value), nave.MaxControlValue)
	case s.Numeric() && !nave.IsNumber(value):
		return fault.ArgumentInvalid.New("the value %q is no number, and the command takes numbers", value)
	case outside(s, value):
		return fault.ArgumentInvalid.New("the value %s is outside the command's range, %s to %s", value, s.Minimum, s.Maximum)
	case !s.Fits(value):
		return fault.ArgumentInvalid.New("the command cannot be expressed in iot/v1, so no device would get the value")
	}
	return nil
}

// supersede closes the open request of the command, if there is one.
func (c *Control) supersede(tx *store.Tx, source int64, now time.Time) error {
	s, err := tx.OpenDesired(source)
	if errors.Is(err, store.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Status, s.Closed = nave.DesiredSuperseded, now
	if !s.Expires.IsZero() && !now.Before(s.Expires) {
		s.Status, s.Closed = nave.DesiredExpired, s.Expires
	}
	return c.closeDesired(tx, s)
}

// closeDesired writes the end of a desired state and tells who waits for it.
func (c *Control) closeDesired(tx *store.Tx, s *nave.DesiredState) error {
	c.tellDesired(tx, s)
	return tx.CloseDesired(s)
}

// tellDesired tells sessions and waiting callers on every node of a desired
// state, once the transaction is durable.
func (c *Control) tellDesired(tx *store.Tx, s *nave.DesiredState) {
	tx.After(func() {
		c.desiredHere(s)
		c.bus.Tell(c.subject(), note{Node: c.bus.Node(), Device: s.Device, Desired: s.ID})
	})
}

func (c *Control) desiredHere(s *nave.DesiredState) {
	c.mu.Lock()
	if wait := c.waiting[s.Device]; wait != nil {
		close(wait)
		delete(c.waiting, s.Device)
	}
	var to []*Session
	if s.Status == nave.DesiredPending {
		for session := range c.sessions[s.Device] {
			to = append(to, session)
		}
	}
	c.mu.Unlock()
	for _, session := range to {
		session.desired(*s)
	}
}

func (c *Control) desiredElsewhere(id string) {
	var s *nave.DesiredState
	err := c.db.View(c.ctx, func(tx *store.Tx) (err error) { s, err = tx.Desired(id); return err })
	if err == nil {
		c.desiredHere(s)
	}
}

// Desired returns a desired state; GenericNotFound.
func (c *Control) Desired(ctx context.Context, id string) (s *nave.DesiredState, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) (err error) { s, err = tx.Desired(id); return err })
	if errors.Is(err, store.ErrNone) {
		return nil, fault.GenericNotFound.New("there is no desired state %s", id)
	}
	if err != nil {
		return nil, operator(c.away(err))
	}
	if s.Status == nave.DesiredPending && !s.Expires.IsZero() && !c.Now().Before(s.Expires) {
		s.Status, s.Closed = nave.DesiredExpired, s.Expires
	}
	return s, nil
}

// again is how often a waiting caller reads the store although nobody told it
// to: notes of other nodes may be lost, and time passes.
const again = time.Second

// Await returns the desired state once it is not pending any more, or as it is
// when ctx ends.
func (c *Control) Await(ctx context.Context, id string) (*nave.DesiredState, error) {
	for {
		// Before the look at the store, so that no change falls in between.
		s, err := c.Desired(c.ctx, id)
		if err != nil || s.Status != nave.DesiredPending {
			return s, err
		}
		told := c.listen(s.Device)
		if s, err = c.Desired(c.ctx, id); err != nil || s.Status != nave.DesiredPending {
			return s, err
		}
		timer := time.NewTimer(again)
		select {
		case <-told:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return s, nil
		case <-c.ctx.Done():
			timer.Stop()
			return s, nil
		}
		timer.Stop()
	}
}

func (c *Control) listen(device string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := c.waiting[device]
	if wait == nil {
		wait = make(chan struct{})
		c.waiting[device] = wait
	}
	return wait
}

// Pending returns the device's open desired states in the order of commands
// (iot-v1 CM-7).
func (d *Device) Pending(ctx context.Context) ([]*nave.DesiredState, error) {
	var all []*nave.DesiredState
	now := d.c.Now()
	err := d.c.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.PendingDesired(d.ID)
		for _, s := range rows {
			if s.Expires.IsZero() || now.Before(s.Expires) {
				all = append(all, s)
			}
		}
		return err
	})
	return all, d.c.away(err)
}

// expireDesired closes what has reached its end (iot-v1 CM-6).
func (c *Control) expireDesired(ctx context.Context) error {
	now := c.Now()
	var due []*nave.DesiredState
	err := c.db.View(ctx, func(tx *store.Tx) (err error) { due, err = tx.DueDesired(now, sweepAmount); return err })
	if err != nil || len(due) == 0 {
		return err
	}
	return c.db.Update(ctx, func(tx *store.Tx) error {
		due, err := tx.DueDesired(now, sweepAmount)
		if err != nil {
			return err
		}
		for _, s := range due {
			// Read again for its lock: a report may just have closed it.
			s, err := tx.Desired(s.ID)
			if err != nil || s.Status != nave.DesiredPending {
				continue
			}
			s.Status, s.Closed = nave.DesiredExpired, s.Expires
			if err := c.closeDesired(tx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// named is operator with a text that says what was not found.
func named(err error, format string, args ...any) error {
	if fault.From(err).Code == fault.ControlNotFound {
		return fault.GenericNotFound.Wrap(err, format, args...)
	}
	return operator(err)
}

// operator turns refusals of iot/v1 into the codes that operators know.
func operator(err error) error {
	var e *fault.Error
	if !errors.As(err, &e) || e.Code.Family != fault.Control {
		return err
	}
	switch e.Code {
	case fault.ControlNotFound:
		return fault.GenericNotFound.Wrap(err, "%s", e.Text)
	case fault.ControlServiceUnavailable:
		return fault.ServiceUnavailable.Wrap(err, "%s", e.Text)
	}
	return fault.ArgumentInvalid.Wrap(err, "%s", e.Text)
}
