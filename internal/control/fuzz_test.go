package control_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

var itemSeeds = []string{
	`{"message_id":"m-1","sensor_id":"sen_01hzk4v8q2m7n3p5r9s0t1w2s1","value":"21.5","value_received_at":"2026-05-01T11:59:58Z"}`,
	`{"message_id":"k-1","command_id":"cmd_01hzk4v8q2m7n3p5r9s0t1w2c1","value":1e3,"value_received_at":"2026-05-01T11:59:58.123456789+02:00","desired_id":"des_01hzk4v8q2m7n3p5r9s0t1w2g1","report_status":"stale","sequence_number":7.0}`,
	`{"message_id":null,"value":{},"x":[[[]]],"y":"\ud83d\ude00\n\u00e9"}`, `{}`, `[]`, ``, `{"value":"\ud800"}`, "\xff", `{"a":1,"a":2}`, `-0`, `01`, strings.Repeat("[", 40),
}

// FuzzItem holds the parser against encoding/json: what it takes is JSON, what
// it refuses as malformed is none, and an item it returns keeps the contract.
func FuzzItem(f *testing.F) {
	for _, s := range itemSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		i, err := control.ParseItem(body, noon)
		checkRefusal(t, body, err)
		if err != nil {
			return
		}
		switch {
		case i.Message == "" || len(i.Message) > nave.MaxControlMessageID, i.Value == "" || len(i.Value) > nave.MaxControlValue:
			t.Errorf("%q: %+v", body, i)
		case !nave.IsControlID("cmd", i.Source) && !nave.IsControlID("sen", i.Source), i.Command != nave.IsControlID("cmd", i.Source):
			t.Errorf("%q: source %q", body, i.Source)
		case i.Desired != "" && !i.Command, (i.Report == "") != (i.Desired == ""), i.Sequence < 0:
			t.Errorf("%q: %+v", body, i)
		case i.Observed.Before(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) || i.Observed.Sub(noon) > 24*time.Hour:
			t.Errorf("%q: %v", body, i.Observed)
		}
	})
}

// FuzzBatch parses a batch and each of its items alone: they must agree.
func FuzzBatch(f *testing.F) {
	for _, s := range itemSeeds {
		f.Add([]byte(`{"items":[` + s + `]}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		entries, err := control.ParseBatch(body, 20, noon)
		checkRefusal(t, body, err)
		if err != nil {
			return
		}
		var in struct{ Items []json.RawMessage }
		if err := json.Unmarshal(body, &in); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if len(entries) == 0 || len(entries) > 20 {
			t.Fatalf("%d entries", len(entries))
		}
		for _, e := range entries {
			if (e.Item == nil) == (e.Err == nil) {
				t.Errorf("%q: %+v", body, e)
			}
			checkRefusal(t, body, e.Err)
		}
	})
}

func checkRefusal(t *testing.T, body []byte, err error) {
	t.Helper()
	if err == nil {
		if !json.Valid(body) {
			t.Errorf("%q is no JSON", body)
		}
		return
	}
	e := fault.From(err)
	reason, _ := e.Detail[control.ReasonKey].(string)
	switch {
	case e.Code.Family != fault.Control || reason == "":
		t.Errorf("%q: %v", body, err)
	case reason == "malformed_json" && json.Valid(body):
		t.Errorf("%q is JSON: %v", body, err)
	case errors.Is(err, fault.ControlValidationFailed):
		if all, _ := e.Detail[control.ErrorsKey].([]control.FieldError); len(all) == 0 || len(all) > 20 {
			t.Errorf("%q: %d field errors", body, len(all))
		}
	}
}
