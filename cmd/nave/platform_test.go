package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestMock runs the mock as people do, and changes its profile while it runs.
func TestMock(t *testing.T) {
	clearVariables(t)
	ctx, cancel := context.WithCancel(context.Background())
	out, stderr := newWatched("/control\n"), newWatched("401 POST /oauth2/token expired-credentials=500@all")
	code := make(chan int, 1)
	go func() {
		code <- runContext(ctx, []string{"platform", "mock", "--listen", "127.0.0.1:0"}, newEnv(strings.NewReader(""), out, stderr))
	}()
	defer cancel()
	select {
	case <-out.found:
	case n := <-code:
		t.Fatalf("the mock ended with %d: %s%s", n, out, stderr)
	case <-time.After(2 * time.Minute):
		t.Fatal("the mock is not ready")
	}
	at := strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(lineWith(out.String(), "Control"), "Control")), "/control")
	ask := func() (int, string) {
		t.Helper()
		resp, err := http.PostForm(at+"/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"carrier"}, "client_secret": {"carrier-secret"}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if status, body := ask(); status != 200 || !strings.Contains(body, "access_token") {
		t.Error(status, body)
	}
	if got := answered(t, "platform", "switch", "expired-credentials", "--at", at); got != "Profiles in force: expired-credentials=500@all\n" {
		t.Error(got)
	}
	if status, body := ask(); status != 401 || !strings.Contains(body, "invalid_client") {
		t.Error(status, body)
	}
	select {
	case <-stderr.found: // it is told of behind the answer
	case <-time.After(time.Minute):
		t.Error("the request is not shown")
	}
	cancel()
	if n := <-code; n != 0 {
		t.Errorf("the mock ended with %d: %s", n, stderr)
	}
}
