package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/nave-hub/nave"
)

// The bits of an event's mask: which of the optional fields follow, in this
// order.
const (
	hasModule = 1 << iota
	hasGeneration
	hasAuth
	hasModel
	hasMessageID
	hasCorrelationID
	hasUserID
	hasTo
	hasContentType
	hasContentEncoding
	hasAck
	hasOperation
	hasCreated
	hasOutput
	hasSubject
	hasInterface
	hasSchema
	hasDiagID
	hasDiagContext
	hasSource // a source without a number of its own
	hasExpiry
	hasApp
	maskEnd
)

const maxApp = 1 << 16 // properties of one event

// sources gives each known source its number on disk; never reorder.
var sources = [...]nave.Source{"", nave.Telemetry, nave.TwinChanges, nave.DeviceLifecycle,
	nave.DeviceConnectionState, nave.DeviceJobLifecycle, nave.DigitalTwinChanges, nave.ControlFeed}

var errEvent = errors.New("bus: event is damaged")

// texts returns the optional texts of e in the order of the mask's bits.
func texts(e *nave.Event, t *[19]*string) {
	s := &e.System
	*t = [19]*string{&e.From.Module, &e.Generation, &e.Auth, &e.Model, &s.MessageID, &s.CorrelationID, &s.UserID, &s.To,
		&s.ContentType, &s.ContentEncoding, (*string)(&s.Ack), &s.Operation, &s.Created, &s.Output, &s.Subject,
		&s.Interface, &s.Schema, &s.DiagID, &s.DiagContext}
}

// eventBound returns a size that the encoding of e does not exceed.
func eventBound(e *nave.Event) int {
	n := 64 + 5*19 + e.Size() + len(e.From.Device) + len(e.From.Module) + len(e.Generation) + len(e.Auth) + len(e.Model) +
		len(e.Source) + 2*binary.MaxVarintLen64
	return n + 12*len(e.App)
}

// AppendEvent appends the encoding of e, whose time is stored relative to base
// (Unix nanoseconds), and returns the longer slice. Partition and Seq are not
// part of it.
//
//	mask uvarint | source byte | time varint | device | texts by mask |
//	source text | expiry sec, nsec | count of app, (name, len<<1|has, value)… | body to the end
func AppendEvent(b []byte, e *nave.Event, base int64) []byte {
	var t [19]*string
	texts(e, &t)
	mask, src := uint64(0), byte(0)
	for i, s := range t {
		if *s != "" {
			mask |= 1 << i
		}
	}
	for i, s := range sources {
		if s == e.Source {
			src = byte(i)
			break
		}
	}
	if src == 0 && e.Source != "" {
		mask |= hasSource
	}
	if !e.System.Expiry.IsZero() {
		mask |= hasExpiry
	}
	if len(e.App) > 0 {
		mask |= hasApp
	}
	at := len(b)
	b = append(b, 0, 0, 0, 0) // length of the head, which a reader turns into one string
	b = binary.AppendUvarint(b, mask)
	b = append(b, src)
	b = binary.AppendVarint(b, e.Enqueued.UnixNano()-base)
	b = appendText(b, e.From.Device)
	for _, s := range t {
		if *s != "" {
			b = appendText(b, *s)
		}
	}
	if mask&hasSource != 0 {
		b = appendText(b, string(e.Source))
	}
	if mask&hasExpiry != 0 {
		b = binary.AppendVarint(b, e.System.Expiry.Unix())
		b = binary.AppendUvarint(b, uint64(e.System.Expiry.Nanosecond()))
	}
	if mask&hasApp != 0 {
		b = appendApp(b, e.App)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return append(b, e.Body...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendApp(b []byte, app []nave.Property) []byte {
	b = binary.AppendUvarint(b, uint64(len(app)))
	for i := range app {
		p := &app[i]
		b = appendText(b, p.Name)
		n := uint64(len(p.Value)) << 1
		if p.HasValue {
			n |= 1
		}
		b = append(binary.AppendUvarint(b, n), p.Value...)
	}
	return b
}

// ParseEvent decodes what AppendEvent wrote, the whole of rec, into e. The body
// shares the memory of rec, the texts do not.
func ParseEvent(rec []byte, e *nave.Event, base int64) error {
	if len(rec) < 4 {
		return errEvent
	}
	n := binary.LittleEndian.Uint32(rec)
	if uint64(n) > uint64(len(rec)-4) {
		return errEvent
	}
	h := head{raw: rec[4 : 4+n]}
	h.all = string(h.raw)
	if body := rec[4+n:]; len(body) > 0 {
		e.Body = body[:len(body):len(body)]
	}
	mask := h.uvarint()
	if mask >= maskEnd {
		return fmt.Errorf("%w: unknown fields", errEvent)
	}
	src := h.byte()
	if int(src) >= len(sources) {
		return fmt.Errorf("%w: unknown source", errEvent)
	}
	e.Source = sources[src]
	e.Enqueued = time.Unix(0, base+h.varint()).UTC()
	e.From.Device = h.text(h.uvarint())
	var t [19]*string
	texts(e, &t)
	for i, s := range t {
		if mask&(1<<i) != 0 {
			*s = h.text(h.uvarint())
		}
	}
	if mask&hasSource != 0 {
		e.Source = nave.Source(h.text(h.uvarint()))
	}
	if mask&hasExpiry != 0 {
		sec, nsec := h.varint(), h.uvarint()
		if nsec >= 1e9 {
			return errEvent
		}
		e.System.Expiry = time.Unix(sec, int64(nsec)).UTC()
	}
	if mask&hasApp != 0 {
		e.App = h.app()
	}
	if h.bad || h.off != len(h.raw) {
		return errEvent
	}
	return nil
}

// head reads the part of a record before the body; after a failure every
// further read gives zero and bad stays set.
type head struct {
	raw []byte
	all string
	off int
	bad bool
}

func (h *head) uvarint() uint64 {
	v, n := binary.Uvarint(h.raw[h.off:])
	if n <= 0 {
		h.bad = true
		return 0
	}
	h.off += n
	return v
}

func (h *head) varint() int64 {
	v, n := binary.Varint(h.raw[h.off:])
	if n <= 0 {
		h.bad = true
		return 0
	}
	h.off += n
	return v
}

func (h *head) byte() byte {
	if h.off >= len(h.raw) {
		h.bad = true
		return 0
	}
	h.off++
	return h.raw[h.off-1]
}

func (h *head) text(n uint64) string {
	if n > uint64(len(h.all)-h.off) {
		h.bad = true
		return ""
	}
	s := h.all[h.off : h.off+int(n)]
	h.off += int(n)
	return s
}

func (h *head) app() []nave.Property {
	n := h.uvarint()
	// A property takes two bytes at least, so the count is checked before memory is taken for it.
	if n == 0 || n > maxApp || n > uint64(len(h.raw)-h.off)/2 {
		h.bad = true
		return nil
	}
	app := make([]nave.Property, n)
	for i := range app {
		app[i].Name = h.text(h.uvarint())
		v := h.uvarint()
		app[i].HasValue = v&1 != 0
		app[i].Value = h.text(v >> 1)
	}
	return app
}
