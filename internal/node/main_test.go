package node_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
)

// patience is how long a test waits for anything.
const patience = time.Minute

func TestMain(m *testing.M) {
	if run, ok := children[os.Getenv("NAVE_TEST_CHILD")]; ok {
		run()
		return
	}
	code := m.Run()
	stopPostgres()
	if code == 0 {
		if err := left(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// left returns the goroutines that do not end; the last ones of a server do so a
// moment after it.
func left(o ...goleak.Option) (err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = goleak.Find(o...); err == nil {
			return nil
		}
	}
	return err
}

// children are what the test binary does when it is started by a test.
var children = map[string]func(){"bind": bindChild, "node": nodeChild}

// got is a message that a client has received.
type got struct{ topic, body string }

// client is an MQTT connection with what came over it.
type client struct {
	*mqtt.Client
	t       testing.TB
	got     chan got
	acked   chan uint16
	closed  chan error
	present bool
}

// dial connects as the device over a connection that is open.
func dial(t testing.TB, nc net.Conn, d *navetest.Device, change ...func(*mqtt.ClientOptions)) (*client, error) {
	t.Helper()
	o := mqtt.ClientOptions{ClientID: d.ID.String(), Username: d.Username(), Password: []byte(d.Token()), KeepAlive: 60}
	for _, f := range change {
		f(&o)
	}
	c := &client{t: t, got: make(chan got, 100), acked: make(chan uint16, 100), closed: make(chan error, 1)}
	var err error
	c.Client, c.present, err = mqtt.Open(nc, o, mqtt.ClientHandler{
		Message: func(p *mqtt.Publish) { c.got <- got{p.Topic, string(p.Payload)} },
		Acked:   func(id uint16) { c.acked <- id },
		Closed:  func(err error) { c.closed <- err },
	})
	if err == nil {
		t.Cleanup(c.Kill)
	}
	return c, err
}

// connect connects over the MQTT listener.
func connect(t testing.TB, k *navetest.Kit, d *navetest.Device, change ...func(*mqtt.ClientOptions)) *client {
	t.Helper()
	c, err := dial(t, k.DialMQTT(), d, change...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *client) subscribe(filters ...string) {
	c.t.Helper()
	var subs []mqtt.Subscription
	for _, f := range filters {
		subs = append(subs, mqtt.Subscription{Filter: f, QoS: 1})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if codes, err := c.Subscribe(ctx, subs...); err != nil || bytes.IndexByte(codes, 0x80) >= 0 {
		c.t.Fatalf("SUBSCRIBE: %x, %v", codes, err)
	}
}

// send publishes telemetry and waits for its PUBACK.
func (c *client) send(device string, id uint16, body string) {
	c.t.Helper()
	c.publish("devices/"+device+"/messages/events/", id, body)
	if got := await(c.t, c.acked, "PUBACK"); got != id {
		c.t.Errorf("PUBACK %d, want %d", got, id)
	}
}

func (c *client) publish(topic string, id uint16, body string) {
	c.t.Helper()
	p := &mqtt.Publish{Topic: topic, Payload: []byte(body), QoS: min(1, byte(id)), ID: id}
	if id > 0 {
		p.QoS = 1
	}
	if err := c.Publish(p); err != nil {
		c.t.Fatal(err)
	}
}

func await[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("no %s came", what)
	}
	return v
}

// until repeats f until it is true, for what a node does on its own time.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func telemetry(e *nave.Event) bool { return e.Source == nave.Telemetry }
