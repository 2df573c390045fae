package amqp

// transferFrame is the TRANSFER performative (2.7.5); the payload follows it.
type transferFrame struct {
	handle    uint32
	id        uint32
	hasID     bool
	tag       []byte // points into the frame when parsed
	format    uint32
	hasFormat bool
	settled   bool
	more      bool
	rcvMode   uint8
	state     State
	resume    bool
	aborted   bool
}

// maxTag is the greatest length of a delivery tag (2.8.7).
const maxTag = 32

func (t *transferFrame) append(b []byte) []byte {
	c := compose(b, descTransfer)
	c.uint(t.handle)
	c.uintIf(t.id, t.hasID)
	c.binary(t.tag)
	c.uintIf(t.format, t.hasFormat)
	if t.hasID {
		c.boolean(t.settled)
	} else {
		c.flag(t.settled)
	}
	c.flag(t.more)
	c.null() // rcv-settle-mode: that of the link
	c.state(t.state)
	c.flag(t.resume)
	c.flag(t.aborted)
	return c.whole(11)
}

func (t *transferFrame) parse(f *fields) {
	t.handle = f.uint32(0)
	t.id, t.hasID = f.uint(0)
	t.tag, _ = f.bytes(codeBinary8)
	t.format, t.hasFormat = f.uint(0)
	t.settled = f.boolean(false)
	t.more = f.boolean(false)
	t.rcvMode = f.ubyte(SettleFirst)
	t.state = f.state()
	t.resume = f.boolean(false)
	t.aborted = f.boolean(false)
	f.boolean(false) // batchable: a hint
}
