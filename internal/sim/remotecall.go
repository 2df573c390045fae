package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// request is a call to the platform. Reads are repeated after failures that
// may pass (HA-3); GET always reads.
type request struct {
	method, path string // path below the base URL, escaped
	body         []byte
	kind         string // Content-Type of body
	reads        bool
	limit        int64 // most bytes of a good answer
}

func (q *request) changes() bool { return q.method != http.MethodGet && !q.reads }

// answer is what the platform said.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

func (a *answer) good(q *request) bool {
	return a.status == http.StatusOK || q.changes() && (a.status == http.StatusCreated || a.status == http.StatusAccepted || a.status == http.StatusNoContent)
}

// repeatPauses are the pauses before a read is repeated (HA-3).
var repeatPauses = []time.Duration{200 * time.Millisecond, 800 * time.Millisecond}

// changeGrace is how long a change that was sent runs on when its caller has
// gone.
var changeGrace = 5 * time.Second

// errorBody is how much of the body of an error is read.
const errorBody = 64 << 10

// checkAddress returns an address without slashes at its end.
func checkAddress(name, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fault.ArgumentInvalid.New("%s is no address such as https://host/path, without user, query and fragment", name)
	}
	for len(address) > 0 && address[len(address)-1] == '/' {
		address = address[:len(address)-1]
	}
	return address, nil
}

// newClient returns a client that verifies certificates, knows the account's
// own authority, and follows no redirect (HA-11).
func newClient(c *Remote) (*http.Client, error) {
	if c.RequestsPerSecond > maxPace || c.MaxParallel > maxPace {
		return nil, fault.ArgumentInvalid.New("requestsPerSecond and maxParallel are at most %d", maxPace)
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: c.MaxParallel, IdleConnTimeout: 90 * time.Second,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxResponseHeaderBytes: 64 << 10}
	if c.Authority != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM([]byte(c.Authority)) {
			return nil, fault.ArgumentInvalid.New("authority holds no certificate in PEM")
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// call asks the platform and returns a good answer. Errors are *PlatformError,
// or that of ctx when its end has cut the call.
func (r *remote) call(ctx context.Context, q request) (*answer, error) {
	if err := r.circuit.enter(r.env.Now()); err != nil {
		return nil, err
	}
	a, err := r.attempts(ctx, &q)
	r.circuit.leave(r.env.Now(), err)
	return a, err
}

// attempts sends the request, again with a new token after a 401 (HA-2), and
// again after failures that may pass when it reads (HA-3).
func (r *remote) attempts(ctx context.Context, q *request) (*answer, error) {
	end := time.Now().Add(time.Duration(r.c.TotalTimeoutMS) * time.Millisecond)
	renewed := false
	for try := 0; ; {
		a, token, err := r.once(ctx, q, end)
		if err == nil && a.status == http.StatusUnauthorized && !renewed {
			renewed = true
			r.token.drop(token)
			continue
		}
		if !q.changes() && try < len(repeatPauses) && passes(a, err) && sleep(ctx, end, repeatPauses[try]) {
			try++
			continue
		}
		switch {
		case err != nil:
			return nil, err
		case a.good(q):
			return a, nil
		}
		return nil, r.refused(ctx, a, end)
	}
}

// passes says whether a failure may have passed at the next attempt.
func passes(a *answer, err error) bool {
	status := 0
	var e *PlatformError
	switch {
	case err == nil:
		status = a.status
	case asPlatformError(err, &e) && e.Class == ClassUnreachable:
		return true
	case e != nil:
		status = e.HTTPStatus
	}
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// sleep pauses; false when the time is up before.
func sleep(ctx context.Context, end time.Time, pause time.Duration) bool {
	if time.Until(end) <= pause {
		return false
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// once awaits its turn and sends the request with the account's token, which
// it returns.
func (r *remote) once(ctx context.Context, q *request, end time.Time) (a *answer, token string, err error) {
	done, err := r.pace.wait(ctx, end)
	if err != nil {
		return nil, "", err
	}
	defer done()
	if token, err = r.bearer(ctx); err != nil {
		return nil, "", err
	}
	h := http.Header{"Authorization": {"Bearer " + token}, "Accept": {"application/json"}}
	if q.kind != "" {
		h.Set("Content-Type", q.kind)
	}
	a, err = r.exchange(ctx, r.base+q.path, q, h, end)
	return a, token, err
}

// exchange sends one HTTP request and reads the answer.
func (r *remote) exchange(ctx context.Context, address string, q *request, h http.Header, end time.Time) (*answer, error) {
	begin := time.Now()
	limit := min(time.Duration(r.c.TimeoutMS)*time.Millisecond, end.Sub(begin))
	caller := ctx
	if q.changes() {
		var stop context.CancelFunc
		ctx, stop = outlive(ctx, changeGrace)
		defer stop()
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	m, err := http.NewRequestWithContext(ctx, q.method, address, bytes.NewReader(q.body))
	if err != nil {
		return nil, &PlatformError{Class: ClassUnknown, Detail: "the request could not be made"}
	}
	if h.Set("User-Agent", "nave"); len(q.body) == 0 {
		m.Body, m.GetBody = http.NoBody, nil
	}
	m.Header = h
	resp, err := r.client.Do(m)
	if err != nil {
		return nil, r.broken(caller, ctx, q, err, wrote.Load(), time.Since(begin))
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	most := q.limit
	if !a.good(q) {
		most = errorBody
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, most+1))
	a.took = time.Since(begin)
	switch {
	case err != nil:
		return nil, r.broken(caller, ctx, q, err, true, a.took)
	case int64(len(a.body)) > most && a.good(q):
		return nil, &PlatformError{Class: ClassMalformed, HTTPStatus: a.status, Detail: fmt.Sprintf("the answer has more than %d bytes", most), Took: a.took}
	}
	a.body = a.body[:min(int64(len(a.body)), most)]
	return a, nil
}

// outlive returns a context that ends a while after the other.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-out.Done():
		}
	})
	return out, func() { stop(); cancel() }
}

// broken returns the error of a request without an answer. Its texts hold no
// addresses (ER-7); the log does.
func (r *remote) broken(caller, ctx context.Context, q *request, err error, wrote bool, took time.Duration) error {
	if caller.Err() != nil && !q.changes() {
		return caller.Err()
	}
	e := &PlatformError{Class: ClassUnreachable, Took: took}
	var timeout net.Error
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	switch {
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		e.Class = ClassTimeout
	case q.changes() && wrote:
		// What was sent may have taken effect (HA-5).
		e.Class, e.Detail = ClassTimeout, "the connection broke before the answer"
	case errors.As(err, &name):
		e.Detail = "the name of the platform is not resolved"
	case errors.As(err, &certificate):
		e.Detail = "the certificate of the platform is not accepted"
	case errors.As(err, &alert), errors.As(err, &record):
		e.Detail = "no TLS connection could be made"
	default:
		e.Detail = "the connection failed"
	}
	r.env.Log.Info("a platform did not answer", "tenant", r.env.Tenant, "account", r.env.Account.Account, "class", e.Class, "duration", took, "err", err)
	return e
}
