package sim

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// Classes are those that a quirk may give.
var classes = map[Class]bool{ClassTimeout: true, ClassUnreachable: true, ClassOutage: true, ClassCredentials: true, ClassRejected: true,
	ClassRateLimited: true, ClassNotFound: true, ClassNotPermitted: true, ClassMalformed: true, ClassUnknown: true}

// quirk is a Quirk with its pattern compiled.
type quirk struct {
	status  int
	pattern *regexp.Regexp
	class   Class
}

func compileQuirks(all []Quirk) ([]quirk, error) {
	var out []quirk
	for _, q := range all {
		p, err := regexp.Compile(q.BodyPattern)
		switch {
		case err != nil:
			return nil, fault.ArgumentInvalid.New("the bodyPattern of a quirk is no regular expression: %v", err)
		case !classes[q.Class]:
			return nil, fault.ArgumentInvalid.New("the class %q of a quirk is unknown", q.Class)
		case q.Status < 300 || q.Status > 599:
			return nil, fault.ArgumentInvalid.New("the status %d of a quirk is none of an error", q.Status)
		}
		out = append(out, quirk{q.Status, p, q.Class})
	}
	return out, nil
}

// asPlatformError sets e to err when it is one.
func asPlatformError(err error, e **PlatformError) bool { return errors.As(err, e) }

func notFound(err error) bool {
	var e *PlatformError
	return asPlatformError(err, &e) && e.Class == ClassNotFound
}

// malformed is the error for a good answer that is not the expected document
// (10.4 rows 2 and 3).
func (r *remote) malformed(a *answer, why error) error {
	return &PlatformError{Class: ClassMalformed, HTTPStatus: a.status, Detail: r.blank(why.Error(), maxDetail), Body: r.blank(string(a.body), maxBody), Took: a.took}
}

// refused gives an answer its class (10.4); end bounds the probe.
func (r *remote) refused(ctx context.Context, a *answer, end time.Time) *PlatformError {
	e := r.said(a)
	for _, q := range r.quirks {
		if q.status == a.status && q.pattern.Match(a.body) {
			e.Class = q.class
			return e
		}
	}
	switch s := a.status; s {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent, http.StatusPartialContent:
		e.Class, e.Detail = ClassMalformed, "a success of another kind than expected"
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
		e.Class = ClassRejected
	case http.StatusUnauthorized:
		e.Class = ClassCredentials
	case http.StatusForbidden:
		e.Class = ClassNotPermitted
	case http.StatusNotFound:
		e.Class = ClassNotFound
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		e.Class = ClassTimeout
	case http.StatusTooManyRequests:
		e.Class = ClassRateLimited
	case http.StatusNotImplemented, http.StatusMethodNotAllowed:
		e.Class, e.Unsupported = ClassRejected, true
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		e.Class = ClassOutage
	default:
		if s >= 500 {
			e.Class = r.because(ctx, end)
		}
	}
	return e
}

// said returns what an error answer says, of class unknown. Status 0 and
// strange ones come from monitors of the platform.
func (r *remote) said(a *answer) *PlatformError {
	e := &PlatformError{Class: ClassUnknown, HTTPStatus: a.status, Body: r.blank(string(a.body), maxBody), Took: a.took}
	if a.header != nil {
		e.RetryAfter = retryAfter(a.header.Get("Retry-After"))
	}
	var m map[string]any
	if json.Unmarshal(a.body, &m) != nil {
		return e
	}
	first := func(most int, names ...string) string {
		for _, name := range names {
			switch v := m[name].(type) {
			case string:
				if v != "" {
					return r.blank(v, most)
				}
			case float64:
				return strconv.FormatFloat(v, 'f', -1, 64)
			}
		}
		return ""
	}
	e.Code = first(maxWord, "code", "errorCode")
	e.Title = first(maxDetail, "title", "error", "reason")
	e.Detail = first(maxDetail, "detail", "message", "errorMessage", "error_description")
	return e
}

// maxRetryAfter bounds what a platform may ask for.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header, 0 when it says nothing.
func retryAfter(text string) time.Duration {
	if n, err := strconv.Atoi(text); err == nil {
		return min(max(0, time.Duration(min(n, 1<<20))*time.Second), maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, time.Until(at).Truncate(time.Second)), maxRetryAfter)
	}
	return 0
}

// probeEvery is how often a probe may run to find a cause (HA-13).
const probeEvery = time.Minute

// causeCell holds the result of the last probe. turn is held by whoever uses
// it.
type causeCell struct {
	turn  chan struct{}
	class Class
	at    time.Time
}

// because finds out why a platform answered 500: the probe's result, or that of
// the last one.
func (r *remote) because(ctx context.Context, end time.Time) Class {
	ctx, stop := context.WithDeadline(ctx, end)
	defer stop()
	select {
	case r.cause.turn <- struct{}{}:
	case <-ctx.Done():
		return ClassUnknown
	}
	defer func() { <-r.cause.turn }()
	if age := r.env.Now().Sub(r.cause.at); !r.cause.at.IsZero() && age >= 0 && age < probeEvery {
		return r.cause.class
	}
	err := r.probe(ctx, end)
	if ctx.Err() != nil {
		return ClassUnknown
	}
	return r.caused(err)
}

// caused notes and returns what a probe has shown. The caller has the turn.
func (r *remote) caused(err error) Class {
	class := ClassUnknown
	var e *PlatformError
	switch {
	case err == nil:
		class = ClassRejected
	case asPlatformError(err, &e) && e.Overloaded, e == nil:
		return class // it has shown nothing
	case e.Class == ClassCredentials, e.Class == ClassTimeout:
		class = e.Class
		if class == ClassTimeout {
			class = ClassOutage
		}
	case e.HTTPStatus >= 500:
		class = ClassOutage
	}
	r.cause.class, r.cause.at = class, r.env.Now()
	return class
}

// probe takes a fresh token and reads one product.
func (r *remote) probe(ctx context.Context, end time.Time) error {
	r.token.mu.Lock()
	r.token.text = ""
	r.token.mu.Unlock()
	q := request{method: http.MethodGet, path: "/product?pageSize=1", limit: maxDocument}
	a, _, err := r.once(ctx, &q, end)
	if err != nil {
		return err
	}
	e := r.said(a)
	switch s := a.status; {
	case s/100 == 2:
		return nil
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		e.Class = ClassCredentials
	case s == http.StatusRequestTimeout, s == http.StatusGatewayTimeout:
		e.Class = ClassTimeout
	case s >= 500:
		e.Class = ClassOutage
	case s == http.StatusTooManyRequests:
		e.Class = ClassRateLimited
	case s == http.StatusNotFound:
		e.Class = ClassNotFound
	}
	return e
}

// Probe says whether address and credentials are good, even while the account
// is left alone; a success ends that.
func (r *remote) Probe(ctx context.Context) error {
	end := time.Now().Add(time.Duration(r.c.TotalTimeoutMS) * time.Millisecond)
	select {
	case r.cause.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := r.probe(ctx, end)
	r.caused(err)
	<-r.cause.turn
	if err == nil {
		r.circuit.leave(r.env.Now(), nil)
	}
	return err
}
