package controlapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/mqtt"
)

// FuzzMQTTPayload: whatever a payload and its content type are, it is an item
// that keeps the limits, or gets an acknowledgement that says why not.
func FuzzMQTTPayload(f *testing.F) {
	for _, payload := range []string{`{"message_id":"m-1","value":"21.5","value_received_at":"2026-05-01T11:59:58Z"}`, `{`, ``, `[]`, `{"message_id":"m"}`,
		`{"message_id":"m-1","value":1e3,"value_received_at":"2026-05-01T11:59:58","desired_id":"des_01hzk4v8q2m7n3p5r9s0t1w2g1","report_status":"stale","sequence_number":7}`,
		`{"message_id":"a","message_id":"b"}`, "\xff", strings.Repeat("[", 40)} {
		f.Add([]byte(payload), "", true)
		f.Add([]byte(payload), "application/json", false)
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, payload []byte, kind string, command bool) {
		source := "sen_01hzk4v8q2m7n3p5r9s0t1w2s1"
		if command {
			source = "cmd_01hzk4v8q2m7n3p5r9s0t1w2c1"
		}
		err := checkPayload(&mqtt.Publish{Payload: payload, Properties: &mqtt.Properties{ContentType: kind}}, 4096)
		var item *control.Item
		if err == nil {
			item, err = control.ParsePublish(payload, now, source)
		}
		if err == nil {
			if item.Source != source || len(item.Message) == 0 || len(item.Message) > nave.MaxControlMessageID || len(item.Value) == 0 ||
				len(item.Value) > nave.MaxControlValue || !command && (item.Desired != "" || item.Report != "") {
				t.Fatalf("%q: %+v", payload, item)
			}
			return
		}
		var a struct {
			Message   *string `json:"message_id"`
			Status    string
			Retryable *bool
			Warnings  []any
			Code      any
			Error     struct {
				Type    string
				Details map[string]any
			}
		}
		text := rejected("t", control.PublishMessageID(payload), err).encode()
		if e := json.Unmarshal(text, &a); e != nil || a.Status != "rejected" || a.Retryable == nil || *a.Retryable || a.Warnings == nil || a.Code != nil ||
			a.Error.Type == "" || a.Error.Type == "service_unavailable" || a.Error.Details["reason"] == nil {
			t.Fatalf("%q with %q: %s, %v", payload, kind, text, e)
		}
	})
}
