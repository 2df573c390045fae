package control

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave"
)

// event is an item as the hub's event log has it: source iot/v1, from the
// control device, the body a JSON object with the fields of the contract plus
// feed_data_id, received_at and transport.
func event(device, source string, f *nave.ControlFeedRow) *nave.Event {
	key := "sensor_id"
	if strings.HasPrefix(source, "cmd_") {
		key = "command_id"
	}
	b := make([]byte, 0, 320+len(f.Value)+len(f.Message))
	b = strconv.AppendInt(append(b, `{"feed_data_id":`...), f.ID, 10)
	b = append(b, `,"message_id":`...)
	b = quote(b, f.Message)
	b = append(append(append(b, `,"`...), key...), `":"`...)
	b = append(append(b, source...), `","value":`...)
	b = quote(b, f.Value)
	b = append(b, `,"value_received_at":"`...)
	b = f.Observed.UTC().AppendFormat(b, timeForm)
	b = append(b, `","received_at":"`...)
	b = f.Received.UTC().AppendFormat(b, timeForm)
	b = append(append(append(b, `","transport":"`...), f.Via...), '"')
	if f.Desired != "" {
		b = append(append(b, `,"desired_id":"`...), f.Desired...)
		b = append(append(append(b, `","report_status":"`...), f.Report...), '"')
	}
	if f.Sequence != 0 {
		b = strconv.AppendInt(append(b, `,"sequence_number":`...), f.Sequence, 10)
	}
	b = append(b, '}')
	return &nave.Event{Source: nave.ControlFeed, From: nave.ID{Device: device},
		Message: nave.Message{Body: b, System: nave.System{MessageID: f.Message, ContentType: "application/json", ContentEncoding: "utf-8"},
			App: []nave.Property{{Name: "feedDataId", Value: strconv.FormatInt(f.ID, 10), HasValue: true}}}}
}

// timeForm is RFC 3339 in UTC with as many fraction digits as there are.
const timeForm = "2006-01-02T15:04:05.999999999Z"

// quote appends text as a JSON string.
func quote(b []byte, text string) []byte {
	b, _ = jsontext.AppendQuote(b, text) // fails for broken UTF-8 only, which it replaces
	return b
}
