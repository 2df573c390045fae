package cred

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"time"
)

// MaxCerts is how many certificates a client may present (dps 2.8).
const MaxCerts = 10

// maxChecks bounds the signatures tried for one chain, so that presented certificates with equal names cannot cost without end.
const maxChecks = 64

// VerifyChain returns nil when certs, leaf first, lead to one of roots, which may themselves be intermediates, with all dates
// good at now, the leaf's common name equal to name (device or device/module) and its extended key usage absent or
// holding clientAuth. Revocation is not looked at (device-protocols 1.4). Errors are ProblemMissing, ProblemName,
// ProblemUsage, ProblemDates or ProblemChain.
func VerifyChain(certs, roots []*x509.Certificate, now time.Time, name string) error {
	if len(certs) == 0 {
		return refuse(ProblemMissing, "no client certificate was presented")
	}
	if err := checkName(certs[0], name); err != nil {
		return err
	}
	if err := checkUsage(certs[0]); err != nil {
		return err
	}
	_, err := Chain(certs, roots, now, 0)
	return err
}

// Chain returns the path from the leaf, certs[0], through the other certs to the nearest of roots, both ends included.
// Signatures, CA flags, path lengths and dates (at now, give or take skew) are checked, names and usages of the leaf are not
// (RFC 5280 6.1 without policies and revocation). Errors are ProblemMissing, ProblemDates or ProblemChain.
func Chain(certs, roots []*x509.Certificate, now time.Time, skew time.Duration) ([]*x509.Certificate, error) {
	if len(certs) == 0 {
		return nil, refuse(ProblemMissing, "no client certificate was presented")
	}
	if len(certs) > MaxCerts {
		return nil, refuse(ProblemChain, "%d certificates were presented; at most %d are allowed", len(certs), MaxCerts)
	}
	b := builder{middle: certs[1:], roots: roots, now: now, skew: skew}
	if err := b.sound(certs[0]); err != nil {
		return nil, err
	}
	// Shortest first, so that the nearest registered CA ends the path.
	for length := 2; length <= len(certs)+1; length++ {
		if path := b.extend([]*x509.Certificate{certs[0]}, length); path != nil {
			return path, nil
		}
	}
	if b.obstacle != nil {
		return nil, b.obstacle
	}
	return nil, refuse(ProblemChain, "certificate %s does not lead to a registered CA; its issuer is %q",
		describe(certs[0]), clip(certs[0].Issuer.String()))
}

// maxRSA is the longest modulus in bits with which a signature is checked.
const maxRSA = 8192

type builder struct {
	middle, roots []*x509.Certificate
	now           time.Time
	skew          time.Duration
	checks        int
	obstacle      error // the first reason why a certificate with the right name was not taken
}

// extend returns path made longer, up to exactly length certificates, the last of them registered; nil when it cannot be.
func (b *builder) extend(path []*x509.Certificate, length int) []*x509.Certificate {
	pool := b.middle
	if len(path) == length-1 {
		pool = b.roots
	}
	for _, parent := range pool {
		if !b.issued(path, parent) {
			continue
		}
		longer := append(slices.Clip(path), parent)
		if len(longer) == length {
			return longer
		}
		if found := b.extend(longer, length); found != nil {
			return found
		}
	}
	return nil
}

// issued reports whether parent may stand behind the last certificate of path.
func (b *builder) issued(path []*x509.Certificate, parent *x509.Certificate) bool {
	child := path[len(path)-1]
	if !named(child, parent) || slices.ContainsFunc(path[1:], parent.Equal) || b.checks >= maxChecks {
		return false
	}
	b.checks++
	err := b.authority(path, parent)
	if err == nil && child.CheckSignatureFrom(parent) != nil {
		err = unsigned(child, parent)
	}
	if err != nil && b.obstacle == nil {
		b.obstacle = err
	}
	return err == nil
}

// named reports whether child says that parent issued it (RFC 5280 4.2.1.1).
func named(child, parent *x509.Certificate) bool {
	if !bytes.Equal(child.RawIssuer, parent.RawSubject) {
		return false
	}
	return len(child.AuthorityKeyId) == 0 || len(parent.SubjectKeyId) == 0 || bytes.Equal(child.AuthorityKeyId, parent.SubjectKeyId)
}

func unsigned(child, parent *x509.Certificate) error {
	return refuse(ProblemChain, "certificate %s was not signed by the CA %s it names", describe(child), describe(parent))
}

// authority checks what parent must be to issue the last certificate of path.
func (b *builder) authority(path []*x509.Certificate, parent *x509.Certificate) error {
	// Said here because the library lets version 1 certificates, which have no CA flag, sign others.
	if !parent.BasicConstraintsValid || !parent.IsCA {
		return refuse(ProblemChain, "certificate %s is not a CA", describe(parent))
	}
	// A modulus without bound would let a stranger choose what a check costs.
	if key, ok := parent.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSA {
		return refuse(ProblemChain, "CA %s has an RSA key of %d bits; at most %d are allowed", describe(parent), key.N.BitLen(), maxRSA)
	}
	below := 0
	for _, c := range path[1:] {
		if !bytes.Equal(c.RawIssuer, c.RawSubject) { // RFC 5280 6.1.4 (l): self-issued ones do not count
			below++
		}
	}
	if parent.MaxPathLen >= 0 && below > parent.MaxPathLen {
		return refuse(ProblemChain, "CA %s allows %d CAs below it, the path has %d", describe(parent), parent.MaxPathLen, below)
	}
	return b.sound(parent)
}

// sound checks what holds for every certificate of a path.
func (b *builder) sound(c *x509.Certificate) error {
	if len(c.UnhandledCriticalExtensions) > 0 {
		return refuse(ProblemChain, "certificate %s has the critical extension %s, which is not supported",
			describe(c), c.UnhandledCriticalExtensions[0])
	}
	if b.now.Add(b.skew).Before(c.NotBefore) {
		return refuse(ProblemDates, "certificate %s is not valid before %s; now is %s",
			describe(c), c.NotBefore.UTC().Format(time.RFC3339), b.now.UTC().Format(time.RFC3339))
	}
	if b.now.Add(-b.skew).After(c.NotAfter) {
		return refuse(ProblemDates, "certificate %s was valid until %s; now is %s",
			describe(c), c.NotAfter.UTC().Format(time.RFC3339), b.now.UTC().Format(time.RFC3339))
	}
	return nil
}
