package node_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/gorilla/websocket"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

// dpsHost is the host of the provisioning service of provisioned.
const dpsHost = "dps.test"

// provisioned starts a node with an individual enrolment of d1.
func provisioned(t *testing.T, change ...func(*node.Config)) (k *navetest.Kit, key string) {
	t.Helper()
	k = navetest.Start(t, append([]func(*node.Config){func(c *node.Config) { c.DPS.Host = dpsHost }}, change...)...)
	e, err := dps.ParseEnrollment([]byte(`{"registrationId":"d1","attestation":{"type":"symmetricKey"}}`), false)
	if err != nil {
		t.Fatal(err)
	}
	if e, err = k.Node.DPS().Operator().PutEnrollment(t.Context(), "d1", e, dps.Match{}); err != nil {
		t.Fatal(err)
	}
	return k, e.Attestation.Keys()[0]
}

// provisioningToken proves d1 to the provisioning service.
func provisioningToken(t *testing.T, k *navetest.Kit, key string) string {
	t.Helper()
	text, err := cred.Sign(k.Node.DPS().Scope()+"/registrations/d1", key, "registration", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestProvisioningTLS(t *testing.T) {
	t.Parallel()
	k, _ := provisioned(t, func(c *node.Config) { c.DPS.Aliases = []string{"global.azure-devices-provisioning.net"} })
	old := k.TLS()
	old.ServerName, old.MinVersion, old.MaxVersion = dpsHost, tls.VersionTLS10, tls.VersionTLS11
	t.Run("DPS-001 TLS 1.1 and 1.2", func(t *testing.T) {
		for _, listener := range []string{"https", "mqtt", "amqp"} {
			if nc, err := tls.Dial("tcp", k.Node.Address(listener), old); err == nil {
				nc.Close()
				t.Errorf("%s takes TLS 1.1", listener)
			}
			c := k.TLS()
			c.ServerName, c.MaxVersion = dpsHost, tls.VersionTLS12
			if s := handshake(t, k, listener, c); s.Version != tls.VersionTLS12 {
				t.Errorf("%s: version %x", listener, s.Version)
			}
		}
	})
	t.Run("DPS-004 the request for a certificate names no CA and comes in the first handshake", func(t *testing.T) {
		for _, listener := range []string{"https", "mqtt", "amqp"} {
			asked := 0
			c := k.TLS()
			c.ServerName = dpsHost
			c.GetClientCertificate = func(q *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if asked++; len(q.AcceptableCAs) > 0 {
					t.Errorf("%s: %d CAs", listener, len(q.AcceptableCAs))
				}
				return &tls.Certificate{}, nil
			}
			handshake(t, k, listener, c)
			if asked != 1 {
				t.Errorf("%s: asked %d times", listener, asked)
			}
		}
	})
	t.Run("DPS-005 names in the server certificate", func(t *testing.T) {
		c := k.TLS()
		c.ServerName = dpsHost
		cert := handshake(t, k, "https", c).PeerCertificates[0]
		for _, name := range []string{dpsHost, "global.azure-devices-provisioning.net", navetest.Host} {
			if err := cert.VerifyHostname(name); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestProvisioningRouted registers through every door of the node: which of its
// services a client means follows from names, never from ports.
func TestProvisioningRouted(t *testing.T) {
	t.Parallel()
	k, key := provisioned(t, func(c *node.Config) { c.DPS.Aliases = []string{"127.0.0.1"} })
	scope, token := k.Node.DPS().Scope(), provisioningToken(t, k, key)
	path := "/" + scope + "/registrations/d1/register?api-version=2021-06-01"
	for _, host := range []string{dpsHost, "127.0.0.1", navetest.Host} {
		t.Run("https "+host, func(t *testing.T) {
			r := k.REST("PUT", path, "{}", "Host: "+host, "Authorization: "+token)
			if r.Status != http.StatusAccepted {
				t.Errorf("%d %s", r.Status, r.Body)
			}
		})
	}
	t.Run("the hub's host keeps its own paths", func(t *testing.T) {
		if r := k.REST("PUT", "/0ne00000000/registrations/d1/register?api-version=2021-06-01", "{}"); r.Status != http.StatusNotFound && r.Status != http.StatusUnauthorized {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	})
	username := scope + "/registrations/d1/api-version=2021-06-01"
	t.Run("mqtt by the user name", func(t *testing.T) { registerMQTT(t, k.DialMQTT(), username, token) })
	for _, path := range []string{"/", "/mqtt", "/$iothub/websocket", "/%24iothub/websocket"} {
		t.Run("websocket "+path, func(t *testing.T) {
			registerMQTT(t, &wsConn{Conn: dpsSocket(t, k, path, "mqtt"), parts: 1}, username, token)
			registerAMQP(t, &wsConn{Conn: dpsSocket(t, k, path, "AMQPWSB10"), parts: 1}, scope, token)
		})
	}
	for _, name := range []string{dpsHost, ""} {
		t.Run("amqp by the name "+name, func(t *testing.T) {
			c := k.TLS()
			if c.ServerName = name; name == "" { // as clients do that dial an address
				c.InsecureSkipVerify = true
			}
			nc, err := tls.Dial("tcp", k.Node.Address("amqp"), c)
			if err != nil {
				t.Fatal(err)
			}
			registerAMQP(t, nc, scope, token)
		})
	}
}

func dpsSocket(t *testing.T, k *navetest.Kit, path string, protocol string) *websocket.Conn {
	t.Helper()
	c := k.TLS()
	c.ServerName = dpsHost
	d := websocket.Dialer{TLSClientConfig: c, Subprotocols: []string{protocol}, HandshakeTimeout: patience,
		NetDialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, k.Node.Address("https"))
		}}
	ws, _, err := d.Dial("wss://"+dpsHost+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

// registerMQTT expects the answer 202 or 200 to a register.
func registerMQTT(t *testing.T, nc net.Conn, username, token string) {
	t.Helper()
	got := make(chan string, 1)
	c, _, err := mqtt.Open(nc, mqtt.ClientOptions{ClientID: "d1", Username: username, Password: []byte(token), Clean: true}, mqtt.ClientHandler{
		Message: func(p *mqtt.Publish) { got <- p.Topic }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Subscribe(t.Context(), mqtt.Subscription{Filter: "$dps/registrations/res/#", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(&mqtt.Publish{Topic: "$dps/registrations/PUT/iotdps-register/?$rid=1", QoS: 1, ID: 1, Payload: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if topic := await(t, got, "answer"); !strings.HasPrefix(topic, "$dps/registrations/res/20") {
		t.Error(topic)
	}
}

// registerAMQP expects an operation as the answer to a register.
func registerAMQP(t *testing.T, nc net.Conn, scope, token string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	address := scope + "/registrations/d1"
	c, err := amqp.NewConn(ctx, nc, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain(address, token)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.NewReceiver(ctx, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.NewSender(ctx, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := amqp.NewMessage([]byte("{}"))
	m.ApplicationProperties = map[string]any{"iotdps-operation-type": "iotdps-register"}
	if err := out.Send(ctx, m, nil); err != nil {
		t.Fatal(err)
	}
	a, err := in.Receive(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var op dps.Operation
	if err := json.Unmarshal(a.GetData(), &op); err != nil || op.ID == "" {
		t.Errorf("%s, %v", a.GetData(), err)
	}
}

// TestLinkedCA has a hub elsewhere be trusted by the file that the setting names,
// and by nothing else.
func TestLinkedCA(t *testing.T) {
	t.Parallel()
	hub := http.NewServeMux()
	hub.HandleFunc("/statistics/devices", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	far := httptest.NewTLSServer(hub)
	t.Cleanup(far.Close)
	file := filepath.Join(t.TempDir(), "far.pem")
	if err := os.WriteFile(file, cred.AppendCertificate(nil, far.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(ca string) error {
		k, _ := provisioned(t, func(c *node.Config) { c.DPS.LinkedCA = ca })
		host := strings.TrimPrefix(far.URL, "https://")
		l, err := dps.ParseLinkedHub([]byte(`{"connectionString":"HostName=` + host + `;SharedAccessKeyName=iothubowner;SharedAccessKey=` + cred.NewKey() + `","location":"far"}`))
		if err == nil {
			_, err = k.Node.DPS().Operator().PutLinkedHub(t.Context(), "far.test", l, dps.Match{})
		}
		return err
	}
	if err := link(""); !errors.Is(err, fault.DPSServiceUnavailable) || !strings.Contains(err.Error(), "dps.linkedCA") {
		t.Errorf("a CA that nobody knows: %v", err)
	}
	// It answers too little to be a hub, but it was asked.
	if err := link(file); err != nil && strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
	if _, err := node.Start(t.Context(), navetest.Configure(t, func(c *node.Config) { c.DPS.LinkedCA = file + "x" }), node.Options{}); err == nil || !strings.Contains(err.Error(), "dps.linkedCA") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestSecondHub has the provisioning service of a process assign to both of its
// hubs, and a restart keep what an operator has unlinked.
func TestSecondHub(t *testing.T) {
	t.Parallel()
	c := navetest.Configure(t, func(c *node.Config) {
		second := c.Hub
		second.Host = "second.test"
		c.Hubs, c.DPS.Host = append(c.Hubs, second), dpsHost
	})
	k := navetest.Run(t, c)
	linked := func(k *navetest.Kit) (names []string) {
		all, _, err := k.Node.DPS().Operator().LinkedHubs(t.Context(), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range all {
			names = append(names, l.Name)
		}
		return names
	}
	if got := linked(k); !slices.Equal(got, []string{navetest.Host, "second.test"}) {
		t.Fatal(got)
	}
	scope := k.Node.DPS().Scope()
	if err := k.Node.DPS().Operator().DeleteLinkedHub(t.Context(), "second.test", dps.Match{}, false); err != nil {
		t.Fatal(err)
	}
	k.Close()
	k = navetest.Run(t, c)
	if got := linked(k); !slices.Equal(got, []string{navetest.Host}) {
		t.Errorf("after a restart: %v", got)
	}
	if got := k.Node.DPS().Scope(); got != scope {
		t.Errorf("id scope %s, was %s", got, scope)
	}
}
