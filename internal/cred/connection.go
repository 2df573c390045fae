package cred

import (
	"log/slog"
	"strings"
)

// MaxConnectionString is the longest connection string in bytes that ParseConnectionString looks at.
const MaxConnectionString = 8 << 10

// ConnectionString says where a client dials and how it proves who it is (device-protocols 7.2, service-api 4.1).
type ConnectionString struct {
	HostName   string // the hub's name, also when a gateway is dialled
	Gateway    string // GatewayHostName: dialled instead of HostName
	DeviceID   string
	ModuleID   string
	Policy     string // SharedAccessKeyName
	Key        string // SharedAccessKey; base64, except that with Endpoint any text will do
	SAS        string // SharedAccessSignature: a ready-made token
	Endpoint   string // sb://host[:port]/ of the Event Hubs-compatible endpoint; excludes HostName
	EntityPath string // the Event Hubs entity
	X509       bool   // x509=true: the proof is a certificate
	Emulator   bool   // UseDevelopmentEmulator=true: no TLS, only with Endpoint
}

// word ties a name of the text form to its field, which is one of text and flag.
type word struct {
	name string
	text *string
	flag *bool
}

// words lists the names in the order String writes them; the alias comes last.
func (c *ConnectionString) words() []word {
	return []word{
		{"HostName", &c.HostName, nil},
		{"Endpoint", &c.Endpoint, nil},
		{"GatewayHostName", &c.Gateway, nil},
		{"DeviceId", &c.DeviceID, nil},
		{"ModuleId", &c.ModuleID, nil},
		{"SharedAccessKeyName", &c.Policy, nil},
		{"SharedAccessKey", &c.Key, nil},
		{"SharedAccessSignature", &c.SAS, nil},
		{"EntityPath", &c.EntityPath, nil},
		{"x509", nil, &c.X509},
		{"UseDevelopmentEmulator", nil, &c.Emulator},
		{"X509Cert", nil, &c.X509}, // C#
	}
}

// ParseConnectionString reads name=value parts separated by ';'. Names compare case-insensitively; unknown and repeated ones are
// refused, as is a combination no client could use. Errors are *Error and never hold a value that may be secret.
func ParseConnectionString(text string) (*ConnectionString, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, refuse(ProblemMissing, "the connection string is empty")
	}
	if len(text) > MaxConnectionString {
		return nil, refuse(ProblemMalformed, "the connection string has %d bytes; at most %d are allowed", len(text), MaxConnectionString)
	}
	c, seen, at := new(ConnectionString), map[string]bool{}, 0
	for part := range strings.SplitSeq(text, ";") {
		at++
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if err := c.set(part, at, seen); err != nil {
			return nil, err
		}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *ConnectionString) set(part string, at int, seen map[string]bool) error {
	name, value, ok := strings.Cut(part, "=")
	if !ok {
		return refuse(ProblemMalformed, "part %d of the connection string has no '='", at)
	}
	for _, w := range c.words() {
		if !strings.EqualFold(w.name, name) {
			continue
		}
		if seen[w.name] {
			return refuse(ProblemMalformed, "the connection string has %s twice", w.name)
		}
		seen[w.name] = true
		if w.flag != nil {
			return setFlag(w.flag, w.name, value)
		}
		if value == "" {
			return refuse(ProblemMalformed, "%s of the connection string is empty", w.name)
		}
		*w.text = value
		return nil
	}
	if len(name) > 20 { // long enough to be the stray tail of a key
		return refuse(ProblemMalformed, "part %d of the connection string has an unknown name", at)
	}
	return refuse(ProblemMalformed, "part %d of the connection string has the unknown name %q", at, name)
}

func setFlag(flag *bool, name, value string) error {
	switch {
	case strings.EqualFold(value, "true"):
		*flag = true
	case !strings.EqualFold(value, "false"):
		return refuse(ProblemMalformed, "%s of the connection string is neither true nor false", name)
	}
	return nil
}

func (c *ConnectionString) check() error {
	proofs := 0
	for _, has := range []bool{c.Key != "", c.SAS != "", c.X509} {
		if has {
			proofs++
		}
	}
	switch {
	case c.HostName == "" && c.Endpoint == "":
		return refuse(ProblemMalformed, "the connection string has neither HostName nor Endpoint")
	case c.HostName != "" && c.Endpoint != "":
		return refuse(ProblemMalformed, "the connection string has both HostName and Endpoint")
	case c.ModuleID != "" && c.DeviceID == "":
		return refuse(ProblemMalformed, "the connection string has ModuleId without DeviceId")
	case proofs != 1:
		return refuse(ProblemMalformed, "the connection string has %d of SharedAccessKey, SharedAccessSignature and x509=true; exactly one is needed", proofs)
	case c.X509 && c.DeviceID == "":
		return refuse(ProblemMalformed, "the connection string has x509=true without DeviceId")
	case c.Key != "" && c.DeviceID == "" && c.Policy == "":
		return refuse(ProblemMalformed, "the connection string has SharedAccessKey with neither DeviceId nor SharedAccessKeyName")
	case c.Endpoint == "" && (c.EntityPath != "" || c.Emulator):
		return refuse(ProblemMalformed, "the connection string has EntityPath or UseDevelopmentEmulator without Endpoint")
	case c.Endpoint != "" && (c.DeviceID != "" || c.Gateway != ""):
		return refuse(ProblemMalformed, "the connection string has DeviceId or GatewayHostName with Endpoint")
	case c.Endpoint == "" && c.Key != "":
		return CheckKey(c.Key)
	}
	return nil
}

// String writes the connection string, key and token included: for answers to the person who owns them, never for a log.
// A value that holds ';' cannot be read back.
func (c *ConnectionString) String() string {
	var parts []string
	for _, w := range c.words() {
		switch {
		case w.text != nil && *w.text != "":
			parts = append(parts, w.name+"="+*w.text)
		case w.flag != nil && *w.flag && w.name != "X509Cert":
			parts = append(parts, w.name+"=true")
		}
	}
	return strings.Join(parts, ";")
}

// LogValue is the connection string without its key and token.
func (c *ConnectionString) LogValue() slog.Value {
	bare := *c
	bare.Key, bare.SAS = "", ""
	return slog.StringValue(bare.String())
}
