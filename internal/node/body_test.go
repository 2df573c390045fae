package node_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/node"
)

// hurried keeps the read deadline of a request.
type hurried struct {
	http.ResponseWriter
	end time.Time
}

func (h *hurried) SetReadDeadline(end time.Time) error {
	h.end = end
	return http.NewResponseController(h.ResponseWriter).SetReadDeadline(end)
}

// TestSlowBody sends bodies that do not come: the request ends, read or unread,
// and a body that did come leaves the request all the time it needs.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := 50 * time.Millisecond
		if r.URL.Path == "/wait" || r.URL.Path == "/expect" {
			limit = patience
		}
		h := &hurried{ResponseWriter: w}
		r = node.Hurry(h, r, limit)
		switch r.URL.Path {
		case "/unread", "/expect":
			w.WriteHeader(http.StatusUnauthorized)
			return
		case "/read":
			_, err := io.ReadAll(r.Body)
			ended <- err
			return
		}
		_, err := io.ReadAll(r.Body)
		if !h.end.IsZero() {
			err = fmt.Errorf("the request still ends at %v", h.end)
		}
		ended <- err
	}))
	t.Cleanup(s.Close)

	send := func(path, body string) net.Conn {
		nc, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: hub\r\nContent-Length: 4\r\n\r\n%s", path, body)
		return nc
	}
	if text, err := io.ReadAll(send("/unread", "a")); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 401") {
		t.Errorf("a body that nobody reads: %q, %v", text, err)
	}
	nc := send("/expect HTTP/1.1\r\nExpect: 100-continue\r\nX-Rest:", "")
	if line, err := bufio.NewReader(nc).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 401") {
		t.Errorf("a body that waits for 100 Continue: %q, %v", line, err)
	}
	nc.Close()
	send("/read", "a")
	if err := await(t, ended, "end of the read"); err == nil {
		t.Error("a body that does not come was read")
	}
	send("/wait", "abcd")
	if err := await(t, ended, "end of the wait"); err != nil {
		t.Errorf("a request whose body came was ended: %v", err)
	}
}
