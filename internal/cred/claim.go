package cred

import (
	"crypto/x509"
	"fmt"
	"strings"
)

// Claim is what a client presented; the zero value presents nothing.
type Claim struct {
	SAS    string              // text of a shared access signature, unparsed
	Bearer string              // text of a bearer token, unparsed
	Certs  []*x509.Certificate // leaf first, as presented in TLS; nothing about them has been checked
}

// Empty reports whether the client presented nothing at all.
func (c Claim) Empty() bool { return c.SAS == "" && c.Bearer == "" && len(c.Certs) == 0 }

// Leaf returns the certificate the client proved possession of in TLS, or nil.
func (c Claim) Leaf() *x509.Certificate {
	if len(c.Certs) == 0 {
		return nil
	}
	return c.Certs[0]
}

// String names the kinds of proof presented, so that a claim that is printed gives nothing away.
func (c Claim) String() string {
	var kinds []string
	if c.SAS != "" {
		kinds = append(kinds, "sas")
	}
	if c.Bearer != "" {
		kinds = append(kinds, "bearer")
	}
	if len(c.Certs) > 0 {
		kinds = append(kinds, fmt.Sprintf("x509(%d)", len(c.Certs)))
	}
	if kinds == nil {
		return "nothing"
	}
	return strings.Join(kinds, "+")
}

// GoString is String, so that %#v gives nothing away either.
func (c Claim) GoString() string { return "cred.Claim(" + c.String() + ")" }
