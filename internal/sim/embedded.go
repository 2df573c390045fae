package sim

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/store"
)

// embedded is the adapter of the platform inside the hub (10.2). The domain
// changes statuses in transactions of its own and does not call SetStatus.
type embedded struct {
	t *Tenant
	a Account
}

func newEmbedded(env AdapterEnv) (Platform, error) {
	return &embedded{env.tenant, env.Account}, nil
}

// Describe tells what the reference platform can do.
func (e *embedded) Describe() Description {
	return Description{Reference: e.a.Platform, Account: e.a.Account, AccountID: e.a.AccountID, Adapter: AdapterEmbedded, Mode: e.a.Mode, Settable: e.a.Settable,
		Capabilities: []Capability{CanStatus, CanUsage, CanDataSession, CanSMS, CanLocation, CanReset, CanCustomProperty, CanOffering}}
}

// fail turns an error of the store or the domain into one of an adapter.
func (e *embedded) fail(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNone):
		return &PlatformError{Class: ClassNotFound}
	case coded(err):
		return &PlatformError{Class: ClassRejected, HTTPStatus: fault.From(err).Code.HTTP, Code: fault.From(err).Code.Name, Detail: fault.From(err).Text}
	}
	return &PlatformError{Class: ClassOutage, Detail: "the database failed"}
}

func (e *embedded) id(native string) string { return e.a.Platform + "-" + native }

// List returns the products of the account.
func (e *embedded) List(ctx context.Context, cursor string) (p Page, err error) {
	err = e.t.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.SIMsAfter(cursor, timerBatch)
		for _, s := range rows {
			if err == nil && s.Account == e.a.Account {
				var r *Record
				r, err = e.record(tx, s)
				p.Records = append(p.Records, r)
			}
		}
		if len(rows) == timerBatch {
			p.Next = rows[len(rows)-1].ID
		}
		return err
	})
	return p, e.fail(err)
}

func (e *embedded) record(tx *store.Tx, s *store.SIM) (*Record, error) {
	parts, err := e.t.ownParts(tx, s)
	_, native, _ := Native(s.ID)
	return &Record{NativeID: native, Connectivity: ConnectivityType(s.Connectivity), Status: Status(s.Status), Visible: true, Start: At(s.Start), ICCID: s.ICCID,
		IMSI: s.IMSI, MSISDN: s.MSISDN, IMEI: s.IMEI, EID: s.EID, Serial: s.Serial, Offering: OfferingRef{s.Offering, s.OfferingName}, Parts: parts}, err
}

// Get returns one product.
func (e *embedded) Get(ctx context.Context, native string) (r *Record, err error) {
	err = e.t.db.View(ctx, func(tx *store.Tx) error {
		s, err := tx.SIM(e.id(native))
		if err == nil {
			r, err = e.record(tx, s)
		}
		return err
	})
	return r, e.fail(err)
}

// SetStatus changes a status at once, or by a monitor whose id is the ticket.
func (e *embedded) SetStatus(ctx context.Context, native string, to Status, reason string) (out Outcome, err error) {
	a := e.t.account(e.a.Account)
	if a == nil {
		return Outcome{}, &PlatformError{Class: ClassNotFound}
	}
	w := wish{product: e.id(native), source: e.id(native) + "-" + SIMCard, to: to, cause: hubCause(reason)}
	var m *store.SIMMonitor
	err = e.t.db.Update(ctx, func(tx *store.Tx) (err error) { m, err = e.t.changeOwn(tx, a, &w); return err })
	if err != nil {
		return Outcome{}, e.fail(err)
	}
	if m != nil {
		e.t.started(a, m)
		return Outcome{Ticket: m.ID}, nil
	}
	out.Record, err = e.Get(ctx, native)
	return out, err
}

// Poll reads the monitor behind a ticket.
func (e *embedded) Poll(ctx context.Context, native, ticket string) (out Outcome, err error) {
	var m *store.SIMMonitor
	err = e.t.db.View(ctx, func(tx *store.Tx) (err error) { m, err = tx.SIMMonitor(ticket); return err })
	switch {
	case err != nil:
		return Outcome{}, e.fail(err)
	case m.State == InProgress:
		return Outcome{Ticket: ticket}, nil
	case m.State == InError:
		return Outcome{}, &PlatformError{Class: ClassRejected, HTTPStatus: 400}
	}
	out.Record, err = e.Get(ctx, native)
	return out, err
}

// Usage returns buckets of the metered traffic.
func (e *embedded) Usage(ctx context.Context, native string, from, to time.Time, g Granularity) ([]UsageEntry, error) {
	if err := e.t.meter.book(ctx); err != nil {
		return nil, e.fail(err)
	}
	var hours []store.SIMUsage
	from = g.floor(from)
	err := e.t.db.View(ctx, func(tx *store.Tx) (err error) {
		if _, err = tx.SIM(e.id(native)); err == nil {
			hours, err = tx.SIMUsage(e.id(native), from.Unix()/3600, (to.Unix()+3599)/3600)
		}
		return err
	})
	if err != nil {
		return nil, e.fail(err)
	}
	all := []UsageEntry{}
	for at := from; at.Before(to); {
		next := g.next(at)
		u := UsageEntry{Period: Period{At(at), At(next)}}
		for len(hours) > 0 && hours[0].Hour < next.Unix()/3600 {
			u.Data.Uplink, u.Data.Downlink = u.Data.Uplink+hours[0].Up, u.Data.Downlink+hours[0].Down
			u.SMS.MO, u.SMS.MT = u.SMS.MO+hours[0].MO, u.SMS.MT+hours[0].MT
			hours = hours[1:]
		}
		u.Data.Total = u.Data.Uplink + u.Data.Downlink
		all, at = append(all, u), next
	}
	return all, nil
}

// floor returns the begin of the bucket that a time is in, UTC.
func (g Granularity) floor(at time.Time) time.Time {
	at = at.UTC()
	switch g {
	case Hourly:
		return at.Truncate(time.Hour)
	case Monthly:
		return time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return at.Truncate(24 * time.Hour)
}

func (g Granularity) next(at time.Time) time.Time {
	switch g {
	case Hourly:
		return at.Add(time.Hour)
	case Monthly:
		return at.AddDate(0, 1, 0)
	}
	return at.AddDate(0, 0, 1)
}

// DataSessions returns the data sessions of linked devices.
func (e *embedded) DataSessions(ctx context.Context, native string, q DataSessionQuery) ([]DataSession, error) {
	all, _, err := e.t.ownSessions(ctx, e.id(native), q)
	return all, e.fail(err)
}

func (t *Tenant) ownSessions(ctx context.Context, product string, q DataSessionQuery) (all []DataSession, total int, err error) {
	all = []DataSession{}
	if q.Limit == 0 {
		q.Limit = MaxPageSize
	}
	if err := t.meter.book(ctx); err != nil {
		return nil, 0, err
	}
	err = t.db.View(ctx, func(tx *store.Tx) error {
		rows, n, err := tx.SIMSessions(product, q.State, q.From, q.To, q.Offset, q.Limit)
		total = n
		for _, s := range rows {
			d := DataSession{ID: s.ID, State: "OPEN", Start: At(s.Began), End: At(s.Ended), Protocol: s.Protocol, IP: s.IP, APN: apn,
				Uplink: s.Up, Downlink: s.Down, Cause: s.Cause}
			if !s.Ended.IsZero() {
				d.State = "CLOSED"
			}
			all = append(all, d)
		}
		return err
	})
	return all, total, err
}

// smsMark is the value of the property that marks short messages (RP-11).
const smsMark = "mt"

// SendSMS sends a cloud-to-device message to the linked device.
func (e *embedded) SendSMS(ctx context.Context, native string, m SMS) (SMSState, error) {
	device := ""
	err := e.t.db.View(ctx, func(tx *store.Tx) error {
		s, err := tx.SIM(e.id(native))
		if err == nil {
			device = s.Device
		}
		return err
	})
	if err == nil && device == "" {
		err = fault.SIMNoDeviceLinked.New("The product has no linked device.")
	}
	if err != nil {
		return SMSState{}, e.fail(err)
	}
	who := &nave.Principal{Name: "connectivity", Rights: nave.ServiceConnect, Proof: "policy"}
	c := &nave.C2D{On: nave.ID{Device: device}, Message: nave.Message{Body: []byte(m.Payload),
		System: nave.System{MessageID: m.ID},
		App:    []nave.Property{{Name: hub.SMSProperty, Value: smsMark, HasValue: true}}}}
	if m.Encoding == "HEX" {
		c.App = append(c.App, nave.Property{Name: "connectivity-sms-encoding", Value: "HEX", HasValue: true})
		if b, err := unhex(m.Payload); err == nil {
			c.Body = b
		}
	}
	if err := e.t.hub.Backend(who).SendSMS(ctx, c, m.Validity); err != nil {
		return SMSState{}, e.fail(err)
	}
	return SMSState{ID: m.ID, Status: "SUBMITTED"}, nil
}

func unhex(text string) ([]byte, error) {
	b := make([]byte, len(text)/2)
	for i := range b {
		n, err := strconv.ParseUint(text[2*i:2*i+2], 16, 8)
		if err != nil {
			return nil, err
		}
		b[i] = byte(n)
	}
	return b, nil
}

// detailReset marks the fault that ends the connections of a reset (RP-12).
const detailReset = "sim.reset"

// Reset closes all connections of the linked device.
func (e *embedded) Reset(ctx context.Context, native string) (Outcome, error) {
	var s *store.SIM
	var open []*store.SIMSession
	err := e.t.db.View(ctx, func(tx *store.Tx) (err error) {
		if s, err = tx.SIM(e.id(native)); err == nil {
			open, err = tx.OpenSIMSessions(s.ID)
		}
		return err
	})
	if err != nil {
		return Outcome{}, e.fail(err)
	}
	if len(open) == 0 || s.Device == "" {
		return Outcome{}, nil
	}
	why := fault.ServiceUnavailable.New("the connection was reset by the connectivity API")
	why.Detail = map[string]any{detailReset: true}
	e.t.hub.CutOff(s.Device, why)
	for _, o := range open {
		if o.Protocol == hub.HTTPTraffic {
			if err := e.t.db.Update(ctx, func(tx *store.Tx) error { return e.t.endSession(tx, o.Product, o.ID, o.Device, e.t.Now(), CauseReset) }); err != nil {
				return Outcome{}, e.fail(err)
			}
		}
	}
	return Outcome{}, nil
}

// Location finds nothing: the hub keeps no positions of devices.
func (e *embedded) Location(context.Context, string) (Location, error) {
	return Location{}, &PlatformError{Class: ClassNotFound}
}

// Probe asks the database.
func (e *embedded) Probe(ctx context.Context) error {
	return e.fail(e.t.db.View(ctx, func(tx *store.Tx) error { _, err := tx.SIMAccount(e.a.Account); return err }))
}
