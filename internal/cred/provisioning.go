package cred

import (
	"time"
)

// VerifyProvisioning judges a token of the provisioning service's device API for {scope}/registrations/{registration} and
// returns the index of the first of keys, pairs of primary and secondary key in base64, that made it (dps 2.7). sr may be raw or percent-encoded
// once, in upper or lower case; it names scope and registration without regard to the case of ASCII letters and nothing
// besides. skn is registration, empty or absent. An expired token is taken for 300 s. All keys are tried, those CheckKey refuses never match.
// Errors are those of ParseSAS, ProblemAudience for sr or skn, ProblemExpired and ProblemSignature; the index is then -1.
func VerifyProvisioning(token, scope, registration string, keys [][]string, now time.Time) (int, error) {
	t, err := ParseProvisioning(token, scope, registration, now)
	if err != nil {
		return -1, err
	}
	found := -1
	for i, pair := range keys {
		if t.VerifyLoose(pair...) && found < 0 {
			found = i
		}
	}
	if found < 0 {
		return -1, refuse(ProblemSignature, "the token for %q was signed with none of the registered keys", clip(t.Resource))
	}
	return found, nil
}

// ParseProvisioning is VerifyProvisioning up to the signature, for callers that look for the keys afterwards and then use VerifyLoose.
func ParseProvisioning(token, scope, registration string, now time.Time) (*SAS, error) {
	t, err := ParseSAS(token)
	if err != nil {
		return nil, err
	}
	if t.Policy != "" && t.Policy != "registration" {
		return nil, refuse(ProblemAudience, "skn of the token is %q; registration, an empty one or none is allowed", clip(t.Policy))
	}
	want := scope + "/registrations/" + registration
	if scope == "" || registration == "" || !t.names(want) {
		return nil, refuse(ProblemAudience, "sr of the token is %q, expected %q", clip(t.Resource), clip(want))
	}
	if err := t.CheckExpiry(now, Skew); err != nil {
		return nil, err
	}
	return t, nil
}

// names reports whether sr, raw or decoded once, is resource.
func (t *SAS) names(resource string) bool {
	for _, r := range t.readings[:min(2, len(t.readings))] {
		if equalFold(r, resource) {
			return true
		}
	}
	return false
}
