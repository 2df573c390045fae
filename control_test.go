package nave_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func TestControlID(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	seen := map[string]bool{}
	last := ""
	for n := range 1000 {
		id := nave.NewControlID("cdv", at.Add(time.Duration(n)*time.Millisecond))
		if !nave.IsControlID("cdv", id) || len(id) != 30 || seen[id] || id <= last {
			t.Fatalf("%q after %q", id, last)
		}
		seen[id], last = true, id
	}
	for _, bad := range []string{"", "cdv_", "cmd_01hzk4v8q2m7n3p5r9s0t1w2d1", "cdv_01hzk4v8q2m7n3p5r9s0t1w2di", "cdv_01HZK4V8Q2M7N3P5R9S0T1W2D1", "cdv_01hzk4v8q2m7n3p5r9s0t1w2d11"} {
		if nave.IsControlID("cdv", bad) {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}

func TestIsNumber(t *testing.T) {
	for _, good := range []string{"0", "-1", "21.50", "1e9", "1.5E-3", "007", "-0.0"} {
		if !nave.IsNumber(good) {
			t.Errorf("%q is no number", good)
		}
	}
	for _, bad := range []string{"", "-", "+1", "1.", ".5", "1e", "1e+", "warm", "1 ", "0x1", "NaN", "1,5"} {
		if nave.IsNumber(bad) {
			t.Errorf("%q is a number", bad)
		}
	}
}

func TestControlPlan(t *testing.T) {
	p, err := nave.NewControlPlan("standard")
	if err != nil || p.RequestBytes != 65536 || p.Rates[nave.MQTTFeedClass] != (nave.ControlRate{Every: 0.2, Burst: 50}) {
		t.Fatal(p, err)
	}
	for name, v := range map[string]float64{"request_max_bytes": 2048, "batch_max_items": 5, "feed.burst": 3, "mqtt_feed.interval": 0.5} {
		if err := p.Set(name, v); err != nil {
			t.Error(err)
		}
	}
	if p.RequestBytes != 2048 || p.BatchItems != 5 || p.Rates[nave.FeedClass].Burst != 3 || p.Rates[nave.MQTTFeedClass].Every != 0.5 {
		t.Error(p)
	}
	for name, v := range map[string]float64{"request_max_bytes": 1, "batch_max_items": 1.5, "feed.burst": 0, "feed.interval": 0, "feed": 1, "x": 1} {
		if err := p.Set(name, v); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%s=%v: %v", name, v, err)
		}
	}
	if _, err := nave.NewControlPlan("gold"); !errors.Is(err, fault.ArgumentInvalid) {
		t.Error(err)
	}
}
