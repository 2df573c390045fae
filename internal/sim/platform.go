package sim

import (
	"context"
	"fmt"
	"time"
)

// Platform is one account at a connectivity platform (connectivity-api 10.1).
// Its methods may be called from any goroutine and block until the platform
// has answered or ctx has ended. Every error they return is a *PlatformError,
// or that of ctx when its end has cut the call.
// The domain has checked the request before it calls: the capability is there,
// the status is settable. It is an interface because the platform inside the
// hub and remote platforms stand behind it.
type Platform interface {
	// Describe returns what is known without asking the platform.
	Describe() Description
	// List returns full records for the index, page by page: the first page for
	// the empty cursor, the last page has an empty Next.
	List(ctx context.Context, cursor string) (Page, error)
	// Get reads one product.
	Get(ctx context.Context, native string) (*Record, error)
	// SetStatus asks for a status. After ClassTimeout the outcome is unknown.
	SetStatus(ctx context.Context, native string, to Status, reason string) (Outcome, error)
	// Poll reads how the change behind a ticket stands: Outcome.Ticket stays set
	// while it is under way. A change that the platform refused is an error.
	Poll(ctx context.Context, native, ticket string) (Outcome, error)
	// Usage returns the buckets between the times, empty ones included.
	Usage(ctx context.Context, native string, from, to time.Time, g Granularity) ([]UsageEntry, error)
	// DataSessions returns attachments, the newest first.
	DataSessions(ctx context.Context, native string, q DataSessionQuery) ([]DataSession, error)
	// SendSMS hands a message over.
	SendSMS(ctx context.Context, native string, m SMS) (SMSState, error)
	// Reset ends the open data session. A Record may be nil when finished.
	Reset(ctx context.Context, native string) (Outcome, error)
	// Location returns where the SIM is; ClassNotFound when nothing is known.
	Location(ctx context.Context, native string) (Location, error)
	// Probe says whether address and credentials are good.
	Probe(ctx context.Context) error
}

// Mode says how a platform answers changes.
type Mode string

// The modes.
const (
	Sync  Mode = "SYNC"
	Async Mode = "ASYNC"
)

// Capability is a group of operations that a platform may lack.
type Capability string

// The capabilities (connectivity-api 6.8).
const (
	CanStatus         Capability = "STATUS"
	CanUsage          Capability = "USAGE"
	CanDataSession    Capability = "DATA_SESSION"
	CanSMS            Capability = "SMS"
	CanLocation       Capability = "LOCATION"
	CanReset          Capability = "RESET"
	CanCustomProperty Capability = "CUSTOM_PROPERTY"
	CanOffering       Capability = "OFFERING"
)

// capabilities are all of them.
var capabilities = []Capability{CanStatus, CanUsage, CanDataSession, CanSMS, CanLocation, CanReset, CanCustomProperty, CanOffering}

// Description is what an adapter says of itself.
type Description struct {
	Reference    string // prefix of product ids
	Account      string
	AccountID    string // at the platform
	Adapter      string // embedded, http
	Mode         Mode
	Settable     []Status
	Capabilities []Capability
}

// Page is a part of the list of products. An empty Next ends it.
type Page struct {
	Records []*Record
	Next    string
}

// Record is one product as its platform shows it. Times are UTC; what the
// platform does not know is empty.
type Record struct {
	NativeID     string           `json:"nativeId"` // ICCID, or serial number of a terminal
	Connectivity ConnectivityType `json:"connectivityType"`
	Status       Status           `json:"status"`
	NativeStatus string           `json:"nativeStatus,omitempty"` // the platform's word, when no Status fits it
	Name         string           `json:"name,omitempty"`
	Visible      bool             `json:"isCustomerVisible"`
	Start        Time             `json:"startDate,omitzero"`
	ICCID        string           `json:"iccid,omitempty"`
	IMSI         string           `json:"imsi,omitempty"`
	MSISDN       string           `json:"msisdn,omitempty"`
	IMEI         string           `json:"imei,omitempty"`
	EID          string           `json:"eid,omitempty"`
	Serial       string           `json:"serialNumber,omitempty"`
	Offering     OfferingRef      `json:"productOffering"`

	// Parts are the sub-products; ids, hrefs and status are set by the domain, a
	// usageVolume is known by its UsageType. Custom properties in them count
	// when the platform has CanCustomProperty.
	Parts []*SubProduct `json:"parts,omitempty"`

	// Partial records hold the status and one part, what is missing stays as it
	// is in the index: the answers to changes.
	Partial bool `json:"-"`
}

// Outcome is the answer to a change: exactly one of Record (finished) and
// Ticket (asynchronous) is set.
type Outcome struct {
	Record *Record
	Ticket string
}

// Class says why a platform failed (connectivity-api ER-6).
type Class string

// The classes.
const (
	ClassTimeout      Class = "timeout"
	ClassUnreachable  Class = "unreachable"
	ClassOutage       Class = "outage"
	ClassCredentials  Class = "credentials"
	ClassRejected     Class = "request_rejected"
	ClassRateLimited  Class = "rate_limited"
	ClassNotFound     Class = "not_found"
	ClassNotPermitted Class = "not_permitted"
	ClassMalformed    Class = "malformed_response"
	ClassUnknown      Class = "unknown"
)

// PlatformError is every error of an adapter. Texts hold no secrets.
type PlatformError struct {
	Class      Class
	HTTPStatus int // 0: no answer
	Code       string
	Title      string
	Detail     string
	Body       string        // first 2,048 characters
	RetryAfter time.Duration // 0: not said
	Took       time.Duration

	// What the classes alone do not say:
	Open        bool // the account was left alone, see HA-10; nothing was sent
	Overloaded  bool // the call waited in line too long, see HA-6; nothing was sent
	Unsupported bool // the platform lacks the operation (connectivity-api 10.4 row 18)
	Token       bool // the token endpoint failed (rows 22 and 23)
	Final       bool // of Poll: the change itself has failed, polling again tells nothing new
}

// Error returns class, status and the platform's words.
func (e *PlatformError) Error() string {
	text := fmt.Sprintf("platform: %s", e.Class)
	if e.HTTPStatus != 0 {
		text += fmt.Sprintf(", status %d", e.HTTPStatus)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Granularity is the length of a bucket of usage.
type Granularity string

// The granularities.
const (
	Hourly  Granularity = "HOUR"
	Daily   Granularity = "DAY"
	Monthly Granularity = "MONTH"
)

// Period is a span of time, the end not included.
type Period struct {
	Start Time `json:"startDateTime"`
	End   Time `json:"endDateTime"`
}

// UsageEntry is one bucket of usage (connectivity-api US-3).
type UsageEntry struct {
	Period Period    `json:"period"`
	Data   DataUsage `json:"data"`
	SMS    SMSUsage  `json:"sms"`
}

// DataUsage counts bytes; uplink is device to network.
type DataUsage struct {
	Uplink   int64 `json:"uplinkBytes"`
	Downlink int64 `json:"downlinkBytes"`
	Total    int64 `json:"totalBytes"`
}

// SMSUsage counts short messages from and to the device.
type SMSUsage struct {
	MO int64 `json:"mo"`
	MT int64 `json:"mt"`
}

// DataSession is one attachment of a SIM to the network (connectivity-api
// SE-1). A zero End is null: it is open.
type DataSession struct {
	ID       string `json:"id"`
	State    string `json:"state"` // OPEN, CLOSED
	Start    Time   `json:"startDateTime"`
	End      Time   `json:"endDateTime"`
	Protocol string `json:"protocol"` // MQTT, AMQP, HTTP, COAP
	IP       string `json:"ipAddress"`
	APN      string `json:"apn"`
	RAT      string `json:"ratType"`
	Uplink   int64  `json:"uplinkBytes"`
	Downlink int64  `json:"downlinkBytes"`
	Cause    string `json:"terminateCause,omitempty"`
}

// Causes of the end of a data session.
const (
	CauseDevice  = "DEVICE_DISCONNECT"
	CauseIdle    = "IDLE"
	CauseStatus  = "STATUS_CHANGE"
	CauseReset   = "RESET"
	CauseLink    = "LINK_CHANGE"
	CauseNetwork = "NETWORK"
	CauseUnknown = "UNKNOWN"
)

// DataSessionQuery selects data sessions that overlap From to To; zero times
// do not limit. State is OPEN, CLOSED or ALL.
type DataSessionQuery struct {
	State    string
	From, To time.Time
	Offset   int
	Limit    int // 0: all
}

// SMS is a short message to the device; the payload was checked.
type SMS struct {
	ID       string
	Payload  string
	Encoding string // TEXT, HEX
	Validity time.Duration
}

// SMSState is how a platform has taken a short message.
type SMSState struct {
	ID     string // at the platform
	Status string // SUBMITTED, DELIVERED, EXPIRED, FAILED
}

// Location is the last known position (connectivity-api SE-2).
type Location struct {
	Timestamp Time     `json:"timestamp"`
	Source    string   `json:"source"` // DEVICE, PLATFORM
	Latitude  *float64 `json:"latitude,omitempty"`
	Longitude *float64 `json:"longitude,omitempty"`
	Country   string   `json:"country,omitempty"`
	Operator  string   `json:"operator,omitempty"`
	CellID    string   `json:"cellId,omitempty"`
}
