package nave

import "time"

// Source says what an event tells of; the text is the value of
// iothub-message-source (hub-semantics 13).
type Source string

// The sources of events.
const (
	Telemetry             Source = "Telemetry"
	TwinChanges           Source = "twinChangeEvents"
	DeviceLifecycle       Source = "deviceLifecycleEvents"
	DeviceConnectionState Source = "deviceConnectionStateEvents"
	DeviceJobLifecycle    Source = "deviceJobLifecycleEvents"
	DigitalTwinChanges    Source = "digitalTwinChangeEvents"
	ControlFeed           Source = "iot/v1"
)

// Event is what the event log holds: a message with what the hub stamped on
// it. Partition and Seq are set by the log.
type Event struct {
	Message
	Source     Source
	From       ID
	Generation string // iothub-connection-auth-generation-id
	Auth       string // iothub-connection-auth-method
	Model      string // dt-dataschema, the model id of the connection
	Enqueued   time.Time

	Partition int
	Seq       int64
}

// Position says where a reader of one partition starts. Exactly one of the
// fields counts, in this order; the zero value is the earliest event.
type Position struct {
	Latest bool      // only what arrives from now on
	From   int64     // from this sequence number on
	Since  time.Time // enqueued at or after
}
