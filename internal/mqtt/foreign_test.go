package mqtt_test

import (
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/nave-hub/nave/internal/mqtt"
)

// TestPaho has a foreign client connect, subscribe, publish in both directions with QoS 1, unsubscribe, ping, and leave.
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
	o := paho.NewClientOptions().AddBroker("tcp://memory:1").SetClientID("d1").SetUsername("u").SetPassword("p").SetProtocolVersion(4).
		SetKeepAlive(time.Second).SetPingTimeout(5 * time.Second).SetAutoReconnect(false).SetCustomOpenConnectionFn(
		func(*url.URL, paho.ClientOptions) (net.Conn, error) { return c, nil })
	client := paho.NewClient(o)
	finish := func(what string, token paho.Token) {
		t.Helper()
		if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
			t.Fatalf("%s: %v", what, token.Error())
		}
	}
	finish("connect", client.Connect())
	conn = <-conns
	close(ready)
	got := make(chan string, 100)
	finish("subscribe", client.Subscribe("down/#", 1, func(_ paho.Client, m paho.Message) { got <- m.Topic() + " " + string(m.Payload()) }))
	for i := range 50 {
		finish("publish", client.Publish("up", 1, false, fmt.Sprint(i)))
		if m := <-got; m != fmt.Sprint("down/up ", i) {
			t.Fatalf("%d: %q", i, m)
		}
		<-settled
	}
	// Silent for longer than its keep-alive allows, the client lives only by its pings.
	select {
	case err := <-h.ended:
		t.Fatalf("closed: %v", err)
	case <-time.After(2500 * time.Millisecond):
	}
	finish("unsubscribe", client.Unsubscribe("down/#", "never"))
	client.Disconnect(250)
	ended(t, h, conn, nil)
}
