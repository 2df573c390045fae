package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// remote is the adapter kind http: a platform that speaks this very API
// (connectivity-api 10.3).
//
// The platform's own reference may differ from the account's: only native ids
// are common to both sides, see farNames. A caller that goes away ends a read,
// with the error of its context; a change that was sent runs on for a moment,
// because its outcome goes to the index.
type remote struct {
	// Set by newRemote, then read only:
	env    AdapterEnv
	c      *Remote
	base   string // without a slash at its end
	client *http.Client
	quirks []quirk

	// Each guards itself:
	token   tokenCell
	pace    *pace
	circuit circuit
	cause   causeCell
	names   farNames
}

// newRemote makes the adapter of an account; ArgumentInvalid for addresses, a
// certificate or a quirk that make no sense.
func newRemote(env AdapterEnv) (Platform, error) {
	if env.Account.HTTP == nil {
		return nil, fault.ArgumentInvalid.New("an account of adapter http needs the settings of http")
	}
	c := env.Account.HTTP.withDefaults()
	base, err := checkAddress("baseUrl", c.BaseURL)
	if err != nil {
		return nil, err
	}
	if _, err := checkAddress("tokenUrl", c.TokenURL); err != nil {
		return nil, err
	}
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	quirks, err := compileQuirks(c.Quirks)
	if err != nil {
		return nil, err
	}
	r := &remote{env: env, c: c, base: base, client: client, quirks: quirks, pace: newPace(c.RequestsPerSecond, c.MaxParallel)}
	r.cause.turn = make(chan struct{}, 1)
	r.names.own = env.Account.Platform
	return r, nil
}

// Close lets go of idle connections; calls under way are not cut.
func (r *remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

func (r *remote) Describe() Description {
	a := &r.env.Account
	return Description{Reference: a.Platform, Account: a.Account, AccountID: a.AccountID, Adapter: AdapterHTTP, Mode: a.Mode,
		Settable: a.Settable, Capabilities: r.c.Capabilities}
}

// Limits of bodies: what is longer is malformed.
const (
	maxDocument = 1 << 20
	maxList     = 16 << 20
)

func (r *remote) Get(ctx context.Context, native string) (*Record, error) {
	far, sure, err := r.locate(ctx, native)
	if err != nil {
		return nil, err
	}
	a, err := r.call(ctx, request{method: http.MethodGet, path: "/product/" + far, limit: maxDocument})
	if notFound(err) && !sure {
		a, err = r.elsewhere(ctx, native, far, err)
	}
	if err != nil {
		return nil, err
	}
	record, reference, err := r.product(a.body)
	if err == nil && record.NativeID != native {
		err = fmt.Errorf("the answer is about another product")
	}
	if err != nil {
		return nil, r.malformed(a, err)
	}
	r.names.learn(native, reference)
	return record, nil
}

// elsewhere reads a product that was not found under the reference of most: it
// may stand under another one. missing is the error so far.
func (r *remote) elsewhere(ctx context.Context, native, tried string, missing error) (*answer, error) {
	far, err := r.find(ctx, native)
	var e *PlatformError
	switch {
	case err == nil && far != tried:
		return r.call(ctx, request{method: http.MethodGet, path: "/product/" + far, limit: maxDocument})
	case err == nil, asPlatformError(err, &e) && (e.Class == ClassNotFound || e.Class == ClassRejected):
		return nil, missing
	}
	return nil, err
}

// locate returns the platform's id of a product; sure is false for a guess.
func (r *remote) locate(ctx context.Context, native string) (far string, sure bool, err error) {
	if reference, sure := r.names.of(native); reference != "" {
		return reference + "-" + native, sure, nil
	}
	far, err = r.find(ctx, native)
	var e *PlatformError
	if asPlatformError(err, &e) {
		switch e.Class {
		case ClassNotFound, ClassRejected:
			// A platform without search: its reference may be ours.
			return r.names.own + "-" + native, true, nil
		}
	}
	return far, true, err
}

// find asks the platform for its id of a product (LS-10).
func (r *remote) find(ctx context.Context, native string) (string, error) {
	key := "iccidList"
	if !iccidForm.MatchString(native) {
		key = "terminalSNList"
	}
	body, _ := json.Marshal(map[string][]string{key: {native}}) // plain strings
	a, err := r.call(ctx, request{method: http.MethodPost, path: "/product/find", body: body, kind: "application/json", reads: true, limit: maxDocument})
	if err != nil {
		return "", err
	}
	var list struct {
		Entities *[]struct {
			ID string `json:"id"`
		} `json:"entities"`
	}
	switch err := json.Unmarshal(a.body, &list); {
	case err != nil:
		return "", r.malformed(a, fmt.Errorf("the answer is no list"))
	case list.Entities == nil:
		return "", &PlatformError{Class: ClassRejected, HTTPStatus: a.status, Detail: "the platform has no search", Unsupported: true, Took: a.took}
	}
	for _, e := range *list.Entities {
		if reference, is, ok := Native(e.ID); ok && is == native && referenceForm.MatchString(reference) {
			r.names.learn(native, reference)
			return e.ID, nil
		}
	}
	return "", &PlatformError{Class: ClassNotFound, HTTPStatus: http.StatusNotFound, Detail: "the platform does not know the product", Took: a.took}
}

// SetStatus sends the status as the API spells it: statusMap is for reading.
func (r *remote) SetStatus(ctx context.Context, native string, to Status, _ string) (Outcome, error) {
	far, _, err := r.locate(ctx, native)
	if err != nil {
		return Outcome{}, err
	}
	card := SIMCard
	if !iccidForm.MatchString(native) {
		card = Terminal
	}
	body := fmt.Appendf(nil, `[{"op":"replace","path":"/status","value":%q}]`, to)
	a, err := r.call(ctx, request{method: http.MethodPatch, path: "/product/" + far + "-" + card, body: body, kind: "application/json-patch+json", limit: maxDocument})
	if err != nil {
		return Outcome{}, r.confirm(ctx, native, err)
	}
	return r.outcome(a, native)
}

// confirm returns err of a call about a part of a product. A 404 is about the
// product itself only when the product cannot be read either.
func (r *remote) confirm(ctx context.Context, native string, err error) error {
	var e *PlatformError
	if !asPlatformError(err, &e) || e.Class != ClassNotFound {
		return err
	}
	if _, err := r.Get(ctx, native); err != nil {
		return err
	}
	e.Class, e.Unsupported = ClassRejected, true
	return e
}

// outcome reads the answer to a change: a sub-product, or a monitor with 202.
func (r *remote) outcome(a *answer, native string) (Outcome, error) {
	if a.status == http.StatusAccepted {
		m, err := parseFarMonitor(a.body)
		if err != nil {
			return Outcome{}, r.malformed(a, err)
		}
		return Outcome{Ticket: m.ID}, nil
	}
	record, err := r.card(a.body, native)
	if err != nil {
		return Outcome{}, r.malformed(a, err)
	}
	return Outcome{Record: record}, nil
}

// Poll reads the platform's monitor.
func (r *remote) Poll(ctx context.Context, native, ticket string) (Outcome, error) {
	a, err := r.call(ctx, request{method: http.MethodGet, path: "/monitor/" + url.PathEscape(ticket), limit: maxDocument})
	if notFound(err) {
		return Outcome{}, &PlatformError{Class: ClassUnknown, HTTPStatus: http.StatusNotFound, Detail: "the platform no longer knows the change", Final: true}
	}
	if err != nil {
		return Outcome{}, err
	}
	m, err := parseFarMonitor(a.body)
	if err == nil && m.ID != ticket {
		err = fmt.Errorf("the answer is about another monitor")
	}
	if err != nil {
		return Outcome{}, r.malformed(a, err)
	}
	switch m.State {
	case Completed:
		if record, err := r.card(m.Response.Body, native); err == nil {
			return Outcome{Record: record}, nil
		}
		// A finished reset has no sub-product to show: the product tells.
		record, err := r.Get(ctx, native)
		return Outcome{Record: record}, err
	case InError:
		e := r.refused(ctx, &answer{status: m.Response.StatusCode, body: m.Response.Body, took: a.took}, time.Now().Add(time.Duration(r.c.TotalTimeoutMS)*time.Millisecond))
		e.Final = true
		return Outcome{}, e
	}
	return Outcome{Ticket: ticket}, nil
}

func (r *remote) Usage(ctx context.Context, native string, from, to time.Time, g Granularity) ([]UsageEntry, error) {
	q := url.Values{"from": {At(from).String()}, "to": {At(to).String()}, "granularity": {string(g)}}
	return readParts(ctx, r, native, "/usage?"+q.Encode(), (*UsageEntry).check)
}

// maxSessions is how many data sessions are read of one product.
const maxSessions = 1000

func (r *remote) DataSessions(ctx context.Context, native string, q DataSessionQuery) ([]DataSession, error) {
	v := url.Values{"pageSize": {strconv.Itoa(maxSessions)}}
	if q.State != "" {
		v.Set("state", q.State)
	}
	if !q.From.IsZero() {
		v.Set("from", At(q.From).String())
	}
	if !q.To.IsZero() {
		v.Set("to", At(q.To).String())
	}
	all, err := readParts(ctx, r, native, "/dataSession?"+v.Encode(), (*DataSession).check)
	all = all[min(q.Offset, len(all)):]
	if q.Limit > 0 {
		all = all[:min(q.Limit, len(all))]
	}
	return all, err
}

// readParts reads a list that belongs to a product; nothing known is an empty
// list.
func readParts[T any](ctx context.Context, r *remote, native, path string, check func(*T) error) ([]T, error) {
	far, _, err := r.locate(ctx, native)
	if err != nil {
		return nil, err
	}
	a, err := r.call(ctx, request{method: http.MethodGet, path: "/product/" + far + path, limit: maxList})
	var e *PlatformError
	if asPlatformError(err, &e) && e.Class == ClassNotFound && e.Code == "no_data" {
		return nil, nil
	}
	if err != nil {
		return nil, r.confirm(ctx, native, err)
	}
	var list struct {
		Entities *[]T `json:"entities"`
	}
	err = json.Unmarshal(a.body, &list)
	if err == nil && list.Entities == nil {
		err = fmt.Errorf("the answer is no list")
	}
	if err != nil {
		return nil, r.malformed(a, err)
	}
	for n := range *list.Entities {
		if err := check(&(*list.Entities)[n]); err != nil {
			return nil, r.malformed(a, err)
		}
	}
	return *list.Entities, nil
}

func (r *remote) SendSMS(ctx context.Context, native string, m SMS) (SMSState, error) {
	far, _, err := r.locate(ctx, native)
	if err != nil {
		return SMSState{}, err
	}
	body, err := json.Marshal(SMSRequest{m.Payload, m.Encoding, int(m.Validity / time.Second)})
	if err != nil {
		return SMSState{}, err
	}
	a, err := r.call(ctx, request{method: http.MethodPost, path: "/product/" + far + "/sms", body: body, kind: "application/json", limit: maxDocument})
	if err != nil {
		return SMSState{}, r.confirm(ctx, native, err)
	}
	var s struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}
	err = json.Unmarshal(a.body, &s)
	if err == nil {
		err = checkWords(s.ID, s.Status, "SUBMITTED", "DELIVERED", "EXPIRED", "FAILED")
	}
	if err != nil {
		return SMSState{}, r.malformed(a, err)
	}
	return SMSState{s.ID, s.Status}, nil
}

func (r *remote) Reset(ctx context.Context, native string) (Outcome, error) {
	far, _, err := r.locate(ctx, native)
	if err != nil {
		return Outcome{}, err
	}
	a, err := r.call(ctx, request{method: http.MethodPost, path: "/product/" + far + "/reset", body: []byte("{}"), kind: "application/json", limit: maxDocument})
	switch {
	case err != nil:
		return Outcome{}, r.confirm(ctx, native, err)
	case a.status == http.StatusAccepted:
		return r.outcome(a, native)
	}
	return Outcome{}, nil
}

func (r *remote) Location(ctx context.Context, native string) (Location, error) {
	far, _, err := r.locate(ctx, native)
	if err != nil {
		return Location{}, err
	}
	a, err := r.call(ctx, request{method: http.MethodGet, path: "/product/" + far + "/location", limit: maxDocument})
	if err != nil {
		return Location{}, err // not found: nothing is known
	}
	var l Location
	if err = json.Unmarshal(a.body, &l); err == nil {
		err = l.check()
	}
	if err != nil {
		return Location{}, r.malformed(a, err)
	}
	l.Source = "PLATFORM"
	return l, nil
}
