package cred

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Sign makes a token for the resource, a path such as host/devices/id that is not yet encoded, valid until expiry.
// The key is base64; policy may be "". Fields stand in the order sr, sig, skn, se (device-protocols 1.2, row Node).
// Errors are ProblemKey, ProblemMissing for an empty resource, ProblemMalformed for what does not fit into a token.
func Sign(resource, key, policy string, expiry time.Time) (string, error) {
	k, err := decodeKey(key)
	if err != nil {
		return "", err
	}
	return sign(resource, k, policy, expiry)
}

// SignText is Sign for Event Hubs clients: the HMAC is keyed with the UTF-8 bytes of the key's text (service-api 1.3).
func SignText(resource, key, policy string, expiry time.Time) (string, error) {
	if key == "" {
		return "", refuse(ProblemKey, "the key is empty")
	}
	return sign(resource, []byte(key), policy, expiry)
}

func sign(resource string, key []byte, policy string, expiry time.Time) (string, error) {
	if resource == "" {
		return "", refuse(ProblemMissing, "a token needs a resource")
	}
	if expiry.Unix() < 0 || expiry.Unix() > lastMoment {
		return "", refuse(ProblemMalformed, "a token cannot expire in the year %d; 1970 to 9999 are allowed", expiry.Year())
	}
	sr, se := escape(resource, upperHex), strconv.FormatInt(expiry.Unix(), 10)
	sum := mac(key, appendSigned(nil, sr, se))
	text := scheme + " sr=" + sr + "&sig=" + escape(base64.StdEncoding.EncodeToString(sum[:]), upperHex)
	if policy != "" {
		text += "&skn=" + escape(policy, upperHex)
	}
	text += "&se=" + se
	if len(text) > MaxSAS {
		return "", refuse(ProblemMalformed, "the token would have %d bytes; at most %d are allowed", len(text), MaxSAS)
	}
	return text, nil
}

const (
	upperHex = "0123456789ABCDEF"
	lowerHex = "0123456789abcdef"
)

// escape percent-encodes all but the unreserved characters of RFC 3986 2.3; net/url leaves more of them, or writes '+'.
func escape(s, digits string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/2)
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}
