package amqp

// dispositionFrame is the DISPOSITION performative (2.7.6).
type dispositionFrame struct {
	role    Role
	first   uint32
	last    uint32
	settled bool
	state   State
}

func (p *dispositionFrame) append(b []byte) []byte {
	c := compose(b, descDisposition)
	c.boolean(bool(p.role))
	c.uint(p.first)
	c.uintIf(p.last, p.last != p.first)
	c.flag(p.settled)
	c.state(p.state)
	return c.whole(6)
}

func (p *dispositionFrame) parse(f *fields) {
	p.role = Role(f.boolean(false))
	p.first = f.uint32(0)
	p.last = f.uint32(p.first)
	p.settled = f.boolean(false)
	p.state = f.state()
}
