package controlapi_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

func (d *unit) askCredential(token, body string) *answer {
	d.x.Helper()
	return d.x.do("POST", "/iot/v1/mqtt-credentials", body, bearer(token), jsonBody)
}

func (d *unit) credentialBody() string { return `{"device_id":"` + d.id + `"}` }

// TestMQTTOverHTTPS has the rows of iot-v1 15.9 that are HTTPS calls.
func TestMQTTOverHTTPS(t *testing.T) {
	s := openSite(t)
	s.row(t, "IOT-163 catalogue", func(x *row) {
		d := x.d(1)
		a := x.do("GET", d.path("mqtt"), "", bearer(d.token(control.ScopeCatalog))).want(200, 2000, "mqtt_client_id", d.id,
			"feed_data_ack_topic", "iot/v1/devices/"+d.id+"/feed-data/acks", "limits.inflight_max", "20", "limits.keep_alive_max", "300")
		if routes, _ := a.get("routes").([]any); len(routes) != 5 {
			x.Errorf("%d routes", len(routes))
		}
		if _, port, err := net.SplitHostPort(x.Node.Address("mqtt")); err != nil || a.get("broker_url") != "mqtts://"+navetest.Host+":"+port {
			x.Errorf("broker %v, %v", a.get("broker_url"), err)
		}
	})
	s.row(t, "IOT-164 catalogue of D6", func(x *row) {
		if a := x.d(6).read("mqtt").want(200, 2000); a.get("credential_endpoint") != nil {
			x.Errorf("%s", a.raw)
		}
	})
	s.row(t, "IOT-165 credential", func(x *row) {
		d := x.d(1)
		a := d.askCredential(d.token(), d.credentialBody()).want(201, 2000, "mqtt_client_id", d.id, "mqtt_username", d.id, "expires_in", "3600", "renew_after", "2880")
		if password, _ := a.get("mqtt_credential").(string); len(password) != 43 {
			x.Errorf("%s", a.raw)
		}
	})
	s.row(t, "IOT-166 credential without scope", func(x *row) {
		d := x.d(1)
		d.askCredential(d.token(control.ScopeCatalog), d.credentialBody()).reason(403, 4003, "insufficient_scope", "error.details.required_scope", control.ScopeMQTT)
	})
	s.row(t, "IOT-167 credential for D2", func(x *row) {
		d := x.d(1)
		d.askCredential(d.token(), x.d(2).credentialBody()).reason(403, 4003, "device_mismatch")
	})
	s.row(t, "IOT-168 credential for nobody", func(x *row) {
		d := x.d(1)
		d.askCredential(d.token(), `{}`).fields("/device_id required")
	})
	s.row(t, "IOT-169 credential for D6", func(x *row) {
		d := x.d(6)
		d.askCredential(d.token(), d.credentialBody()).reason(403, 4003, "insufficient_scope")
	})
	s.row(t, "IOT-170 broker down", func(x *row) {
		d := x.d(1)
		url := x.control.Broker()
		x.control.SetBroker("")
		defer x.control.SetBroker(url)
		d.askCredential(d.token(), d.credentialBody()).reason(503, 5003, "broker_unavailable")
	})
	s.row(t, "IOT-171 credential for D3", func(x *row) {
		d := x.d(3)
		d.askCredential(d.token(), d.credentialBody()).reason(402, 4002, "subscription_inactive")
	})
	s.row(t, "IOT-199 credential when the subscription has ended", func(x *row) {
		d := x.d(1)
		token := d.token()
		change(x, d, func(c *nave.ControlDevice) { c.Inactive = true })
		d.askCredential(token, d.credentialBody()).reason(402, 4002, "subscription_inactive")
	})
	s.row(t, "IOT-203 mqtt removed from D1", func(x *row) {
		d := x.d(1)
		token := d.token()
		change(x, d, func(c *nave.ControlDevice) { c.Protocols = []string{"https"} })
		d.askCredential(token, d.credentialBody()).reason(403, 4003, "protocol_not_available")
	})
}

func change(x *row, d *unit, f func(*nave.ControlDevice)) {
	x.Helper()
	if _, err := x.control.Change(context.Background(), d.id, func(c *nave.ControlDevice) error { f(c); return nil }); err != nil {
		x.Fatal(err)
	}
}

// TestMQTTKeys: both transports share the keys of items.
func TestMQTTKeys(t *testing.T) {
	b := openBroker(t)
	b.row(t, "IOT-194 the same event over HTTPS", func(x *row) {
		u := x.d(1)
		d := &device{b: b, id: u.id, secret: u.secret, C1: u.c1, S1: u.s1}
		id := accepted(x, d.connect(x, 4).publish(x, d.feedTopic(x, d.S1), i0), "created")
		a := u.feed(u.i0()).want(200, 2000, "status", "idempotent")
		if a.number("feed_data_id") != int(id) {
			x.Errorf("feed_data_id %v, want %v", a.get("feed_data_id"), id)
		}
		u.stored(u.s1, 1)
	})
}

func TestMQTTPlain(t *testing.T) {
	s := openSite(t, func(c *node.Config) { c.Listen.MQTTPlain = "127.0.0.1:0" })
	s.row(t, "IOT-175 CONNECT over plain TCP", func(x *row) {
		d := x.d(1)
		password := d.askCredential(d.token(), d.credentialBody()).want(201, 2000).get("mqtt_credential").(string)
		for _, level := range []byte{4, 5} {
			connect := (&mqtt.Connect{Level: level, ClientID: d.id, HasUsername: true, Username: d.id, HasPassword: true, Password: []byte(password), Clean: true}).Append(nil)
			read := func(listener string, over func(net.Conn) net.Conn) []byte {
				nc, err := net.Dial("tcp", x.Node.Address(listener))
				if err != nil {
					x.Fatal(err)
				}
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(patience))
				c := over(nc)
				c.Write(connect)
				got := make([]byte, 4)
				n, _ := io.ReadFull(c, got)
				return got[:n]
			}
			plain := func(nc net.Conn) net.Conn { return nc }
			// The plain port is the hub's, which knows no such user and no 5.0.
			if got := read("mqttPlain", plain); len(got) != 4 || got[3] == 0 {
				x.Errorf("the plain port answers %x", got)
			}
			if got := read("mqtt", plain); len(got) > 0 && got[0]>>4 == 2 {
				x.Errorf("the TLS port answers plain text with %x", got)
			}
			over := func(nc net.Conn) net.Conn {
				return tls.Client(nc, &tls.Config{RootCAs: x.Roots, ServerName: x.Hub.Host()})
			}
			if got := read("mqtt", over); len(got) != 4 || got[3] != 0 {
				x.Errorf("over TLS: %x", got)
			}
		}
	})
}
