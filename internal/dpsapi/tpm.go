package dpsapi

import (
	"errors"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

// mechanismTPM is the SASL mechanism of a TPM (dps 2.9.3).
const mechanismTPM = "TPM"

// goOn asks the client for its next text.
var goOn = []byte{0}

// tpmExchange is the server's side of the mechanism: the endorsement key comes,
// then the storage root key, the activation blob goes out in segments, and a
// token made with the key inside comes back (dps 2.9.3). It lives on the read
// goroutine of the connection.
type tpmExchange struct {
	c      *amqpConn
	text   cred.Reassembly // of the client
	next   func() (challenge []byte, err error)
	claim  dps.Claim
	ek     []byte
	blob   [][]byte // segments to be sent
	verify func(token string) (*dps.Proof, error)
}

func newTPMExchange(c *amqpConn) *tpmExchange {
	x := &tpmExchange{c: c}
	x.next = x.begin
	return x
}

// step takes a text of the client; it is an amqp.Step.
func (x *tpmExchange) step(text []byte) ([]byte, error) {
	if len(x.blob) > 0 {
		return x.segment(), nil
	}
	last, err := x.text.Add(text)
	if err != nil {
		return nil, err
	}
	if !last {
		return goOn, nil
	}
	challenge, err := x.next()
	x.text.Reset()
	return challenge, err
}

var _ amqp.Step = (*tpmExchange)(nil).step

// begin has id scope, registration id and endorsement key.
func (x *tpmExchange) begin() ([]byte, error) {
	scope, id, ek, err := cred.ParseTPMInit(x.text.Data())
	if err != nil {
		return nil, err
	}
	x.claim, x.ek, x.next = x.c.claim(scope, id), append([]byte(nil), ek...), x.open
	x.c.service, err = find(x.c.server.o.Services, scope)
	return goOn, err
}

// open has the storage root key; the blob is made for both.
func (x *tpmExchange) open() ([]byte, error) {
	srk := append([]byte(nil), x.text.Data()...)
	blob, verify, err := x.c.service.OpenTPM(x.c.ctx, &x.claim, x.ek, srk)
	if err != nil {
		return nil, err
	}
	if x.blob, err = cred.Segments(blob); err != nil {
		return nil, err
	}
	x.verify, x.next = verify, x.close
	return x.segment(), nil
}

func (x *tpmExchange) segment() []byte {
	s := x.blob[0]
	x.blob = x.blob[1:]
	return s
}

// close has the token.
func (x *tpmExchange) close() ([]byte, error) {
	proof, err := x.verify(string(x.text.Data()))
	if err != nil {
		return nil, err
	}
	if proof == nil {
		return nil, errors.New("dpsapi: the token proves nothing")
	}
	x.c.identify(x.claim.Scope, x.claim.ID)
	x.c.proven = proof
	return nil, nil
}
