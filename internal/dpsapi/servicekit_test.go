package dpsapi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// serviceVersion is what most service SDKs send.
const serviceVersion = "2021-10-01"

// caller is a back end that manages the kit's instance.
type caller struct {
	*kit
	t           testing.TB
	policy, key string
	version     string
	client      *http.Client
}

// owner returns a caller with the default policy.
func (k *kit) owner(t testing.TB) *caller {
	t.Helper()
	text, err := k.service.OwnerConnection(within(t))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, "SharedAccessKeyName=")
	policy, key, _ := strings.Cut(rest, ";SharedAccessKey=")
	client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: k.roots, ServerName: serviceHost},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, k.https)
		}}}
	t.Cleanup(client.CloseIdleConnections)
	return &caller{kit: k, t: t, policy: policy, key: key, version: serviceVersion, client: client}
}

// as returns the caller with another policy.
func (c *caller) as(policy, key string) *caller {
	x := *c
	x.policy, x.key = policy, key
	return &x
}

func (c *caller) in(t testing.TB) *caller {
	x := *c
	x.t = t
	return &x
}

func (c *caller) sign(resource string, life time.Duration) string {
	c.t.Helper()
	text, err := cred.Sign(resource, c.key, c.policy, c.now().Add(life))
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

// result is what the service API answered.
type result struct {
	t      testing.TB
	code   int
	header http.Header
	raw    []byte
	body   any
}

// do sends a request; path may have a query, to which api-version is added
// unless it is there; header is "Name: value" each, "Name:" removes one.
func (c *caller) do(method, path, body string, header ...string) *result {
	c.t.Helper()
	if !strings.Contains(path, "api-version") {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + "api-version=" + c.version
	}
	r, err := http.NewRequest(method, "https://"+serviceHost+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", c.sign(serviceHost, time.Hour))
	if body != "" {
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ":")
		r.Header.Del(name)
		if value = strings.TrimSpace(value); value != "" {
			r.Header.Set(name, value)
		}
	}
	resp, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	x := &result{t: c.t, code: resp.StatusCode, header: resp.Header}
	if x.raw, err = io.ReadAll(resp.Body); err != nil {
		c.t.Fatal(err)
	}
	x.check()
	return x
}

var guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// check holds every answer against 3.2 and 3.13.
func (x *result) check() {
	x.t.Helper()
	if !guid.MatchString(x.head("x-ms-request-id")) {
		x.t.Errorf("x-ms-request-id %q", x.head("x-ms-request-id"))
	}
	if x.code == http.StatusNoContent {
		if len(x.raw) > 0 {
			x.t.Errorf("204 with %q", x.raw)
		}
		return
	}
	if got := x.head("Content-Type"); got != "application/json; charset=utf-8" {
		x.t.Errorf("Content-Type %q", got)
	}
	dec := json.NewDecoder(bytes.NewReader(x.raw))
	dec.UseNumber()
	if err := dec.Decode(&x.body); err != nil {
		x.t.Fatalf("%v in %q", err, x.raw)
	}
	if x.code < 400 {
		return
	}
	id := x.get("trackingId")
	number, isNumber := x.at("errorCode").(json.Number)
	_, err := time.Parse("2006-01-02T15:04:05.0000000Z", x.get("timestampUtc"))
	if !isNumber || len(number) != 6 || x.head("x-ms-error-code") != number.String() || id != x.head("x-ms-request-id") || x.get("message") == "" || err != nil {
		x.t.Errorf("error %d %s with %v", x.code, x.raw, x.header)
	}
	if x.code == 405 && x.head("Allow") == "" || (x.code == 429 || x.code == 503) && x.head("Retry-After") == "" {
		x.t.Errorf("%d with %v", x.code, x.header)
	}
	for name, v := range x.object("info") {
		if _, ok := v.(string); !ok {
			x.t.Errorf("info %s is %v", name, v)
		}
	}
}

// head returns a header, whatever the case of its name.
func (x *result) head(name string) string { return x.header.Get(name) }

func (x *result) at(path string) any {
	v := x.body
	for part := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[part]
	}
	return v
}

func (x *result) get(path string) string {
	if v := x.at(path); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

func (x *result) object(path string) map[string]any {
	m, _ := x.at(path).(map[string]any)
	return m
}

// list returns the values of a member of the items of an array.
func (x *result) list(member string) (all []string) {
	x.t.Helper()
	items, ok := x.body.([]any)
	if !ok {
		x.t.Fatalf("%d %s, want an array", x.code, x.raw)
	}
	for _, item := range items {
		m, _ := item.(map[string]any)
		all = append(all, fmt.Sprint(m[member]))
	}
	return all
}

// want checks status and error code; 0 for none.
func (x *result) want(code, errorCode int) *result {
	x.t.Helper()
	got := x.get("errorCode")
	if x.code != code || errorCode != 0 && got != fmt.Sprint(errorCode) || errorCode == 0 && got != "" {
		x.t.Errorf("%d %s, want %d with %d", x.code, x.raw, code, errorCode)
	}
	return x
}

// is checks members: path, value.
func (x *result) is(pairs ...string) *result {
	x.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := x.get(pairs[i]); got != pairs[i+1] {
			x.t.Errorf("%s is %q, want %q in %s", pairs[i], got, pairs[i+1], x.raw)
		}
	}
	return x
}

// keyed is an enrolment with a symmetric key; more are further members.
func keyed(id string, more ...string) string { return draft("registrationId", id, more...) }

// keyedGroup is keyed for groups.
func keyedGroup(id string, more ...string) string { return draft("enrollmentGroupId", id, more...) }

func draft(name, id string, more ...string) string {
	return fmt.Sprintf(`{%q:%q,"attestation":{"type":"symmetricKey"}%s}`, name, id, members(more))
}

func members(more []string) string {
	text := ""
	for _, m := range more {
		text += "," + m
	}
	return text
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// spellings of a certificate that clients send: PEM, base64 of DER, base64 of
// PEM.
func spellings(certPEM []byte) []string {
	block, _ := pem.Decode(certPEM)
	return []string{string(certPEM), base64.StdEncoding.EncodeToString(block.Bytes), base64.StdEncoding.EncodeToString(certPEM)}
}

// rawHeaders sends a request on a connection of its own and returns the header
// lines as they are on the wire.
func (c *caller) rawHeaders(method, path, body string, header ...string) (lines []string) {
	c.t.Helper()
	nc, err := tls.Dial("tcp", c.https, &tls.Config{RootCAs: c.roots, ServerName: serviceHost})
	if err != nil {
		c.t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(nc, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s",
		method, path, serviceHost, c.sign(serviceHost, time.Hour), len(body), strings.Join(append(header, ""), "\r\n"), body)
	in := bufio.NewReader(nc)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return lines
		}
		lines = append(lines, line)
	}
}
