package nave

import (
	"crypto/rand"
	"encoding/binary"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// ControlDevice is a piece of hardware with firmware that speaks iot/v1 (iot-v1
// 1). ID is also its OAuth client id.
type ControlDevice struct {
	ID          string             `json:"-"`
	Label       string             `json:"label,omitempty"`
	Disabled    bool               `json:"disabled,omitempty"`
	Inactive    bool               `json:"inactive,omitempty"`   // subscription, by operator action
	Until       time.Time          `json:"until,omitzero"`       // when the subscription ends by itself; zero: never
	Protocols   []string           `json:"protocols"`            // https, mqtt, in this order
	Plan        string             `json:"plan,omitempty"`       // name; empty: the hub's default
	PlanValues  map[string]float64 `json:"planValues,omitempty"` // values in place of the plan's, see ControlPlan.Set
	Resource    string             `json:"resource"`             // default resource id (iot-v1 MQ-12)
	Expected    int                `json:"expected,omitempty"`   // seconds between polls that are expected; 0: 30
	Created     time.Time          `json:"-"`
	Seen        time.Time          `json:"-"` // last authenticated request
	SourceCount int                `json:"-"` // filled in listings
}

// Active says whether the subscription is active at the time (iot-v1 LP-6).
func (d *ControlDevice) Active(at time.Time) bool {
	return !d.Inactive && (d.Until.IsZero() || at.Before(d.Until))
}

// Speaks says whether the transport is enabled (iot-v1 BT-3).
func (d *ControlDevice) Speaks(protocol string) bool { return slices.Contains(d.Protocols, protocol) }

// ControlSource is a command or sensor of a control device: its definition
// (iot-v1 7).
type ControlSource struct {
	No        int64    `json:"-"` // internal number, given by the store
	ID        string   `json:"-"`
	Device    string   `json:"-"`
	Label     string   `json:"label,omitempty"`
	Kind      string   `json:"kind"`
	PinPort   string   `json:"pinPort"`
	Resources []string `json:"resources,omitempty"` // none: the device's default resource
	Minimum   string   `json:"minimum,omitempty"`   // range, both or none
	Maximum   string   `json:"maximum,omitempty"`
	Step      string   `json:"step,omitempty"`
	Expected  int      `json:"expected,omitempty"` // seconds between two items that are expected; 0: 60
	Pause     int      `json:"pause,omitempty"`    // least seconds between two items

	// Of commands:
	ValueType string `json:"valueType,omitempty"` // NumericRange or Text; anything else cannot be expressed
	Adopt     bool   `json:"adopt,omitempty"`     // iot-v1 CM-9
	Lifetime  int    `json:"lifetime,omitempty"`  // seconds of a desired state; 0: 24 h, -1: without end

	// Of sensors:
	Quantity string `json:"qc,omitempty"`
	Unit     string `json:"mu,omitempty"`
}

// IsCommand says whether the source is a command.
func (s *ControlSource) IsCommand() bool { return strings.HasPrefix(s.ID, "cmd_") }

// Value types of commands (iot-v1 CA-7).
const (
	NumericRange = "NumericRange"
	TextValue    = "Text"
)

// Numeric says whether values must be numbers (iot-v1 FD-3).
func (s *ControlSource) Numeric() bool {
	if s.IsCommand() {
		return s.ValueType == NumericRange
	}
	return s.Unit != ""
}

// Fits says whether the source can be expressed in iot/v1; value is a command's
// desired value (iot-v1 CA-5).
func (s *ControlSource) Fits(value string) bool {
	if s.Kind == "" {
		return false
	}
	if !s.IsCommand() {
		return true
	}
	return (s.ValueType == NumericRange && IsNumber(value) || s.ValueType == TextValue) && value != "" && len(value) <= MaxControlValue
}

// ControlState is what changes of a source: the reported value, and of a
// command the desired one.
type ControlState struct {
	Source   int64
	Feed     int64 // id of the item that is the reported state; 0: none
	Value    string
	Observed time.Time
	Received time.Time
	Desired  string // desired value of a command, "" none
	Sequence int64  // of the newest desired state of a command
}

// Limits of a feed-data item in bytes (iot-v1 5.1, LP-7), and of a device in
// sources of either kind.
const (
	MaxControlMessageID = 128
	MaxControlValue     = 256
	MaxControlSources   = 256
	MaxControlDepth     = 16
)

// DesiredState is a request that a command take a value (iot-v1 8.1).
type DesiredState struct {
	ID       string
	Device   string
	Command  string // its id
	Source   int64
	Value    string
	Sequence int64
	Issued   time.Time
	Expires  time.Time // zero: never
	Status   string    // pending or how it ended
	Closed   time.Time
	Feed     int64  // the item that closed it
	Reported string // the value of that item
	By       string // who asked
}

// States of a desired state (iot-v1 CM-1).
const (
	DesiredPending    = "pending"
	DesiredApplied    = "applied"
	DesiredRejected   = "rejected"
	DesiredStale      = "stale"
	DesiredSuperseded = "superseded"
	DesiredExpired    = "expired"
)

// ControlFeedRow is an accepted feed-data item (iot-v1 5.3).
type ControlFeedRow struct {
	ID       int64
	Source   int64
	Message  string
	Value    string
	Observed time.Time // by the device, exact to 100 ns
	Received time.Time
	Desired  string
	Report   string
	Sequence int64
	Via      string // https or mqtt
	Warnings string // JSON array, "" none
	Digest   []byte // of what makes two payloads equal (iot-v1 FD-13)
}

var controlID = regexp.MustCompile(`^(cdv|cmd|des|sen|res|req)_[0-9a-hjkmnp-tv-z]{26}$`)

// IsControlID says whether text is an id of iot/v1 with the prefix, such as cdv
// (iot-v1 ID-5).
func IsControlID(prefix, text string) bool {
	if len(text) != len(prefix)+27 || text[len(prefix)] != '_' || text[:len(prefix)] != prefix {
		return false
	}
	for _, c := range []byte(text[len(prefix)+1:]) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' && c != 'i' && c != 'l' && c != 'o' && c != 'u') {
			return false
		}
	}
	return controlID.MatchString(text)
}

const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// NewControlID makes an id with the prefix: 48 bits of time in milliseconds and
// 80 random ones (iot-v1 ID-5).
func NewControlID(prefix string, at time.Time) string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], uint64(at.UnixMilli())<<16)
	rand.Read(raw[6:])
	high, low := binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])
	b := make([]byte, 0, len(prefix)+27)
	b = append(append(b, prefix...), '_')
	for shift := 125; shift >= 0; shift -= 5 {
		var v uint64
		switch {
		case shift >= 64:
			v = high >> (shift - 64)
		case shift > 59:
			v = high<<(64-shift) | low>>shift
		default:
			v = low >> shift
		}
		b = append(b, crockford[v&31])
	}
	return string(b)
}

// IsNumber says whether text is a decimal number as numeric sources need it
// (iot-v1 FD-3).
func IsNumber(text string) bool {
	i, n := 0, len(text)
	digits := func() bool {
		from := i
		for i < n && text[i] >= '0' && text[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < n && text[i] == '-' {
		i++
	}
	if !digits() {
		return false
	}
	if i < n && text[i] == '.' {
		i++
		if !digits() {
			return false
		}
	}
	if i < n && (text[i] == 'e' || text[i] == 'E') {
		i++
		if i < n && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == n
}

// ControlRate is a token bucket: one token every Every seconds, up to Burst.
type ControlRate struct {
	Every float64
	Burst int
}

// ControlPlan are the limits of a control device (iot-v1 LP-5).
type ControlPlan struct {
	Name         string
	RequestBytes int
	BatchItems   int
	PayloadBytes int // MQTT
	Rates        [ControlClasses]ControlRate
}

// ControlClass is a kind of request that a plan limits the cadence of (iot-v1
// LP-4).
type ControlClass uint8

// The classes.
const (
	CatalogClass ControlClass = iota
	DesiredClass
	FeedClass
	CredentialClass
	TokenClass
	MQTTFeedClass
	ControlClasses
)

var classNames = [ControlClasses]string{"catalog", "desired", "feed", "credential", "token", "mqtt_feed"}

// String returns the name that plans and details.limit use.
func (c ControlClass) String() string { return classNames[c] }

// ControlPlanNames are the built-in plans.
var ControlPlanNames = []string{"starter", "standard"}

// NewControlPlan returns a built-in plan, ArgumentInvalid when there is none of
// the name (iot-v1 LP-5).
func NewControlPlan(name string) (ControlPlan, error) {
	switch name {
	case "starter":
		return ControlPlan{name, 5120, 20, 2048, [ControlClasses]ControlRate{{5, 4}, {5, 2}, {5, 4}, {30, 2}, {30, 3}, {5, 10}}}, nil
	case "standard":
		return ControlPlan{name, 65536, 100, 4096, [ControlClasses]ControlRate{{1, 10}, {1, 5}, {1, 20}, {10, 3}, {5, 5}, {0.2, 50}}}, nil
	}
	return ControlPlan{}, fault.ArgumentInvalid.New("the plan %q is unknown, known are %s", name, strings.Join(ControlPlanNames, ", "))
}

// Greatest values of a plan.
const (
	maxPlanBytes = 16 << 20
	maxPlanItems = 1000
	maxPlanRate  = 1e9
)

// Set changes one value: request_max_bytes, batch_max_items, payload_max_bytes,
// or the name of a class with .interval (seconds) or .burst. ArgumentInvalid:
// no such value, or out of range.
func (p *ControlPlan) Set(name string, v float64) error {
	whole := func(to *int, low, high float64) error {
		if !(v >= low && v <= high) || v != float64(int(v)) {
			return fault.ArgumentInvalid.New("the plan value %s is %v, allowed are whole numbers from %v to %v", name, v, low, high)
		}
		*to = int(v)
		return nil
	}
	switch name {
	case "request_max_bytes":
		return whole(&p.RequestBytes, 256, maxPlanBytes)
	case "batch_max_items":
		return whole(&p.BatchItems, 1, maxPlanItems)
	case "payload_max_bytes":
		return whole(&p.PayloadBytes, 256, 1<<20)
	}
	class, what, _ := strings.Cut(name, ".")
	i := slices.Index(classNames[:], class)
	switch {
	case i >= 0 && what == "burst":
		return whole(&p.Rates[i].Burst, 1, maxPlanRate)
	case i >= 0 && what == "interval":
		if !(v > 0 && v <= 86400) {
			return fault.ArgumentInvalid.New("the plan value %s is %v, allowed are seconds above 0 up to 86400", name, v)
		}
		p.Rates[i].Every = v
		return nil
	}
	return fault.ArgumentInvalid.New("%q is no value of a plan, known are request_max_bytes, batch_max_items, payload_max_bytes and CLASS.interval, CLASS.burst of %s",
		name, strings.Join(classNames[:], ", "))
}
