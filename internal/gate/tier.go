package gate

import (
	"slices"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
)

// Tier is the SKU of a hub, F1, B1 to B3 or S1 to S3, and its number of units;
// all published limits follow from the two (hub-semantics 1 and 2).
type Tier struct {
	SKU   string
	Units int
}

// sku holds what a SKU is worth.
type sku struct {
	name  string
	size  int   // column of the throttle table: 0, 1 or 2
	units int   // most units
	daily int64 // message units per unit and day (hub-semantics 2.1)
	chunk int   // bytes that one message unit covers
	jobs  int   // scheduled jobs running at once (hub-semantics 2.5)
}

var skus = []sku{
	{"F1", 0, 1, 8_000, 512, 1},
	{"B1", 0, 200, 400_000, 4 << 10, 1}, {"B2", 1, 200, 6_000_000, 4 << 10, 5}, {"B3", 2, 10, 300_000_000, 4 << 10, 10},
	{"S1", 0, 200, 400_000, 4 << 10, 1}, {"S2", 1, 200, 6_000_000, 4 << 10, 5}, {"S3", 2, 10, 300_000_000, 4 << 10, 10},
}

func (t Tier) sku() *sku {
	for i := range skus {
		if skus[i].name == t.SKU {
			return &skus[i]
		}
	}
	return nil
}

// Check answers ArgumentInvalid unless the SKU exists and sells that many
// units (hub-semantics 2.1).
func (t Tier) Check() error {
	s := t.sku()
	if s == nil {
		return fault.ArgumentInvalid.New("the SKU %q is unknown, known are F1, B1, B2, B3, S1, S2, S3", t.SKU)
	}
	if t.Units < 1 {
		return fault.ArgumentInvalid.New("the SKU %s has %d units, at least 1 is needed", t.SKU, t.Units)
	}
	if t.Units > s.units {
		return fault.ArgumentInvalid.Over("sku.units", s.units, t.Units, "the SKU %s has too many units", t.SKU)
	}
	return nil
}

// Basic says whether the tier lacks the standard features (hub-semantics 1).
func (t Tier) Basic() bool { return strings.HasPrefix(t.SKU, "B") }

// Daily returns the message units that the tier may use from 00:00 UTC to the
// next.
func (t Tier) Daily() int64 { return t.sku().daily * int64(t.Units) }

// Chunk returns the bytes that one message unit covers.
func (t Tier) Chunk() int { return t.sku().chunk }

// Jobs returns how many scheduled jobs may run at once.
func (t Tier) Jobs() int { return t.sku().jobs }

// Rate returns the published rate of a throttle key per second, in operations
// or, for method, in bytes; 0 for an unknown key (hub-semantics 2.3).
func (t Tier) Rate(key string) float64 {
	for i := range throttles {
		if throttles[i].key == key {
			return throttles[i].rate[t.sku().size].per(float64(t.Units))
		}
	}
	return 0
}

// becomes answers ArgumentInvalid when a hub of tier t may not change to next
// (hub-semantics 1).
func (t Tier) becomes(next Tier) error {
	if err := next.Check(); err != nil {
		return err
	}
	if t.SKU != next.SKU && (t.SKU == "F1" || next.SKU == "F1") {
		return fault.ArgumentInvalid.New("the SKU cannot change from %s to %s: a free hub stays free, and no other becomes free", t.SKU, next.SKU)
	}
	if !t.Basic() && next.Basic() {
		return fault.ArgumentInvalid.New("the SKU cannot change from %s to %s: standard does not go back to basic", t.SKU, next.SKU)
	}
	return nil
}

// speed is one cell of the throttle table: each × units per second, but at
// least the floor.
type speed struct{ floor, each float64 }

func (s speed) per(units float64) float64 { return max(s.floor, s.each*units) }

// throttle is a row of the throttle table of hub-semantics 2.3; the columns
// are the sizes 1 (with F1), 2 and 3.
type throttle struct {
	key  string
	rate [3]speed
}

func minute(n float64) speed      { return speed{each: n / 60} }
func second(n float64) speed      { return speed{each: n} }
func floor(f, each float64) speed { return speed{f, each} }

const (
	kb = 1 << 10
	mb = 1 << 20
)

var throttles = []throttle{
	{"registry", [3]speed{minute(100), minute(100), minute(5000)}},
	{"connect", [3]speed{floor(100, 12), second(120), second(6000)}},
	{"d2cSend", [3]speed{floor(100, 12), second(120), second(6000)}},
	{"fileUploadInit", [3]speed{minute(100), minute(100), minute(5000)}},
	{"query", [3]speed{minute(20), minute(20), minute(1000)}},
	{"configuration", [3]speed{minute(20), minute(20), minute(20)}},
	{"c2dSend", [3]speed{minute(100), minute(100), minute(5000)}},
	{"c2dReceiveHttp", [3]speed{minute(1000), minute(1000), minute(50000)}},
	{"method", [3]speed{second(160 * kb), second(480 * kb), second(24 * mb)}},
	{"twinRead", [3]speed{floor(100, 0), floor(100, 10), second(500)}},
	{"twinUpdate", [3]speed{floor(50, 0), floor(50, 5), second(250)}},
	{"jobOps", [3]speed{minute(100), minute(100), minute(5000)}},
	{"jobDeviceOps", [3]speed{floor(10, 0), floor(10, 1), second(50)}},
	{"deviceStream", [3]speed{floor(5, 0), floor(5, 0), floor(5, 0)}},
}

// Keys returns the throttle keys in the order of the table.
func Keys() []string {
	keys := make([]string, 0, len(throttles))
	for i := range throttles {
		keys = append(keys, throttles[i].key)
	}
	return slices.Clip(keys)
}
