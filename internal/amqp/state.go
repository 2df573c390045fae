package amqp

// State is the state of a delivery (3.4): Accepted, Rejected, Released,
// Modified or Received; nil is no state.
type State interface{ appendState(b []byte) []byte }

// Accepted says that the receiver has processed the message (3.4.2).
type Accepted struct{}

// Rejected says that the message is invalid and why (3.4.3).
type Rejected struct{ Error *Error }

// Released says that the message was not and will not be processed (3.4.4).
type Released struct{}

// Modified is Released with changes to the message (3.4.5).
type Modified struct {
	DeliveryFailed    bool
	UndeliverableHere bool
	Annotations       Map
}

// Received tells how much of a delivery has arrived (3.4.1); it is no outcome.
type Received struct {
	Section uint32
	Offset  uint64
}

func (Accepted) appendState(b []byte) []byte {
	return append(b, codeDescribed, codeUlong8, descAccepted, codeList0)
}

func (s Rejected) appendState(b []byte) []byte {
	c := compose(b, descRejected)
	c.error(s.Error)
	return c.done()
}

func (Released) appendState(b []byte) []byte {
	return append(b, codeDescribed, codeUlong8, descReleased, codeList0)
}

func (s Modified) appendState(b []byte) []byte {
	c := compose(b, descModified)
	c.flag(s.DeliveryFailed)
	c.flag(s.UndeliverableHere)
	c.mapping(s.Annotations)
	return c.done()
}

func (s Received) appendState(b []byte) []byte {
	c := compose(b, descReceived)
	c.uint(s.Section)
	c.set(appendUlong(c.b, s.Offset))
	return c.done()
}

// briefState is the state with the least encoding of its error.
func briefState(s State) State {
	switch s := s.(type) {
	case Rejected:
		return Rejected{s.Error.brief()}
	case Modified:
		s.Annotations = nil
		return s
	}
	return s
}

func (c *composer) state(s State) {
	if s == nil {
		c.null()
		return
	}
	c.set(s.appendState(c.b))
}

// state reads a delivery state; nil when absent. Transactional states are not implemented.
func (f *fields) state() State {
	if f.n == 0 || f.err != nil {
		return nil
	}
	f.n--
	if len(f.b) > 0 && f.b[0] == codeNull {
		f.b = f.b[1:]
		return nil
	}
	desc := f.descriptor()
	in := f.composite()
	s := in.outcome(desc)
	if f.end(&in) != nil {
		return nil
	}
	return s
}

func (f *fields) outcome(desc uint64) State {
	switch desc {
	case descAccepted:
		return Accepted{}
	case descReleased:
		return Released{}
	case descRejected:
		return Rejected{f.error()}
	case descModified:
		return Modified{f.boolean(false), f.boolean(false), f.mapping()}
	case descReceived:
		return Received{f.uint32(0), f.ulong(0)}
	}
	f.b, f.n = nil, 0
	return foreign(desc)
}

// foreign is a state the engine does not know, such as those of transactions.
// Reading one ends the session that carried it, not the connection.
type foreign uint64

func (s foreign) appendState(b []byte) []byte { return append(b, codeNull) }

func (s foreign) error() *Error {
	return Errorf(NotImplemented, "delivery state 0x%x", uint64(s))
}
