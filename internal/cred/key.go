package cred

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// Sizes of a key in bytes before base64 (service-api 1.2, dps 2.9.1).
const (
	MinKey = 16
	MaxKey = 64
)

const maxKeyText = (MaxKey + 2) / 3 * 4

// CheckKey returns a ProblemKey error unless key is standard base64 of 16 to 64 bytes (service-api 1.2).
func CheckKey(key string) error {
	_, err := decodeKey(key)
	return err
}

// NewKey returns base64 of 32 random bytes.
func NewKey() string { return newKey(32) }

// NewLongKey returns base64 of 64 random bytes, the size of generated enrolment keys (dps 2.9.1).
func NewLongKey() string { return newKey(MaxKey) }

func newKey(size int) string {
	b := make([]byte, size)
	rand.Read(b) // never fails since Go 1.24
	return base64.StdEncoding.EncodeToString(b)
}

// Derive returns the key of one member of a group: base64 of HMAC-SHA256 over the id with the decoded group key (dps 2.9.2).
func Derive(groupKey, id string) (string, error) {
	key, err := decodeKey(groupKey)
	if err != nil {
		return "", err
	}
	if id == "" {
		return "", refuse(ProblemMissing, "a key cannot be derived for an empty id")
	}
	sum := mac(key, []byte(id))
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// MatchKey reports in constant time whether presented is the text of one of keys; an empty text never matches.
// Event Hubs clients may send the bare key as SASL password (service-api row 204).
func MatchKey(presented string, keys ...string) bool {
	got, found := sha256.Sum256([]byte(presented)), 0
	for _, k := range keys {
		want := sha256.Sum256([]byte(k)) // equal lengths, so the comparison tells nothing about the key's
		same := subtle.ConstantTimeCompare(got[:], want[:])
		if k != "" {
			found |= same
		}
	}
	return found == 1
}

func decodeKey(text string) ([]byte, error) {
	if text == "" {
		return nil, refuse(ProblemKey, "the key is empty")
	}
	if len(text) > maxKeyText {
		return nil, refuse(ProblemKey, "the key has %d characters; at most %d are allowed", len(text), maxKeyText)
	}
	// The decoder would skip line ends; two texts of one key would then both be valid.
	if strings.ContainsAny(text, "\r\n") {
		return nil, refuse(ProblemKey, "the key contains a line end")
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, refuse(ProblemKey, "the key is not base64 (standard alphabet, with padding)")
	}
	if len(key) < MinKey || len(key) > MaxKey {
		return nil, refuse(ProblemKey, "the key has %d bytes; %d to %d are allowed", len(key), MinKey, MaxKey)
	}
	return key, nil
}

func mac(key, message []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(sum[:0])
	return sum
}
