package nave

import (
	"encoding/json"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// Call is a direct method on its way to a device. A nil Payload means none.
type Call struct {
	ID      string // request id, unique on a line: decimal digits
	Method  string
	Payload json.RawMessage
	Timeout time.Duration // how long the device may take
	Connect time.Duration // how long to wait for the device to be there
}

// Reply is a device's answer to a Call; nil Payload means none.
type Reply struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

// MaxMethodName is the greatest length of a method name (hub-semantics 7).
const MaxMethodName = 100

// CheckMethod answers ArgumentInvalid unless name is a legal method name:
// printable ASCII without separators, 1 to 100 characters (hub-semantics 7).
func CheckMethod(name string) error {
	switch {
	case name == "":
		return fault.ArgumentInvalid.New("methodName is missing or empty")
	case len(name) > MaxMethodName:
		return fault.ArgumentInvalid.Over("method.maxName", MaxMethodName, len(name), "methodName is too long")
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c <= ' ' || c >= 0x7f || separator(c) {
			return fault.ArgumentInvalid.New("methodName has the character %q at position %d, allowed is printable ASCII without blanks and separators", first(name[i:]), i+1)
		}
	}
	return nil
}

func separator(c byte) bool {
	switch c {
	case '$', '(', ')', '<', '>', '@', ',', ';', ':', '\\', '"', '/', '[', ']', '?', '=', '{', '}':
		return true
	}
	return false
}
