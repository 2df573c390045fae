package amqp

// SASL mechanism names the engine knows to finish in one step.
const (
	Anonymous = "ANONYMOUS"
	MSSBCBS   = "MSSBCBS" // Anonymous by another name; uAMQP looks for it
	Plain     = "PLAIN"
	External  = "EXTERNAL"
)

// Codes of an outcome (5.3.3.6).
const (
	saslOK   = 0
	saslAuth = 1 // not authenticated
	saslSys  = 2 // an error on our side
)

// SASLInit is how a peer begins SASL (5.3.3.2). The engine has checked that the
// mechanism is one of Options.Mechanisms.
type SASLInit struct {
	Mechanism string
	Response  []byte // nil when the peer sent none
	Hostname  string // the host the peer says it means; provisioning clients put their identity there
}

// Step takes one text of the other side and returns the answer: on the server it
// takes responses and returns challenges, on the client the other way round. On
// the server an answer that is nil says that the peer is who it claims to be,
// and an error refuses it with outcome 1 (auth); neither is followed by another
// call. Challenges have at most MaxChallenge bytes. The argument may be kept.
type Step func(text []byte) (answer []byte, err error)

// MaxChallenge is the longest challenge in bytes: what fits into a frame of 512
// bytes, the most a peer must take before OPEN (5.3.2).
const MaxChallenge = minMaxFrame - headerSize - 17

// maxChallenges bounds the challenges of one exchange.
const maxChallenges = 40

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

// appendText writes a challenge or a response, which are alike (5.3.3.3, 5.3.3.4).
func appendText(b []byte, descriptor byte, text []byte) []byte {
	if text == nil {
		text = []byte{} // the field is mandatory
	}
	c := compose(b, descriptor)
	c.binary(text)
	return c.done()
}
