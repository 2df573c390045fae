package gate_test

import (
	"testing"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
)

func TestBasicTierRefusesStandardFeatures(t *testing.T) {
	for _, sku := range []string{"F1", "B1", "B2", "B3", "S1", "S2", "S3"} {
		g := open(t, gate.Options{Tier: gate.Tier{SKU: sku, Units: 1}})
		code := fault.OperationNotAvailableInCurrentTier
		if sku[0] != 'B' {
			code = nil
		}
		t.Run(sku+" direct method", func(t *testing.T) { want(t, enter(g, &opInvoke, 10), code) })
		t.Run(sku+" telemetry", func(t *testing.T) { want(t, enter(g, &opSend, 10), nil) })
	}
}

func TestTable(t *testing.T) {
	tests := []struct {
		key   string
		rates map[gate.Tier]float64 // per minute
	}{
		{"registry", map[gate.Tier]float64{{"F1", 1}: 100, {"S1", 3}: 300, {"B2", 1}: 100, {"S3", 2}: 10000}},
		{"d2cSend", map[gate.Tier]float64{{"F1", 1}: 6000, {"S1", 8}: 6000, {"S1", 10}: 7200, {"S2", 1}: 7200, {"S3", 1}: 360000}},
		{"connect", map[gate.Tier]float64{{"B1", 1}: 6000, {"B2", 2}: 14400, {"S3", 1}: 360000}},
		{"query", map[gate.Tier]float64{{"S1", 1}: 20, {"S3", 1}: 1000}},
		{"configuration", map[gate.Tier]float64{{"S1", 1}: 20, {"S3", 2}: 40}},
		{"c2dReceiveHttp", map[gate.Tier]float64{{"S1", 1}: 1000, {"S3", 1}: 50000}},
		{"method", map[gate.Tier]float64{{"S1", 1}: 60 * 160 << 10, {"S2", 1}: 60 * 480 << 10, {"S3", 1}: 60 * 24 << 20}},
		{"twinRead", map[gate.Tier]float64{{"S1", 20}: 6000, {"S2", 1}: 6000, {"S2", 20}: 12000, {"S3", 1}: 30000}},
		{"twinUpdate", map[gate.Tier]float64{{"S1", 20}: 3000, {"S2", 20}: 6000, {"S3", 1}: 15000}},
		{"jobDeviceOps", map[gate.Tier]float64{{"S1", 1}: 600, {"S2", 20}: 1200, {"S3", 1}: 3000}},
		{"nosuch", map[gate.Tier]float64{{"S1", 1}: 0}},
	}
	for _, c := range tests {
		for tier, rate := range c.rates {
			if got := tier.Rate(c.key) * 60; got < rate*0.999999 || got > rate*1.000001 {
				t.Errorf("%s of %v: %v per minute, want %v", c.key, tier, got, rate)
			}
		}
	}
	if n := (gate.Tier{SKU: "S2", Units: 3}).Daily(); n != 18_000_000 {
		t.Errorf("3 units S2 have %d messages a day", n)
	}
	if n := (gate.Tier{SKU: "S3", Units: 1}).Jobs(); n != 10 {
		t.Errorf("S3 runs %d jobs", n)
	}
}

func TestResize(t *testing.T) {
	g := open(t, gate.Options{Tier: gate.Tier{SKU: "B1", Units: 1}, EnforceQuota: true})
	want(t, enter(g, &opReport, 1), fault.OperationNotAvailableInCurrentTier)
	want(t, g.Resize(gate.Tier{SKU: "F1", Units: 1}), fault.ArgumentInvalid)
	want(t, g.Resize(gate.Tier{SKU: "S2", Units: 2}), nil)
	want(t, g.Resize(gate.Tier{SKU: "B2", Units: 2}), fault.ArgumentInvalid)
	want(t, g.Resize(gate.Tier{SKU: "S2", Units: 0}), fault.ArgumentInvalid)
	want(t, enter(g, &opReport, 1), nil)
	if _, limit := g.Quota(); limit != 12_000_000 || g.Tier().Units != 2 {
		t.Errorf("limit %d, tier %v", limit, g.Tier())
	}
}
