package controlapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/controlapi"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/store"
)

// hurried notes the read deadlines of its connections and makes them come soon,
// until it is patient.
type hurried struct {
	net.Listener

	mu      sync.Mutex
	patient bool
	limits  []limit
}

// limit is a read deadline, zero for none, and when it was set.
type limit struct{ deadline, set time.Time }

func (h *hurried) Accept() (net.Conn, error) {
	nc, err := h.Listener.Accept()
	return &hurriedConn{nc, h}, err
}

// begin forgets what was noted.
func (h *hurried) begin(patient bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.patient, h.limits = patient, nil
}

// noted returns what was set since, without what ends reads of the server's own.
func (h *hurried) noted() (all []limit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.limits {
		if l.deadline.After(l.set) {
			all = append(all, l)
		}
	}
	return all
}

// lasts30 says whether the limit is 30 seconds from a moment after sent and before
// it was set.
func (l limit) lasts30(sent time.Time) bool {
	return l.deadline.Sub(sent) >= 30*time.Second && l.deadline.Sub(l.set) <= 30*time.Second
}

type hurriedConn struct {
	net.Conn
	h *hurried
}

const soon = 100 * time.Millisecond

func (c *hurriedConn) SetReadDeadline(at time.Time) error {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	now := time.Now()
	c.h.limits = append(c.h.limits, limit{at, now})
	if at.After(now) && !c.h.patient {
		at = now.Add(soon)
	}
	return c.Conn.SetReadDeadline(at)
}

// TestReadTime gives requests whose body does not come: each is answered after
// 30 seconds and its connection closed, whether or not the body would have been
// read (iot-v1 LP-7).
func TestReadTime(t *testing.T) {
	s := openSite(t)
	tokens := openTokens(t)
	d := (&row{s, t, map[int]*unit{}}).d(1)
	if err := tokens.db.Update(t.Context(), func(tx *store.Tx) error { _, err := tokens.PutClient(tx, d.id); return err }); err != nil {
		t.Fatal(err)
	}
	token, err := tokens.Issue(t.Context(), d.id, control.HTTPSScopes, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(controlapi.New(controlapi.Options{Control: s.control, Tokens: tokens.Server}))
	slow := &hurried{Listener: server.Listener}
	server.Listener = slow
	server.Start()
	t.Cleanup(server.Close)
	feed, auth := d.path("feed-data"), "Authorization: Bearer "+token.Text+"\r\nContent-Type: application/json\r\n"
	for _, c := range []struct {
		name, path, header, sent string
		status                   int
		text                     string
	}{
		{"feed data that stops", feed, auth + "Content-Length: 200\r\n", `{"message_id"`, 400, "malformed_json"},
		{"feed data in chunks that stop", feed, auth + "Transfer-Encoding: chunked\r\n", "5\r\n{\"mes\r\n", 400, "malformed_json"},
		{"a batch that does not begin", d.path("feed-data/batches"), auth + "Content-Length: 20\r\n", "", 400, "malformed_json"},
		{"a form that stops", "/oauth/token", "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 40\r\n", "grant", 400, "invalid_request"},
		{"refused before the body is read", feed, "Content-Length: 200\r\n", `{`, 401, "missing_credentials"},
		{"a body where none is read", d.path("commands"), auth + "Content-Length: 200\r\n", "", 405, "method_not_allowed"},
	} {
		t.Run("LP-7 "+c.name, func(t *testing.T) {
			slow.begin(false)
			sent := time.Now()
			resp := exchange(t, slow.Addr(), "POST "+c.path+" HTTP/1.1\r\nHost: hub\r\n"+c.header+"\r\n"+c.sent)
			text, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !strings.Contains(string(text), c.text) || !resp.Close {
				t.Errorf("%s, close %v, %s; want %d, %s and the end of the connection", resp.Status, resp.Close, text, c.status, c.text)
			}
			if all := slow.noted(); len(all) != 1 || !all[0].lasts30(sent) {
				t.Errorf("sent at %v, the limits of reading were %v, want 30s", sent, all)
			}
		})
	}
	t.Run("LP-7 a whole body ends the limit", func(t *testing.T) { whole(t, server, slow, feed, token.Text, d.s1) })
}

func whole(t *testing.T, server *httptest.Server, slow *hurried, feed, token, sensor string) {
	slow.begin(true)
	sent := time.Now()
	body := fmt.Sprintf(`{"message_id":"m","sensor_id":"%s","value":"1","value_received_at":"2026-05-01T11:59:58Z"}`, sensor)
	r, _ := http.NewRequest("POST", server.URL+feed, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 201 || resp.Close {
		t.Errorf("%s %s", resp.Status, text)
	}
	slow.mu.Lock()
	defer slow.mu.Unlock()
	// The server's own end of a read would be a deadline in the past.
	all := slow.limits
	if n := slices.IndexFunc(all, func(l limit) bool { return l.lasts30(sent) }); n < 0 || n+1 == len(all) || !all[n+1].deadline.IsZero() {
		t.Errorf("sent at %v, the limits of reading were %v, want 30s and then none", sent, all)
	}
}

// exchange sends bytes and returns the answer to them.
func exchange(t *testing.T, to net.Addr, text string) *http.Response {
	t.Helper()
	nc, err := net.Dial(to.Network(), to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// tokenSite is a token server of its own.
type tokenSite struct {
	*oauth.Server
	db *store.DB
}

func openTokens(t *testing.T) *tokenSite {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Open(t.Context(), bus.Options{Dir: t.TempDir(), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	db = db.Scope("hub.test")
	o, err := oauth.Open(t.Context(), oauth.ServerOptions{Realm: "iot", Host: "hub.test", DB: db, Bus: b})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close(); b.Close(); db.Close() })
	return &tokenSite{o, db}
}
