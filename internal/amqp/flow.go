package amqp

// flowFrame is the FLOW performative (2.7.4).
type flowFrame struct {
	nextIn    uint32
	hasNextIn bool
	inWindow  uint32
	nextOut   uint32
	outWindow uint32

	// Link state, when hasHandle:
	handle    uint32
	hasHandle bool
	count     uint32 // delivery-count
	hasCount  bool
	credit    uint32
	hasCredit bool
	available uint32
	drain     bool
	echo      bool
}

func (p *flowFrame) append(b []byte) []byte {
	c := compose(b, descFlow)
	c.uintIf(p.nextIn, p.hasNextIn)
	c.uint(p.inWindow)
	c.uint(p.nextOut)
	c.uint(p.outWindow)
	c.uintIf(p.handle, p.hasHandle)
	c.uintIf(p.count, p.hasCount)
	c.uintIf(p.credit, p.hasCredit)
	c.uintIf(p.available, p.available > 0)
	c.flag(p.drain)
	c.flag(p.echo)
	return c.whole(11)
}

func (p *flowFrame) parse(f *fields) {
	p.nextIn, p.hasNextIn = f.uint(0)
	p.inWindow = f.uint32(0)
	p.nextOut = f.uint32(0)
	p.outWindow = f.uint32(0)
	p.handle, p.hasHandle = f.uint(0)
	p.count, p.hasCount = f.uint(0)
	p.credit, p.hasCredit = f.uint(0)
	p.available = f.uint32(0)
	p.drain = f.boolean(false)
	p.echo = f.boolean(false)
}
