package sim

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

// Kinds of actors.
const (
	Application = "APPLICATION"
	User        = "USER"
	ByHub       = "HUB"
	ByPlatform  = "PLATFORM"
)

// Rights are what a caller may do.
type Rights uint8

// The rights: ro and rw of the connectivity API, and rw of platform-management.
const (
	Read Rights = 1 << iota
	Write
	Administer
)

// Actor is who calls, as the history shows it.
type Actor struct {
	Type   string `json:"type"`
	ID     string `json:"id"`
	Rights Rights `json:"-"`
}

// Access is a tenant bound to a caller. Its methods may be called from any
// goroutine. They answer codes of the connectivity API, and of the gate.
type Access struct {
	t     *Tenant
	actor Actor
	who   *nave.Principal
}

// The operations, named noun.verb for injection and usage.
var (
	opList     = gate.Op{Name: "sim.list"}     // lists of products, find
	opRead     = gate.Op{Name: "sim.read"}     // one product and what belongs to it
	opChange   = gate.Op{Name: "sim.change"}   // status, custom properties, reset
	opBulk     = gate.Op{Name: "sim.bulk"}     // tasks
	opMonitor  = gate.Op{Name: "sim.monitor"}  // reading monitors and tasks
	opSMS      = gate.Op{Name: "sim.sms"}      // sending a short message
	opLink     = gate.Op{Name: "sim.link"}     // making and ending a device link
	opPlatform = gate.Op{Name: "sim.platform"} // reading accounts and offerings
	opManage   = gate.Op{Name: "sim.manage"}   // administration of accounts and offerings
	opImport   = gate.Op{Name: "sim.import"}   // import of SIMs
)

// As returns the tenant bound to a caller.
func (t *Tenant) As(actor Actor) *Access {
	p := &nave.Principal{Name: actor.Type + " " + actor.ID, Proof: "bearer", Ops: []string{}}
	if actor.Rights&(Read|Write) != 0 {
		p.Ops = append(p.Ops, opList.Name, opRead.Name, opMonitor.Name, opPlatform.Name)
	}
	if actor.Rights&Write != 0 {
		p.Ops = append(p.Ops, opChange.Name, opBulk.Name, opSMS.Name, opLink.Name)
	}
	if actor.Rights&Administer != 0 {
		p.Ops = append(p.Ops, opPlatform.Name, opManage.Name, opImport.Name)
	}
	return &Access{t: t, actor: actor, who: p}
}

// Tenant returns the tenant.
func (a *Access) Tenant() *Tenant { return a.t }

// enter has the gate decide on the operation; device may be empty.
func (a *Access) enter(ctx context.Context, device string, op *gate.Op, size int) error {
	if a.t.stopping() {
		return fault.ServiceUnavailable.New("the hub is stopping")
	}
	return a.t.gate.Enter(ctx, a.who, nave.ID{Device: device}, op, size)
}

// ReadOptions say how one product is read: Cached takes the index row of a
// remote platform (LS-8).
type ReadOptions struct {
	Cached      bool
	Correlation string
}

// Reading is one product: the composite, and the part when the id names one.
// Age is how old the data of a cached reading is.
type Reading struct {
	Product *Product
	Part    *SubProduct
	Cached  bool
	Age     time.Duration
}

// FindRequest is the body of POST /product/find (LS-10).
type FindRequest struct {
	ID     []string `json:"idList,omitempty"`
	ICCID  []string `json:"iccidList,omitempty"`
	Serial []string `json:"terminalSNList,omitempty"`
	IMSI   []string `json:"imsiList,omitempty"`
	MSISDN []string `json:"msisdnList,omitempty"`
	IMEI   []string `json:"imeiList,omitempty"`
	EID    []string `json:"eidList,omitempty"`
	Device []string `json:"deviceIdList,omitempty"`
}

// FindResult holds the products found, each once, and an error
// SIMProductNotFound for every value that was not.
type FindResult struct {
	Products []*Product
	Missing  []error
}

// Origin is the request behind a change, for monitors and the history.
type Origin struct {
	Method      string
	Path        string // path of the request
	Header      []HeaderItem
	Body        json.RawMessage
	Correlation string
}

// HeaderItem is a header field; Authorization is never one.
type HeaderItem struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// StatusChange asks for a status of one product (SC-1 to SC-14). Product is
// the id of a SIM card or terminal. Test, unless empty, must be the present
// status. Async has the change tracked by a monitor even if the platform would
// answer at once.
type StatusChange struct {
	Product string
	To      Status
	Test    Status
	Reason  string
	Async   bool
	Origin  Origin
}

// Change is the result of a change: Part when finished, Monitor when it is
// under way. Both are nil for a reset that is finished.
type Change struct {
	Part    *SubProduct
	Monitor *Monitor
}

// PropertyOp changes custom properties: set (Name, Value), remove (Name; it
// must be there), or replaceAll (All).
type PropertyOp struct {
	Op    string
	Name  string
	Value string
	All   []CustomProperty
}

// Words of PropertyOp.Op.
const (
	SetProperty        = "set"
	ReplaceProperty    = "replace" // like set, the name must be there
	RemoveProperty     = "remove"
	ReplaceAllProperty = "replaceAll"
)

// PropertyChange changes custom properties of one product, all or nothing
// (SC-5).
type PropertyChange struct {
	Product string
	Test    Status
	Ops     []PropertyOp
	Origin  Origin
}

// Monitor is an asynchronous request and its outcome (MO-1). State is
// InProgress, Completed or InError.
type Monitor struct {
	ID         string          `json:"id"`
	Href       string          `json:"href"`
	SourceHref string          `json:"sourceHref"` // id of the sub-product, or platform/ and an account, until WithBase
	State      string          `json:"state"`
	Request    MonitorRequest  `json:"request"`
	Response   MonitorResponse `json:"response"`
	Type       string          `json:"@type"`
}

// MonitorRequest is the request behind a monitor.
type MonitorRequest struct {
	Method string          `json:"method"`
	To     string          `json:"to"`
	Header []HeaderItem    `json:"header"`
	Body   json.RawMessage `json:"body"`
}

// MonitorResponse is the outcome: Body is nil, a *SubProduct or a *Problem.
type MonitorResponse struct {
	StatusCode int          `json:"statusCode"`
	Header     []HeaderItem `json:"header"`
	Body       any          `json:"body"`
}

// States of monitors and of task items.
const (
	InProgress = "InProgress"
	Completed  = "Completed"
	InError    = "InError"

	TaskInProgress = "inProgress"
	TaskDone       = "done"
	TaskFailed     = "failed"              // of an item
	TaskError      = "terminatedWithError" // of a task
)

// WithBase fills the hrefs below base and returns m.
func (m *Monitor) WithBase(base string) *Monitor {
	m.Href = base + "/monitor/" + m.ID
	if strings.HasPrefix(m.SourceHref, platformSource) {
		m.SourceHref = base + "/" + m.SourceHref
	} else {
		m.SourceHref = base + "/product/" + m.SourceHref
	}
	switch b := m.Response.Body.(type) {
	case *SubProduct:
		b.WithBase(base)
	case *Problem:
		b.WithBase(base)
	}
	return m
}

// MonitorQuery selects monitors, the newest first; State "" is every state,
// Source the id of a sub-product.
type MonitorQuery struct {
	State  string
	Source string
	Paging Paging
}

// TaskRequest asks for a status of many products (BK-3). Products are ids of
// composites or SIM cards.
type TaskRequest struct {
	ID       string // a UUID; "": one is made. A task that exists is returned as it is
	Status   Status
	Products []string
	ICCIDs   []string
	Reason   string
	Async    bool
	Origin   Origin
}

// Task is a bulk change (BK-6 to BK-8).
type Task struct {
	ID         string         `json:"id"`
	Href       string         `json:"href"`
	Type       string         `json:"@type"`
	State      string         `json:"state"`
	Status     Status         `json:"status"`
	Reason     string         `json:"reason"`
	CreatedAt  Time           `json:"createdAt"`
	FinishedAt Time           `json:"finishedAt"`
	Statistics TaskStatistics `json:"statistics"`
	Items      []*TaskItem    `json:"entities"`
	Errors     []*Problem     `json:"errors"`
}

// TaskStatistics count items.
type TaskStatistics struct {
	Total      int `json:"total"`
	Succeeded  int `json:"succeeded"`
	Failed     int `json:"failed"`
	InProgress int `json:"inProgress"`
}

// TaskItem is the outcome for one product, which is named by its id or, when it
// is unknown, by what the request has called it.
type TaskItem struct {
	ProductID  string  `json:"productId,omitempty"`
	ICCID      *string `json:"iccid,omitempty"`
	State      string  `json:"state"`
	StatusCode int     `json:"statusCode"`
	Status     Status  `json:"status,omitempty"`
	Monitor    string  `json:"monitor,omitempty"` // an id until WithBase
}

// WithBase fills the hrefs below base and returns t.
func (t *Task) WithBase(base string) *Task {
	t.Href = base + "/task/" + t.ID
	for _, i := range t.Items {
		if i.Monitor != "" {
			i.Monitor = base + "/monitor/" + i.Monitor
		}
	}
	for _, p := range t.Errors {
		p.WithBase(base)
	}
	return t
}

// UsageQuery selects usage; zero times are the start of the billing period and
// now, "" is DAY (US-2).
type UsageQuery struct {
	From, To    time.Time
	Granularity Granularity
}

// HistoryEntry is a change of a product (SE-3). Kind is STATUS, OFFERING or
// LINK; From and To are nil for nothing.
type HistoryEntry struct {
	Timestamp   Time    `json:"timestamp"`
	Kind        string  `json:"kind"`
	From        *string `json:"from"`
	To          *string `json:"to"`
	Actor       Actor   `json:"actor"`
	Reason      string  `json:"reason"`
	Correlation string  `json:"correlationId"`
}

// SMSRequest is the body of POST /product/{id}/sms; zero members take the
// defaults of SM-1.
type SMSRequest struct {
	Payload  string `json:"payload"`
	Encoding string `json:"encoding,omitempty"`
	Validity int    `json:"validitySeconds,omitempty"`
}

// Message is a short message (SM-1). Status is SUBMITTED, DELIVERED, EXPIRED
// or FAILED.
type Message struct {
	ID          string `json:"id"`
	Status      string `json:"status"`
	Payload     string `json:"payload"`
	Encoding    string `json:"encoding"`
	SubmittedAt Time   `json:"submittedAt"`
	ExpiresAt   Time   `json:"expiresAt"`
	FinalAt     Time   `json:"finalAt"`
}

// DeviceLink is the relation of one product and one device (LK-1).
type DeviceLink struct {
	DeviceID  string    `json:"deviceId"`
	ProductID string    `json:"productId"`
	LinkedAt  Time      `json:"linkedAt"`
	Warnings  []Warning `json:"warnings,omitempty"`
}

// Offering is a tariff (PR-11, RP-4, RP-9, RP-13). A nil limit is none.
type Offering struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Account    string `json:"account"`
	Period     string `json:"billingPeriod"`
	DataLimit  *int64 `json:"dataLimitBytes"`
	OnLimit    string `json:"onLimit"`
	Activation string `json:"activation"`
	IMEILock   bool   `json:"imeiLock"`
}

// Words of an Offering.
const (
	CalendarMonth = "CALENDAR_MONTH"
	Rolling24h    = "ROLLING_24H"
	Bucket        = "BUCKET"
	Notify        = "NOTIFY"
	Suspend       = "SUSPEND"
	Immediate     = "IMMEDIATE"
	FirstUse      = "FIRST_USE"
)

// OfferingPatch changes the members that are not nil; NoLimit takes the limit
// away.
type OfferingPatch struct {
	Name       *string
	Period     *string
	DataLimit  *int64
	NoLimit    bool
	OnLimit    *string
	Activation *string
	IMEILock   *bool
}

// SIM is an entry of an import; "" for ICCID and IMSI has them allotted (RP-2).
type SIM struct {
	ICCID    string `json:"iccid,omitempty"`
	IMSI     string `json:"imsi,omitempty"`
	MSISDN   string `json:"msisdn,omitempty"`
	IMEI     string `json:"imei,omitempty"` // until a device is linked
	EID      string `json:"eid,omitempty"`
	Offering string `json:"offering,omitempty"`
}

// known turns an error of the store into one of the API; what tells what was
// looked for.
func known(err error, code *fault.Code, format string, args ...any) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNone):
		return code.New(format, args...)
	case errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFull):
		return fault.ServiceUnavailable.Wrap(err, "the database cannot be used now")
	case coded(err):
		return err
	}
	return fault.ServerError.Wrap(err, "the database failed")
}
