package console

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// failure is the body of every error of the console.
type failure struct {
	Error problem `json:"error"`
}

type problem struct {
	Code     int     `json:"code"`
	Name     string  `json:"name"`
	Message  string  `json:"message"`
	Fix      string  `json:"fix,omitempty"`
	Retry    string  `json:"retry"`
	After    float64 `json:"retryAfterSeconds,omitempty"`
	Setting  string  `json:"setting,omitempty"`
	Limit    any     `json:"limit,omitempty"`
	Observed any     `json:"observed,omitempty"`
	Tracking string  `json:"trackingId"`
}

// fixKey is the Detail of a fault that holds a remedy in place of the code's.
const fixKey = "fix"

// refuse makes a fault whose remedy is the console's own.
func refuse(c *fault.Code, fix, format string, args ...any) *fault.Error {
	e := c.New(format, args...)
	e.Detail = map[string]any{fixKey: fix}
	return e
}

// fail answers and logs an error; it is the only place that does.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.From(err)
	level := slog.LevelDebug
	if e.Code.HTTP >= 500 {
		level = slog.LevelError
	}
	s.o.Log.Log(r.Context(), level, "a console request failed", "node", s.o.Node, "op", r.Method+" "+r.URL.Path, "err", e)
	fix := e.Code.Fix
	if own, ok := e.Detail[fixKey].(string); ok {
		fix = own
	}
	p := problem{Code: e.Code.ID, Name: e.Code.Name, Message: e.Text, Fix: fix, Retry: e.Code.Retry.String(),
		After: e.After.Seconds(), Setting: e.Setting, Limit: plain(e.Limit), Observed: plain(e.Observed), Tracking: e.Tracking}
	writeJSON(w, e.Code.HTTP, failure{p})
}

// plain shows durations as text.
func plain(v any) any {
	if d, ok := v.(time.Duration); ok {
		return d.String()
	}
	return v
}

// answer writes v with status 200.
func answer(w http.ResponseWriter, v any) error {
	writeJSON(w, http.StatusOK, v)
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v)
}

// maxBody is the greatest request body that the console itself reads.
const maxBody = 1 << 20

// readJSON reads a request body that must be one JSON object with known
// members.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fault.ArgumentInvalid.Wrap(err, "the body can't be read: %v", err)
	}
	if d.More() {
		return fault.ArgumentInvalid.New("the body holds more than one JSON value")
	}
	return nil
}
