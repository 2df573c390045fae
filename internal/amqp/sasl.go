package amqp

// SASL mechanism names the engine knows to finish in one step.
const (
	Anonymous = "ANONYMOUS"
	MSSBCBS   = "MSSBCBS" // Anonymous by another name; uAMQP looks for it
	Plain     = "PLAIN"
	External  = "EXTERNAL"
)

const (
	saslOK   = 0
	saslAuth = 1
)

// saslInit is the frame by which the client picks a mechanism (5.3.3.2).
type saslInit struct {
	mechanism Symbol
	response  []byte
	hostname  string
}

func (s *saslInit) append(b []byte) []byte {
	c := compose(b, descInit)
	c.symbol(s.mechanism)
	c.binary(s.response)
	c.str(s.hostname)
	return c.done()
}

func (s *saslInit) parse(f *fields) {
	s.mechanism = f.symbol()
	s.response, _ = f.bytes(codeBinary8)
	s.hostname = f.str()
}

func appendMechanisms(b []byte, names []string) []byte {
	v := make([]Symbol, len(names))
	for i, n := range names {
		v[i] = Symbol(n)
	}
	c := compose(b, descMechanisms)
	c.symbols(v)
	return c.done()
}

func appendOutcome(b []byte, code uint8) []byte {
	c := compose(b, descOutcome)
	c.ubyte(code)
	return c.done()
}

// ParsePlain splits a PLAIN response (RFC 4616) into its three parts; ok is
// false when it does not have three.
func ParsePlain(response []byte) (authzid, user, password string, ok bool) {
	var at [2]int
	n := 0
	for i, c := range response {
		if c != 0 {
			continue
		}
		if n == 2 {
			return "", "", "", false
		}
		at[n] = i
		n++
	}
	if n != 2 {
		return "", "", "", false
	}
	return string(response[:at[0]]), string(response[at[0]+1 : at[1]]), string(response[at[1]+1:]), true
}
