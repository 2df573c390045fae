package cred

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// MaxSAS is the longest token in bytes that ParseSAS looks at.
const MaxSAS = 4 << 10

// Skew is the time in which an expired token is still taken (device-protocols 1.2, service-api 1.3).
const Skew = 300 * time.Second

const (
	scheme     = "SharedAccessSignature"
	sigText    = (sha256.Size + 2) / 3 * 4 // length of a signature in base64
	lastMoment = 253402300799              // 9999-12-31T23:59:59Z; times beyond cannot be written as RFC 3339
)

// SAS is a shared access signature that was read but not yet believed; made by ParseSAS (device-protocols 1.2).
type SAS struct {
	Resource string    // sr exactly as sent
	Policy   string    // skn decoded; "" when absent or empty: a token of a device's or module's own key
	Expiry   time.Time // se, UTC, in whole seconds; a later one than the year 9999 becomes its last second

	// Set by ParseSAS, then read only:
	se       string
	signed   []byte // what the signature covers: sr, line feed, se, byte for byte
	sig      [sha256.Size]byte
	readings []string // sr raw, decoded once, decoded twice; as many as differ
}

// ParseSAS reads a token: the scheme word in any case, one blank, then sr, sig, se and skn in any order.
// Unknown fields are skipped. Errors are *Error with ProblemMissing for an empty text and ProblemMalformed otherwise.
func ParseSAS(text string) (*SAS, error) {
	if text == "" {
		return nil, refuse(ProblemMissing, "no token was presented")
	}
	if len(text) > MaxSAS {
		return nil, refuse(ProblemMalformed, "the token has %d bytes; at most %d are allowed", len(text), MaxSAS)
	}
	if len(text) <= len(scheme) || !strings.EqualFold(text[:len(scheme)], scheme) || text[len(scheme)] != ' ' {
		return nil, refuse(ProblemMalformed, "the token does not start with %q and one blank", scheme)
	}
	f, err := splitFields(text[len(scheme)+1:])
	if err != nil {
		return nil, err
	}
	return f.token()
}

// sasFields are the raw values of a token in the order of sasNames; the first three must not be empty.
type sasFields struct {
	value [4]string
	seen  [4]bool
}

var sasNames = [4]string{"sr", "sig", "se", "skn"}

func splitFields(text string) (f sasFields, err error) {
	for at := 1; ; at++ {
		part, rest, more := strings.Cut(text, "&")
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return f, refuse(ProblemMalformed, "field %d of the token has no '='", at)
		}
		for i, known := range sasNames {
			if name != known {
				continue
			}
			if f.seen[i] {
				return f, refuse(ProblemMalformed, "the token has %s twice", known)
			}
			f.value[i], f.seen[i] = value, true
		}
		if !more {
			return f, nil
		}
		text = rest
	}
}

func (f *sasFields) token() (*SAS, error) {
	for i, name := range sasNames[:3] {
		if f.value[i] == "" {
			return nil, refuse(ProblemMalformed, "the token has no %s, or an empty one", name)
		}
	}
	t := &SAS{Resource: f.value[0], se: f.value[2]}
	var err error
	if t.Expiry, err = parseExpiry(t.se); err != nil {
		return nil, err
	}
	if err = decodeSig(&t.sig, f.value[1]); err != nil {
		return nil, err
	}
	if t.Policy, err = url.PathUnescape(f.value[3]); err != nil {
		return nil, refuse(ProblemMalformed, "skn of the token has a '%%' that starts no escape")
	}
	t.signed = appendSigned(make([]byte, 0, len(t.Resource)+1+len(t.se)), t.Resource, t.se)
	t.readings = readings(t.Resource)
	return t, nil
}

func parseExpiry(se string) (time.Time, error) {
	for _, c := range []byte(se) {
		if c < '0' || c > '9' {
			return time.Time{}, refuse(ProblemMalformed, "se of the token is not a decimal number of seconds: %q", clip(se))
		}
	}
	n, err := strconv.ParseInt(se, 10, 64)
	if err != nil {
		return time.Time{}, refuse(ProblemMalformed, "se of the token is larger than 64 bits hold: %q", clip(se))
	}
	return time.Unix(min(n, lastMoment), 0).UTC(), nil
}

// decodeSig leaves '+' alone: some clients do not escape it (device-protocols 1.2).
func decodeSig(sig *[sha256.Size]byte, field string) error {
	text, err := url.PathUnescape(field)
	if err != nil {
		return refuse(ProblemMalformed, "sig of the token has a '%%' that starts no escape")
	}
	var buf [sigText]byte // the decoder may write up to 3 bytes for each 4 it reads
	n := -1
	if len(text) == sigText && !strings.ContainsAny(text, "\r\n") {
		n, err = base64.StdEncoding.Decode(buf[:], []byte(text))
	}
	if err != nil || n != sha256.Size {
		return refuse(ProblemMalformed, "sig of the token is not base64 of %d bytes", sha256.Size)
	}
	copy(sig[:], buf[:])
	return nil
}

func appendSigned(b []byte, sr, se string) []byte {
	b = append(b, sr...)
	b = append(b, '\n')
	return append(b, se...)
}

// Expired reports whether now is later than the expiry plus skew; at exactly that moment the token is still valid.
func (t *SAS) Expired(now time.Time, skew time.Duration) bool { return now.After(t.Expiry.Add(skew)) }

// Verify reports whether one of keys, each base64, made the signature over the bytes as sent.
// All keys are tried, in constant time; one that CheckKey refuses, such as "", never matches.
func (t *SAS) Verify(keys ...string) bool {
	found := 0
	for _, k := range keys {
		if key, err := decodeKey(k); err == nil {
			found |= t.compare(key, t.signed)
		}
	}
	return found == 1
}

// VerifyText is Verify for Event Hubs clients, which key the HMAC with the UTF-8 bytes of the key's text
// (service-api 1.3, Event Hubs-compatible endpoint); an empty text never matches.
func (t *SAS) VerifyText(keys ...string) bool {
	found := 0
	for _, k := range keys {
		if k != "" {
			found |= t.compare([]byte(k), t.signed)
		}
	}
	return found == 1
}

// VerifyLoose is Verify for provisioning clients: the signature may also cover sr decoded once, or that encoded again with
// upper-case or lower-case hex (dps 2.7).
func (t *SAS) VerifyLoose(keys ...string) bool {
	plain := t.Resource
	if len(t.readings) > 1 {
		plain = t.readings[1]
	}
	var texts [][]byte
	for _, sr := range []string{t.Resource, plain, escape(plain, upperHex), escape(plain, lowerHex)} {
		texts = append(texts, appendSigned(nil, sr, t.se))
	}
	found := 0
	for _, k := range keys {
		key, err := decodeKey(k)
		if err != nil {
			continue
		}
		for _, text := range texts {
			found |= t.compare(key, text)
		}
	}
	return found == 1
}

func (t *SAS) compare(key, signed []byte) int {
	if t.signed == nil { // not made by ParseSAS
		return 0
	}
	sum := mac(key, signed)
	return subtle.ConstantTimeCompare(sum[:], t.sig[:])
}

// CheckExpiry returns a ProblemExpired error when Expired, naming the expiry, the skew and the time compared with.
func (t *SAS) CheckExpiry(now time.Time, skew time.Duration) error {
	if !t.Expired(now, skew) {
		return nil
	}
	return refuse(ProblemExpired, "the token expired at %s; with the allowed skew of %s it was valid until %s, now is %s",
		t.Expiry.Format(time.RFC3339), skew, t.Expiry.Add(skew).Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

// CheckSignature returns a ProblemSignature error unless Verify accepts one of keys.
func (t *SAS) CheckSignature(keys ...string) error {
	if t.Verify(keys...) {
		return nil
	}
	return refuse(ProblemSignature, "the token for %q was signed with neither of the registered keys", clip(t.Resource))
}

// String shows all of the token but its signature.
func (t *SAS) String() string {
	s := scheme + " sr=" + t.Resource + "&se=" + t.se
	if t.Policy != "" {
		s += "&skn=" + escape(t.Policy, upperHex)
	}
	return s
}

// GoString is String, so that %#v does not show the signature either.
func (t *SAS) GoString() string { return t.String() }
