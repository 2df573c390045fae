package cred_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/cred"
)

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func TestCheckKey(t *testing.T) {
	for _, c := range []struct {
		key  string
		good bool
	}{
		{encode(make([]byte, 16)), true},
		{encode(make([]byte, 64)), true},
		{encode(make([]byte, 15)), false},
		{encode(make([]byte, 65)), false},
		{encode(make([]byte, 4000)), false},
		{"", false},
		{"not base64 at all, sorry", false},
		{strings.TrimRight(encode(make([]byte, 32)), "="), false},
		{strings.Repeat("_", 44), false},
		{encode(make([]byte, 32))[:20] + "\n" + encode(make([]byte, 32))[20:], false},
	} {
		err := cred.CheckKey(c.key)
		if (err == nil) != c.good || err != nil && cred.ProblemOf(err) != cred.ProblemKey {
			t.Errorf("%q: %v", c.key, err)
		}
	}
	a, b := cred.NewKey(), cred.NewLongKey()
	if cred.CheckKey(a) != nil || cred.CheckKey(b) != nil || len(a) != 44 || len(b) != 88 || a == cred.NewKey() {
		t.Errorf("new keys of %d and %d characters", len(a), len(b))
	}
}

func TestDerive(t *testing.T) {
	const group = "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="
	t.Run("DPS-110 derived key test vector", func(t *testing.T) {
		got, err := cred.Derive(group, "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6")
		if err != nil || got != "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=" {
			t.Errorf("%q %v", got, err)
		}
	})
	if _, err := cred.Derive("x", "id"); cred.ProblemOf(err) != cred.ProblemKey {
		t.Error(err)
	}
	if _, err := cred.Derive(group, ""); cred.ProblemOf(err) != cred.ProblemMissing {
		t.Error(err)
	}
}

func TestMatchKey(t *testing.T) {
	if !cred.MatchKey(key1, key2, key1) || cred.MatchKey(key1, key2) || cred.MatchKey("", "") || cred.MatchKey(key1) {
		t.Error("keys misjudged")
	}
}
