package amqp

import "fmt"

// Terminus is the source or the target of a link (3.5.3, 3.5.4). Fields that
// only a source has are ignored in a target.
type Terminus struct {
	Address           string // empty: none; an address that is not a string is kept in RawAddress
	RawAddress        any
	Durable           uint32
	ExpiryPolicy      Symbol
	Timeout           uint32 // seconds
	Dynamic           bool
	DynamicProperties Map
	Capabilities      []Symbol

	// Source only:
	DistributionMode Symbol
	Filter           Map // keys are symbols, values usually Described
	DefaultOutcome   any
	Outcomes         []Symbol
}

func (t *Terminus) append(b []byte, source bool) []byte {
	desc := byte(descTarget)
	if source {
		desc = descSource
	}
	c := compose(b, desc)
	if t.RawAddress != nil {
		c.value(t.RawAddress)
	} else {
		c.str(t.Address)
	}
	c.uintIf(t.Durable, t.Durable != 0)
	c.symbol(t.ExpiryPolicy)
	c.uintIf(t.Timeout, t.Timeout != 0)
	c.flag(t.Dynamic)
	c.mapping(t.DynamicProperties)
	if source {
		c.symbol(t.DistributionMode)
		c.mapping(t.Filter)
		c.value(t.DefaultOutcome)
		c.symbols(t.Outcomes)
	}
	c.symbols(t.Capabilities)
	return c.done()
}

func (c *composer) terminus(t *Terminus, source bool) {
	if t == nil {
		c.null()
		return
	}
	c.set(t.append(c.b, source))
}

// terminus reads a source or target field; nil when absent. coordinator is
// true for the target of a transaction controller, which is not implemented.
func (f *fields) terminus(source bool) (t *Terminus, coordinator bool) {
	if f.n == 0 || f.err != nil {
		return nil, false
	}
	f.n--
	if len(f.b) > 0 && f.b[0] == codeNull {
		f.b = f.b[1:]
		return nil, false
	}
	desc := f.descriptor()
	in := f.composite()
	switch {
	case source && desc == descSource, !source && desc == descTarget:
		t = in.terminusFields(source)
	case !source && desc == descCoordinator:
		coordinator = true
	default:
		in.fail(fmt.Errorf("%w: terminus with descriptor 0x%x", ErrDecode, desc))
	}
	if f.end(&in) != nil {
		return nil, false
	}
	return t, coordinator
}

func (f *fields) terminusFields(source bool) *Terminus {
	t := &Terminus{}
	switch a := f.value().(type) {
	case string:
		t.Address = a
	default:
		t.RawAddress = a
	}
	t.Durable = f.uint32(0)
	t.ExpiryPolicy = f.symbol()
	t.Timeout = f.uint32(0)
	t.Dynamic = f.boolean(false)
	t.DynamicProperties = f.mapping()
	if source {
		t.DistributionMode = f.symbol()
		t.Filter = f.mapping()
		t.DefaultOutcome = f.value()
		t.Outcomes = f.symbols()
	}
	t.Capabilities = f.symbols()
	return t
}
