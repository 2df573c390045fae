package sim

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// tokenMargin is how long a token must still be good to be used (HA-2).
const tokenMargin = 10 * time.Second

// recentTokens is how many tokens are remembered so that answers which hold
// them can be blanked.
const recentTokens = 8

// tokenCell holds the token of an account.
type tokenCell struct {
	// Guarded by mu:
	mu     sync.Mutex
	text   string
	until  time.Time
	flight *tokenFlight
	recent []string
}

// tokenFlight is a token request that is under way; text and err are set
// before done is closed.
type tokenFlight struct {
	done chan struct{}
	text string
	err  error
}

// drop forgets a token that the platform does not accept, unless another call
// has renewed it.
func (c *tokenCell) drop(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.text == text {
		c.text = ""
	}
}

// bearer returns the account's token, from the token endpoint when less than
// tokenMargin is left of it; one request at a time asks for it.
func (r *remote) bearer(ctx context.Context) (string, error) {
	c := &r.token
	c.mu.Lock()
	if c.text != "" && c.until.Sub(r.env.Now()) >= tokenMargin {
		defer c.mu.Unlock()
		return c.text, nil
	}
	f := c.flight
	if f == nil {
		f = &tokenFlight{done: make(chan struct{})}
		c.flight = f
		go r.fly(context.WithoutCancel(ctx), f)
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.text, f.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (r *remote) fly(ctx context.Context, f *tokenFlight) {
	var life time.Duration
	f.text, life, f.err = r.fetchToken(ctx)
	c := &r.token
	c.mu.Lock()
	c.flight = nil
	if f.err == nil {
		c.text, c.until = f.text, r.env.Now().Add(life)
		c.recent = append(c.recent, f.text)
		c.recent = c.recent[max(0, len(c.recent)-recentTokens):]
	}
	c.mu.Unlock()
	close(f.done)
}

// fetchToken asks the token endpoint (10.4 rows 22 and 23).
func (r *remote) fetchToken(ctx context.Context) (string, time.Duration, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {r.c.ClientID}, "client_secret": {r.c.ClientSecret}}
	q := request{method: http.MethodPost, body: []byte(form.Encode()), reads: true, limit: errorBody}
	h := http.Header{"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	a, err := r.exchange(ctx, r.c.TokenURL, &q, h, time.Now().Add(time.Hour))
	var e *PlatformError
	if asPlatformError(err, &e) {
		e.Token = true
	}
	if err != nil {
		return "", 0, err
	}
	if a.status != http.StatusOK {
		return "", 0, r.tokenRefused(a)
	}
	var t struct {
		Text string      `json:"access_token"`
		Kind string      `json:"token_type"`
		Life json.Number `json:"expires_in"`
	}
	err = json.Unmarshal(a.body, &t)
	life, numberErr := t.Life.Float64()
	if t.Life == "" {
		life, numberErr = 60, nil // RFC 6749 5.1 lets it out
	}
	if err != nil || numberErr != nil || t.Text == "" || len(t.Text) > 16<<10 || life <= 0 || !strings.EqualFold(t.Kind, "Bearer") ||
		strings.ContainsFunc(t.Text, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", 0, &PlatformError{Class: ClassMalformed, HTTPStatus: a.status, Detail: "the answer of the token endpoint is no token", Took: a.took, Token: true}
	}
	return t.Text, time.Duration(min(life, 86400) * float64(time.Second)), nil
}

func (r *remote) tokenRefused(a *answer) error {
	e := r.said(a)
	e.Token = true
	switch s := a.status; {
	case s == http.StatusBadRequest || s == http.StatusUnauthorized:
		e.Class = ClassCredentials
	case s == http.StatusRequestTimeout || s == http.StatusGatewayTimeout:
		e.Class = ClassTimeout
	case s == http.StatusTooManyRequests:
		e.Class = ClassRateLimited
	case s >= 500:
		e.Class = ClassOutage
	}
	return e
}

// secrets returns what must not be shown, the longest first.
func (r *remote) secrets() []string {
	c := &r.token
	c.mu.Lock()
	all := slices.Clone(c.recent)
	c.mu.Unlock()
	if r.c.ClientSecret != "" {
		all = append(all, r.c.ClientSecret)
	}
	return all
}
