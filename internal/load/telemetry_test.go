package load_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/load"
	"github.com/nave-hub/nave/internal/mqtt"
)

func logins(n int) []load.Login {
	all := make([]load.Login, n)
	for i := range all {
		id := "bench-" + strconv.Itoa(i)
		all[i] = load.Login{ClientID: id, Topic: "devices/" + id + "/messages/events/"}
	}
	return all
}

func TestTelemetry(t *testing.T) {
	for name, o := range map[string]load.Telemetry{
		"closed loop":             {Window: 10},
		"closed loop, window 1":   {Window: 1},
		"closed loop, 64 KiB":     {Window: 3, Size: 64 << 10},
		"open loop":               {Rate: 2000},
		"open loop, small window": {Rate: 4000, Window: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &server{})
			o.QoS, o.Warmup, o.Duration = 1, 50*time.Millisecond, 250*time.Millisecond
			r, err := load.RunTelemetry(t.Context(), s.target, logins(4), o)
			if err != nil || r.Errors != 0 {
				t.Fatal(err, r)
			}
			if got := s.published.Load(); r.Sent != got || r.Answered != got || r.Done > got {
				t.Errorf("the server saw %d, the result says %+v", got, r)
			}
			if o.Rate > 0 {
				scheduled(t, r, &o)
			}
		})
		t.Run(name+", ended early", func(t *testing.T) {
			o.QoS, o.Warmup, o.Duration = 1, 50*time.Millisecond, time.Minute
			ctx, seen := enough(t, o.Warmup, 300)
			s := serve(t, &server{handle: func(*conn, *mqtt.Publish) error { seen(); return nil }})
			r, err := load.RunTelemetry(ctx, s.target, logins(4), o)
			if err != nil || r.Errors != 0 {
				t.Fatal(err, r)
			}
			if got := s.published.Load(); r.Sent != got || r.Answered != got || r.Done == 0 || r.Done > got || r.Latency == nil {
				t.Errorf("the server saw %d, the result says %+v", got, r)
			}
		})
	}
}

func TestTelemetryQoS0(t *testing.T) {
	ctx, seen := enough(t, 0, 150)
	s := serve(t, &server{handle: func(*conn, *mqtt.Publish) error { seen(); return nil }})
	begun := time.Now()
	r, err := load.RunTelemetry(ctx, s.target, logins(2), load.Telemetry{Rate: 1000, Duration: time.Minute})
	if err != nil || r.Errors != 0 || r.Sent < 150 || float64(r.Sent) > 1000*time.Since(begun).Seconds()+2 {
		t.Fatal(err, r)
	}
	until(t, "all packets", func() bool { return s.published.Load() == r.Sent })
}

// TestBroker measures whatever NAVE_TEST_BROKER names, as host:port.
func TestBroker(t *testing.T) {
	address := os.Getenv("NAVE_TEST_BROKER")
	if address == "" {
		t.Skip("NAVE_TEST_BROKER is not set")
	}
	for _, o := range []load.Telemetry{{}, {Rate: 20000}} {
		o.QoS, o.Warmup, o.Duration = 1, time.Second, 3*time.Second
		r, err := load.RunTelemetry(t.Context(), load.Target{Address: address}, logins(50), o)
		if err != nil || r.Errors != 0 || r.Answered != r.Sent {
			t.Fatal(err, r)
		}
		t.Logf("%+v %+v", *r, *r.Latency)
	}
}
