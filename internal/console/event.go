package console

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// eventLine is one line of the event stream.
type eventLine struct {
	Partition  int                `json:"partition"`
	Sequence   int64              `json:"sequenceNumber"`
	Enqueued   string             `json:"enqueuedTime"`
	Source     nave.Source        `json:"source"`
	Device     string             `json:"deviceId,omitempty"`
	Module     string             `json:"moduleId,omitempty"`
	System     system             `json:"system"`
	Properties map[string]*string `json:"properties"`
	Body       any                `json:"body"`
	Encoding   string             `json:"bodyEncoding,omitempty"` // "base64" when the body is neither JSON nor text
}

// system is what the device and the hub say about a message.
type system struct {
	MessageID       string          `json:"messageId,omitempty"`
	CorrelationID   string          `json:"correlationId,omitempty"`
	UserID          string          `json:"userId,omitempty"`
	ContentType     string          `json:"contentType,omitempty"`
	ContentEncoding string          `json:"contentEncoding,omitempty"`
	Created         string          `json:"creationTimeUtc,omitempty"`
	Output          string          `json:"outputName,omitempty"`
	Component       string          `json:"component,omitempty"`
	Interface       string          `json:"interfaceId,omitempty"`
	Schema          string          `json:"messageSchema,omitempty"`
	Model           string          `json:"modelId,omitempty"`
	Generation      string          `json:"authGenerationId,omitempty"`
	Auth            json.RawMessage `json:"authMethod,omitempty"`
}

// selection is what a caller wants to see of the events.
type selection struct {
	on        nave.ID
	partition int // -1: all
	from      nave.Position
}

func readSelection(h *hub.Hub, r *http.Request) (sel selection, err error) {
	q := r.URL.Query()
	sel = selection{on: nave.ID{Device: q.Get("device"), Module: q.Get("module")}, partition: -1}
	if text := q.Get("partition"); text != "" {
		if sel.partition, err = strconv.Atoi(text); err != nil || sel.partition < 0 || sel.partition >= h.Partitions() {
			return sel, fault.PartitionNotFound.New("partition is %q, the hub has 0 to %d", text, h.Partitions()-1)
		}
	}
	sel.from, err = position(q.Get("from"), time.Now())
	return sel, err
}

// position reads where to start: latest (also empty), earliest, a time, or
// -10m for as long ago.
func position(text string, now time.Time) (p nave.Position, err error) {
	switch strings.ToLower(text) {
	case "", "latest":
		return nave.Position{Latest: true}, nil
	case "earliest":
		return nave.Position{}, nil
	}
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		d, err := time.ParseDuration(ago)
		if err != nil || d < 0 {
			return p, fault.ArgumentInvalid.New("from is %q, expected is for example -10m", text)
		}
		return nave.Position{Since: now.Add(-d)}, nil
	}
	p.Since, err = nave.ParseTime(text)
	if err != nil {
		return p, fault.ArgumentInvalid.New("from is %q, allowed are latest, earliest, a time such as %s, and -10m", text, nave.Format(now))
	}
	return p, nil
}

// followEvents streams events as lines of JSON until the caller leaves. The
// readers stand when the answer's header is sent, so what is sent to the hub
// after that is not missed.
func (s *server) followEvents(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	sel, err := readSelection(h, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	events, err := openReaders(ctx, h, sel)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	for {
		if err := out.Flush(); err != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case batch, ok := <-events:
			if !ok || s.writeEvents(w, sel, batch) != nil {
				return nil
			}
		}
	}
}

// openReaders starts one reader for each partition wanted; the channel closes
// when one of them ends.
func openReaders(ctx context.Context, h *hub.Hub, sel selection) (<-chan []*nave.Event, error) {
	b := h.Backend(hub.Operator())
	var readers []*hub.EventReader
	for p := range h.Partitions() {
		if sel.partition >= 0 && p != sel.partition {
			continue
		}
		r, err := b.Events(ctx, p, sel.from)
		if err != nil {
			for _, open := range readers {
				open.Close()
			}
			return nil, err
		}
		readers = append(readers, r)
	}
	events, ended := make(chan []*nave.Event), make(chan struct{}, len(readers))
	for _, r := range readers {
		go func() {
			defer r.Close()
			pump(ctx, r, events)
			ended <- struct{}{}
		}()
	}
	return gather(ctx, events, ended), nil
}

func pump(ctx context.Context, r *hub.EventReader, events chan<- []*nave.Event) {
	for {
		batch, err := r.Next(ctx)
		if err != nil {
			return
		}
		select {
		case events <- batch:
		case <-ctx.Done():
			return
		}
	}
}

// gather passes events on until a reader has ended.
func gather(ctx context.Context, events <-chan []*nave.Event, ended <-chan struct{}) <-chan []*nave.Event {
	out := make(chan []*nave.Event)
	go func() {
		defer close(out)
		for {
			select {
			case batch := <-events:
				select {
				case out <- batch:
				case <-ctx.Done():
					return
				}
			case <-ended:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (s *server) writeEvents(w http.ResponseWriter, sel selection, batch []*nave.Event) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, e := range batch {
		if sel.on.Device != "" && sel.on.Device != e.From.Device || sel.on.Module != "" && sel.on.Module != e.From.Module {
			continue
		}
		if err := enc.Encode(lineOf(e)); err != nil {
			return err
		}
	}
	return nil
}

func lineOf(e *nave.Event) *eventLine {
	y := &e.System
	l := &eventLine{Partition: e.Partition, Sequence: e.Seq, Enqueued: nave.Format(e.Enqueued), Source: e.Source,
		Device: e.From.Device, Module: e.From.Module, Properties: map[string]*string{},
		System: system{MessageID: y.MessageID, CorrelationID: y.CorrelationID, UserID: y.UserID, ContentType: y.ContentType,
			ContentEncoding: y.ContentEncoding, Created: y.Created, Output: y.Output, Component: y.Subject, Interface: y.Interface,
			Schema: y.Schema, Model: e.Model, Generation: e.Generation}}
	if json.Valid([]byte(e.Auth)) {
		l.System.Auth = json.RawMessage(e.Auth)
	}
	for i := range e.App {
		l.Properties[e.App[i].Name] = nil
		if e.App[i].HasValue {
			l.Properties[e.App[i].Name] = &e.App[i].Value
		}
	}
	l.Body, l.Encoding = readable(e.Body, y.ContentType)
	return l
}

// readable shows a body as JSON when it is said or looks to be JSON, as text
// when it is UTF-8, and as base64 otherwise.
func readable(body []byte, contentType string) (v any, encoding string) {
	trimmed := bytes.TrimSpace(body)
	said := strings.Contains(strings.ToLower(contentType), "json")
	looks := contentType == "" && len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[')
	if (said || looks) && json.Valid(trimmed) {
		return json.RawMessage(trimmed), ""
	}
	if utf8.Valid(body) {
		return string(body), ""
	}
	return base64.StdEncoding.EncodeToString(body), "base64"
}
