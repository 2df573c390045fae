package nave

import (
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// Ack says which outcomes of a cloud-to-device message its sender wants to
// hear of.
type Ack string

// The four values; the empty text means none.
const (
	AckNone     Ack = "none"
	AckPositive Ack = "positive"
	AckNegative Ack = "negative"
	AckFull     Ack = "full"
)

// Wants says whether the outcome asks for a feedback record.
func (a Ack) Wants(o Outcome) bool {
	if o == Success {
		return a == AckPositive || a == AckFull
	}
	return a == AckNegative || a == AckFull
}

// ParseAck reads the four values in any case; the empty text is AckNone
// (service-api 3.3).
func ParseAck(text string) (Ack, error) {
	switch a := Ack(strings.ToLower(text)); a {
	case "":
		return AckNone, nil
	case AckNone, AckPositive, AckNegative, AckFull:
		return a, nil
	}
	return "", fault.ArgumentInvalid.New("iothub-ack is %q, allowed are none, positive, negative, full", text)
}

// Outcome is how a cloud-to-device message ended (hub-semantics 5.4).
type Outcome string

// The five outcomes.
const (
	Success               Outcome = "Success"
	Expired               Outcome = "Expired"
	DeliveryCountExceeded Outcome = "DeliveryCountExceeded"
	Rejected              Outcome = "Rejected"
	Purged                Outcome = "Purged"
)

// C2D is a message in the queue of a device or module.
type C2D struct {
	Message
	On         ID
	Seq        int64
	Enqueued   time.Time
	Expires    time.Time // when it ends unread: the sender's expiry, else the default life time; what expiry and leasing look at
	Deliveries int       // deliveries so far, this one included
	Failed     int       // deliveries that ended in abandon or a lock that ran out
	Lock       string    // token of this delivery, 32 hex digits; empty while not delivered
	LockUntil  time.Time
	Generation string // of the identity when the message was sent
}

// Feedback is the record of one outcome.
type Feedback struct {
	OriginalMessageID string    `json:"originalMessageId"`
	Generation        string    `json:"deviceGenerationId"`
	Device            string    `json:"deviceId"`
	Module            string    `json:"moduleId,omitempty"`
	Enqueued          time.Time `json:"-"` // time of the outcome
	Status            Outcome   `json:"statusCode"`
	Description       string    `json:"description"`
}

// Verdict is what a receiver makes of a delivered message.
type Verdict uint8

// The three verdicts.
const (
	Complete Verdict = iota
	Abandon
	Reject
)

// AppendFeedback appends the JSON array of outcomes that services read
// (service-api 3.4).
func AppendFeedback(b []byte, records []Feedback) []byte {
	b = append(b, '[')
	for n := range records {
		if n > 0 {
			b = append(b, ',')
		}
		b = records[n].append(b)
	}
	return append(b, ']')
}

func (f *Feedback) append(b []byte) []byte {
	b = appendText(append(b, `{"originalMessageId":`...), f.OriginalMessageID)
	b = appendText(append(b, `,"enqueuedTimeUtc":`...), Format(f.Enqueued))
	b = appendText(append(b, `,"statusCode":`...), string(f.Status))
	b = appendText(append(b, `,"description":`...), f.Description)
	b = appendText(append(b, `,"deviceId":`...), f.Device)
	if f.Module != "" {
		b = appendText(append(b, `,"moduleId":`...), f.Module)
	}
	b = appendText(append(b, `,"deviceGenerationId":`...), f.Generation)
	return append(b, '}')
}
