package hubhttp_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/store"
)

const simWhy = "SIM HUBSIM-8900101000000000019 is SUSPENDED"

func (r *rig) sim(device string, c *nave.Connectivity) {
	r.t.Helper()
	err := sharedDB.Scope(r.host).Update(context.Background(), func(tx *store.Tx) error { return tx.PutConnectivity(device, c) })
	if err != nil {
		r.t.Fatal(err)
	}
	r.hub.ConnectivityChanged(device)
}

// ask sends a request and returns status and body.
func (r *rig) ask(method, path, token, body string, header ...string) (int, string) {
	r.t.Helper()
	q, err := http.NewRequest(method, r.server.URL+path+"?api-version=2021-04-12", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Authorization", token)
	for n := 0; n < len(header); n += 2 {
		q.Header.Set(header[n], header[n+1])
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	a, err := transport.RoundTrip(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

func (r *rig) sign(path, key, policy string) string {
	r.t.Helper()
	text, err := cred.Sign(r.host+path, key, policy, now().Add(time.Hour))
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

// TestConnectivity follows connectivity-api LK-4 and RP-6.
func TestConnectivity(t *testing.T) {
	r := newRig(t, options{})
	p, _ := r.hub.Policy("iothubowner")
	owner := r.sign("", p.Primary, "iothubowner")
	put := func(want int, body string, header ...string) string {
		t.Helper()
		status, text := r.ask("PUT", "/devices/d1", owner, body, header...)
		if status != want {
			t.Fatalf("PUT %s: %d %s", body, status, text)
		}
		return text
	}
	put(400, `{"deviceId":"d1","connectivity":{"iccid":"12"}}`)
	text := put(200, `{"deviceId":"d1","connectivity":{"iccid":"8900101000000000019","imei":"350000000000006"}}`)
	if !strings.Contains(text, `"connectivity":{"iccid":"8900101000000000019","imei":"350000000000006"}`) {
		t.Error(text)
	}
	i, err := r.all.Device(context.Background(), nave.ID{Device: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	device := r.sign("/devices/d1", i.Auth.Primary, "")
	send := func() (int, string) { return r.ask("POST", "/devices/d1/messages/events", device, "x") }
	c := &nave.Connectivity{ProductID: "HUBSIM-8900101000000000019", ICCID: "8900101000000000019", Status: "ACTIVE", Platform: "HUBSIM"}
	r.sim("d1", c)
	if status, text := send(); status != 204 {
		t.Errorf("%d %s", status, text)
	}
	const shown = `"connectivity":{"productId":"HUBSIM-8900101000000000019","iccid":"8900101000000000019","status":"ACTIVE","platform":"HUBSIM"}`
	// What a client has read, it may write back.
	put(200, text, "If-Match", "*")
	for _, path := range []string{"/devices/d1", "/devices"} {
		if _, text := r.ask("GET", path, owner, ""); !strings.Contains(text, shown) {
			t.Errorf("GET %s: %s", path, text)
		}
	}
	c.Status, c.Barred, c.Why = "SUSPENDED", true, simWhy
	r.sim("d1", c)
	if status, text := send(); status != 401 || !strings.Contains(text, simWhy) {
		t.Errorf("%d %s", status, text)
	}
	if status, text := r.ask("POST", "/twins/d1/methods", owner, `{"methodName":"a"}`); status != 404 || !strings.Contains(text, simWhy) || !strings.Contains(text, "404103") {
		t.Errorf("a method: %d %s", status, text)
	}
	r.sim("d1", nil)
	if status, text := send(); status != 204 {
		t.Errorf("%d %s", status, text)
	}
}
