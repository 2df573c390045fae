package dpsapi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nave-hub/nave/internal/mqtt"
)

// mqttPeer is a device on MQTT that sees every packet.
type mqttPeer struct {
	t    testing.TB
	d    *device
	nc   net.Conn
	buf  []byte
	next uint16
	rid  int
}

func (d *device) username() string {
	return d.resource() + "/api-version=" + d.version + "&ClientVersion=test%2F1"
}

func (d *device) dial(address string) net.Conn {
	d.t.Helper()
	nc, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", address, d.tls())
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	return nc
}

// socket opens a WebSocket; it fails the test unless the token is echoed.
func (d *device) socket(path, token string) net.Conn {
	d.t.Helper()
	dialer := websocket.Dialer{TLSClientConfig: d.tls(), Subprotocols: []string{token}, HandshakeTimeout: patience,
		NetDialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, d.https)
		}}
	ws, resp, err := dialer.Dial("wss://"+d.host+path, nil)
	if err != nil {
		d.t.Fatal(err, resp)
	}
	d.t.Cleanup(func() { ws.Close() })
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != token {
		d.t.Errorf("the token %q was answered with %q", token, got)
	}
	return newSocket(ws)
}

// raw sends CONNECT as it is given and returns the CONNACK.
func (d *device) raw(nc net.Conn, p *mqtt.Connect) (*mqttPeer, mqtt.Connack) {
	d.t.Helper()
	m := &mqttPeer{t: d.t, d: d, nc: nc}
	m.send(p)
	ack, ok := m.read().(mqtt.Connack)
	if !ok {
		d.t.Fatal("no CONNACK")
	}
	return m, ack
}

func (d *device) connect() *mqtt.Connect {
	p := &mqtt.Connect{ClientID: d.id, HasUsername: true, Username: d.username(), Clean: true, KeepAlive: 60}
	if token := d.token(); token != "" {
		p.HasPassword, p.Password = true, []byte(token)
	}
	return p
}

// mqtt connects, and subscribes with QoS 1.
func (d *device) mqtt() *mqttPeer {
	d.t.Helper()
	return d.mqttOn(d.dial(d.mqtts))
}

func (d *device) mqttOn(nc net.Conn) *mqttPeer {
	d.t.Helper()
	m, ack := d.raw(nc, d.connect())
	if ack.Code != 0 || ack.Present {
		d.t.Fatalf("CONNACK %+v", ack)
	}
	m.subscribe("$dps/registrations/res/#", 1, 1)
	return m
}

type packet interface{ Append(b []byte) []byte }

func (m *mqttPeer) send(p packet) {
	m.t.Helper()
	m.nc.SetDeadline(time.Now().Add(patience))
	if _, err := m.nc.Write(p.Append(nil)); err != nil {
		m.t.Fatal(err)
	}
}

// read returns the next packet; a PUBLISH with QoS 1 is not acknowledged.
func (m *mqttPeer) read() any {
	m.t.Helper()
	p, err := m.tryRead()
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

func (m *mqttPeer) tryRead() (any, error) {
	for {
		p, n, err := mqtt.Parse(m.buf)
		switch {
		case err == nil:
			m.buf = bytes.Clone(m.buf[n:])
			return p, nil
		case !errors.Is(err, mqtt.ErrShort):
			return nil, err
		}
		b := make([]byte, 4096)
		m.nc.SetDeadline(time.Now().Add(patience))
		n, err = m.nc.Read(b)
		if err != nil {
			return nil, err
		}
		m.buf = append(m.buf, b[:n]...)
	}
}

// gone wants the server to close the connection without another packet.
func (m *mqttPeer) gone() {
	m.t.Helper()
	if p, err := m.tryRead(); err == nil {
		m.t.Errorf("%+v where the connection should have been closed", p)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		m.t.Error("the connection stays open")
	}
}

// ends sends packets at once, without waiting for answers, and wants the server
// to close the connection in its own time: so it may be gone before it has
// answered. It returns what came until then.
func (m *mqttPeer) ends(packets ...packet) (got []any) {
	m.t.Helper()
	var b []byte
	for _, p := range packets {
		b = p.Append(b)
	}
	m.nc.Write(b) // what fails shows in the reading
	for {
		p, err := m.tryRead()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			m.t.Error("the connection stays open")
		}
		if err != nil {
			return got
		}
		if ack, ok := p.(mqtt.Connack); ok && ack.Code != 0 {
			m.t.Errorf("%+v", ack)
		}
		got = append(got, p)
	}
}

func (m *mqttPeer) subscribe(filter string, qos, want byte) {
	m.t.Helper()
	m.next++
	m.send(&mqtt.Subscribe{ID: m.next, Subs: []mqtt.Subscription{{Filter: filter, QoS: qos}}})
	p := m.read()
	ack, ok := p.(mqtt.Suback)
	if s, is := p.(*mqtt.Suback); is {
		ack, ok = *s, true
	}
	if !ok || ack.ID != m.next || len(ack.Codes) != 1 || ack.Codes[0] != want {
		m.t.Errorf("SUBACK %+v, want code %d", p, want)
	}
}

// publish sends a request with QoS 1 and wants the PUBACK before all else.
func (m *mqttPeer) publish(topic, payload string) {
	m.t.Helper()
	m.next++
	m.send(&mqtt.Publish{Topic: topic, Payload: []byte(payload), QoS: 1, ID: m.next})
	p := m.read()
	ack, ok := p.(mqtt.Puback)
	if s, is := p.(*mqtt.Puback); is {
		ack, ok = *s, true
	}
	if !ok || ack.ID != m.next {
		m.t.Errorf("%+v instead of PUBACK %d", p, m.next)
	}
}

// reply reads an answer, checks how it was sent, and acknowledges it.
func (m *mqttPeer) reply() (topic string, a *answer) {
	m.t.Helper()
	p, ok := m.read().(*mqtt.Publish)
	if !ok || p.QoS != 1 || p.ID == 0 || p.Retain || p.Dup {
		m.t.Fatalf("answer %+v, want QoS 1 with an id, not retained", p)
	}
	m.send(mqtt.Puback{ID: p.ID})
	var code int
	if _, err := fmt.Sscanf(p.Topic, "$dps/registrations/res/%d/?$rid=", &code); err != nil {
		m.t.Fatalf("topic %q", p.Topic)
	}
	return p.Topic, newAnswer(m.t, code, p.Payload)
}

func (m *mqttPeer) newRID() string { m.rid++; return fmt.Sprint("r", m.rid) }

// ask sends a request, such as PUT/iotdps-register, and returns its answer; the
// topic must be as the specification has it.
func (m *mqttPeer) ask(request, payload string) *answer {
	m.t.Helper()
	rid := m.newRID()
	m.publish("$dps/registrations/"+request+"/?$rid="+rid, payload)
	topic, a := m.reply()
	want := fmt.Sprintf("$dps/registrations/res/%d/?$rid=%s", a.code, rid)
	hint, found := strings.CutPrefix(topic, want)
	if needs := a.code == 202 || a.code == 429 || a.code >= 500; !found || needs != strings.HasPrefix(hint, "&retry-after=") || !needs && hint != "" {
		m.t.Errorf("topic %q", topic)
	}
	return a
}

func (m *mqttPeer) register(body string) *answer {
	m.t.Helper()
	return m.ask("PUT/iotdps-register", body)
}

func (m *mqttPeer) poll(operation, payload string) *answer {
	m.t.Helper()
	rid := m.newRID()
	m.publish("$dps/registrations/GET/iotdps-get-operationstatus/?$rid="+rid+"&operationId="+operation, payload)
	topic, a := m.reply()
	if want := fmt.Sprintf("$dps/registrations/res/%d/?$rid=%s", a.code, rid); a.code == 200 && topic != want {
		m.t.Errorf("topic %q, want %q", topic, want)
	}
	return a
}

// outcome registers and returns the finished operation.
func (m *mqttPeer) outcome(body string) *answer {
	m.t.Helper()
	a := m.register(body)
	if a.code != 202 {
		m.t.Fatalf("register: %d %s", a.code, a.raw)
	}
	operation := a.get("operationId")
	return m.d.finished(operation, func() *answer { return m.poll(operation, " ") })
}
