package nave

import (
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// Right is a set of permissions; the bits have the values that client models
// use (service-api 1.2).
type Right uint8

// The four permissions.
const (
	RegistryRead Right = 1 << iota
	RegistryWrite
	ServiceConnect
	DeviceConnect
)

var rightNames = []string{"RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"}

// Has says whether all permissions of want are in r.
func (r Right) Has(want Right) bool { return r&want == want }

// String returns the names, separated by comma and blank.
func (r Right) String() string {
	var names []string
	for i, name := range rightNames {
		if r.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// ParseRight reads a comma-separated list of permission names in any order;
// RegistryWrite (also RegistryReadWrite) brings RegistryRead with it.
func ParseRight(text string) (Right, error) {
	var r Right
next:
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		if strings.EqualFold(word, "RegistryReadWrite") {
			r |= RegistryRead | RegistryWrite
			continue
		}
		for i, name := range rightNames {
			if strings.EqualFold(word, name) {
				r |= 1 << i
				continue next
			}
		}
		return 0, fault.ArgumentInvalid.New("the right %q is unknown, known are %s", word, strings.Join(rightNames, ", "))
	}
	if r.Has(RegistryWrite) {
		r |= RegistryRead
	}
	return r, nil
}

// Policy is a shared access policy of a hub (service-api 1.2). Keys are base64.
type Policy struct {
	Name               string
	Rights             Right
	Primary, Secondary string
}

// DefaultPolicies returns the five policies that every hub starts with, still
// without keys.
func DefaultPolicies() []Policy {
	return []Policy{
		{Name: "iothubowner", Rights: RegistryRead | RegistryWrite | ServiceConnect | DeviceConnect},
		{Name: "service", Rights: ServiceConnect},
		{Name: "device", Rights: DeviceConnect},
		{Name: "registryRead", Rights: RegistryRead},
		{Name: "registryReadWrite", Rights: RegistryRead | RegistryWrite},
	}
}

// Principal is who calls: how it was proved, what it may do, and until when.
type Principal struct {
	Name   string    // policy name, device id, or token subject
	Rights Right     // what it may do
	Only   ID        // a device's or module's own credentials: nothing but this identity
	Proof  string    // "sas", "x509", "policy" or "bearer"
	Scope  []string  // path segments that a policy token is narrowed to
	Ops    []string  // names of the only operations it may do, of those that Rights allow; nil: all of them
	Until  time.Time // expiry of the proof, the zero time when it has none

	// Set for a device's line:
	Generation string // of the authenticated identity
	Auth       string // the iothub-connection-auth-method text
}
