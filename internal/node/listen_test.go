package node_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

func TestTLS(t *testing.T) {
	k := navetest.Start(t, func(c *node.Config) { c.Hub.Aliases = []string{"gateway.test"} })
	t.Run("DEV-001 plain CONNECT on the TLS port", func(t *testing.T) {
		nc, err := net.Dial("tcp", k.Node.Address("mqtt"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(patience))
		nc.Write((&mqtt.Connect{ClientID: "d1", Clean: true}).Append(nil))
		answer, err := io.ReadAll(nc)
		var reset net.Error
		if errors.As(err, &reset) && reset.Timeout() {
			t.Fatal("the connection stays open")
		}
		if len(answer) > 0 && answer[0] == 0x20 {
			t.Errorf("a CONNACK came: %x", answer)
		}
	})
	t.Run("DEV-002 TLS 1.2 without a client certificate", func(t *testing.T) {
		for _, listener := range []string{"mqtt", "amqp", "https"} {
			c := k.TLS()
			c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
			handshake(t, k, listener, c)
		}
	})
	t.Run("SVC-001 handshake with the private CA", func(t *testing.T) {
		for _, listener := range []string{"https", "amqp"} {
			state := handshake(t, k, listener, k.TLS())
			if len(state.VerifiedChains) == 0 || state.PeerCertificates[0].VerifyHostname(navetest.Host) != nil {
				t.Errorf("%s: the chain does not hold", listener)
			}
		}
	})
	t.Run("DEV-003 self-signed client certificate", func(t *testing.T) {
		pair := selfSigned(t, "x1")
		for _, listener := range []string{"mqtt", "amqp", "https"} {
			handshake(t, k, listener, k.TLS(pair))
		}
		sum := sha256.Sum256(pair.Certificate[0])
		print := hex.EncodeToString(sum[:])
		r := k.REST("PUT", "/devices/x1", `{"deviceId":"x1","authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"`+print+`"}}}`)
		if r.Status != 200 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		// The certificate of the handshake proves the identity.
		c, _, err := mqtt.Open(k.DialMQTT(pair), mqtt.ClientOptions{ClientID: "x1", Username: navetest.Host + "/x1/?api-version=2021-04-12"}, mqtt.ClientHandler{})
		if err != nil {
			t.Fatal(err)
		}
		c.Kill()
	})
	t.Run("DEV-004 certificate request", func(t *testing.T) {
		for _, listener := range []string{"mqtt", "amqp", "https"} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				asked := 0
				c := k.TLS()
				c.MinVersion, c.MaxVersion = version, version
				c.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
					asked++
					if len(r.AcceptableCAs) > 0 {
						t.Errorf("%s: %d acceptable CAs", listener, len(r.AcceptableCAs))
					}
					return &tls.Certificate{}, nil
				}
				if handshake(t, k, listener, c); asked != 1 {
					t.Errorf("%s: no certificate is asked for", listener)
				}
			}
		}
	})
	t.Run("no HTTP/2", func(t *testing.T) {
		c := k.TLS()
		c.NextProtos = []string{"h2", "http/1.1"}
		if p := handshake(t, k, "https", c).NegotiatedProtocol; p != "http/1.1" {
			t.Errorf("negotiated %q", p)
		}
	})
	t.Run("DEV-053 gateway host name", func(t *testing.T) {
		d := k.Device("d53")
		c := k.TLS()
		c.ServerName = "gateway.test"
		nc, err := tls.Dial("tcp", k.Node.Address("mqtt"), c)
		if err != nil {
			t.Fatal(err)
		}
		dev, err := dial(t, nc, d) // user name and sr carry the hub's name
		if err != nil {
			t.Fatal(err)
		}
		dev.send("d53", 1, "through the gateway")
		r := k.REST("POST", "/devices/d53/messages/events", "x", "Host: gateway.test", "Authorization: "+d.Token())
		if r.Status != 204 {
			t.Errorf("HTTPS: %d %s", r.Status, r.Body)
		}
	})
}

func handshake(t *testing.T, k *navetest.Kit, listener string, c *tls.Config) tls.ConnectionState {
	t.Helper()
	nc, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", k.Node.Address(listener), c)
	if err != nil {
		t.Fatalf("%s: %v", listener, err)
	}
	defer nc.Close()
	// With TLS 1.3 the server's verdict on the client comes after the handshake.
	nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var timeout net.Error
	if _, err := nc.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%s: the connection ended: %v", listener, err)
	}
	return nc.ConnectionState()
}

// selfSigned makes a certificate that no CA vouches for.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	ca, err := cred.NewCA(name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(ca.PEM())
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// wsConn is a WebSocket as a net.Conn; each write becomes several messages.
type wsConn struct {
	*websocket.Conn
	parts int
	rest  []byte
}

func (c *wsConn) Read(b []byte) (int, error) {
	for len(c.rest) == 0 {
		_, m, err := c.ReadMessage()
		if err != nil {
			return 0, err
		}
		c.rest = m
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *wsConn) Write(b []byte) (int, error) {
	for i := range c.parts {
		from, to := i*len(b)/c.parts, (i+1)*len(b)/c.parts
		if err := c.WriteMessage(websocket.BinaryMessage, b[from:to]); err != nil {
			return from, err
		}
	}
	return len(b), nil
}

func (c *wsConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// upgrade opens a WebSocket at a path, offering protocols.
func upgrade(k *navetest.Kit, path string, protocols ...string) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{TLSClientConfig: k.TLS(), Subprotocols: protocols, HandshakeTimeout: patience,
		NetDialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, k.Node.Address("https"))
		}}
	return d.Dial("wss://"+navetest.Host+path, nil)
}

func TestWebSocket(t *testing.T) {
	k := navetest.Start(t)
	for _, row := range []struct{ name, path, protocol string }{
		{"DEV-005 subprotocol mqtt", "/$iothub/websocket", "mqtt"},
		{"DEV-006 subprotocol MQTT", "/$iothub/websocket", "MQTT"},
		{"DEV-008 query", "/$iothub/websocket?iothub-no-client-cert=true", "mqtt"},
		{"DEV-009 escaped path", "/%24iothub/websocket", "mqtt"},
	} {
		t.Run(row.name, func(t *testing.T) {
			ws, resp, err := upgrade(k, row.path, "chat", row.protocol)
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.Header.Get("Sec-WebSocket-Protocol"); resp.StatusCode != 101 || got != row.protocol {
				t.Errorf("%d, subprotocol %q", resp.StatusCode, got)
			}
			d := k.Device("w" + row.name[4:7])
			c, err := dial(t, &wsConn{Conn: ws, parts: 1}, d)
			if err != nil {
				t.Fatal(err)
			}
			c.send(d.ID.Device, 1, "over a WebSocket")
		})
	}
	t.Run("DEV-010 no known subprotocol", func(t *testing.T) {
		for _, protocols := range [][]string{nil, {"chat"}, {"mqtt5"}} {
			if _, resp, err := upgrade(k, "/$iothub/websocket", protocols...); err == nil || resp.StatusCode != 400 {
				t.Errorf("%v: %v", protocols, err)
			}
		}
		if r := k.REST("GET", "/$iothub/websocket", ""); r.Status != 400 {
			t.Errorf("without upgrade: %d", r.Status)
		}
	})
	t.Run("DEV-011 packets and messages", func(t *testing.T) {
		d := k.Device("d11")
		ws, _, err := upgrade(k, "/$iothub/websocket", "mqtt")
		if err != nil {
			t.Fatal(err)
		}
		nc := &wsConn{Conn: ws, parts: 3}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(patience))
		hello := &mqtt.Connect{ClientID: "d11", Username: d.Username(), HasUsername: true, Password: []byte(d.Token()), HasPassword: true, KeepAlive: 60}
		if _, err := nc.Write(hello.Append(nil)); err != nil {
			t.Fatal(err)
		}
		want := []byte{0x20, 2, 0, 0}
		readExactly(t, nc, want)
		nc.parts = 1
		two := mqtt.Pingreq{}.Append(nil)
		two = (&mqtt.Publish{Topic: "devices/d11/messages/events/", Payload: []byte("second"), QoS: 1, ID: 9}).Append(two)
		if _, err := nc.Write(two); err != nil {
			t.Fatal(err)
		}
		readExactly(t, nc, []byte{0xd0, 0, 0x40, 2, 0, 9})
	})
	t.Run("DEV-012 ping", func(t *testing.T) {
		ws, _, err := upgrade(k, "/$iothub/websocket", "mqtt")
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		pong := make(chan string, 1)
		ws.SetPongHandler(func(text string) error { pong <- text; return nil })
		if err := ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		go ws.ReadMessage()
		if got := await(t, pong, "pong"); got != "are you there" {
			t.Errorf("pong %q", got)
		}
	})
	t.Run("large messages", func(t *testing.T) {
		d := k.Device("dl")
		ws, _, err := upgrade(k, "/$iothub/websocket", "mqtt")
		if err != nil {
			t.Fatal(err)
		}
		c, err := dial(t, &wsConn{Conn: ws, parts: 1}, d)
		if err != nil {
			t.Fatal(err)
		}
		c.send("dl", 1, strings.Repeat("x", 255<<10))
	})
}

func readExactly(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, want) {
		t.Fatalf("got %x, %v, want %x", b, err, want)
	}
}

func TestHostHeader(t *testing.T) {
	k := navetest.Start(t)
	t.Run("DEV-013 foreign host", func(t *testing.T) {
		r := k.REST("GET", "/devices/d1", "", "Host: other.test")
		if r.Status != 400 || !strings.Contains(string(r.Body), "ErrorCode:ArgumentInvalid") {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	})
	t.Run("SVC-028 host with a port", func(t *testing.T) {
		k.Device("d1")
		for _, host := range []string{"hub.test:443", "hub.test:8443", "HUB.test", "localhost:1"} {
			if r := k.REST("GET", "/devices/d1", "", "Host: "+host); r.Status != 200 {
				t.Errorf("%s: %d %s", host, r.Status, r.Body)
			}
		}
	})
}

func TestOverview(t *testing.T) {
	k := navetest.Start(t)
	d := k.Device("d1")
	connect(t, k, d, func(o *mqtt.ClientOptions) { o.Username += "&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1" })
	t.Run("SVC-074 model id", func(t *testing.T) {
		if r := k.REST("GET", "/twins/d1", ""); !strings.Contains(string(r.Body), `"modelId":"dtmi:com:example:Thermostat;1"`) {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	})
	t.Run("SVC-103 connected devices", func(t *testing.T) {
		until(t, "the count is 1", func() bool {
			return strings.Contains(string(k.REST("GET", "/statistics/service", "").Body), `"connectedDeviceCount":1`)
		})
	})
	i, err := k.Backend.Device(context.Background(), nave.ID{Device: "d1"})
	if err != nil || !i.Presence.Connected || i.Presence.Node == "" {
		t.Errorf("%+v, %v", i, err)
	}
}
