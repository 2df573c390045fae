package amqp

// openFrame is the OPEN performative (2.7.1).
type openFrame struct {
	container  string
	hostname   string
	maxFrame   uint32
	channelMax uint16
	idle       uint32 // milliseconds, 0: none
	offered    []Symbol
	desired    []Symbol
	properties Map
}

func (o *openFrame) append(b []byte) []byte {
	c := compose(b, descOpen)
	c.set(appendString(c.b, o.container))
	c.str(o.hostname)
	c.uint(o.maxFrame)
	c.ushort(o.channelMax)
	c.uintIf(o.idle, o.idle != 0)
	c.null() // outgoing-locales
	c.null() // incoming-locales
	c.symbols(o.offered)
	c.symbols(o.desired)
	c.mapping(o.properties)
	return c.whole(10)
}

func (o *openFrame) parse(f *fields) {
	o.container = f.str()
	o.hostname = f.str()
	o.maxFrame = f.uint32(1<<32 - 1)
	o.channelMax = 1<<16 - 1
	o.channelMax, _ = f.ushort(o.channelMax)
	o.idle = f.uint32(0)
	f.symbols()
	f.symbols()
	o.offered = f.symbols()
	o.desired = f.symbols()
	o.properties = f.mapping()
}

// endFrame is END or CLOSE (2.7.8, 2.7.9): an optional error.
type endFrame struct{ err *Error }

func (e *endFrame) append(b []byte, desc byte) []byte {
	c := compose(b, desc)
	c.error(e.err)
	return c.whole(1)
}

func (e *endFrame) parse(f *fields) { e.err = f.error() }
