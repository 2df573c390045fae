package console

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// c2dRequest is the body of POST …/c2d.
type c2dRequest struct {
	Device     string            `json:"deviceId"`
	Module     string            `json:"moduleId"`
	Body       json.RawMessage   `json:"body"`         // a JSON string is sent as its text, anything else as JSON
	Encoding   string            `json:"bodyEncoding"` // "base64": the body is a string of it
	Properties map[string]string `json:"properties"`
	System     struct {
		MessageID       string `json:"messageId"`
		CorrelationID   string `json:"correlationId"`
		UserID          string `json:"userId"`
		ContentType     string `json:"contentType"`
		ContentEncoding string `json:"contentEncoding"`
		Ack             string `json:"ack"`
		Expiry          string `json:"expiryTimeUtc"`
	} `json:"system"`
}

// c2dAnswer tells what became of it.
type c2dAnswer struct {
	Device    string `json:"deviceId"`
	Module    string `json:"moduleId,omitempty"`
	MessageID string `json:"messageId"`
	Sequence  int64  `json:"sequenceNumber"`
	Enqueued  string `json:"enqueuedTime"`
	Expires   string `json:"expiryTimeUtc"`
}

func (s *server) sendC2D(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	var q c2dRequest
	if err := readJSON(w, r, &q); err != nil {
		return err
	}
	m, err := q.message()
	if err != nil {
		return err
	}
	if err := h.Backend(hub.Operator()).SendToDevice(r.Context(), m); err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, c2dAnswer{Device: m.On.Device, Module: m.On.Module, MessageID: m.System.MessageID,
		Sequence: m.Seq, Enqueued: nave.Format(m.Enqueued), Expires: nave.Format(m.Expires)})
	return nil
}

func (q *c2dRequest) message() (*nave.C2D, error) {
	m := &nave.C2D{On: nave.ID{Device: q.Device, Module: q.Module}}
	y := &q.System
	m.System = nave.System{MessageID: y.MessageID, CorrelationID: y.CorrelationID, UserID: y.UserID,
		ContentType: y.ContentType, ContentEncoding: y.ContentEncoding, To: address(m.On)}
	var err error
	if m.System.Ack, err = nave.ParseAck(y.Ack); err != nil {
		return nil, err
	}
	if y.Expiry != "" {
		if m.System.Expiry, err = nave.ParseTime(y.Expiry); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(q.Properties)) {
		m.SetApp(name, q.Properties[name], true)
	}
	m.Body, err = q.bytes()
	return m, errors.Join(err, m.On.Check())
}

func (q *c2dRequest) bytes() ([]byte, error) {
	var text string
	isText := json.Unmarshal(q.Body, &text) == nil && len(q.Body) > 0 && q.Body[0] == '"'
	switch {
	case q.Encoding != "" && q.Encoding != "base64":
		return nil, fault.ArgumentInvalid.New("bodyEncoding is %q, allowed is base64", q.Encoding)
	case q.Encoding == "base64":
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || !isText {
			return nil, fault.ArgumentInvalid.New("the body is not a string of base64")
		}
		return b, nil
	case isText:
		return []byte(text), nil
	}
	return q.Body, nil
}

func address(on nave.ID) string {
	if on.IsModule() {
		return "/devices/" + on.Device + "/modules/" + on.Module + "/messages/devicebound"
	}
	return "/devices/" + on.Device + "/messages/devicebound"
}

// feedback is one record of GET …/feedback.
type feedback struct {
	MessageID   string       `json:"originalMessageId"`
	Device      string       `json:"deviceId"`
	Module      string       `json:"moduleId,omitempty"`
	Generation  string       `json:"deviceGenerationId"`
	Status      nave.Outcome `json:"statusCode"`
	Description string       `json:"description"`
	Time        string       `json:"enqueuedTimeUtc"`
}

// maxWait is the longest time that a caller may wait for feedback.
const maxWait = time.Minute

// takeFeedback hands out the records that wait and completes them. With
// ?wait=10s it waits for the next feedback message first.
func (s *server) takeFeedback(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	b := h.Backend(hub.Operator())
	batch, err := next(r, b)
	if err != nil {
		return err
	}
	all := []feedback{}
	if batch == nil {
		return answer(w, all)
	}
	for _, f := range batch.Records {
		all = append(all, feedback{MessageID: f.OriginalMessageID, Device: f.Device, Module: f.Module, Generation: f.Generation,
			Status: f.Status, Description: f.Description, Time: nave.Format(f.Enqueued)})
	}
	if err := b.SettleFeedback(r.Context(), batch.Lock, true); err != nil {
		return err
	}
	return answer(w, all)
}

func next(r *http.Request, b *hub.Backend) (*hub.FeedbackBatch, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return b.TakeFeedback(r.Context())
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxWait {
		return nil, fault.ArgumentInvalid.New("wait is %q, expected is a duration up to %s", text, maxWait)
	}
	ctx, cancel := context.WithTimeout(r.Context(), d)
	defer cancel()
	batch, err := b.NextFeedback(ctx)
	if err != nil && ctx.Err() != nil && r.Context().Err() == nil {
		return nil, nil // whatever the end of the wait broke off calls its error as it likes
	}
	return batch, err
}
