package dpsapi

import (
	"context"
	"crypto/x509"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/mqtt"
)

// MQTT is the device API over MQTT 3.1.1 (dps 2.4).
type MQTT struct {
	o DeviceOptions // set by NewMQTT, then read only
}

// NewMQTT returns the binding; it holds nothing that would have to be closed.
func NewMQTT(o DeviceOptions) *MQTT { return &MQTT{o.withDefaults()} }

// maxPacket bounds a packet: the largest body, and room for its topic.
const maxPacket = maxBody + 4<<10

// ServeSession takes over a connection whose CONNECT p has been read. certs are
// the certificates that the client presented in TLS, leaf first; transport is
// mqtt or mqttws. It returns when CONNECT has been answered; the connection
// lives on until the client or ctx ends it, or it has nothing to wait for.
//
// Whoever names an id scope that is served gets in: what it claims to be is
// judged by each request, whose answer says what is wrong (dps 2.4).
func (s *MQTT) ServeSession(ctx context.Context, session *mqtt.Session, p *mqtt.Connect, certs []*x509.Certificate, transport string) {
	c := &mqttClient{server: s, ctx: ctx, unacked: map[uint16]struct{}{}}
	code, err := c.login(p)
	c.claim.Certs, c.claim.Transport, c.claim.Remote = certs, transport, session.RemoteAddr().String()
	if err != nil {
		s.o.note(c.service, "dps.connect", c.claim.ID, c.claim.Remote, refusal(err))
		session.Refuse(code)
		return
	}
	c.claim.SAS = string(p.Password)
	prefer(&c.claim)
	session.Use(mqtt.Options{MaxPacket: maxPacket, MaxUnacked: 64})
	c.conn = session.Serve(ctx, false, c) // there are no sessions to be present
	c.life = newLifetime(&s.o, func() { c.conn.Close(errIdle) })
	c.conn.Start()
}

// login reads user name and client id; code is how a CONNECT is refused.
func (c *mqttClient) login(p *mqtt.Connect) (code byte, err error) {
	if p.Level != 4 {
		return mqtt.BadProtocol, fault.DPSInvalidProtocolVersion.New("CONNECT is of level %d, MQTT 3.1.1 is spoken here", p.Level)
	}
	if c.claim, err = parseUsername(p.Username); err != nil {
		return mqtt.BadCredentials, err
	}
	if !strings.EqualFold(p.ClientID, c.claim.ID) {
		return mqtt.BadIdentifier, fault.DPSInvalidRegistrationId.New("the client id %q is not the registration id of the user name", brief(p.ClientID))
	}
	if c.service, err = find(c.server.o.Services, c.claim.Scope); err != nil {
		return mqtt.NotAuthorized, err
	}
	return 0, nil
}

// ask performs a request of the client.
func (c *mqttClient) ask(t *deviceTopic, payload []byte) (*reply, error) {
	if t.wrong != nil {
		return nil, t.wrong
	}
	r := &request{verb: t.verb, operation: t.operation}
	if t.verb != status { // C sends the body of its register with each poll
		r.body = trim(payload)
	}
	if t.verb == register && namesTPM(r.body) {
		return nil, fault.DPSArgumentInvalid.New("attestation by TPM is not available over MQTT")
	}
	claim := c.claim
	return run(c.ctx, c.service, &claim, r)
}

var _ mqtt.Handler = (*mqttClient)(nil)
