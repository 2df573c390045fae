// Package navetest starts a whole node on loopback for tests, with a clock that
// the test moves, and the clients that tests need. It is named like httptest.
package navetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/node"
)

// Host is the host name of the hub that Start opens.
const Host = "hub.test"

// Kit is a running node with one hub.
type Kit struct {
	Node    *node.Node
	Hub     *hub.Hub
	Backend *hub.Backend // as the operator
	Roots   *x509.CertPool
	Clock   *Clock

	t     testing.TB
	http  *http.Client
	close func()
}

// Clock is the node's time: the real one, moved by Add, until Freeze.
type Clock struct {
	offset atomic.Int64
	still  atomic.Pointer[time.Time]
}

// Now returns the time on the clock.
func (c *Clock) Now() time.Time {
	offset := time.Duration(c.offset.Load())
	if at := c.still.Load(); at != nil {
		return at.Add(offset)
	}
	return time.Now().Add(offset)
}

// Freeze sets the clock to a time and makes it stand still, but for Add.
func (c *Clock) Freeze(at time.Time) {
	c.offset.Store(0)
	c.still.Store(&at)
}

// Add moves the clock.
func (c *Clock) Add(d time.Duration) { c.offset.Add(int64(d)) }

// Start runs a node with every listener on a free loopback port until the test
// ends. Each change may alter the configuration before.
func Start(t testing.TB, change ...func(*node.Config)) *Kit {
	t.Helper()
	return Run(t, Configure(t, change...))
}

// Configure returns what Start runs, with a data folder of its own; it may be
// run again after Close.
func Configure(t testing.TB, change ...func(*node.Config)) *node.Config {
	t.Helper()
	data := t.TempDir()
	c, err := node.Load("", nil, map[string]any{"data": data, "hub.host": Host, "listen.https": "127.0.0.1:0",
		"listen.mqtt": "127.0.0.1:0", "listen.amqp": "127.0.0.1:0", "listen.console": "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// Run starts a node with a configuration of the caller's until the test ends.
func Run(t testing.TB, c *node.Config) *Kit {
	t.Helper()
	k := &Kit{t: t, Clock: &Clock{}}
	var err error
	k.Node, err = node.Start(context.Background(), c, node.Options{Log: quiet(), Now: k.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	k.close = sync.OnceFunc(func() {
		if err := k.Node.Close(); err != nil {
			t.Errorf("closing the node: %v", err)
		}
	})
	t.Cleanup(k.Close)
	k.Hub = k.Node.Hubs()[0]
	k.Backend = k.Hub.Backend(hub.Operator())
	pem, err := os.ReadFile(k.Node.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	k.Roots = x509.NewCertPool()
	k.Roots.AppendCertsFromPEM(pem)
	k.http = &http.Client{Transport: &http.Transport{TLSClientConfig: k.TLS(), DialContext: k.dialHTTPS}}
	t.Cleanup(k.http.CloseIdleConnections)
	return k
}

// Close stops the node before the test ends.
func (k *Kit) Close() {
	if k.http != nil {
		k.http.CloseIdleConnections()
	}
	k.close()
}

// At returns the same node with another of its hubs in the place of the first.
func (k *Kit) At(n int) *Kit {
	other := *k
	other.Hub = k.Node.Hubs()[n]
	other.Backend = other.Hub.Backend(hub.Operator())
	other.http = &http.Client{Transport: &http.Transport{TLSClientConfig: other.TLS(), DialContext: k.dialHTTPS}}
	k.t.Cleanup(other.http.CloseIdleConnections)
	return &other
}

// quiet logs nothing unless NAVE_TEST_LOG is set.
func quiet() *slog.Logger {
	if os.Getenv("NAVE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

func (k *Kit) dialHTTPS(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", k.Node.Address("https"))
}

// TLS returns a client configuration that trusts the node, with certificates to
// present.
func (k *Kit) TLS(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: k.Roots, ServerName: k.Hub.Host(), Certificates: certs}
}

// Device is a registered identity with its first key.
type Device struct {
	nave.ID
	Key, Second string
	kit         *Kit
}

// Device registers a device or module ("d/m") with keys of its own; the device
// of a module is registered when it does not exist.
func (k *Kit) Device(name string) *Device {
	k.t.Helper()
	id, err := nave.ParseID(name)
	if err != nil {
		k.t.Fatal(err)
	}
	ctx := context.Background()
	if id.IsModule() {
		if _, err := k.Backend.Device(ctx, id.Parent()); err != nil {
			k.Device(id.Device)
		}
	}
	i, err := k.Backend.Put(ctx, id, &nave.IdentityPatch{}, "")
	if err != nil {
		k.t.Fatal(err)
	}
	return &Device{ID: id, Key: i.Auth.Primary, Second: i.Auth.Secondary, kit: k}
}

// Resource returns what the device's tokens are for: host/devices/id.
func (d *Device) Resource() string {
	r := d.kit.Hub.Host() + "/devices/" + d.ID.Device
	if d.IsModule() {
		r += "/modules/" + d.Module
	}
	return r
}

// Token returns a SAS token of the device that is valid for an hour.
func (d *Device) Token() string { return d.TokenFor(time.Hour) }

// TokenFor returns a SAS token of the device that ends after life.
func (d *Device) TokenFor(life time.Duration) string {
	token, err := cred.Sign(d.Resource(), d.Key, "", d.kit.Clock.Now().Add(life))
	if err != nil {
		d.kit.t.Fatal(err)
	}
	return token
}

// Username returns the MQTT user name that SDKs send.
func (d *Device) Username() string {
	return d.kit.Hub.Host() + "/" + d.ID.String() + "/?api-version=2021-04-12"
}

// DialMQTT opens a TLS connection to the MQTT listener.
func (k *Kit) DialMQTT(certs ...tls.Certificate) net.Conn {
	k.t.Helper()
	nc, err := tls.Dial("tcp", k.Node.Address("mqtt"), k.TLS(certs...))
	if err != nil {
		k.t.Fatal(err)
	}
	return nc
}

// Connect opens an MQTT connection as the device.
func (d *Device) Connect(h mqtt.ClientHandler) *mqtt.Client {
	d.kit.t.Helper()
	c, _, err := mqtt.Open(d.kit.DialMQTT(), mqtt.ClientOptions{ClientID: d.ID.String(), Username: d.Username(),
		Password: []byte(d.Token()), KeepAlive: 60}, h)
	if err != nil {
		d.kit.t.Fatal(err)
	}
	d.kit.t.Cleanup(c.Kill)
	return c
}

// Policy returns a SAS token of a shared access policy for the whole hub.
func (k *Kit) Policy(name string) string {
	k.t.Helper()
	p, ok := k.Hub.Policy(name)
	if !ok {
		k.t.Fatalf("the hub has no policy %q", name)
	}
	token, err := cred.Sign(k.Hub.Host(), p.Primary, name, k.Clock.Now().Add(time.Hour))
	if err != nil {
		k.t.Fatal(err)
	}
	return token
}

// Response is an answer that has been read.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// REST sends a request to the HTTPS listener as policy iothubowner, unless
// header ("Name: value" each) has an Authorization. A path without api-version
// gets one.
func (k *Kit) REST(method, path, body string, header ...string) *Response {
	k.t.Helper()
	if !strings.Contains(path, "api-version") {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + "api-version=2021-04-12"
	}
	r, err := http.NewRequest(method, "https://"+k.Hub.Host()+path, bytes.NewReader([]byte(body)))
	if err != nil {
		k.t.Fatal(err)
	}
	r.Header.Set("Authorization", k.Policy("iothubowner"))
	for _, h := range header {
		name, value, _ := strings.Cut(h, ":")
		if r.Header.Set(name, strings.TrimSpace(value)); strings.EqualFold(name, "Host") {
			r.Host = strings.TrimSpace(value)
		}
	}
	resp, err := k.http.Do(r)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return &Response{resp.StatusCode, resp.Header, data}
}

// Events collects the stored events that want accepts, from the beginning of
// all partitions, until it has n of them.
func (k *Kit) Events(n int, want func(*nave.Event) bool) []*nave.Event {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	found := make(chan *nave.Event)
	for p := range k.Hub.Partitions() {
		r, err := k.Backend.Events(ctx, p, nave.Position{})
		if err != nil {
			k.t.Fatal(err)
		}
		go func() {
			defer r.Close()
			for {
				events, err := r.Next(ctx)
				if err != nil {
					return
				}
				for _, e := range events {
					if want(e) {
						select {
						case found <- e:
						case <-ctx.Done():
							return
						}
					}
				}
			}
		}()
	}
	var all []*nave.Event
	for len(all) < n {
		select {
		case e := <-found:
			all = append(all, e)
		case <-ctx.Done():
			k.t.Fatalf("%d of %d events came", len(all), n)
		}
	}
	return all
}
