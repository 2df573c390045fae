package dpsapi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// apiVersion is what most SDKs send.
const apiVersion = "2019-03-31"

// device is what a device knows: its id and a key or certificates.
type device struct {
	*kit
	t       testing.TB
	host    string // that it dials
	scope   string
	id      string
	key     string            // base64
	cert    []tls.Certificate // at most one
	version string
}

func (k *kit) device(t testing.TB, id string) *device {
	return &device{kit: k, t: t, host: k.host, scope: k.scope, id: id, version: apiVersion}
}

// withKey returns the device with a symmetric key.
func (d *device) withKey(key string) *device {
	c := *d
	c.key = key
	return &c
}

func (d *device) withCert(c tls.Certificate) *device {
	x := *d
	x.cert = []tls.Certificate{c}
	return &x
}

func (d *device) withVersion(v string) *device {
	x := *d
	x.version = v
	return &x
}

func (d *device) resource() string { return d.scope + "/registrations/" + d.id }

// token is a SAS token of the device, "" without a key.
func (d *device) token() string {
	if d.key == "" {
		return ""
	}
	return d.sign(d.resource(), "registration", time.Hour)
}

func (d *device) sign(resource, policy string, life time.Duration) string {
	d.t.Helper()
	text, err := cred.Sign(resource, d.key, policy, d.now().Add(life))
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}

// answer is what came back, whatever the protocol.
type answer struct {
	t      testing.TB
	code   int // HTTP status, or the number in an MQTT topic
	header http.Header
	raw    []byte
	body   map[string]any
}

func newAnswer(t testing.TB, code int, raw []byte) *answer {
	t.Helper()
	a := &answer{t: t, code: code, raw: raw}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&a.body); err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	noNulls(t, a.body)
	return a
}

// noNulls holds every answer against DPS-143.
func noNulls(t testing.TB, v any) {
	t.Helper()
	switch v := v.(type) {
	case nil:
		t.Error("DPS-143: a null in an answer")
	case map[string]any:
		for _, x := range v {
			noNulls(t, x)
		}
	case []any:
		for _, x := range v {
			noNulls(t, x)
		}
	}
}

// get walks the body: "registrationState.tpm.authenticationKey"; "" for nothing.
func (a *answer) get(path string) string {
	if v := a.at(path); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

func (a *answer) at(path string) any {
	var v any = a.body
	for part := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[part]
	}
	return v
}

// want checks status and errorCode; 0 for none.
func (a *answer) want(code, errorCode int) *answer {
	a.t.Helper()
	got := a.get("errorCode")
	if errorCode == 0 && got != "" || errorCode != 0 && got != fmt.Sprint(errorCode) || a.code != code {
		a.t.Errorf("%d %s, want %d with %d", a.code, a.raw, code, errorCode)
	}
	return a
}

// http sends a request; header is "Name: value" each. The token goes along
// unless an Authorization header is named.
func (d *device) http(method, path, body string, header ...string) *answer {
	d.t.Helper()
	r, err := http.NewRequest(method, "https://"+d.host+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if token := d.token(); token != "" {
		r.Header.Set("Authorization", token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: d.tls(), DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, d.https)
		}}, Timeout: patience}
	resp, err := c.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	a := newAnswer(d.t, resp.StatusCode, raw)
	a.header = resp.Header
	return a
}

// tls is how the device dials.
func (d *device) tls() *tls.Config {
	return &tls.Config{RootCAs: d.roots, ServerName: d.host, Certificates: d.cert}
}

func (d *device) path(rest string) string {
	return "/" + d.scope + "/registrations/" + d.id + rest + "?api-version=" + d.version
}

func (d *device) register(body string, header ...string) *answer {
	d.t.Helper()
	return d.http("PUT", d.path("/register"), body, header...)
}

func (d *device) poll(operation string) *answer {
	d.t.Helper()
	return d.http("GET", d.path("/operations/"+operation), "")
}

func (d *device) lookup(body string) *answer {
	d.t.Helper()
	return d.http("POST", d.path(""), body)
}

// finished polls until the operation is over; ask is one poll.
func (d *device) finished(operation string, ask func() *answer) *answer {
	d.t.Helper()
	for until, pause := time.Now().Add(patience), time.Millisecond; time.Now().Before(until); pause *= 4 {
		d.pass(3 * time.Second) // so that the polls are not too many
		a := ask()
		if a.code != 202 {
			return a
		}
		d.ended(operation, pause)
	}
	d.t.Fatal("the operation does not end")
	return nil
}

// ended waits until the service has stored how the operation ended, and then
// for the pause, as polls may see it a moment later. Each poll moves the clock,
// and tokens and certificates run out when there are many of them.
func (d *device) ended(operation string, pause time.Duration) {
	d.t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(time.Millisecond) {
		r, err := d.ProvisioningRecord(d.t.Context(), operation)
		if err != nil {
			d.t.Fatal(err)
		}
		if r.Status != dps.Assigning {
			break
		}
	}
	time.Sleep(pause)
}

// outcome registers over HTTPS and returns the finished operation.
func (d *device) outcome(body string) *answer {
	d.t.Helper()
	a := d.register(body)
	if a.code != 202 {
		d.t.Fatalf("register: %d %s", a.code, a.raw)
	}
	operation := a.get("operationId")
	return d.finished(operation, func() *answer { return d.poll(operation) })
}

// assigned registers over HTTPS and wants a hub.
func (d *device) assigned(body string) *answer {
	d.t.Helper()
	a := d.outcome(body)
	if a.code != 200 || a.get("status") != "assigned" || a.get("registrationState.assignedHub") == "" {
		d.t.Fatalf("%d %s, want assigned", a.code, a.raw)
	}
	return a
}
