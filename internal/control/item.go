package control

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// Item is a feed-data item that has passed validation (iot-v1 5.1). Source is
// its command or sensor id; ParsePublish leaves that to its caller.
type Item struct {
	Message    string
	Source     string
	Command    bool
	Value      string
	Observed   time.Time // UTC
	AssumedUTC bool      // the time had no offset
	Desired    string
	Report     string // "" unless Desired is set
	Sequence   int64  // 0: none
	Unknown    []string
	Retained   bool // MQTT: the publish had the retain flag
}

// Entry is an item of a batch, or why it is none.
type Entry struct {
	Message *string // as far as it could be read
	Item    *Item
	Err     error
}

// Bounds of value_received_at (iot-v1 FD-4).
var firstMoment = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	latestAhead = 24 * time.Hour
	skewAhead   = 300 * time.Second
)

// ParseItem reads the body of a single post (iot-v1 5). It answers 4000 or
// 4022.
func ParseItem(body []byte, now time.Time) (*Item, error) {
	v, err := parse(body)
	if err != nil {
		return nil, err
	}
	return readItem(&v, "", now)
}

// ParsePublish reads the payload of an MQTT publish (iot-v1 11.5): an item
// whose source, the id of a command or sensor, the topic names.
func ParsePublish(body []byte, now time.Time, source string) (*Item, error) {
	v, err := parse(body)
	if err != nil {
		return nil, err
	}
	return readPublish(&v, now, source)
}

// PublishMessageID returns the message id of a payload that was refused, nil
// when it cannot be read (iot-v1 MQ-18).
func PublishMessageID(body []byte) *string {
	v, err := parse(body)
	if err != nil {
		return nil
	}
	return messageID(&v)
}

// ParseBatch reads the body of a batch of up to limit items (iot-v1 6). It
// answers 4000, 4022 and 4013; what is wrong with a single item stands in its
// entry.
func ParseBatch(body []byte, limit int, now time.Time) ([]Entry, error) {
	v, err := parse(body)
	if err != nil {
		return nil, err
	}
	if v.kind != '{' {
		return nil, Invalid([]FieldError{{"", "type"}})
	}
	items := v.member("items")
	switch {
	case items == nil:
		return nil, Invalid([]FieldError{{"/items", "required"}})
	case items.kind != '[':
		return nil, Invalid([]FieldError{{"/items", "type"}})
	case len(items.items) == 0:
		return nil, Invalid([]FieldError{{"/items", "too_short"}})
	case len(items.items) > limit:
		e := refuse(fault.ControlPayloadTooLarge, "too_many_items", "the batch has %d items, the plan allows %d", len(items.items), limit)
		e.Detail["max_items"] = limit
		return nil, e
	}
	all := make([]Entry, len(items.items))
	for n := range items.items {
		one := &items.items[n]
		all[n].Message = messageID(one)
		all[n].Item, all[n].Err = readItem(one, "/items/"+strconv.Itoa(n), now)
	}
	return all, nil
}

func messageID(v *value) *string {
	if v.kind != '{' {
		return nil
	}
	if m := v.member("message_id"); m != nil && m.kind == '"' {
		return &m.text
	}
	return nil
}

// reading collects what is wrong with one item.
type reading struct {
	at     string // JSON pointer of the item
	errors []FieldError
}

func (r *reading) bad(field, reason string) {
	if field != "" {
		field = "/" + field
	}
	r.errors = append(r.errors, FieldError{r.at + field, reason})
}

// end returns the errors in the order of fields.
func (r *reading) end() error {
	if r.errors == nil {
		return nil
	}
	slices.SortStableFunc(r.errors, func(a, b FieldError) int { return cmp.Compare(a.Field, b.Field) })
	return Invalid(r.errors)
}

func (r *reading) finish(i *Item) (*Item, error) {
	if err := r.end(); err != nil {
		return nil, err
	}
	return i, nil
}

func readItem(v *value, at string, now time.Time) (*Item, error) {
	r := &reading{at: at}
	if v.kind != '{' {
		r.bad("", "type")
		return nil, r.end()
	}
	i := &Item{}
	r.source(v, i)
	r.fields(v, i, now)
	if v.member("sensor_id") != nil && v.member("command_id") == nil {
		r.sensorOnly(v)
	}
	i.Unknown = unknown(v, true)
	return r.finish(i)
}

func readPublish(v *value, now time.Time, source string) (*Item, error) {
	r := &reading{}
	if v.kind != '{' {
		r.bad("", "type")
		return nil, r.end()
	}
	i := &Item{Source: source, Command: strings.HasPrefix(source, "cmd_")}
	r.fields(v, i, now)
	if !i.Command {
		r.sensorOnly(v)
	}
	i.Unknown = unknown(v, false)
	return r.finish(i)
}

// sensorOnly refuses fields that only commands have (iot-v1 FD-7).
func (r *reading) sensorOnly(v *value) {
	for _, name := range []string{"desired_id", "report_status"} {
		if v.member(name) != nil {
			r.errors = slices.DeleteFunc(r.errors, func(e FieldError) bool { return e.Field == r.at+"/"+name })
			r.bad(name, "not_allowed")
		}
	}
}

// source reads command_id or sensor_id (iot-v1 FD-1).
func (r *reading) source(v *value, i *Item) {
	command, sensor := v.member("command_id"), v.member("sensor_id")
	for _, f := range []struct {
		v            *value
		name, prefix string
	}{{command, "command_id", "cmd"}, {sensor, "sensor_id", "sen"}} {
		switch {
		case f.v == nil:
		case f.v.kind != '"':
			r.bad(f.name, "type")
		case !nave.IsControlID(f.prefix, f.v.text):
			r.bad(f.name, "pattern")
		default:
			i.Source, i.Command = f.v.text, f.prefix == "cmd"
		}
	}
	switch {
	case command != nil && sensor != nil:
		r.bad("", "mutually_exclusive")
	case command == nil && sensor == nil:
		r.bad("", "required")
	}
}

func (r *reading) fields(v *value, i *Item, now time.Time) {
	i.Message = r.message(v.member("message_id"))
	i.Value = r.value(v.member("value"))
	r.observed(v.member("value_received_at"), i, now)
	desired, report := v.member("desired_id"), v.member("report_status")
	switch {
	case desired == nil:
	case desired.kind != '"':
		r.bad("desired_id", "type")
	case !nave.IsControlID("des", desired.text):
		r.bad("desired_id", "pattern")
	default:
		i.Desired, i.Report = desired.text, nave.DesiredApplied
	}
	switch {
	case report == nil:
	case report.kind != '"':
		r.bad("report_status", "type")
	case report.text != nave.DesiredApplied && report.text != nave.DesiredRejected && report.text != nave.DesiredStale:
		r.bad("report_status", "unknown_value")
	case desired == nil:
		r.bad("report_status", "not_allowed")
	default:
		i.Report = report.text
	}
	i.Sequence = r.sequence(v.member("sequence_number"))
}

func (r *reading) message(v *value) string {
	switch {
	case v == nil:
		r.bad("message_id", "required")
	case v.kind != '"':
		r.bad("message_id", "type")
	case v.text == "":
		r.bad("message_id", "too_short")
	case len(v.text) > nave.MaxControlMessageID:
		r.bad("message_id", "too_long")
	case !isMessageID(v.text):
		r.bad("message_id", "pattern")
	default:
		return v.text
	}
	return ""
}

func isMessageID(text string) bool {
	for i := range len(text) {
		c := text[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._:~-", c) >= 0) {
			return false
		}
	}
	return true
}

func (r *reading) value(v *value) string {
	switch {
	case v == nil:
		r.bad("value", "required")
	case v.kind != '"' && v.kind != '0':
		r.bad("value", "type")
	case v.text == "":
		r.bad("value", "too_short")
	case len(v.text) > nave.MaxControlValue:
		r.bad("value", "too_long")
	default:
		return v.text
	}
	return ""
}

// sequence reads a whole number from 1 to 2^53 - 1; 1.0 is whole.
func (r *reading) sequence(v *value) int64 {
	if v == nil {
		return 0
	}
	if v.kind != '0' {
		r.bad("sequence_number", "type")
		return 0
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(v.text, 64)
		switch {
		case err != nil || math.Abs(f) >= 1<<53:
			r.bad("sequence_number", "out_of_range")
			return 0
		case f != math.Trunc(f):
			r.bad("sequence_number", "type")
			return 0
		}
		n = int64(f)
	}
	if n < 1 || n > 1<<53-1 {
		r.bad("sequence_number", "out_of_range")
		return 0
	}
	return n
}

// observed reads value_received_at (iot-v1 FD-4).
func (r *reading) observed(v *value, i *Item, now time.Time) {
	const name = "value_received_at"
	switch {
	case v == nil:
		r.bad(name, "required")
		return
	case v.kind != '"':
		r.bad(name, "type")
		return
	}
	at, assumed, ok := parseMoment(v.text)
	switch {
	case !ok:
		r.bad(name, "format")
	case at.Before(firstMoment) || at.Sub(now) > latestAhead:
		r.bad(name, "out_of_range")
	default:
		i.Observed, i.AssumedUTC = at, assumed
	}
}

// parseMoment reads an RFC 3339 date-time with capital T and Z and up to nine
// fraction digits; without an offset it counts as UTC.
func parseMoment(text string) (at time.Time, assumed, ok bool) {
	if len(text) < 19 || len(text) > 35 || text[10] != 'T' {
		return at, false, false
	}
	rest := text[19:]
	if strings.HasPrefix(rest, ".") {
		n := 1
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		if n == 1 || n > 10 {
			return at, false, false
		}
		rest = rest[n:]
	}
	switch {
	case rest == "":
		text, assumed = text+"Z", true
	case rest != "Z" && !isOffset(rest): // time.Parse also takes a comma, 24 hours and 60 minutes
		return at, false, false
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	return at.UTC(), assumed, err == nil
}

// isOffset says whether text is a time-numoffset of RFC 3339 5.6.
func isOffset(text string) bool {
	if len(text) != 6 || text[0] != '+' && text[0] != '-' || text[3] != ':' {
		return false
	}
	hours, e1 := strconv.ParseUint(text[1:3], 10, 8)
	minutes, e2 := strconv.ParseUint(text[4:], 10, 8)
	return e1 == nil && e2 == nil && hours < 24 && minutes < 60
}

var knownFields = []string{"message_id", "value", "value_received_at", "desired_id", "report_status", "sequence_number", "command_id", "sensor_id"}

// maxUnknown bounds how many unknown fields a warning names.
const maxUnknown = 20

// unknown returns the names of fields that do not count (iot-v1 FD-8); the ids
// of sources do not in a publish.
func unknown(v *value, named bool) (names []string) {
	known := knownFields
	if !named {
		known = known[:6]
	}
	for i := range v.members {
		if name := v.members[i].name; !slices.Contains(known, name) && len(names) < maxUnknown {
			if len(name) > nave.MaxControlMessageID {
				name = strings.ToValidUTF8(name[:nave.MaxControlMessageID], "") + "…"
			}
			names = append(names, name)
		}
	}
	return names
}

// digestSize is how much of the hash is kept.
const digestSize = 16

// digest returns what two equal payloads have in common (iot-v1 FD-13).
func (i *Item) digest() []byte {
	b := make([]byte, 0, 64+len(i.Value))
	b = binary.AppendUvarint(b, uint64(len(i.Value)))
	b = append(b, i.Value...)
	b = binary.BigEndian.AppendUint64(b, uint64(i.Observed.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(i.Observed.Nanosecond()))
	b = append(append(b, i.Desired...), 0)
	b = append(append(b, i.Report...), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(i.Sequence))
	h := sha256.Sum256(b)
	return bytes.Clone(h[:digestSize])
}

// ParseCredentialRequest reads the body of a request for an MQTT credential and
// returns the device it names (iot-v1 11.3). It answers 4000 or 4022.
func ParseCredentialRequest(body []byte) (device string, err error) {
	v, err := parse(body)
	if err != nil {
		return "", err
	}
	r := &reading{}
	switch id := v.member("device_id"); {
	case v.kind != '{':
		r.bad("", "type")
	case id == nil:
		r.bad("device_id", "required")
	case id.kind != '"':
		r.bad("device_id", "type")
	case !nave.IsControlID("cdv", id.text):
		r.bad("device_id", "pattern")
	default:
		device = id.text
	}
	return device, r.end()
}
