package amqp

// attachFrame is the ATTACH performative (2.7.3).
type attachFrame struct {
	name        string
	handle      uint32
	role        Role
	sndMode     uint8
	rcvMode     uint8
	source      *Terminus
	target      *Terminus
	initial     uint32
	maxMessage  uint64
	offered     []Symbol
	desired     []Symbol
	properties  Map
	coordinator bool // the target is a transaction coordinator
	values      int  // values in the frame, for accounting
}

func (a *attachFrame) append(b []byte) []byte {
	c := compose(b, descAttach)
	c.set(appendString(c.b, a.name))
	c.uint(a.handle)
	c.boolean(bool(a.role))
	c.ubyte(a.sndMode)
	c.ubyte(a.rcvMode)
	c.terminus(a.source, true)
	c.terminus(a.target, false)
	c.null() // unsettled: deliveries are never resumed
	c.null() // incomplete-unsettled
	c.uintIf(a.initial, a.role == RoleSender)
	c.ulong(a.maxMessage)
	c.symbols(a.offered)
	c.symbols(a.desired)
	c.mapping(a.properties)
	return c.whole(14)
}

func (a *attachFrame) parse(f *fields) {
	before := f.left
	a.name = f.str()
	a.handle = f.uint32(0)
	a.role = Role(f.boolean(false))
	a.sndMode = f.ubyte(SettleMixed)
	a.rcvMode = f.ubyte(SettleFirst)
	a.source, _ = f.terminus(true)
	a.target, a.coordinator = f.terminus(false)
	f.mapping()
	f.boolean(false)
	a.initial = f.uint32(0)
	a.maxMessage = f.ulong(0)
	a.offered = f.symbols()
	a.desired = f.symbols()
	a.properties = f.mapping()
	a.values = before - f.left
}

// detachFrame is the DETACH performative (2.7.7).
type detachFrame struct {
	handle uint32
	closed bool
	err    *Error
}

func (d *detachFrame) append(b []byte) []byte {
	c := compose(b, descDetach)
	c.uint(d.handle)
	c.flag(d.closed)
	c.error(d.err)
	return c.whole(3)
}

func (d *detachFrame) parse(f *fields) {
	d.handle = f.uint32(0)
	d.closed = f.boolean(false)
	d.err = f.error()
}
