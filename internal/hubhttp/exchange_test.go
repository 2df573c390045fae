package hubhttp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// ask is a request, written to the wire as it stands.
type ask struct {
	verb, path string
	as         string   // policy, device or device/module; "none"; "" is iothubowner
	token      string   // in place of as
	version    string   // "" is 2021-04-12, "none" none
	headers    []string // "Name: value"
	body       string
	config     *tls.Config
}

// answer is a response with header names as they came.
type answer struct {
	status  int
	headers []string
	body    string
}

// header returns the value of the header with exactly this spelling.
func (a *answer) header(name string) (string, bool) {
	for _, h := range a.headers {
		if v, ok := strings.CutPrefix(h, name+": "); ok {
			return v, true
		}
	}
	return "", false
}

func (a *answer) String() string {
	return fmt.Sprintf("%d\n%s\n\n%s", a.status, strings.Join(a.headers, "\n"), a.body)
}

// token makes a SAS token for a policy, device or module.
func (r *rig) token(as string, expiry time.Time) string {
	r.t.Helper()
	resource, key, policy := r.host, "", as
	if p, ok := r.hub.Policy(as); ok {
		key = p.Primary
	} else {
		on := parseID(r.t, as)
		i, err := r.all.Device(context.Background(), on)
		if err != nil {
			r.t.Fatal(err)
		}
		key, policy = i.Auth.Primary, ""
		resource += "/devices/" + on.Device
		if on.IsModule() {
			resource += "/modules/" + on.Module
		}
	}
	text, err := cred.Sign(resource, key, policy, expiry)
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

func (r *rig) do(q ask) *answer {
	r.t.Helper()
	a, err := r.try(q)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// try makes the exchange on a connection of its own.
func (r *rig) try(q ask) (*answer, error) {
	config := r.client.Clone()
	config.ClientSessionCache = r.client.ClientSessionCache
	if q.config != nil {
		config = q.config
	}
	conn, err := tls.Dial("tcp", r.server.Listener.Addr().String(), config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	go io.WriteString(conn, r.text(q)) // the server may answer before it has read all
	all, err := io.ReadAll(conn)
	if len(all) == 0 {
		return nil, fmt.Errorf("%s %s: no answer: %w", q.verb, q.path, err)
	}
	return parseAnswer(all)
}

func (r *rig) text(q ask) string {
	if q.version == "" {
		q.version = "2021-04-12"
	}
	if q.version != "none" {
		mark := "?"
		if strings.Contains(q.path, "?") {
			mark = "&"
		}
		q.path += mark + "api-version=" + q.version
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", q.verb, q.path, r.host)
	switch {
	case q.token != "":
		fmt.Fprintf(&b, "Authorization: %s\r\n", q.token)
	case q.as == "none":
	case q.as == "":
		fmt.Fprintf(&b, "Authorization: %s\r\n", r.token("iothubowner", now().Add(time.Hour)))
	default:
		fmt.Fprintf(&b, "Authorization: %s\r\n", r.token(q.as, now().Add(time.Hour)))
	}
	for _, h := range q.headers {
		b.WriteString(h + "\r\n")
	}
	if q.body != "" || q.verb == "POST" || q.verb == "PUT" || q.verb == "PATCH" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(q.body))
	}
	return b.String() + "\r\n" + q.body
}

func parseAnswer(all []byte) (*answer, error) {
	head, body, ok := bytes.Cut(all, []byte("\r\n\r\n"))
	if !ok {
		return nil, fmt.Errorf("no end of headers in %q", all)
	}
	lines := strings.Split(string(head), "\r\n")
	words := strings.SplitN(lines[0], " ", 3)
	if len(words) < 2 {
		return nil, fmt.Errorf("status line %q", lines[0])
	}
	status, err := strconv.Atoi(words[1])
	if err != nil {
		return nil, err
	}
	a := &answer{status: status, headers: lines[1:], body: string(body)}
	if n, ok := a.header("Content-Length"); ok && n != strconv.Itoa(len(body)) {
		return nil, fmt.Errorf("Content-Length is %s, the body has %d bytes", n, len(body))
	}
	return a, nil
}

// code returns the number of an answer's error: the header's name must agree
// with the body in either form.
func (a *answer) code(t *testing.T) string {
	t.Helper()
	name, _ := a.header("iothub-errorcode")
	var outer struct{ Message, ExceptionMessage *string }
	if err := json.Unmarshal([]byte(a.body), &outer); err != nil || outer.Message == nil || outer.ExceptionMessage == nil {
		t.Errorf("the error body is %s (%v)", a.body, err)
		return name
	}
	if strings.HasPrefix(*outer.Message, "{") {
		if *outer.ExceptionMessage != "" {
			t.Errorf("form B with ExceptionMessage %q", *outer.ExceptionMessage)
		}
		return name
	}
	if !strings.HasPrefix(*outer.Message, "ErrorCode:"+name+";") || strings.Count(*outer.Message, ";") != 1 {
		t.Errorf("header %q, message %q", name, *outer.Message)
	}
	return name
}

func (a *answer) want(t *testing.T, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("want %d, got %s", status, a)
	}
}

func (a *answer) refused(t *testing.T, status int, name string) {
	t.Helper()
	a.want(t, status)
	if got := a.code(t); got != name {
		t.Fatalf("want %s, got %s", name, a)
	}
	if kind, _ := a.header("Content-Type"); kind != "application/json; charset=utf-8" {
		t.Errorf("content type %q", kind)
	}
	if _, ok := a.header("x-nave-retry"); !ok {
		t.Errorf("no x-nave-retry in %s", a)
	}
}
