package cred

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// backdate is how far a certificate's life starts in the past, for clients whose clocks are slow.
const backdate = 5 * time.Minute

// CA is a certificate authority with its private key; made by NewCA, LoadCA or Intermediate, then read only.
type CA struct {
	Cert *x509.Certificate

	key   crypto.Signer
	above []*x509.Certificate // the CAs between Cert and its root, without the root
	root  *x509.Certificate   // nil when Cert is the root, or when the root is not known
}

// NewCA makes a self-signed authority with an RSA-2048 key, valid for life from now.
func NewCA(name string, life time.Duration) (*CA, error) { return NewCAOf(RSA2048, name, life) }

// NewCAOf is NewCA with a key of the kind (dps 6.7); its further error is that of ParseKeyType.
func NewCAOf(kind KeyType, name string, life time.Duration) (*CA, error) {
	key, err := kind.newKey()
	if err != nil {
		return nil, err
	}
	tmpl := authority(name, life)
	cert, err := issue(tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &CA{Cert: cert, key: key}, nil
}

// LoadCA reads an authority from what PEM returned or from other tools: its certificate, then any CAs above it, and the key as
// PKCS #8, PKCS #1 or SEC 1. It fails when the certificate is no CA or the key belongs to another one.
func LoadCA(certPEM, keyPEM []byte) (*CA, error) {
	certs, err := ParseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	if !certs[0].BasicConstraintsValid || !certs[0].IsCA {
		return nil, refuse(ProblemMalformed, "certificate %s is not a CA", describe(certs[0]))
	}
	if public, ok := certs[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
		return nil, refuse(ProblemKey, "the private key does not belong to certificate %s", describe(certs[0]))
	}
	c := &CA{Cert: certs[0], key: key}
	for _, up := range certs[1:] {
		if !selfIssued(up) {
			c.above = append(c.above, up)
		} else if c.root == nil && !up.Equal(c.Cert) {
			c.root = up
		}
	}
	return c, nil
}

// PEM returns the certificate, followed by the authorities above it with the root, and the private key (PKCS #8), for LoadCA.
func (c *CA) PEM() (cert, key []byte) {
	for _, link := range c.Chain() {
		cert = AppendCertificate(cert, link)
	}
	key, err := encodeKey(c.key)
	if err != nil {
		panic("cred: a CA's key was readable once: " + err.Error())
	}
	return cert, key
}

// Chain returns c's certificate and the authorities above it, nearest first, up to the root if c knows it.
func (c *CA) Chain() []*x509.Certificate {
	chain := append([]*x509.Certificate{c.Cert}, c.above...)
	if c.root != nil {
		chain = append(chain, c.root)
	}
	return chain
}

// Intermediate makes an authority with an RSA-2048 key below c that lives as long as c.
func (c *CA) Intermediate(name string) (*CA, error) { return c.IntermediateOf(RSA2048, name) }

// IntermediateOf is Intermediate with a key of the kind; its further error is that of ParseKeyType.
func (c *CA) IntermediateOf(kind KeyType, name string) (*CA, error) {
	key, err := kind.newKey()
	if err != nil {
		return nil, err
	}
	cert, err := c.issue(authority(name, time.Until(c.Cert.NotAfter)), key.Public())
	if err != nil {
		return nil, err
	}
	root := c.root
	if root == nil && selfIssued(c.Cert) {
		root = c.Cert
	}
	return &CA{Cert: cert, key: key, above: c.path(), root: root}, nil
}

// Server makes a server certificate for names, DNS names or IP addresses, with an RSA-2048 key, which every SDK can read
// (device-protocols 0.2). The certificate is followed by the intermediates a server has to send.
func (c *CA) Server(names []string, life time.Duration) (certPEM, keyPEM []byte, err error) {
	tmpl, err := server(names, life)
	if err != nil {
		return nil, nil, err
	}
	tmpl.KeyUsage |= x509.KeyUsageKeyEncipherment
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	return c.pair(tmpl, key)
}

// ServerEC is Server with an EC P-256 key, to be offered beside the RSA one: a handshake costs a fraction of the time.
func (c *CA) ServerEC(names []string, life time.Duration) (certPEM, keyPEM []byte, err error) {
	tmpl, err := server(names, life)
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	return c.pair(tmpl, key)
}

func server(names []string, life time.Duration) (*x509.Certificate, error) {
	if len(names) == 0 {
		return nil, refuse(ProblemMissing, "a server certificate needs at least one name")
	}
	tmpl := leaf(names[0], life, x509.ExtKeyUsageServerAuth)
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	return tmpl, nil
}

// Client makes a client certificate with an EC P-256 key for the common name, a device id or device/module.
// The certificate is followed by the intermediates a client has to send.
func (c *CA) Client(commonName string, life time.Duration) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	return c.pair(leaf(commonName, life, x509.ExtKeyUsageClientAuth), key)
}

// ClientFor makes a client certificate for a public key somebody else holds the private part of, as in a signing request.
// It returns the leaf, then Chain.
func (c *CA) ClientFor(public crypto.PublicKey, commonName string, life time.Duration) ([]*x509.Certificate, error) {
	cert, err := c.issue(leaf(commonName, life, x509.ExtKeyUsageClientAuth), public)
	if err != nil {
		return nil, err
	}
	return append([]*x509.Certificate{cert}, c.Chain()...), nil
}

// Issue answers a signing request with a client certificate that is valid from shortly before now for life, but not beyond c's
// own: subject with the common name alone, no alternative names, key usage digitalSignature, extended key usage clientAuth,
// 128 random bits of serial number (dps 2.10.3). It returns the leaf, then Chain: what registrationState holds. The error is
// ProblemDates when life is not positive or c is not valid at now.
func (c *CA) Issue(r *Request, now time.Time, life time.Duration) ([]*x509.Certificate, error) {
	if life <= 0 {
		return nil, refuse(ProblemDates, "a certificate cannot be issued for %s", life)
	}
	b := builder{now: now}
	if err := b.sound(c.Cert); err != nil {
		return nil, err
	}
	tmpl := leaf(r.CommonName, life, x509.ExtKeyUsageClientAuth)
	tmpl.NotBefore, tmpl.NotAfter = now.Add(-backdate), now.Add(life)
	if tmpl.NotBefore.Before(c.Cert.NotBefore) {
		tmpl.NotBefore = c.Cert.NotBefore
	}
	cert, err := c.issue(tmpl, r.PublicKey)
	if err != nil {
		return nil, err
	}
	return append([]*x509.Certificate{cert}, c.Chain()...), nil
}

// SelfSigned makes a client certificate that vouches for itself, with an EC P-256 key; a hub knows it by its thumbprint.
func SelfSigned(commonName string, life time.Duration) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	tmpl := leaf(commonName, life, x509.ExtKeyUsageClientAuth)
	cert, err := issue(tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = encodeKey(key)
	return AppendCertificate(nil, cert), keyPEM, err
}

// path is what a peer has to send behind a certificate of c: the authorities up to the root, without it.
func (c *CA) path() []*x509.Certificate {
	if selfIssued(c.Cert) {
		return nil
	}
	return append([]*x509.Certificate{c.Cert}, c.above...)
}

func (c *CA) pair(tmpl *x509.Certificate, key crypto.Signer) (certPEM, keyPEM []byte, err error) {
	cert, err := c.issue(tmpl, key.Public())
	if err != nil {
		return nil, nil, err
	}
	certPEM = AppendCertificate(nil, cert)
	for _, up := range c.path() {
		certPEM = AppendCertificate(certPEM, up)
	}
	keyPEM, err = encodeKey(key)
	return certPEM, keyPEM, err
}

func (c *CA) issue(tmpl *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	if tmpl.NotAfter.After(c.Cert.NotAfter) {
		tmpl.NotAfter = c.Cert.NotAfter // a longer life would not be believed
	}
	return issue(tmpl, c.Cert, public, c.key)
}

func issue(tmpl, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, err
	}
	tmpl.SerialNumber = serial.Add(serial, big.NewInt(1)) // RFC 5280 4.1.2.2: positive
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func authority(name string, life time.Duration) *x509.Certificate {
	t := period(name, life)
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	return t
}

func leaf(name string, life time.Duration, usage x509.ExtKeyUsage) *x509.Certificate {
	t := period(name, life)
	t.BasicConstraintsValid = true
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	return t
}

// period starts a little early; a negative life makes a certificate that has expired already.
func period(name string, life time.Duration) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(min(life, 0) - backdate), NotAfter: now.Add(life)}
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
