package node_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

// meter passes on what a hub tells of traffic.
type meter struct {
	opened, closed chan *hub.Traffic
	why            chan *fault.Error
	requests       chan string
}

func newMeter() *meter {
	return &meter{make(chan *hub.Traffic, 20), make(chan *hub.Traffic, 20), make(chan *fault.Error, 20), make(chan string, 20)}
}

func (m *meter) Opened(t *hub.Traffic) { m.opened <- t }

func (m *meter) Closed(t *hub.Traffic, why *fault.Error) {
	m.why <- why
	m.closed <- t
}

func (m *meter) Request(device, protocol, remote string, up, down int64) {
	m.requests <- fmt.Sprintln(device, protocol, remote, up, down)
}

// none wants nothing to have come.
func (m *meter) none(t *testing.T) {
	t.Helper()
	if a, b, c := len(m.opened), len(m.closed), len(m.requests); a+b+c > 0 {
		t.Errorf("the meter has heard of %d openings, %d ends, %d requests", a, b, c)
	}
}

// counter counts on the client's side.
type counter struct {
	net.Conn
	up, down atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.down.Add(int64(n))
	return n, err
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.up.Add(int64(n))
	return n, err
}

// settled wants one connection to have been opened and closed in an orderly way, with
// the bytes that the client has counted.
func (m *meter) settled(t *testing.T, device, protocol string, c *counter) {
	t.Helper()
	opened, closed := await(t, m.opened, "opening"), await(t, m.closed, "end")
	if why := await(t, m.why, "cause"); why != nil {
		t.Errorf("the cause is %v", why)
	}
	if opened != closed || closed.Device != device || closed.Protocol != protocol || closed.Remote != c.LocalAddr().String() || closed.Since.IsZero() {
		t.Errorf("%s %s %s %v", closed.Device, closed.Protocol, closed.Remote, closed.Since)
	}
	if up, down := closed.Up.Load(), closed.Down.Load(); up != c.up.Load() || down != c.down.Load() || up == 0 || down == 0 {
		t.Errorf("the hub has counted %d up and %d down, the client %d and %d", up, down, c.up.Load(), c.down.Load())
	}
	m.none(t)
}

func TestTraffic(t *testing.T) {
	k := navetest.Start(t, func(c *node.Config) { c.Listen.MQTTPlain = "127.0.0.1:0" })
	m := newMeter()
	d, module := k.Device("d1"), k.Device("d2/m1")
	connect(t, k, d).Close() // nobody counts
	until(t, "the connection has ended", func() bool { return k.Hub.Connections() == 0 })
	k.Hub.SetMeter(m)
	dialTLS := func(listener string) func(*testing.T) net.Conn {
		return func(t *testing.T) net.Conn {
			nc, err := tls.Dial("tcp", k.Node.Address(listener), k.TLS())
			if err != nil {
				t.Fatal(err)
			}
			return nc
		}
	}
	socket := func(path, protocol string) func(*testing.T) net.Conn {
		return func(t *testing.T) net.Conn {
			ws, _, err := upgrade(k, path, protocol)
			if err != nil {
				t.Fatal(err)
			}
			return &wsConn{Conn: ws, parts: 3}
		}
	}
	plain := func(t *testing.T) net.Conn {
		nc, err := net.Dial("tcp", k.Node.Address("mqttPlain"))
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	for _, row := range []struct {
		name string
		on   *navetest.Device
		dial func(*testing.T) net.Conn
	}{
		{"MQTT", d, dialTLS("mqtt")}, {"MQTT of a module", module, dialTLS("mqtt")}, {"MQTT without TLS", d, plain},
		{"MQTT over WebSockets", d, socket("/$iothub/websocket", "mqtt")},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := &counter{Conn: row.dial(t)}
			talkMQTT(t, k, row.on, c)
			m.settled(t, row.on.ID.Device, hub.MQTTTraffic, c)
		})
	}
	t.Run("refused", func(t *testing.T) {
		wrong := *d
		wrong.Key = module.Key
		if c, err := dial(t, k.DialMQTT(), &wrong); err == nil {
			c.Kill()
			t.Error("accepted")
		}
		m.none(t)
	})
	t.Run("killed", func(t *testing.T) {
		c := connect(t, k, d)
		c.send("d1", 1, "x")
		c.Kill()
		await(t, m.closed, "end")
		if why := await(t, m.why, "cause"); why == nil || hub.Stopped(why) != "" {
			t.Errorf("the cause is %v", why)
		}
		await(t, m.opened, "opening")
	})
	t.Run("AMQP", func(t *testing.T) {
		c := &counter{Conn: dialTLS("amqp")(t)}
		talkAMQP(t, d, c)
		m.settled(t, "d1", hub.AMQPTraffic, c)
	})
	t.Run("AMQP over WebSockets", func(t *testing.T) {
		c := &counter{Conn: socket("/$iothub/websocket", "AMQPWSB10")(t)}
		talkAMQP(t, d, c)
		m.settled(t, "d1", hub.AMQPTraffic, c)
	})
	t.Run("HTTPS", func(t *testing.T) { requests(t, k, d, m) })
	if r := k.REST("GET", "/devices/d1", ""); r.Status != 200 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	m.none(t)
}

// talkMQTT has a device do a little of everything and disconnect.
func talkMQTT(t *testing.T, k *navetest.Kit, d *navetest.Device, nc net.Conn) {
	c, err := dial(t, nc, d)
	if err != nil {
		t.Fatal(err)
	}
	own := "devices/" + d.ID.Device
	if d.IsModule() {
		own += "/modules/" + d.Module
	}
	for n := range 20 {
		c.publish(own+"/messages/events/", uint16(n+1), string(bytes.Repeat([]byte{'x'}, n*n*n*5)))
	}
	for n := range 20 {
		if id := await(t, c.acked, "PUBACK"); id != uint16(n+1) {
			t.Errorf("PUBACK %d", id)
		}
	}
	c.subscribe(own + "/messages/devicebound/#")
	if err := k.Backend.SendToDevice(context.Background(), &nave.C2D{On: d.ID, Message: nave.Message{Body: make([]byte, 30_000)}}); err != nil {
		t.Fatal(err)
	}
	await(t, c.got, "message")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	c.Close()
	await(t, c.closed, "end")
}

// talkAMQP has a device put a token, send and close.
func talkAMQP(t *testing.T, d *navetest.Device, nc net.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := amqp.Open(ctx, nc, amqp.ClientOptions{Options: amqp.Options{Hostname: navetest.Host}, Mechanism: amqp.Plain,
		Response: []byte("\x00" + d.ID.String() + "@sas.hub\x00" + d.Token())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	out, lent := make(chan amqp.State, 10), make(chan struct{}, 10)
	l := &amqp.Link{Name: "l", Role: amqp.RoleSender, Target: &amqp.Terminus{Address: "/devices/" + d.ID.Device + "/messages/events"}, Source: &amqp.Terminus{},
		OnCredit: func(uint32, bool) { lent <- struct{}{} },
		OnDisposition: func(o *amqp.Out, s amqp.State, settled bool) {
			if !settled {
				o.Settle(s)
			}
			out <- s
		}}
	if err := c.Begin().Attach(ctx, l); err != nil {
		t.Fatal(err)
	}
	await(t, lent, "credit")
	if _, err := l.Send(amqp.AppendData(nil, make([]byte, 5000)), []byte("t"), 0, false, nil); err != nil {
		t.Fatal(err)
	}
	if s := await(t, out, "outcome"); s != (amqp.Accepted{}) {
		t.Errorf("outcome %v", s)
	}
	c.Close(nil)
	await(t, c.Done(), "end")
}

// requests sends requests over one connection, reading the answers itself.
func requests(t *testing.T, k *navetest.Kit, d *navetest.Device, m *meter) {
	tc, err := tls.Dial("tcp", k.Node.Address("https"), k.TLS())
	if err != nil {
		t.Fatal(err)
	}
	nc := &counter{Conn: tc}
	defer nc.Close()
	in := bufio.NewReader(nc)
	for n, row := range []struct {
		method, path string
		size         int
		status       int
		token        string
	}{
		{"POST", "/devices/d1/messages/events", 10, 204, d.Token()},
		{"POST", "/devices/d1/messages/events", 100_000, 204, d.Token()},
		{"GET", "/devices/d1", 0, 200, k.Policy("iothubowner")}, // not the device's
		{"POST", "/devices/d1/messages/events", 1, 401, "wrong"},
		{"GET", "/devices/d1/messages/devicebound", 0, 204, d.Token()},
		{"POST", "/devices/d1/messages/events", 300_000, 413, d.Token()},
	} {
		up, down := nc.up.Load(), nc.down.Load()
		r, err := http.NewRequest(row.method, "https://"+navetest.Host+row.path+"?api-version=2021-04-12", bytes.NewReader(make([]byte, row.size)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", row.token)
		if err := r.Write(nc); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(in, r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		if answer.StatusCode != row.status {
			t.Errorf("request %d: status %d", n, answer.StatusCode)
		}
		if row.token != d.Token() && row.token != "" && (row.status == 200 || row.status == 401) {
			continue
		}
		want := fmt.Sprintln("d1", hub.HTTPTraffic, nc.LocalAddr(), nc.up.Load()-up, nc.down.Load()-down)
		if got := await(t, m.requests, "request"); got != want {
			t.Errorf("request %d: the hub has counted %s, the client %s", n, got, want)
		}
	}
}
