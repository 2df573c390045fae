package fault

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// Family tells which contract a code belongs to; numbers are unique within a family.
type Family string

// The families, in the order of All.
const (
	Hub     Family = "hub"          // IoT Hub, device and service side
	DPS     Family = "dps"          // provisioning service
	Control Family = "iot/v1"       // iot/v1 for firmware
	SIM     Family = "connectivity" // connectivity API
)

// Retry is the advice that goes out with every error (hub-semantics 20).
type Retry uint8

// The classes of advice.
const (
	Never   Retry = iota // the same request fails again
	Later                // the same request can succeed once something else has changed
	Refresh              // read the state again, or get a new token, then ask anew
	Backoff              // repeat with growing, random pauses
)

// String returns the word used in headers and JSON: never, later, refresh or backoff.
func (r Retry) String() string {
	return word(int(r), "never", "later", "refresh", "backoff")
}

// Outcome is what an MQTT 3.1.1 client sees of a code where it arises most often. A surface without that
// means at hand uses the one it has: CONNACK while connecting, Response for a request, else Close.
type Outcome uint8

// The outcomes.
const (
	Close    Outcome = iota // the socket is closed without a packet
	Connack1                // CONNACK 1: protocol level refused
	Connack3                // CONNACK 3: server unavailable, retryable
	Connack5                // CONNACK 5: not authorised
	Response                // status in a response topic
)

// String returns a short word for tables and logs.
func (o Outcome) String() string {
	return word(int(o), "close", "connack 1", "connack 3", "connack 5", "response")
}

func word(i int, words ...string) string {
	if i < len(words) {
		return words[i]
	}
	return "unknown"
}

// Code is one row of the catalogue and the sentinel for its occurrences; it is declared once and never changed.
type Code struct {
	ID     int    // number on the wire; for Family SIM our own, never sent
	Name   string // published name
	Family Family
	HTTP   int     // status; for a code without an HTTP form the class of its number, for injection
	AMQP   string  // condition; "" follows from HTTP, see Condition
	MQTT   Outcome // see Outcome
	Retry  Retry
	Raised bool   // a real cause in today's hub leads to it; otherwise it can only be injected
	Why    string // cause, in our words
	Fix    string // remedy: what to do

	variable string // name of the package variable; "" for the family's prefix and Name
}

// Condition returns the AMQP error condition: the declared one, or the usual one for the HTTP status.
func (c *Code) Condition() string {
	if c.AMQP != "" {
		return c.AMQP
	}
	switch c.HTTP {
	case 400, 422:
		return "com.microsoft:argument-error"
	case 401:
		return "amqp:unauthorized-access"
	case 404:
		return "amqp:not-found"
	case 412:
		return "com.microsoft:precondition-failed"
	case 413:
		return "amqp:link:message-size-exceeded"
	case 415:
		return "amqp:not-implemented"
	case 429:
		return "com.microsoft:device-container-throttled"
	case 503:
		return "com.microsoft:server-busy"
	case 504:
		return "com.microsoft:timeout"
	}
	if c.HTTP >= 500 {
		return "amqp:internal-error"
	}
	return "amqp:not-allowed"
}

// The catalogue, sorted by family and number. Filled while the package's variables are initialised, then read only.
var (
	catalogue []*Code
	byName    = map[string]*Code{}
)

var families = []Family{Hub, DPS, Control, SIM}

func order(a, b *Code) int {
	return cmp.Or(
		cmp.Compare(slices.Index(families, a.Family), slices.Index(families, b.Family)),
		cmp.Compare(a.ID, b.ID))
}

// define enters c into the catalogue and fills what follows from it.
func define(c Code) *Code {
	if c.variable == "" {
		c.variable = variable(&c)
	}
	c.Raised = raised[c.variable]
	at, taken := slices.BinarySearchFunc(catalogue, &c, order)
	if taken {
		panic("fault: code declared twice: " + c.variable)
	}
	catalogue = slices.Insert(catalogue, at, &c)
	byName[strings.ToLower(c.variable)] = &c
	return &c
}

// variable returns the name of the package variable of c: a prefix for the family, and Name in one word.
func variable(c *Code) string {
	prefix := map[Family]string{DPS: "DPS", Control: "Control", SIM: "SIM"}[c.Family]
	for part := range strings.SplitSeq(c.Name, "_") {
		prefix += strings.ToUpper(part[:1]) + part[1:]
	}
	return prefix
}

// All yields every code, by family (hub, dps, iot/v1, connectivity) and then by number.
func All() iter.Seq[*Code] {
	return slices.Values(catalogue)
}

// Lookup returns the code with this number in the family, or nil.
func Lookup(id int, family Family) *Code {
	at, found := slices.BinarySearchFunc(catalogue, &Code{ID: id, Family: family}, order)
	if !found {
		return nil
	}
	return catalogue[at]
}

// ByName returns the code of this name in any letter case, or nil. It knows the variables of this package
// (DPSEnrollmentNotFound), the published names (EnrollmentNotFound, rate_limited) and the published spellings
// that have no entry of their own (InternalServerError); of equal names the first family wins.
func ByName(name string) *Code {
	low := strings.ToLower(strings.TrimSpace(name))
	if c := byName[low]; c != nil {
		return c
	}
	for _, c := range catalogue {
		if strings.EqualFold(c.Name, low) {
			return c
		}
	}
	return readings[low]
}
