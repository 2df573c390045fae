package amqp

// event is something to tell the application once mu is released.
type event struct {
	kind    eventKind
	drain   bool
	settled bool
	link    *Link
	in      *Delivery
	out     *Out
	state   State
	cause   error
	lost    []*Out
}

type eventKind uint8

const (
	evOpened eventKind = iota
	evAttach
	evAttached
	evDelivery
	evCredit
	evDisposition
	evDrained
	evDetach
)

// tell runs the callbacks of the frame just handled. Called on the read
// goroutine without mu; callbacks add no events.
func (c *Conn) tell() {
	for i := 0; i < len(c.events); i++ {
		e := c.events[i]
		c.events[i] = event{}
		c.tellOne(&e)
	}
	if cap(c.events) > 64 {
		c.events = nil
	}
	c.events = c.events[:0]
}

func (c *Conn) tellOne(e *event) {
	l := e.link
	switch e.kind {
	case evOpened:
		c.tellOpened()
	case evAttach:
		if c.h == nil {
			l.Refuse(Errorf(NotAllowed, "no links from this side"))
			return
		}
		c.h.Attach(l)
	case evAttached:
		close(l.ready)
	case evDelivery:
		if l.OnDelivery != nil {
			l.OnDelivery(e.in)
		}
	case evCredit:
		l.tellCredit(e.drain)
	case evDisposition:
		if l.OnDisposition != nil {
			l.OnDisposition(e.out, e.state, e.settled)
		} else if _, partly := e.state.(Received); !partly && !e.settled {
			e.out.Settle(e.state)
		}
	case evDrained:
		if l.OnDrained != nil {
			l.OnDrained()
		}
	case evDetach:
		l.tellDetach(e.cause, e.lost)
	}
}

func (c *Conn) tellOpened() {
	close(c.ready)
	o, ok := c.h.(Opener)
	if !ok {
		return
	}
	if err := o.Opened(c); err != nil {
		c.Close(err)
	}
}

func (l *Link) tellDetach(cause error, lost []*Out) {
	if l.ready != nil {
		l.failed = cause
		close(l.gone)
	}
	if l.OnDetach != nil {
		l.OnDetach(cause, lost)
	}
}

// tellCredit runs OnCredit, or without one ends a drain at once.
func (l *Link) tellCredit(drain bool) {
	switch {
	case l.OnCredit != nil:
		l.OnCredit(l.Credit(), drain)
	case drain:
		l.Drained()
	}
}
