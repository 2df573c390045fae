package dpsapi_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/nave-hub/nave/internal/mqtt"
)

func TestWebSocket(t *testing.T) {
	k := open(t)
	d := k.enrol(t, "ws-1")
	for name, c := range map[string][2]string{
		"DPS-078 mqtt on the usual path":         {"/$iothub/websocket", "mqtt"},
		"DPS-078 the path percent-encoded":       {"/%24iothub/websocket", "mqtt"},
		"DPS-079 mqtt on Java's path":            {"/mqtt", "mqtt"},
		"DPS-080 risk 3: mqtt on C#'s path":      {"/", "mqtt"},
		"DPS-081 MQTT in upper case":             {"/$iothub/websocket", "MQTT"},
		"DPS-082 mqtt and iothub-no-client-cert": {"/$iothub/websocket?iothub-no-client-cert=true", "mqtt"},
	} {
		t.Run(name, func(t *testing.T) { d.mqttOn(d.socket(c[0], c[1])).register("").want(202, 0) })
	}
	for name, path := range map[string]string{
		"DPS-080 AMQPWSB10 on C#'s path":         "/",
		"DPS-078 AMQPWSB10 on the usual path":    "/$iothub/websocket",
		"DPS-082 AMQP and iothub-no-client-cert": "/$iothub/websocket?iothub-no-client-cert=true",
	} {
		t.Run(name, func(t *testing.T) { d.amqpOn(d.socket(path, "AMQPWSB10"), d.sasl()).ask(registerMessage("")) })
	}
	t.Run("DPS-082 iothub-no-client-cert drops the certificate", func(t *testing.T) {
		c := selfSigned(t, "ws-2")
		k.enrolCert(t, "ws-2", c)
		x := k.device(t, "ws-2").withCert(c)
		x.mqttOn(x.socket("/mqtt?iothub-no-client-cert=true", "mqtt")).register("").want(401, 401002)
	})
	t.Run("DPS-082 AMQP and iothub-no-client-cert, with a certificate", func(t *testing.T) {
		c := selfSigned(t, "ws-3")
		k.enrolCert(t, "ws-3", c)
		x := k.device(t, "ws-3").withCert(c)
		x.amqpOn(x.socket("/$iothub/websocket?iothub-no-client-cert=true", "AMQPWSB10"), x.sasl()).ask(registerMessage(""))
	})
	t.Run("DPS-083 packets and frames", func(t *testing.T) {
		nc := d.socket("/$iothub/websocket", "mqtt").(*socket)
		m := &mqttPeer{t: t, d: d, nc: nc}
		b := d.connect().Append(nil)
		nc.Write(b[:5])
		nc.Write(b[5:])
		if ack, ok := m.read().(mqtt.Connack); !ok || ack.Code != 0 {
			t.Fatalf("%+v", ack)
		}
		b = (&mqtt.Subscribe{ID: 1, Subs: []mqtt.Subscription{{Filter: "$dps/registrations/res/#", QoS: 1}}}).Append(nil)
		b = (&mqtt.Publish{Topic: registerTopic + "1", QoS: 1, ID: 2}).Append(b)
		nc.Write(b)
		m.read()
		m.read()
		if _, a := m.reply(); a.code != 202 {
			t.Errorf("%s", a.raw)
		}
		if err := nc.WriteMessage(websocket.PingMessage, []byte("ping")); err != nil {
			t.Fatal(err)
		}
		pong := make(chan string, 1)
		nc.SetPongHandler(func(text string) error { pong <- text; return nil })
		m.send(&mqtt.Pingreq{})
		m.read()
		if got := <-pong; got != "ping" {
			t.Errorf("%q", got)
		}
	})
	t.Run("DPS-084 certificates over WebSockets", func(t *testing.T) {
		c := selfSigned(t, "ws-3")
		k.enrolCert(t, "ws-3", c)
		x := k.device(t, "ws-3").withCert(c)
		if a := x.mqttOn(x.socket("/$iothub/websocket", "mqtt")).outcome(""); a.get("status") != "assigned" {
			t.Errorf("%s", a.raw)
		}
		if a := x.amqpOn(x.socket("/$iothub/websocket", "AMQPWSB10"), x.sasl()).outcome(""); a.get("status") != "assigned" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-085 no sub-protocol", func(t *testing.T) {
		for _, offered := range [][]string{nil, {"other"}} {
			dialer := websocket.Dialer{TLSClientConfig: d.tls(), Subprotocols: offered, NetDialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, d.https)
			}}
			_, resp, err := dialer.Dial("wss://"+d.host+"/$iothub/websocket", nil)
			if err == nil || resp == nil || resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%v, %v", resp, err)
			}
		}
	})
}
