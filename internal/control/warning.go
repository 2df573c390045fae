package control

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/nave-hub/nave"
)

// Warning is advice that comes with an accepted item (iot-v1 5.5).
type Warning struct {
	Type    string         `json:"type"`
	Message string         `json:"message"`
	Details map[string]any `json:"details,omitempty"`
}

// Types of warnings.
const (
	UnknownField         = "unknown_field"
	TimestampAssumedUTC  = "timestamp_assumed_utc"
	ClockSkew            = "clock_skew"
	OlderThanLatest      = "older_than_latest"
	ValueOutOfRange      = "value_out_of_range"
	SequenceMismatch     = "sequence_mismatch"
	AppliedValueDiffers  = "applied_value_differs"
	DesiredSuperseded    = "desired_superseded"
	DesiredExpired       = "desired_expired"
	DesiredAlreadyClosed = "desired_already_closed"
	RetainIgnored        = "retain_ignored"
)

var warningTexts = map[string]string{
	UnknownField:         "fields that the contract does not know were ignored",
	TimestampAssumedUTC:  "value_received_at has no offset and was taken as UTC",
	ClockSkew:            "value_received_at is ahead of the hub's clock",
	OlderThanLatest:      "a later value is known, so this one went to the history only",
	ValueOutOfRange:      "the value is outside the configured range",
	SequenceMismatch:     "sequence_number is not that of the desired state",
	AppliedValueDiffers:  "the value is not the desired one",
	DesiredSuperseded:    "the desired state had been replaced by a newer one",
	DesiredExpired:       "the desired state had expired",
	DesiredAlreadyClosed: "the desired state had been closed by an earlier report",
	RetainIgnored:        "the retain flag was ignored",
}

func (j *job) warn(kind string, details map[string]any) {
	j.warnings = append(j.warnings, Warning{kind, warningTexts[kind], details})
}

// warnItem adds what can be said of the item alone.
func (j *job) warnItem(now time.Time) {
	i := j.item
	if i.Unknown != nil {
		j.warn(UnknownField, map[string]any{"fields": i.Unknown})
	}
	if i.AssumedUTC {
		j.warn(TimestampAssumedUTC, nil)
	}
	if i.Observed.Sub(now) > skewAhead {
		j.warn(ClockSkew, map[string]any{"hub_time": now.UTC().Format(time.RFC3339)})
	}
	if outside(j.source, i.Value) {
		j.warn(ValueOutOfRange, nil)
	}
	if i.Retained {
		j.warn(RetainIgnored, nil)
	}
}

// outside says whether a number is outside the source's range.
func outside(s *nave.ControlSource, text string) bool {
	if !s.Numeric() || s.Minimum == "" && s.Maximum == "" {
		return false
	}
	v, err := strconv.ParseFloat(text, 64)
	low, e1 := strconv.ParseFloat(s.Minimum, 64)
	high, e2 := strconv.ParseFloat(s.Maximum, 64)
	return err != nil || e1 == nil && v < low || e2 == nil && v > high
}

// SameValue says whether two values of a source mean the same: numbers are
// compared as numbers.
func SameValue(s *nave.ControlSource, a, b string) bool {
	if a == b || !s.Numeric() {
		return a == b
	}
	x, e1 := strconv.ParseFloat(a, 64)
	y, e2 := strconv.ParseFloat(b, 64)
	return e1 == nil && e2 == nil && x == y
}

// text returns the warnings as the store keeps them: "" for none.
func (j *job) text() string {
	if j.warnings == nil {
		return ""
	}
	text, _ := json.Marshal(j.warnings) // plain values of ours
	return string(text)
}
