package load_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/load"
	"github.com/nave-hub/nave/internal/mqtt"
)

const login = "HostName=hub.test;SharedAccessKeyName=iothubowner;SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func service(t *testing.T) *load.Service {
	s, err := load.OpenService(login, load.ServiceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// until waits for a condition of what only another goroutine changes and nobody announces.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatal("waited in vain for ", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func run(t *testing.T, f *load.Fleet) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { f.Run(ctx); close(ended) }()
	return func() { cancel(); <-ended }
}

func TestFleet(t *testing.T) {
	replies := make(chan string, 100)
	s := serve(t, &server{handle: func(c *conn, p *mqtt.Publish) error {
		switch {
		case strings.HasPrefix(p.Topic, "$iothub/twin/PATCH/"):
			_, rid, _ := strings.Cut(p.Topic, "$rid=")
			return c.c.Publish(&mqtt.Publish{Topic: "$iothub/twin/res/204/?$rid=" + rid + "&$version=2"})
		case strings.HasPrefix(p.Topic, "$iothub/methods/res/"):
			replies <- p.Topic + " " + string(p.Payload)
		case !strings.HasPrefix(string(p.Payload), `{"temperature":`) || p.Topic != "devices/"+c.connect.ClientID+"/messages/events/":
			return fmt.Errorf("unexpected %s %s", p.Topic, p.Payload)
		}
		return nil
	}})
	f, err := load.NewFleet(service(t), s.target, load.Devices("sim-", 5), load.FleetOptions{Rate: 500, QoS: 1, Size: 100, Methods: true, Twin: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, f)
	until(t, "acknowledgements", func() bool { r := f.Summary(); return r.Connected == 5 && r.Acked > 50 && r.Reported > 5 })
	s.mu.Lock()
	for c := range s.conns {
		if !strings.HasPrefix(c.connect.Username, "hub.test/sim-") || !strings.HasPrefix(string(c.connect.Password), "SharedAccessSignature sr=hub.test%2Fdevices%2Fsim-") {
			t.Errorf("user %s", c.connect.Username)
		}
		c.c.Publish(&mqtt.Publish{Topic: "$iothub/methods/POST/blink/?$rid=7", Payload: []byte(`{"a":1}`)})
		c.c.Publish(&mqtt.Publish{Topic: "$iothub/twin/PATCH/properties/desired/?$version=3", Payload: []byte(`{"$version":3}`)})
		c.c.Publish(&mqtt.Publish{Topic: "devices/" + c.connect.ClientID + "/messages/devicebound/%24.mid=1", QoS: 1, ID: 1})
	}
	s.mu.Unlock()
	for range 5 {
		if got := <-replies; got != `$iothub/methods/res/200/?$rid=7 {"a":1}` {
			t.Error(got)
		}
	}
	until(t, "deliveries", func() bool { r := f.Summary(); return r.C2D == 5 && r.Desired == 5 && r.Methods == 5 })
	stop()
	r := f.Summary()
	if r.Errors != 0 || r.Losses != 0 || r.Connected != 0 || r.Connects != 5 || r.Unacked != 0 || r.Sent != r.Acked || r.Latency == nil {
		t.Errorf("%+v", r)
	}
	if seen := s.published.Load(); seen < r.Sent+r.Methods+r.Reported {
		t.Errorf("the server saw %d: %+v", seen, r)
	}
}

// TestFleetCounts compares the summary with what the server saw.
func TestFleetCounts(t *testing.T) {
	s := serve(t, &server{})
	f, err := load.NewFleet(service(t), s.target, load.Devices("sim-", 10), load.FleetOptions{Rate: 2000, QoS: 1})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, f)
	until(t, "acknowledgements", func() bool { return f.Recent().Acked > 200 })
	stop()
	if r := f.Summary(); r.Sent != s.published.Load() || r.Acked != r.Sent || r.Resent != 0 {
		t.Errorf("the server saw %d: %+v", s.published.Load(), r)
	}
}

func TestFleetReconnects(t *testing.T) {
	s := serve(t, &server{})
	f, err := load.NewFleet(service(t), s.target, load.Devices("sim-", 8), load.FleetOptions{Rate: 2000, QoS: 1})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, f)
	until(t, "all devices", func() bool { return f.Summary().Connected == 8 && f.Summary().Acked > 100 })
	s.killAll()
	until(t, "all devices again", func() bool { return s.connected.Load() == 16 && f.Summary().Connected == 8 })
	before := f.Summary().Acked
	until(t, "more acknowledgements", func() bool { return f.Summary().Acked > before+100 })
	stop()
	r := f.Summary()
	if r.Losses != 8 || r.Connects != 16 || r.Errors != 8 || r.LastError == "" || r.Acked != r.Sent {
		t.Errorf("%+v", r)
	}
	if seen := s.published.Load(); seen < r.Acked || seen > r.Sent+r.Resent {
		t.Errorf("the server saw %d: %+v", seen, r)
	}
}

func TestFleetRenewsTokens(t *testing.T) {
	s := serve(t, &server{})
	f, err := load.NewFleet(service(t), s.target, load.Devices("sim-", 3), load.FleetOptions{Rate: 1000, QoS: 1, TokenLife: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, f)
	until(t, "renewals", func() bool { return f.Summary().Renewals >= 6 })
	stop()
	if r := f.Summary(); r.Losses != 0 || r.Errors != 0 || r.Acked != r.Sent {
		t.Errorf("%+v", r)
	}
}

func TestFleetRefused(t *testing.T) {
	s := serve(t, &server{refuse: func(*mqtt.Connect) byte { return mqtt.NotAuthorized }})
	f, err := load.NewFleet(service(t), s.target, load.Devices("sim-", 2), load.FleetOptions{Rate: 10})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, f)
	until(t, "refusals", func() bool { return f.Summary().Errors >= 3 })
	stop()
	if r := f.Summary(); r.Connects != 0 || r.Sent != 0 || !strings.Contains(r.LastError, "not authorized") {
		t.Errorf("%+v", r)
	}
}
