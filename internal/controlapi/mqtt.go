package controlapi

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/mqtt"
)

// MQTTOptions say what an MQTTServer serves; Control is required.
type MQTTOptions struct {
	Control *control.Control
	Log     *slog.Logger // slog.Default when nil
}

// MQTTServer speaks the MQTT binding of iot/v1 for one hub (iot-v1 11).
type MQTTServer struct {
	// Set by NewMQTT, then read only:
	o MQTTOptions

	// Guarded by mu:
	mu    sync.Mutex
	seats map[string]*mqttClient // connections by device
}

// NewMQTT returns a server; it holds nothing that would have to be closed.
func NewMQTT(o MQTTOptions) *MQTTServer {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &MQTTServer{o: o, seats: map[string]*mqttClient{}}
}

// seat gives the device's seat to the connection and returns the one that had
// it: a client id is connected once [MQTT-3.1.4-2].
func (s *MQTTServer) seat(c *mqttClient) (old *mqttClient) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old = s.seats[c.device]
	s.seats[c.device] = c
	return old
}

func (s *MQTTServer) leave(c *mqttClient) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seats[c.device] == c {
		delete(s.seats, c.device)
	}
}

// ServeSession takes over a TLS connection whose CONNECT p has been read; it
// may be of MQTT 3.1.1 or 5.0. protocol is for the log, such as "mqtt". It
// returns when CONNECT has been answered; the connection lives on until ctx
// ends, or what it was allowed by does.
func (s *MQTTServer) ServeSession(ctx context.Context, session *mqtt.Session, p *mqtt.Connect, protocol string) {
	c := &mqttClient{server: s, ctx: ctx, remote: session.RemoteAddr().String() + " " + protocol, level: p.Level, device: p.ClientID}
	d, err := s.login(c, p)
	if err != nil {
		e := c.fail("control.connect", err)
		if c.line != nil {
			c.line.Close()
		}
		session.RefuseText(connackOf(e.Code), e.Text)
		return
	}
	session.Use(engine(d))
	c.permit(d)
	d.See()
	c.start(session)
}

// login checks will and tuple (iot-v1 MQ-4, MQ-9) and begins the session.
func (s *MQTTServer) login(c *mqttClient, p *mqtt.Connect) (d *control.Device, err error) {
	if p.Will != nil {
		return nil, control.Refuse(fault.ControlForbidden, "will", "a will is not allowed, the hub sees by itself that a device is gone")
	}
	line, err := s.o.Control.Login(c.ctx, p.ClientID, p.Username, string(p.Password), c.desired, c.ended)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.line = line
	c.mu.Unlock()
	return line.Device(c.ctx)
}

// engine returns the limits of a device's connection. A packet of more than
// twice the largest payload ends it (iot-v1 MQ-14).
func engine(d *control.Device) mqtt.Options {
	return mqtt.Options{Versions: mqtt.V311 | mqtt.V5, MaxPacket: 2 * d.Limits.PayloadBytes, MaxUnacked: inflightMax,
		KeepAliveCap: keepAliveMax * time.Second * 3 / 2, TopicAliases: inflightMax}
}

// connackOf returns how a CONNECT is refused, in the codes of MQTT 3.1.1, which
// the engine translates (iot-v1 MQ-14).
func connackOf(c *fault.Code) byte {
	switch c {
	case fault.ControlUnauthorized, fault.ControlNotFound:
		return mqtt.BadCredentials
	case fault.ControlServiceUnavailable, fault.ControlRateLimited:
		return mqtt.Unavailable
	}
	return mqtt.NotAuthorized
}

// disconnectOf is the end of a connection as MQTT 5.0 tells it.
func disconnectOf(e *fault.Error, expired bool) *mqtt.ReasonError {
	code := mqtt.Denied
	switch {
	case expired:
		code = mqtt.MaximumConnectTime
	case e.Code == fault.ControlServiceUnavailable:
		code = mqtt.ShuttingDown
	}
	return &mqtt.ReasonError{Code: code, Text: e.Text}
}

// fail records an error and returns it as one of the twelve codes.
func (c *mqttClient) fail(op string, err error) *fault.Error {
	e, status := known(err)
	level := slog.LevelDebug
	if status >= 500 {
		level = slog.LevelWarn
	}
	c.server.o.Log.Log(c.ctx, level, "refused", "device", c.device, "op", op, "peer", c.remote, "fault", fault.From(err))
	c.server.o.Control.Hub().Report(op, nave.ID{Device: c.device}, e)
	return e
}
