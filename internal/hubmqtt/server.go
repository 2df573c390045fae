package hubmqtt

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/mqtt"
)

// Options say what a Server serves; Hub is required.
type Options struct {
	Hub    *hub.Hub
	Engine mqtt.Options // LooseTopics is always on; MaxQueue, when zero, has room for a whole queue of messages

	// Find returns the server of another hub of the process by a host name, nil
	// when there is none: the user name decides, since a client may dial a name
	// that several hubs share. Nil: there is no other.
	Find func(host string) *Server

	// SubscribeFailure answers an illegal filter with 0x80 instead of closing
	// the connection.
	SubscribeFailure bool

	Log *slog.Logger // slog.Default when nil
}

// Server speaks MQTT for one hub.
type Server struct {
	o Options
}

// New returns a server; it holds nothing that would have to be closed.
func New(o Options) *Server {
	o.Engine.LooseTopics = true // ids and raw property values may hold '+' and '#'
	if o.Engine.MaxQueue <= 0 {
		o.Engine.MaxQueue = 1<<20 + 2*o.Hub.Limits().C2DBytes
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Server{o}
}

// Serve takes over one connection, whose TLS handshake is done when it is a
// *tls.Conn; certs are the certificates that the client presented, leaf first.
// protocol is "mqtt" or "mqttws". It returns when CONNECT has been answered or
// nc is closed; the connection lives on until ctx ends.
func (s *Server) Serve(ctx context.Context, nc net.Conn, certs []*x509.Certificate, protocol string) {
	session, p, err := mqtt.Accept(nc, s.o.Engine)
	if err != nil {
		s.NotAccepted(nc.RemoteAddr(), p, err)
		return
	}
	s.ServeSession(ctx, session, p, certs, protocol)
}

// ServeSession is Serve for a connection whose CONNECT p has been read by a
// listener that shares its port with others. It may have allowed more versions
// than the hub speaks.
func (s *Server) ServeSession(ctx context.Context, session *mqtt.Session, p *mqtt.Connect, certs []*x509.Certificate, protocol string) {
	remote := session.RemoteAddr().String()
	s = s.meant(p.Username)
	session.Use(s.o.Engine)
	if p.Level != 4 {
		s.fail(failure{op: "device.connect", remote: remote, err: wrongVersion(p, mqtt.ErrVersion)})
		session.Refuse(mqtt.BadProtocol)
		return
	}
	c := &client{server: s, ctx: ctx, clean: p.Clean, keepAlive: p.KeepAlive}
	claim := cred.Claim{SAS: string(p.Password), Certs: certs}
	id, err := s.connect(c, p, claim, hub.Arrival{Peer: c, Holds: hub.Everything, Endless: true, Protocol: protocol, Remote: remote})
	if err != nil {
		s.fail(failure{op: "device.connect", on: id, remote: remote, err: err, session: session})
		return
	}
	stored, err := c.resume()
	if err != nil {
		c.line.Close(nil) // fail records it
		s.fail(failure{op: "device.connect", on: id, remote: remote, err: err, session: session})
		return
	}
	c.start(session, stored)
}

// meant returns the server of the hub that the user name calls, s itself when
// no hub of the process has that name.
func (s *Server) meant(username string) *Server {
	host, _, _ := strings.Cut(username, "/")
	if s.o.Find != nil && !s.o.Hub.Answers(host) {
		if other := s.o.Find(host); other != nil {
			return other
		}
	}
	return s
}

// NotAccepted records the error of mqtt.Accept: a connection that ended before
// its CONNECT was read. Whoever only looks whether the port is open leaves no
// record.
func (s *Server) NotAccepted(peer net.Addr, p *mqtt.Connect, err error) {
	remote := peer.String()
	switch {
	case errors.Is(err, io.EOF):
		s.o.Log.Debug("closed before CONNECT", "hub", s.o.Hub.Host(), "peer", remote)
		return
	case errors.Is(err, mqtt.ErrVersion):
		err = wrongVersion(p, err)
	default:
		err = ended(err, 0, s.o.Engine)
	}
	s.fail(failure{op: "device.connect", remote: remote, err: err})
}

func wrongVersion(p *mqtt.Connect, err error) error {
	return fault.InvalidProtocolVersion.Wrap(err, "CONNECT asks for protocol %q level %d, the hub speaks MQTT level 4 (3.1.1)", brief(p.Protocol), p.Level)
}

// connect judges a CONNECT, in this order: user name, client id, will, proof.
// Then it takes the identity's seat, which ends an older connection. id is the
// claimed identity as far as it is known.
func (s *Server) connect(c *client, p *mqtt.Connect, claim cred.Claim, from hub.Arrival) (id nave.ID, err error) {
	l, err := parseUsername(p.Username)
	if err != nil {
		return nave.ID{}, err
	}
	id, from.Model = l.id, l.model
	if !s.o.Hub.Answers(l.host) {
		return id, fault.IotHubNotFound.New("the user name is for the hub %q, this one is %s", brief(l.host), s.o.Hub.Host())
	}
	if p.ClientID != id.String() {
		return id, fault.IotHubUnauthorized.New("the client id %q differs from the identity %q of the user name", brief(p.ClientID), id.String())
	}
	// The parts of the client id are shorter to keep than those of the user name.
	id.Device, id.Module, _ = strings.Cut(p.ClientID, "/")
	if c.will, err = parseWill(id, p.Will); err != nil {
		return id, err
	}
	who, err := s.o.Hub.Authenticate(c.ctx, claim, id)
	if err != nil {
		return id, err
	}
	c.line, err = s.o.Hub.Connect(c.ctx, who, id, from)
	return id, err
}

// parseWill makes the telemetry message of a will; only the connection's own
// telemetry topic and QoS 0 or 1 are accepted (device-protocols 2.10).
func parseWill(id nave.ID, w *mqtt.Will) (*nave.Message, error) {
	if w == nil {
		return nil, nil
	}
	if w.QoS > 1 {
		return nil, fault.IotHubUnauthorized.New("the will has QoS %d, allowed are 0 and 1", w.QoS)
	}
	r, err := parseTopic(id, w.Topic)
	if err == nil && r.verb != sendTelemetry {
		err = unknownTopic(id, w.Topic)
	}
	m := &nave.Message{Body: w.Payload}
	if err == nil {
		err = parseBag(r.bag, m)
	}
	if err != nil {
		return nil, fault.IotHubUnauthorized.Wrap(err, "the will is refused: %s", fault.From(err).Text)
	}
	m.SetApp("iothub-MessageType", "Will", true)
	if w.Retain {
		m.SetApp("mqtt-retain", "true", true)
	}
	return m, nil
}
