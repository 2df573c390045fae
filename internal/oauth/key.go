package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/nave-hub/nave/internal/fault"
)

// Limits of fetching keys.
const (
	refreshEvery = 30 * time.Second // at most, for names of keys that are not there
	fetchTimeout = 10 * time.Second
	maxDocument  = 1 << 20
	minRSA       = 2048 // bits, RFC 7518 3.3
)

// keySet is the keys of one issuer. It is fetched by whoever needs it first;
// others wait for the same fetch.
type keySet struct {
	// Set by newKeySet, then read only:
	issuer string
	url    string // of the keys; empty: discovery
	client *http.Client

	// Guarded by fetching, which is held during a fetch:
	fetching sync.Mutex
	tried    time.Time // of the last fetch
	failed   error     // of the last fetch

	// Guarded by mu:
	mu   sync.Mutex
	keys []jose.JSONWebKey
}

func newKeySet(i Issuer, c *http.Client) (*keySet, error) {
	s := &keySet{issuer: i.Issuer, url: i.JWKS, client: c}
	check, setting := s.url, "jwksUri"
	if check == "" {
		check, setting = s.issuer, "issuer"
	}
	if err := checkURL(check); err != nil {
		return nil, fmt.Errorf("issuers: %s %q: %w", setting, check, err)
	}
	return s, nil
}

// checkURL refuses what anybody on the way could forge keys for.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback) {
		return errors.New("an https URL is needed (plain http only on a loopback address)")
	}
	return nil
}

// verify checks the signature of a token and returns its claims.
func (s *keySet) verify(ctx context.Context, t *jwt.JSONWebToken) (map[string]any, error) {
	kid, alg := t.Headers[0].KeyID, t.Headers[0].Algorithm
	keys := s.find(kid, alg)
	if len(keys) == 0 {
		if err := s.refresh(ctx, kid, alg); err != nil {
			return nil, fault.ServiceUnavailable.Wrap(err, "the keys of the token's issuer can't be read now")
		}
		keys = s.find(kid, alg)
	}
	for _, k := range keys {
		var claims map[string]any
		if t.Claims(k, &claims) == nil {
			return claims, nil
		}
	}
	if len(keys) == 0 {
		return nil, refused("its issuer has no key of that name and kind")
	}
	return nil, refused("its signature is wrong")
}

// find returns the keys that a token with this header may be signed with; one
// that names no key may be signed with any.
func (s *keySet) find(kid, alg string) (found []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if (kid == "" || k.KeyID == kid) && (k.Algorithm == "" || k.Algorithm == alg) && fits(k.Key, alg) {
			found = append(found, k.Key)
		}
	}
	return found
}

// fits ties the kind of a key to the algorithm, so that a public key is never
// taken for a shared secret.
func fits(key any, alg string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return alg == string(jose.RS256) && k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey:
		return alg == string(jose.ES256) && k.Curve == elliptic.P256()
	}
	return false
}

// refresh fetches the keys unless somebody else has just brought the one that
// is wanted, or a fetch was tried a short time ago.
func (s *keySet) refresh(ctx context.Context, kid, alg string) error {
	s.fetching.Lock()
	defer s.fetching.Unlock()
	if len(s.find(kid, alg)) > 0 {
		return nil
	}
	// The machine's clock, not the hub's: this is about load, not about validity.
	if !s.tried.IsZero() && time.Since(s.tried) < refreshEvery {
		return s.failed
	}
	// One caller going away must not fail the others that wait for the same keys.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	keys, err := s.fetch(ctx)
	s.tried, s.failed = time.Now(), err
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.keys = keys
	} else if len(s.keys) > 0 {
		s.failed = nil // the known keys go on working, an unknown one is just unknown
	}
	return s.failed
}

func (s *keySet) fetch(ctx context.Context) (keys []jose.JSONWebKey, err error) {
	from := s.url
	if from == "" {
		if from, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.read(ctx, from, &set); err != nil {
		return nil, err
	}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		// A key of a kind that the library does not know must not hide the others.
		if json.Unmarshal(raw, &k) == nil && k.Valid() && k.IsPublic() && k.Use != "enc" {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no public key", from)
	}
	return keys, nil
}

// discover asks the issuer where its keys are (OpenID Connect Discovery 1.0, 4).
func (s *keySet) discover(ctx context.Context) (string, error) {
	var doc struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := s.read(ctx, strings.TrimSuffix(s.issuer, "/")+"/.well-known/openid-configuration", &doc); err != nil {
		return "", err
	}
	if doc.Issuer != s.issuer {
		return "", fmt.Errorf("the issuer %s calls itself %q; set jwksUri if that is meant", s.issuer, doc.Issuer)
	}
	return doc.JWKS, checkURL(doc.JWKS)
}

func (s *keySet) read(ctx context.Context, from string, to any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	client := *s.client
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return errors.New("too many redirects")
		}
		return checkURL(r.URL.String())
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", from, resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(to)
}
