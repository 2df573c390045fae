package dps

import (
	"cmp"
	"strings"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
)

// LinkedHub is an IoT hub that devices are assigned to (dps 3.11). Its name is
// what devices are told to connect to; the HostName of the connection string is
// where its service API is, which may be another name of the same hub. In the
// store the connection string is sealed for the place hub/<key>.
type LinkedHub struct {
	Name       string `json:"name"`                      // host name
	Connection string `json:"connectionString,omitzero"` // "" for a hub of this process
	Local      bool   `json:"local,omitzero"`            // the hub is in this process
	Location   string `json:"location,omitzero"`
	Weight     int    `json:"allocationWeight,omitzero"`      // 1 to 1000; 0 counts as 1
	Apply      *bool  `json:"applyAllocationPolicy,omitzero"` // nil: true
	Auth       string `json:"authenticationType,omitzero"`    // KeyBased, SystemAssigned, UserAssigned
	Identity   string `json:"selectedUserAssignedIdentityResourceId,omitzero"`
	Created    Time   `json:"createdDateTimeUtc,omitzero"`
	Updated    Time   `json:"lastUpdatedDateTimeUtc,omitzero"`
	ETag       string `json:"etag,omitzero"`
}

// Applies says whether the hub takes devices of enrolments that list no hubs.
func (l *LinkedHub) Applies() bool { return l.Apply == nil || *l.Apply }

func (l *LinkedHub) weight() float64 { return float64(max(1, l.Weight)) }

// Limits of linked hubs (dps 3.11).
const (
	maxHubs   = 50
	maxWeight = 1000
)

// keyBased is the only authentication of links that has a meaning here.
const keyBased = "KeyBased"

// ParseLinkedHub reads a link as clients send it; DeserializationError,
// ArgumentInvalid. The connection string may be missing or masked where the
// link is there already.
func ParseLinkedHub(b []byte) (*LinkedHub, error) {
	var in struct {
		Name       string `json:"name"`
		Connection string `json:"connectionString"`
		Local      bool   `json:"local"`
		Location   string `json:"location"`
		Weight     *int   `json:"allocationWeight"`
		Apply      *bool  `json:"applyAllocationPolicy"`
		Auth       string `json:"authenticationType"`
		ETag       string `json:"etag"`
	}
	if err := Decode(b, &in); err != nil {
		return nil, err
	}
	l := &LinkedHub{Name: in.Name, Connection: in.Connection, Local: in.Local, Location: in.Location, Apply: in.Apply, ETag: in.ETag, Weight: 1}
	if in.Weight != nil {
		l.Weight = *in.Weight
	}
	if err := between("allocationWeight", l.Weight, 1, maxWeight); err != nil {
		return nil, err
	}
	if len(l.Location) > maxName {
		return nil, fault.DPSArgumentInvalid.New("location is longer than %d bytes", maxName)
	}
	var err error
	l.Auth, err = canonical("authenticationType", cmp.Or(in.Auth, keyBased), keyBased, "SystemAssigned", "UserAssigned")
	if err == nil && l.Auth != keyBased {
		err = fault.DPSArgumentInvalid.New("authenticationType %s needs an identity service, which is not here; a link is KeyBased or local", l.Auth)
	}
	return l, err
}

// shown is l as answers have it: the key masked, defaults filled in.
func (l *LinkedHub) shown() *LinkedHub {
	n := *l
	n.Connection = masked(l.Connection)
	n.Weight, n.Auth = max(1, l.Weight), cmp.Or(l.Auth, keyBased)
	apply := l.Applies()
	n.Apply = &apply
	return &n
}

// mask stands in answers for a secret.
const mask = "****"

// masked returns the connection string without its key.
func masked(connection string) string {
	if connection == "" {
		return ""
	}
	var parts []string
	for part := range strings.SplitSeq(connection, ";") {
		name, value, ok := strings.Cut(part, "=")
		if ok && !strings.EqualFold(name, "HostName") && !strings.EqualFold(name, "SharedAccessKeyName") {
			value = mask
		}
		if name != "" {
			parts = append(parts, name+"="+value)
		}
	}
	return strings.Join(parts, ";")
}

// isMasked says whether a client sends back what it has read.
func isMasked(connection string) bool {
	return connection == mask || strings.Contains(connection, "="+mask)
}

// hosts returns the names by which the hub is reached.
func (l *LinkedHub) hosts() []string {
	hosts := []string{l.Name}
	if c, err := cred.ParseConnectionString(l.Connection); err == nil && l.Connection != "" {
		host := c.HostName
		if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.HasSuffix(host, "]") && strings.HasSuffix(host, ":443") {
			host = host[:i]
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// checkHost answers ArgumentInvalid unless name can be a host name.
func checkHost(name string) error {
	ok := name != "" && len(name) <= 253
	for i := range len(name) {
		c := name[i]
		ok = ok && (isAlphanumeric(c) || c == '-' || c == '.' || c == '_')
	}
	if !ok || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") {
		return fault.DPSArgumentInvalid.New("%q cannot be the host name of a hub", brief(name))
	}
	return nil
}
