package dps

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
)

// The kinds of certificate authorities (dps 6.7).
const (
	LocalAuthority    = "LocalCertificateAuthority"
	DigiCertAuthority = "DigiCertCertificateAuthority"
	ExternalAuthority = "ExternalHttp"
)

// CertificateAuthority issues certificates for CSRs of devices (dps 6.7). In
// the store Key, APIKey and the key of Next are sealed for the place ca/<key>.
type CertificateAuthority struct {
	Name     string         `json:"name"`
	Type     string         `json:"certificateAuthorityType"`
	KeyType  string         `json:"keyType,omitzero"`
	Subject  string         `json:"subject,omitzero"`
	Validity int            `json:"validityDays,omitzero"`      // of issued certificates, 90
	Issuer   string         `json:"issuerCertificate,omitzero"` // PEM: its certificate, then those above
	Status   string         `json:"status,omitzero"`            // active, rotating or stored
	Profile  string         `json:"profileName,omitzero"`
	APIKey   string         `json:"apiKey,omitzero"`
	URL      string         `json:"url,omitzero"`
	Client   string         `json:"clientCertificate,omitzero"`
	Next     *NextAuthority `json:"next,omitzero"` // a rotation that has not taken effect
	Created  Time           `json:"createdDateTimeUtc,omitzero"`
	Updated  Time           `json:"lastUpdatedDateTimeUtc,omitzero"`
	ETag     string         `json:"etag,omitzero"`

	Key string `json:"privateKey,omitzero"` // PEM, never in answers
}

// NextAuthority is what a rotation puts in the place of certificate and key.
type NextAuthority struct {
	Issuer string `json:"issuerCertificate"`
	From   Time   `json:"activateUtc"`
	Key    string `json:"privateKey,omitzero"` // PEM, never in answers
}

// The values of CertificateAuthority.Status. An authority that is only stored
// issues nothing here.
const (
	AuthorityActive   = "active"
	AuthorityRotating = "rotating"
	AuthorityStored   = "stored"
)

// Limits of authorities.
const (
	maxAuthorities   = 25
	maxValidity      = 3650 // days
	authorityLife    = 10 * 365 * 24 * time.Hour
	maxRotationHours = 24 * 90
)

// ParseCertificateAuthority reads an authority as clients send it:
// DeserializationError, ArgumentNull, ArgumentInvalid. A local one gets a new
// key, or imports privateKey with issuerCertificate; ExternalHttp is refused,
// because nothing here issues by it.
func ParseCertificateAuthority(b []byte) (*CertificateAuthority, error) {
	c := &CertificateAuthority{}
	if err := Decode(b, c); err != nil {
		return nil, err
	}
	c.Status, c.Next, c.Created, c.Updated = "", nil, Time{}, Time{}
	if c.Type == "" {
		return nil, fault.DPSArgumentNull.New("certificateAuthorityType is missing")
	}
	var err error
	if c.Type, err = canonical("certificateAuthorityType", c.Type, LocalAuthority, DigiCertAuthority, ExternalAuthority); err != nil {
		return nil, err
	}
	if c.Validity != 0 {
		if err := between("validityDays", c.Validity, 1, maxValidity); err != nil {
			return nil, err
		}
	}
	switch c.Type {
	case LocalAuthority:
		c.Profile, c.APIKey, c.URL, c.Client = "", "", "", ""
		return c, c.checkLocal()
	case DigiCertAuthority:
		c.KeyType, c.Subject, c.Issuer, c.Key, c.URL, c.Client, c.Validity = "", "", "", "", "", "", 0
		if c.Profile == "" {
			return nil, fault.DPSArgumentNull.New("profileName is missing")
		}
		return c, nil
	}
	return nil, fault.DPSArgumentInvalid.New("certificateAuthorityType %s is not served: no certificates can be issued by it here; use %s", c.Type, LocalAuthority)
}

func (c *CertificateAuthority) checkLocal() error {
	if _, err := cred.ParseKeyType(c.KeyType); err != nil {
		return fault.DPSArgumentInvalid.Wrap(err, "keyType: %s", err)
	}
	name, ok := strings.CutPrefix(c.Subject, "CN=")
	if len(name) > 64 || strings.ContainsAny(name, ",+=\"\\<>;\n\r\x00") || c.Subject != "" && (name == "" || !ok && strings.Contains(c.Subject, "=")) {
		return fault.DPSArgumentInvalid.New("subject is %q, CN= and a name of 1 to 64 characters without , + = are allowed", brief(c.Subject))
	}
	if c.Subject != "" {
		c.Subject = "CN=" + name
	}
	return nil
}

// generate makes or imports certificate and key of a local authority.
func (c *CertificateAuthority) generate() (ca *cred.CA, err error) {
	if c.Key == "" {
		ca, err = cred.NewCAOf(cred.KeyType(cmp.Or(c.KeyType, string(cred.RSA2048))), strings.TrimPrefix(cmp.Or(c.Subject, "CN="+c.Name), "CN="), authorityLife)
		return ca, err
	}
	if c.Issuer == "" {
		return nil, fault.DPSArgumentNull.New("issuerCertificate is missing; privateKey is imported together with it")
	}
	if ca, err = cred.LoadCA([]byte(c.Issuer), []byte(c.Key)); err != nil {
		return nil, fault.DPSArgumentInvalid.Wrap(err, "issuerCertificate and privateKey: %s", err)
	}
	return ca, nil
}

// adopt takes over what the certificate of an authority says.
func (c *CertificateAuthority) adopt(ca *cred.CA) {
	certPEM, keyPEM := ca.PEM()
	c.Issuer, c.Key, c.Subject, c.KeyType = string(certPEM), string(keyPEM), subject(ca.Cert), keyType(ca.Cert)
}

// keyType names the kind of a certificate's key, as far as it has a name.
func keyType(cert *x509.Certificate) string {
	switch k := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprint("rsa", k.N.BitLen())
	case *ecdsa.PublicKey:
		return fmt.Sprint("ec", k.Curve.Params().BitSize)
	}
	return ""
}

// inForce puts a rotation into effect whose time has come; it says whether it
// has.
func (c *CertificateAuthority) inForce(now time.Time) bool {
	if c.Next == nil || now.Before(c.Next.From.Time) {
		return false
	}
	c.Issuer, c.Key, c.Next, c.Status = c.Next.Issuer, c.Next.Key, nil, AuthorityActive
	if cert, err := cred.ParseCertificate([]byte(c.Issuer)); err == nil {
		c.Subject, c.KeyType = subject(cert), keyType(cert)
	}
	return true
}

// shown is c as answers have it, at the time now.
func (c *CertificateAuthority) shown(now time.Time) *CertificateAuthority {
	n := *c
	if n.Next != nil {
		next := *n.Next
		n.Next = &next
	}
	n.inForce(now)
	n.Key = ""
	if n.Next != nil {
		n.Next.Key = ""
	}
	if n.APIKey != "" {
		n.APIKey = mask
	}
	if n.Type == LocalAuthority {
		n.Validity = cmp.Or(n.Validity, defaultValidity)
	}
	return &n
}

// Rotation is the body of a rotation, made by ParseRotation.
type Rotation struct {
	Hours   int    `json:"activateAfterHours"` // 0: at once
	KeyType string `json:"keyType"`            // "": as before
	Issuer  string `json:"issuerCertificate"`  // imported with Key
	Key     string `json:"privateKey"`
}

// ParseRotation reads the body of a rotation, which may be empty;
// DeserializationError, ArgumentInvalid.
func ParseRotation(b []byte) (*Rotation, error) {
	r := &Rotation{}
	if len(b) == 0 {
		return r, nil
	}
	if err := Decode(b, r); err != nil {
		return nil, err
	}
	if _, err := cred.ParseKeyType(r.KeyType); err != nil {
		return nil, fault.DPSArgumentInvalid.Wrap(err, "keyType: %s", err)
	}
	return r, between("activateAfterHours", r.Hours, 0, maxRotationHours)
}

// Revocation is the answer to a revocation.
type Revocation struct {
	Serial       string `json:"serialNumber"`
	Registration string `json:"registrationId,omitzero"` // of the record that names the certificate
	At           Time   `json:"revokedUtc"`
}

// ParseRevocation reads {"serialNumber"}, hex digits with or without colons;
// DeserializationError, ArgumentNull, ArgumentInvalid.
func ParseRevocation(b []byte) (serial string, err error) {
	var body struct {
		Serial string `json:"serialNumber"`
	}
	if err := Decode(b, &body); err != nil {
		return "", err
	}
	if body.Serial == "" {
		return "", fault.DPSArgumentNull.New("serialNumber is missing")
	}
	serial = bareSerial(strings.ToUpper(strings.ReplaceAll(body.Serial, ":", "")))
	if serial == "" || len(serial) > 64 || strings.Trim(serial, "0123456789ABCDEF") != "" {
		return "", fault.DPSArgumentInvalid.New("serialNumber is %q, 1 to 64 hex digits are allowed", brief(body.Serial))
	}
	return serial, nil
}

// bareSerial returns a serial number in upper-case hex without leading zeros.
func bareSerial(text string) string { return strings.TrimLeft(text, "0") }
