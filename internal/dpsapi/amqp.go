package dpsapi

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// AMQP is the device API over AMQP 1.0 (dps 2.5).
type AMQP struct {
	o DeviceOptions // set by NewAMQP, then read only
}

// NewAMQP returns the binding; it holds nothing that would have to be closed.
func NewAMQP(o DeviceOptions) *AMQP { return &AMQP{o.withDefaults()} }

// Bounds of a connection: a client needs one session with two links.
const (
	maxSessions = 4
	maxLinks    = 16
	linkCredit  = 16
	maxJobs     = maxLinks * linkCredit
	saslLimit   = time.Minute // a TPM takes seconds for each of its steps
)

// mechanisms are offered in this order (dps 2.5).
var mechanisms = []string{amqp.Plain, mechanismTPM, amqp.External, amqp.Anonymous}

// Serve runs one connection, whose TLS handshake is done when it is a
// *tls.Conn; certs are the certificates that the client presented, leaf first.
// transport is amqp or amqpws. It returns when the connection has ended and its
// requests are answered; the end of ctx closes it with amqp:connection:forced.
func (s *AMQP) Serve(ctx context.Context, nc net.Conn, certs []*x509.Certificate, transport string) {
	c := &amqpConn{server: s, ctx: context.WithoutCancel(ctx), nc: nc, certs: certs, transport: transport,
		remote: nc.RemoteAddr().String(), jobs: make(chan *job, maxJobs), version: dps.DefaultVersion}
	defer context.AfterFunc(ctx, func() { c.shut(amqp.Errorf(amqp.ConnectionForced, "The service is shutting down, connect again.")) })()
	c.life = newLifetime(&s.o, func() { c.shut(amqp.Errorf(amqp.ConnectionForced, "The connection has nothing to wait for.")) })
	var work sync.WaitGroup
	work.Go(c.work)
	amqp.Serve(nc, amqp.Options{ContainerID: "dps_" + newGUID(), MaxSessions: maxSessions, MaxLinks: maxLinks, MaxBuffer: 4 << 20,
		MaxUnsettled: maxJobs, HandshakeTimeout: saslLimit, Mechanisms: mechanisms, Exchange: c.exchange}, c)
	work.Wait()
	c.life.stop()
}

// amqpConn is one connection: handler of the engine. Requests are served one
// after the other by the goroutine of work.
type amqpConn struct {
	// Set by Serve, then read only:
	server            *AMQP
	ctx               context.Context
	nc                net.Conn
	certs             []*x509.Certificate
	transport, remote string
	jobs              chan *job // closed by Closed

	// Owned by work, but for its timer:
	life *lifetime

	// Owned by the read goroutine until the first link, then read only; a
	// connection without SASL learns from the first link whose it is:
	service     *dps.Service
	scope, id   string
	sas         string
	proven      *dps.Proof
	established bool

	// Guarded by mu:
	mu      sync.Mutex
	engine  *amqp.Conn // nil until OPEN
	ended   bool
	shutBy  *amqp.Error
	version dps.Version
	client  string
	links   []*amqp.Link // that carry answers
	waiting []answer     // for a link with credit
}

// identify fixes whose connection it is.
func (c *amqpConn) identify(scope, id string) {
	c.scope, c.id, c.established = scope, id, true
}

// claim is what the connection shows for an identity.
func (c *amqpConn) claim(scope, id string) dps.Claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	claim := dps.Claim{Scope: scope, ID: id, SAS: c.sas, Certs: c.certs, Proven: c.proven,
		Version: c.version, Client: c.client, Transport: c.transport, Remote: c.remote}
	prefer(&claim)
	if claim.Proven != nil {
		claim.Certs = nil
	}
	return claim
}

// exchange chooses the SASL mechanism (dps 2.5).
func (c *amqpConn) exchange(init amqp.SASLInit) amqp.Step {
	step := c.mechanism(init.Mechanism)
	return func(text []byte) ([]byte, error) {
		challenge, err := step(text)
		if err != nil {
			if e := (*dps.Challenge)(nil); !errors.As(err, &e) && fault.From(err).Code.Family != fault.DPS {
				err = fault.DPSIotHubUnauthorizedAccess.Wrap(err, "Unauthorized: SASL %s: %v", init.Mechanism, err)
			}
			c.server.o.note(c.service, "dps.connect", c.id, c.remote, refusal(err))
		}
		return challenge, err
	}
}

func (c *amqpConn) mechanism(name string) amqp.Step {
	switch name {
	case mechanismTPM:
		return newTPMExchange(c).step
	case amqp.Plain:
		return c.plain
	case amqp.External:
		return c.external
	}
	return func([]byte) ([]byte, error) { return nil, nil }
}

// plain takes {idScope}/registrations/{registrationId} with a token for
// password. The token is judged by each request, whose answer says what is wrong
// with it (dps 2.5).
func (c *amqpConn) plain(response []byte) ([]byte, error) {
	_, user, password, ok := amqp.ParsePlain(response)
	if !ok || password == "" {
		return nil, errors.New("the response is not user name and token")
	}
	scope, id, err := parseAddress(user)
	if err != nil {
		return nil, err
	}
	if c.service, err = find(c.server.o.Services, scope); err != nil {
		return nil, err
	}
	c.identify(scope, id)
	c.sas = password
	return nil, nil
}

func (c *amqpConn) external([]byte) ([]byte, error) {
	if len(c.certs) == 0 {
		return nil, errors.New("there is no client certificate")
	}
	return nil, nil
}

// Opened implements amqp.Opener: who has shown nothing is sent away (dps 2.5).
func (c *amqpConn) Opened(engine *amqp.Conn) *amqp.Error {
	c.mu.Lock()
	c.engine = engine
	shutBy := c.shutBy
	c.mu.Unlock()
	if shutBy != nil {
		return shutBy
	}
	if c.established || len(c.certs) > 0 {
		return nil
	}
	return c.refuse("dps.connect", fault.DPSIotHubUnauthorizedAccess.New("Unauthorized: neither a token nor a certificate was shown"))
}

// shut closes the connection from outside.
func (c *amqpConn) shut(why *amqp.Error) {
	c.mu.Lock()
	engine := c.engine
	if c.shutBy == nil {
		c.shutBy = why
	}
	c.mu.Unlock()
	if engine == nil {
		c.nc.Close()
		return
	}
	engine.Close(why)
}

// Closed implements amqp.Handler.
func (c *amqpConn) Closed(error) {
	c.mu.Lock()
	c.ended, c.links, c.waiting = true, nil, nil
	c.mu.Unlock()
	close(c.jobs)
}

// refuse turns an error into what the client sees of it; it reports and logs.
func (c *amqpConn) refuse(op string, err error) *amqp.Error {
	e := refusal(err)
	c.server.o.note(c.service, op, c.id, c.remote, e)
	return encodeAMQP(e)
}

// encodeAMQP writes a refusal as condition, JSON text and retry hints (dps 2.5).
func encodeAMQP(e *fault.Error) *amqp.Error {
	condition := amqp.Symbol(e.Code.Condition())
	if e.Code.HTTP >= 500 { // the one that Node repeats
		condition = amqp.InternalError
	}
	out := &amqp.Error{Condition: condition, Description: string(refusalBody(e))}
	if retryable(e.Code) {
		n := int32(retrySeconds(e.After))
		out.Info = amqp.Map{{Key: amqp.Symbol(retryKeys[1]), Value: n}, {Key: amqp.Symbol(retryKeys[0]), Value: n}}
	}
	return out
}

// retryKeys are the two spellings of the hint: Node, C and Java read the first,
// C# the second (dps 0.1).
var retryKeys = [2]string{"retry-after", "Retry-After"}

// parseAddress reads the address of a link, or the user name of SASL PLAIN:
// scheme, host and the leading slash may be there or not (dps 2.5).
func parseAddress(text string) (scope, id string, err error) {
	if scheme, rest, ok := strings.Cut(text, "://"); ok && !strings.Contains(scheme, "/") {
		_, text, _ = strings.Cut(rest, "/")
	}
	part := strings.Split(strings.Trim(text, "/"), "/")
	if len(part) != 3 || !strings.EqualFold(part[1], "registrations") || part[0] == "" || part[2] == "" {
		return "", "", fault.DPSGenericNotFound.New("the address %q is not {idScope}/registrations/{registrationId}", brief(text))
	}
	return unescape(part[0]), unescape(part[2]), nil
}
