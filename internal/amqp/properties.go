package amqp

// Header is the header section of a message (3.2.1).
type Header struct {
	Durable       bool
	Priority      uint8  // default 4
	TTL           uint32 // milliseconds; 0: none
	FirstAcquirer bool
	DeliveryCount uint32
}

func (h *Header) append(b []byte) []byte {
	c := compose(b, byte(SectionHeader))
	c.flag(h.Durable)
	if h.Priority == defaultPriority {
		c.null()
	} else {
		c.ubyte(h.Priority)
	}
	c.uintIf(h.TTL, h.TTL != 0)
	c.flag(h.FirstAcquirer)
	c.uintIf(h.DeliveryCount, h.DeliveryCount != 0)
	return c.done()
}

const defaultPriority = 4

func (h *Header) parse(f *fields) {
	h.Durable = f.boolean(false)
	h.Priority = f.ubyte(defaultPriority)
	h.TTL = f.uint32(0)
	h.FirstAcquirer = f.boolean(false)
	h.DeliveryCount = f.uint32(0)
}

// Properties is the properties section (3.2.4). Empty fields are absent; the
// two ids keep their AMQP type: uint64, UUID, []byte or string.
type Properties struct {
	MessageID          any
	UserID             []byte
	To                 string
	Subject            string
	ReplyTo            string
	CorrelationID      any
	ContentType        Symbol
	ContentEncoding    Symbol
	AbsoluteExpiryTime Timestamp
	CreationTime       Timestamp
	GroupID            string
	GroupSequence      *uint32
	ReplyToGroupID     string
}

func (p *Properties) append(b []byte) []byte {
	c := compose(b, byte(SectionProperties))
	c.value(p.MessageID)
	c.binary(p.UserID)
	c.str(p.To)
	c.str(p.Subject)
	c.str(p.ReplyTo)
	c.value(p.CorrelationID)
	c.symbol(p.ContentType)
	c.symbol(p.ContentEncoding)
	c.timestamp(p.AbsoluteExpiryTime)
	c.timestamp(p.CreationTime)
	c.str(p.GroupID)
	if p.GroupSequence == nil {
		c.null()
	} else {
		c.uint(*p.GroupSequence)
	}
	c.str(p.ReplyToGroupID)
	return c.done()
}

func (p *Properties) parse(f *fields) {
	p.MessageID = f.value()
	p.UserID, _ = f.bytes(codeBinary8)
	p.To = f.str()
	p.Subject = f.str()
	p.ReplyTo = f.str()
	p.CorrelationID = f.value()
	p.ContentType = f.symbol()
	p.ContentEncoding = f.symbol()
	p.AbsoluteExpiryTime = f.timestamp()
	p.CreationTime = f.timestamp()
	p.GroupID = f.str()
	if n, ok := f.uint(0); ok {
		p.GroupSequence = &n
	}
	p.ReplyToGroupID = f.str()
}
