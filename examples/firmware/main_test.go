package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/navetest"
)

// plant is a hub with a device whose time stands still, and that device.
type plant struct {
	*navetest.Kit
	control *control.Control
	device  *control.Device
	board   *board
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	k := navetest.Start(t)
	k.Clock.Freeze(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	c := k.Node.Control(k.Hub.Host())
	d, secret, err := c.Create(context.Background(), control.Draft{Commands: []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "relay", Minimum: "0", Maximum: "1"}}},
		Sensors: []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "thermistor", Unit: "degree_celsius:0"}}}})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: k.Roots, ServerName: k.Hub.Host()},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", k.Node.Address("https"))
		}}}
	t.Cleanup(client.CloseIdleConnections)
	b := newBoard("https://"+k.Hub.Host(), d.ID, secret, client)
	b.now, b.log = k.Clock.Now, t.Logf
	return &plant{k, c, d, b}
}

func TestFirmware(t *testing.T) {
	k := newPlant(t)
	c, d, b, ctx := k.control, k.device, k.board, context.Background()
	stored := func() int {
		all, err := c.History(ctx, d.ID, b.sensor, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	expect := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Fatalf("%s: %+v", what, b)
		}
	}
	b.step()
	expect("the catalogue is read", b.sensor != "" && b.command != "" && !b.stale)
	b.report(b.sensor, "21.5", "")
	b.step()
	expect("an item is sent", b.n == 0 && stored() == 1)

	s, err := c.Set(ctx, d.ID, b.command, "1", "a person")
	if err != nil {
		t.Fatal(err)
	}
	k.Clock.Add(time.Minute)
	b.step()
	end, err := c.Desired(ctx, s.ID)
	expect("a desired state is applied", err == nil && end.Status == nave.DesiredApplied && b.relay == "1")

	// The store is away: the item stays, and goes under the same id later.
	rule, err := k.Hub.InjectFault(gate.Rule{Op: "control.feed", Code: 5003, Family: "iot/v1", Device: d.ID})
	if err != nil {
		t.Fatal(err)
	}
	b.report(b.sensor, "22", "")
	b.step()
	expect("5003 keeps the item", b.n == 1 && b.notTill.After(b.now()))
	b.step()
	k.Hub.RemoveFault(rule.ID)
	k.Clock.Add(5 * time.Minute)
	b.step()
	expect("it is sent after the pause", b.n == 0 && stored() == 2)

	b.report(b.sensor, "warm", "")
	b.report(b.sensor, "23", "")
	b.step()
	expect("4022 drops the item and goes on", b.n == 0 && stored() == 3)

	// An hour later the token is renewed, and a refused one replaced.
	k.Clock.Add(50 * time.Minute)
	old := b.token
	b.report(b.sensor, "24", "")
	b.step()
	expect("the token is renewed", b.token != old && stored() == 4)
	b.token = "refused"
	b.report(b.sensor, "25", "")
	b.step()
	expect("a refused token is replaced", b.n == 0 && stored() == 5)

	// The licence ends: local mode, and a look every 15 minutes.
	if _, err := c.Change(ctx, d.ID, func(x *nave.ControlDevice) error { x.Inactive = true; return nil }); err != nil {
		t.Fatal(err)
	}
	b.report(b.sensor, "26", "")
	b.step()
	expect("4002 keeps the item", b.n == 1 && b.notTill.Sub(b.now()) == probe)
	if _, err := c.Change(ctx, d.ID, func(x *nave.ControlDevice) error { x.Inactive = false; return nil }); err != nil {
		t.Fatal(err)
	}
	k.Clock.Add(probe)
	b.step()
	expect("it goes when the licence is back", b.n == 0 && stored() == 6)

	// The sensor is replaced: the catalogue is read again, the old item dropped.
	before := b.sensor
	b.report(b.sensor, "27", "")
	if err := c.RemoveSource(ctx, d.ID, b.sensor); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddSource(ctx, d.ID, control.SourceDraft{ControlSource: nave.ControlSource{Kind: "thermistor"}}, false); err != nil {
		t.Fatal(err)
	}
	b.step()
	expect("4004 reads the catalogue again", b.n == 0 && b.sensor != before)
}

// TestOtherCommand replaces the command: the desired states of the new one
// count from 1 again.
func TestOtherCommand(t *testing.T) {
	k := newPlant(t)
	c, d, b, ctx := k.control, k.device, k.board, context.Background()
	apply := func(command, value string) {
		t.Helper()
		s, err := c.Set(ctx, d.ID, command, value, "a person")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // one call shows that the catalogue has changed, the next reads it
			k.Clock.Add(time.Minute)
			b.step()
		}
		if end, err := c.Desired(ctx, s.ID); err != nil || end.Status != nave.DesiredApplied || b.relay != value {
			t.Fatalf("%s: %+v, %v, relay %s", value, end, err, b.relay)
		}
	}
	b.step()
	apply(b.command, "1")
	if err := c.RemoveSource(ctx, d.ID, b.command); err != nil {
		t.Fatal(err)
	}
	other, err := c.AddSource(ctx, d.ID, control.SourceDraft{ControlSource: nave.ControlSource{Kind: "relay"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	apply(other.ID, "0")
}

// TestNoToken meets a token endpoint that answers strangely: no item is lost,
// and nobody is asked without a pause.
func TestNoToken(t *testing.T) {
	for _, status := range []int{200, 302, 400, 401, 403, 404, 409, 413, 429, 500, 503} {
		calls := 0
		hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { calls++; w.WriteHeader(status) }))
		b := newBoard(hub.URL, "cdv_x", "s", hub.Client())
		now := time.Now()
		b.now = func() time.Time { return now }
		b.stale, b.sensor = false, "sen_x"
		b.report("sen_x", "1", "")
		b.step()
		b.step()
		if b.n != 1 || calls != 1 || b.notTill.Sub(now) < time.Second {
			t.Errorf("status %d: %d items, %d calls, pause %s", status, b.n, calls, b.notTill.Sub(now))
		}
		hub.Close()
	}
}

// TestBackoff grows its pauses as the bootstrap says.
func TestBackoff(t *testing.T) {
	b := newBoard("", "cdv_x", "s", nil)
	now := time.Now()
	b.now = func() time.Time { return now }
	b.backoff.read(&answer{fields: map[string]any{"protocols": map[string]any{"https": map[string]any{
		"backoff": map[string]any{"initial": 3.0, "multiplier": 3.0, "maximum": 20.0, "jitter": 0.0}}}}})
	for _, want := range []time.Duration{3, 9, 20, 20} {
		if b.later(&answer{}, backOff); b.notTill.Sub(now) != want*time.Second {
			t.Errorf("%s, want %ds", b.notTill.Sub(now), want)
		}
	}
}

// TestNoCode meets answers that are not the hub's: the HTTP status decides
// (DH-4).
func TestNoCode(t *testing.T) {
	for _, c := range []struct{ status, code, want int }{
		{200, 0, backOff}, {201, 2000, done}, {302, 0, backOff}, {401, 0, newToken}, {402, 0, localMode}, {403, 0, localMode}, {404, 0, newCatalog},
		{409, 0, drop}, {413, 0, split}, {415, 0, drop}, {422, 0, drop}, {429, 0, wait}, {500, 0, backOff}, {502, 0, backOff}, {0, 0, backOff}, {418, 0, drop},
		{403, 4002, localMode}, {400, 4999, drop}, {200, 2001, done}, {500, 5999, backOff}, {409, 4009, drop},
	} {
		if got := decide(c.status, c.code); got != c.want {
			t.Errorf("status %d, code %d: %d, want %d", c.status, c.code, got, c.want)
		}
	}
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>Log in to the WLAN</html>")) }))
	defer portal.Close()
	b := newBoard(portal.URL, "cdv_x", "s", portal.Client())
	now := time.Now()
	b.now = func() time.Time { return now }
	b.token, b.renewAt, b.stale, b.sensor = "t", now.Add(time.Hour), false, "sen_x"
	b.report("sen_x", "1", "")
	b.step()
	if b.n != 1 || !b.notTill.After(now) {
		t.Errorf("a captive portal took the item: %+v", b)
	}
}
