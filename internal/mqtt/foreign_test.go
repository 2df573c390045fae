package mqtt_test

import (
	"fmt"
	"net"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/nave-hub/nave/internal/mqtt"
)

// foreign returns a foreign client that will use the connection.
func foreign(nc net.Conn, keepAlive time.Duration) paho.Client {
	return paho.NewClient(paho.NewClientOptions().AddBroker("tcp://memory:1").SetClientID("d1").SetUsername("u").SetPassword("p").SetProtocolVersion(4).
		SetKeepAlive(keepAlive).SetAutoReconnect(false).SetCustomOpenConnectionFn(
		func(*url.URL, paho.ClientOptions) (net.Conn, error) { return nc, nil }))
}

func finish(t *testing.T, what string, token paho.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("%s: %v", what, token.Error())
	}
}

// TestPaho has a foreign client connect, subscribe, publish in both directions with QoS 1, unsubscribe, and leave.
func TestPaho(t *testing.T) {
	c, server := socket(t, true)
	var conn *mqtt.Conn
	ready := make(chan struct{})
	settled := make(chan uint16, 100)
	h := &peer{acked: func(id uint16) { settled <- id }}
	h.subscribe = func(subs []mqtt.Subscription) ([]byte, error) { return []byte{1}, nil }
	h.publish = func(p *mqtt.Publish, ack mqtt.Ack) error {
		<-ready
		go ack.Done()
		return conn.Publish(&mqtt.Publish{Topic: "down/" + p.Topic, Payload: p.Payload, QoS: 1, ID: p.ID})
	}
	conns := serve(t, server, mqtt.Options{}, h)
	client := foreign(c, time.Hour)
	finish(t, "connect", client.Connect())
	conn = <-conns
	close(ready)
	got := make(chan string, 100)
	finish(t, "subscribe", client.Subscribe("down/#", 1, func(_ paho.Client, m paho.Message) { got <- m.Topic() + " " + string(m.Payload()) }))
	for i := range 50 {
		finish(t, "publish", client.Publish("up", 1, false, fmt.Sprint(i)))
		if m := <-got; m != fmt.Sprint("down/up ", i) {
			t.Fatalf("%d: %q", i, m)
		}
		<-settled
	}
	finish(t, "unsubscribe", client.Unsubscribe("down/#", "never"))
	client.Disconnect(uint(patience / time.Millisecond))
	ended(t, h, conn, nil)
}

// TestPahoPings: silent for much longer than its keep-alive allows, a foreign client lives by its pings, and is content with the answers.
func TestPahoPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, server := net.Pipe()
		h := &peer{ended: make(chan error, 1)}
		conns := serve(t, server, mqtt.Options{}, h)
		client := foreign(c, 2*time.Second)
		finish(t, "connect", client.Connect())
		time.Sleep(10 * time.Minute)
		if len(h.ended) != 0 || !client.IsConnectionOpen() {
			t.Fatal("the connection has ended")
		}
		client.Disconnect(uint(patience / time.Millisecond))
		ended(t, h, <-conns, nil)
	})
}
