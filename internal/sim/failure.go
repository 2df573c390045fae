package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// failed turns an error of an adapter into one of the API; a product that the
// platform does not know leaves the index (10.4 row 9).
func (t *Tenant) failed(ctx context.Context, a *account, product string, err error, change bool) error {
	var e *PlatformError
	if !errors.As(err, &e) {
		return known(err, fault.SIMProductNotFound, "No product with id %s.", product)
	}
	if e.Class == ClassNotFound {
		if err := t.drop(context.WithoutCancel(ctx), []string{product}, Actor{ByPlatform, a.Account.Account, 0}); err != nil {
			t.o.Log.Warn("a product that its platform does not know could not be removed", "tenant", t.name, "product", product, "err", err)
		}
		return fault.SIMProductNotFound.New("No product with id %s.", product)
	}
	return platformFault(a, e, change)
}

// platformFault returns what the caller gets for a failure of a platform
// (connectivity-api 10.4).
func platformFault(a *account, e *PlatformError, change bool) *fault.Error {
	code, text, advice := judge(a, e, change)
	out := code.Wrap(e, "%s", text)
	external := ExternalError{Platform: a.Platform, Account: a.Account.Account, Class: e.Class, Code: e.Code, Title: e.Title, Detail: e.Detail,
		Body: e.Body, DurationMS: e.Took.Milliseconds()}
	if e.HTTPStatus != 0 {
		external.Status = &e.HTTPStatus
	}
	out.Detail = map[string]any{DetailExternal: []ExternalError{external}}
	if advice != nil {
		out.Detail[DetailAdvice] = advice
	}
	out.After = e.RetryAfter
	if code == fault.SIMPlatformRateLimited && out.After == 0 {
		out.After = time.Second
	}
	return out
}

// judge returns code, text and advice for a failure.
func judge(a *account, e *PlatformError, change bool) (code *fault.Code, text string, advice []string) {
	who := fmt.Sprintf("Platform %s (account %s)", a.Platform, a.Account.Account)
	asked := a.HTTP != nil && a.HTTP.ErrorMode == Normalise
	later := []string{adviceLater}
	switch {
	case e.Open:
		return fault.SIMPlatformUnavailable, who + " is left alone for a while after repeated failures.", later
	case e.Overloaded:
		return fault.SIMPlatformOverloaded, who + " has too many calls waiting.", later
	case e.Unsupported:
		return fault.SIMCapabilityMissing, who + " does not know this operation.", nil
	}
	switch e.Class {
	case ClassTimeout:
		text = who + " did not answer in time."
		if e.HTTPStatus == 0 && a.HTTP != nil {
			text = fmt.Sprintf("%s did not answer within %d ms.", who, a.HTTP.TimeoutMS)
		}
		if change {
			text += " The outcome of the change is unknown, repeating it is safe."
		}
		return fault.SIMPlatformTimeout, text, later
	case ClassUnreachable:
		return fault.SIMPlatformUnavailable, who + " cannot be reached.", later
	case ClassOutage:
		if e.HTTPStatus == 502 || e.HTTPStatus == 503 || e.Token {
			return fault.SIMPlatformUnavailable, fmt.Sprintf("%s is not available, it answered %d.", who, e.HTTPStatus), later
		}
		return fault.SIMPlatformError, who + " has an outage.", later
	case ClassCredentials:
		return fault.SIMPlatformCredentialsInvalid, who + " does not accept the hub's credentials.", []string{advicePlatform}
	case ClassRejected:
		switch {
		case e.HTTPStatus >= 500 && !asked:
			return fault.SIMPlatformError, who + " answered with an error, its cause seems to be the request.", []string{adviceRequest, adviceLater}
		case change && e.HTTPStatus < 500:
			return fault.SIMPlatformActionRejected, who + " refused the change.", nil
		}
		return fault.SIMPlatformRequestRejected, who + " refused the request.", nil
	case ClassRateLimited:
		return fault.SIMPlatformRateLimited, who + " limits the rate of calls.", nil
	case ClassNotPermitted:
		return fault.SIMPlatformForbidden, who + " does not permit this.", nil
	case ClassMalformed:
		return fault.SIMPlatformMalformedResponse, who + " answered with something that is not the expected document.", later
	case ClassNotFound:
		return fault.SIMNoData, who + " knows nothing of this.", nil
	}
	return fault.SIMPlatformError, who + " answered with an error.", []string{adviceRequest, advicePlatform, adviceLater}
}

// observe notes how a call to a platform went; the first failure and the first
// success after it are events.
func (t *Tenant) observe(a *account, err error) {
	if a.embedded() {
		return
	}
	class := Class("")
	var e *PlatformError
	if errors.As(err, &e) {
		switch e.Class {
		case ClassTimeout, ClassUnreachable, ClassOutage, ClassCredentials, ClassMalformed, ClassUnknown:
			class = e.Class
		}
	} else if err != nil {
		return
	}
	t.noteHealth(a, class)
}

// healthEvery is how often times of success and failure are written while
// nothing changes.
const healthEvery = 10 * time.Second

func (t *Tenant) noteHealth(a *account, class Class) {
	now := t.Now()
	a.mu.Lock()
	was := a.health.Failure.After(a.health.Success)
	turned := was != (class != "")
	if class == "" {
		a.health.Success = now
	} else {
		a.health.Failure, a.health.FailureClass = now, string(class)
	}
	write := turned || now.Sub(a.wrote).Abs() >= healthEvery
	if write {
		a.wrote = now
	}
	h := a.health
	h.Name = a.Account.Account
	a.mu.Unlock()
	if !write {
		return
	}
	err := t.db.Update(context.WithoutCancel(t.ctx), func(tx *store.Tx) error {
		if err := tx.PutSIMHealth(&h); err != nil || !turned {
			return err
		}
		body := map[string]any{"account": h.Name, "platform": a.Platform}
		if class == "" {
			return t.event(tx, PlatformRecovered, "", body)
		}
		body["class"] = class
		return t.event(tx, PlatformDegraded, "", body)
	})
	if err != nil && !errors.Is(err, store.ErrNone) {
		t.o.Log.Warn("the health of a platform account could not be written", "tenant", t.name, "account", h.Name, "err", err)
	}
}

// tellUnmapped writes an event for a native status that no map knows, once a
// day and word (HA-8).
func (t *Tenant) tellUnmapped(a *account, word string) {
	day := t.Now().UTC().Format(time.DateOnly)
	a.mu.Lock()
	known := a.unmapped[word] == day
	if !known && len(a.unmapped) < 1000 {
		a.unmapped[word] = day
	}
	a.mu.Unlock()
	if known {
		return
	}
	err := t.db.Update(context.WithoutCancel(t.ctx), func(tx *store.Tx) error {
		return t.event(tx, StatusUnmapped, "", map[string]any{"account": a.Account.Account, "platform": a.Platform, "status": word})
	})
	if err != nil {
		t.o.Log.Warn("an event could not be written", "tenant", t.name, "err", err)
	}
}
