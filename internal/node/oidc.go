package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/oauth"
)

// bearer returns what checks the bearer tokens of a hub's callers, nil when no
// issuer is configured.
func (n *Node) bearer(c *Hub) (func(context.Context, string) (*nave.Principal, error), error) {
	v, err := c.verifier(n.now)
	if v == nil || err != nil {
		return nil, err
	}
	return v.Check, nil
}

// verifier makes the verifier of a hub's settings; nil without issuers.
func (h *Hub) verifier(now func() time.Time) (*oauth.Verifier, error) {
	c := h.Auth.OIDC
	if len(c.Issuers) == 0 {
		return nil, nil
	}
	o := oauth.Options{Host: h.Host, RoleClaims: c.RoleClaims, Roles: c.Roles, Principals: c.Principals, Now: now}
	for _, i := range c.Issuers {
		o.Issuers = append(o.Issuers, oauth.Issuer{Issuer: i.Issuer, JWKS: i.JWKS, Audiences: i.Audiences})
	}
	var err error
	if o.Client, err = issuerClient(c.CA); err != nil {
		return nil, err
	}
	v, err := oauth.New(o)
	if err != nil {
		return nil, fmt.Errorf("hub.auth.oidc.%w", err)
	}
	return v, nil
}

// issuerClient returns a client that trusts the CAs of a file besides those of
// the system.
func issuerClient(file string) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableKeepAlives = true // one fetch in hours
	if file == "" {
		return &http.Client{Transport: t}, nil
	}
	roots, err := trusted("hub.auth.oidc.caFile", file)
	if err != nil {
		return nil, err
	}
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t}, nil
}

// trusted returns the CAs of the system and those of a setting's PEM file.
func trusted(setting, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s holds no certificate in PEM", setting, file)
	}
	return roots, nil
}
