package hub

import "github.com/nave-hub/nave"

// Record appends events that a domain beside the hub has accepted to the hub's
// event log and takes ownership of them; Source and From are the caller's to
// set. done runs once, on a goroutine of the log, with nil when all are durable
// or with ServiceUnavailable; it must not block. The domain has entered its own
// operation: nothing is checked or charged here.
func (h *Hub) Record(events []*nave.Event, done func(error)) {
	h.events.AppendAll(events, func(err error) {
		if err != nil {
			err = logFault(err)
		}
		done(err)
	})
}
