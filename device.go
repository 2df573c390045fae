package nave

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/fault"
)

// Status of an identity.
const (
	Enabled  = "enabled"
	Disabled = "disabled"
)

// AuthType says how an identity proves itself (service-api 5.3).
type AuthType string

// The four authentication types.
const (
	AuthSAS        AuthType = "sas"
	AuthSelfSigned AuthType = "selfSigned"
	AuthCA         AuthType = "certificateAuthority"
	AuthNone       AuthType = "none"
)

// Auth is the authentication of an identity. Keys are base64, thumbprints hex
// as registered.
type Auth struct {
	Type                                AuthType
	Primary, Secondary                  string // keys, type sas
	PrimaryThumbprint, SecondThumbprint string // type selfSigned
}

// Identity is a device or a module in the registry (service-api 5.1, 5.2).
// Status, StatusReason, Edge, DeviceScope and ParentScopes belong to devices.
type Identity struct {
	ID            ID
	Generation    string // decimal text, new with every creation
	ETag          string // base64, unquoted; new with every identity write
	Status        string
	StatusReason  string
	StatusUpdated time.Time
	Created       time.Time
	Auth          Auth
	Edge          bool
	DeviceScope   string
	ParentScopes  []string
	ManagedBy     string
	Attributes    json.RawMessage // stored verbatim

	// What the registration of a device says it has (connectivity-api LK-3,
	// RP-13), "" for nothing; whether a SIM is linked, Connectivity tells.
	WantICCID, WantIMEI string

	Presence     Presence      // filled on read
	Pending      int           // queued and locked C2D messages, filled on read
	Connectivity *Connectivity // of a device with a linked SIM, filled on read
}

// Presence is the connection state of an identity.
type Presence struct {
	Connected bool
	Node      string    // the node that holds the line while connected
	Changed   time.Time // last change of Connected
	Activity  time.Time // last connect, D2C message or C2D receive
}

// CertificateAuthority is a CA whose certificates devices may present.
type CertificateAuthority struct {
	Name     string
	PEM      string
	Verified bool
	Created  time.Time
}

// MaxText is the greatest length of statusReason and managedBy in characters
// (service-api 5.1, 2.4).
const MaxText = 128

// Check answers ArgumentInvalid for an id, status, text or authentication
// against service-api 5.1 to 5.3, and InvalidDeviceScope for a scope against
// 5.5 as far as it shows without the other devices.
func (i *Identity) Check(l *Limits) error {
	if err := i.ID.Check(); err != nil {
		return err
	}
	if s := i.status(); s != Enabled && s != Disabled {
		return fault.ArgumentInvalid.New("status is %q, allowed are %s and %s", brief(i.Status), Enabled, Disabled)
	}
	if err := checkText("statusReason", "device.maxStatusReason", i.StatusReason); err != nil {
		return err
	}
	if err := checkText("managedBy", "module.maxManagedBy", i.ManagedBy); err != nil {
		return err
	}
	if err := i.Auth.Check(); err != nil {
		return err
	}
	if len(i.Attributes) > l.Body {
		return fault.ArgumentInvalid.Over("http.maxBody", l.Body, len(i.Attributes), "attributes is too large")
	}
	return i.checkScopes()
}

// CheckETag answers PreconditionFailed unless the value of an If-Match header
// names the identity's etag.
func (i *Identity) CheckETag(ifMatch string) error {
	if MatchETag(ifMatch, i.ETag) {
		return nil
	}
	return fault.PreconditionFailed.New("the etag of %s is %q, the request expects %q", i.ID, i.ETag, brief(ifMatch))
}

func checkText(name, setting, text string) error {
	if n := utf8.RuneCountInString(text); n > MaxText {
		return fault.ArgumentInvalid.Over(setting, MaxText, n, "%s has too many characters", name)
	}
	return nil
}

func (i *Identity) checkScopes() error {
	if len(i.ParentScopes) > 1 {
		return fault.InvalidDeviceScope.New("parentScopes has %d entries, a device has at most one parent", len(i.ParentScopes))
	}
	if !i.Edge {
		if len(i.ParentScopes) == 1 && i.DeviceScope != "" && i.DeviceScope != i.ParentScopes[0] {
			return fault.InvalidDeviceScope.New("deviceScope %q and parentScopes %q name different parents", brief(i.DeviceScope), brief(i.ParentScopes[0]))
		}
		return nil
	}
	own := i.EdgeScope()
	if i.DeviceScope != "" && i.DeviceScope != own {
		return fault.InvalidDeviceScope.New("the scope of edge device %s is %s and cannot become %q", i.ID, own, brief(i.DeviceScope))
	}
	if slices.Contains(i.ParentScopes, own) {
		return fault.InvalidDeviceScope.New("edge device %s would be its own ancestor", i.ID)
	}
	return nil
}

// EdgeScheme begins the scope of every edge device (service-api 5.5).
const EdgeScheme = "ms-azure-iot-edge://"

// EdgeScope returns the scope that an edge device opens for its children:
// ms-azure-iot-edge://{deviceId}-{generationId} (service-api 5.5).
func (i *Identity) EdgeScope() string {
	return EdgeScheme + i.ID.Device + "-" + i.Generation
}

// Parent returns the scope of the edge device above, "" when there is none.
func (i *Identity) Parent() string {
	switch {
	case len(i.ParentScopes) > 0:
		return i.ParentScopes[0]
	case i.Edge:
		return ""
	}
	return i.DeviceScope
}

func (i *Identity) status() string {
	if i.Status == "" {
		return Enabled
	}
	return i.Status
}

func (p *Presence) state() string {
	if p.Connected {
		return "Connected"
	}
	return "Disconnected"
}

func (a *Auth) kind() AuthType {
	switch {
	case a.Type != "":
		return a.Type
	case a.PrimaryThumbprint != "" || a.SecondThumbprint != "":
		return AuthSelfSigned
	}
	return AuthSAS
}

// Check answers ArgumentInvalid for an authentication against service-api 5.3.
// No key shows in the error.
func (a *Auth) Check() error {
	keys := a.Primary != "" || a.Secondary != ""
	prints := a.PrimaryThumbprint != "" || a.SecondThumbprint != ""
	t := a.kind()
	switch {
	case !slices.Contains([]AuthType{AuthSAS, AuthSelfSigned, AuthCA, AuthNone}, t):
		return fault.ArgumentInvalid.New("authentication.type is %q, allowed are sas, selfSigned, certificateAuthority, none", brief(string(t)))
	case keys && prints:
		return fault.ArgumentInvalid.New("authentication has both symmetricKey and x509Thumbprint, one of them is allowed")
	case keys && t != AuthSAS:
		return fault.ArgumentInvalid.New("authentication.symmetricKey has keys, which type %s does not allow", t)
	case prints && t != AuthSelfSigned:
		return fault.ArgumentInvalid.New("authentication.x509Thumbprint has thumbprints, which type %s does not allow", t)
	case t == AuthSAS:
		return a.checkKeys()
	case t == AuthSelfSigned:
		return a.checkThumbprints()
	}
	return nil
}

func (a *Auth) checkKeys() error {
	if (a.Primary == "") != (a.Secondary == "") {
		return fault.ArgumentInvalid.New("authentication.symmetricKey has one key, both or none are allowed")
	}
	if a.Primary == "" {
		return nil
	}
	if err := checkKey64("primaryKey", a.Primary); err != nil {
		return err
	}
	return checkKey64("secondaryKey", a.Secondary)
}

func checkKey64(name, key string) error {
	b, err := base64.StdEncoding.DecodeString(key)
	if err != nil || strings.ContainsAny(key, "\r\n") {
		return fault.ArgumentInvalid.New("authentication.symmetricKey.%s is not base64", name)
	}
	if n := len(b); n < 16 || n > 64 {
		return fault.ArgumentInvalid.Over("device.keyBytes", "16 … 64", n, "authentication.symmetricKey.%s has a wrong length", name)
	}
	return nil
}

func (a *Auth) checkThumbprints() error {
	if a.PrimaryThumbprint == "" {
		return fault.ArgumentInvalid.New("authentication.x509Thumbprint.primaryThumbprint is missing, type selfSigned needs it")
	}
	if err := checkThumbprint("primaryThumbprint", a.PrimaryThumbprint); err != nil {
		return err
	}
	if a.SecondThumbprint == "" {
		return nil
	}
	if err := checkThumbprint("secondaryThumbprint", a.SecondThumbprint); err != nil {
		return err
	}
	if one, two := len(hexDigits(a.PrimaryThumbprint)), len(hexDigits(a.SecondThumbprint)); one != two {
		return fault.ArgumentInvalid.New("authentication.x509Thumbprint: the thumbprints have %d and %d digits, both must be SHA-1 or both SHA-256", one, two)
	}
	return nil
}

// hexDigits returns a thumbprint without the colons and blanks that
// certificate tools put in (device-protocols 1.4).
func hexDigits(text string) string { return strings.NewReplacer(":", "", " ", "").Replace(text) }

func checkThumbprint(name, text string) error {
	text = hexDigits(text)
	if _, err := hex.DecodeString(text); err != nil || len(text) != 40 && len(text) != 64 {
		return fault.ArgumentInvalid.New("authentication.x509Thumbprint.%s has %d characters, expected are 40 or 64 hex digits", name, len(text))
	}
	return nil
}

var lastGeneration atomic.Int64

// NewGeneration returns a generation id for an identity made at that time: 18
// digits, 100 ns since the year 1, never twice in one process.
func NewGeneration(at time.Time) string {
	const second = 10_000_000
	for {
		n, last := ticks(at), lastGeneration.Load()
		if n <= last && last-n < second {
			n = last + 1
		}
		if lastGeneration.CompareAndSwap(last, n) {
			return strconv.FormatInt(n, 10)
		}
	}
}

// NewETag returns the etag of an identity write: base64 of 8 random bytes.
func NewETag() string { return random64(8) }

// NewKey returns a symmetric key: base64 of 32 random bytes.
func NewKey() string { return random64(32) }

func random64(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails, see crypto/rand
	return base64.StdEncoding.EncodeToString(b)
}
