package amqp

// beginFrame is the BEGIN performative (2.7.2).
type beginFrame struct {
	remote    uint16 // the channel of the peer's BEGIN
	hasRemote bool
	nextOut   uint32
	inWindow  uint32
	outWindow uint32
	handleMax uint32
}

func (p *beginFrame) append(b []byte) []byte {
	c := compose(b, descBegin)
	if p.hasRemote {
		c.ushort(p.remote)
	} else {
		c.null()
	}
	c.uint(p.nextOut)
	c.uint(p.inWindow)
	c.uint(p.outWindow)
	c.uint(p.handleMax)
	return c.whole(8)
}

func (p *beginFrame) parse(f *fields) {
	p.remote, p.hasRemote = f.ushort(0)
	p.nextOut = f.uint32(0)
	p.inWindow = f.uint32(0)
	p.outWindow = f.uint32(0)
	p.handleMax = f.uint32(1<<32 - 1)
}
