package hub

import (
	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// Part names what of a connection is meant: all of it, or one of the links that
// AMQP has (device-protocols 3.5, 6.2).
type Part uint8

// The parts. Socket is the whole connection, cut without a word.
const (
	Whole Part = iota
	Socket
	SessionPart
	TelemetryLink
	CommandLink
	TwinRequestLink
	TwinResponseLink
	MethodRequestLink
	MethodResponseLink
	TokenRequestLink
	TokenResponseLink
)

// Kind is a right to one identity's traffic that only one line holds at a time.
type Kind uint8

// The kinds, one bit each. An MQTT connection holds all of them, an AMQP
// connection those whose links are attached.
const (
	Telemetry Kind = 1 << iota
	Commands
	Twins
	Methods
	Everything = Telemetry | Commands | Twins | Methods
)

var kinds = [...]struct {
	kind Kind
	part Part
}{{Telemetry, TelemetryLink}, {Commands, CommandLink}, {Twins, TwinResponseLink}, {Methods, MethodRequestLink}}

// Peer is the device at the far end of a Line, implemented by each device
// protocol. The hub calls it from any goroutine, without holding a lock; no
// method may block on the network.
type Peer interface {
	// Deliver hands over a leased cloud-to-device message. An error returns it
	// to the queue, not counted as a failed delivery.
	Deliver(c *nave.C2D) error
	// Invoke hands over a direct method; the device's reply comes back by
	// Line.Answer with the same Call.ID.
	Invoke(c *nave.Call) error
	// Desired hands over a change of the desired properties, in version order.
	Desired(c *nave.Change) error
	// Close ends the whole connection or one of its parts, saying why where
	// the protocol can. Line.Close still follows from the surface.
	Close(what Part, why *fault.Error)
}
