package cred

import (
	"errors"
	"fmt"
)

// Problem is the machine-readable reason of a refusal.
type Problem string

// The reasons; device-protocols 1.5 says what each becomes on the wire.
const (
	ProblemMissing    Problem = "missing"    // nothing was presented
	ProblemMalformed  Problem = "malformed"  // a text that cannot be read
	ProblemExpired    Problem = "expired"    // a token past its expiry and the allowed skew
	ProblemSignature  Problem = "signature"  // a token no registered key made
	ProblemAudience   Problem = "audience"   // a token for something else
	ProblemThumbprint Problem = "thumbprint" // a certificate that is not the registered one
	ProblemChain      Problem = "chain"      // a certificate no registered CA vouches for
	ProblemName       Problem = "name"       // a certificate for another name
	ProblemDates      Problem = "dates"      // a certificate outside its period of validity
	ProblemUsage      Problem = "usage"      // a certificate not meant for clients
	ProblemKey        Problem = "key"        // a key that is not base64 of an allowed length, or of a kind that is not allowed
	ProblemSize       Problem = "size"       // a signing request that is too long
)

// Error is a refusal: Text names the field, the limit and the value seen, never a key or a signature.
type Error struct {
	Problem Problem
	Text    string
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// ProblemOf returns the reason of the first *Error in err's chain, or "" when there is none.
func ProblemOf(err error) Problem {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Problem
	}
	return ""
}

func refuse(p Problem, format string, args ...any) *Error {
	return &Error{Problem: p, Text: fmt.Sprintf(format, args...)}
}

// clip keeps foreign text in an error short.
func clip(s string) string {
	const limit = 128
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
