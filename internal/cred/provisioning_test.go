package cred_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// tokenFor signs text, which may be another spelling than sr, as a client would.
func tokenFor(t testing.TB, key, sr, signed, skn string, se int64) string {
	t.Helper()
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s%s&se=%d", sr, percent(rawSig(t, key, signed, fmt.Sprint(se))), skn, se)
}

func TestVerifyProvisioning(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	se := now.Unix() + 3600
	raw, upper := "0ne1/registrations/d:1", "0ne1%2Fregistrations%2Fd%3A1"
	lower := lowerEscapes(upper)
	k1, k2, k3, k4 := cred.NewLongKey(), cred.NewLongKey(), cred.NewLongKey(), cred.NewKey()
	keys := [][]string{{k1, k2}, {k3, k4}, {"", "not base64"}}
	for name, c := range map[string]struct {
		token string
		at    int
	}{
		"raw":                     {tokenFor(t, k1, raw, raw, "", se), 0},
		"upper":                   {tokenFor(t, k1, upper, upper, "", se), 0},
		"lower":                   {tokenFor(t, k1, lower, lower, "", se), 0},
		"encoded, signed raw":     {tokenFor(t, k1, upper, raw, "", se), 0},
		"raw, signed encoded":     {tokenFor(t, k1, raw, upper, "", se), 0},
		"raw, signed lower":       {tokenFor(t, k1, raw, lower, "", se), 0},
		"upper, signed lower":     {tokenFor(t, k1, upper, lower, "", se), 0},
		"skn=registration":        {tokenFor(t, k1, raw, raw, "&skn=registration", se), 0},
		"skn empty":               {tokenFor(t, k1, raw, raw, "&skn=", se), 0},
		"secondary":               {tokenFor(t, k2, raw, raw, "", se), 0},
		"second pair":             {tokenFor(t, k4, raw, raw, "", se), 1},
		"id in upper case":        {tokenFor(t, k1, strings.ToUpper(raw), strings.ToUpper(raw), "", se), 0},
		"scheme word in any case": {strings.Replace(tokenFor(t, k1, raw, raw, "", se), "SharedAccess", "sharedaccess", 1), 0},
		"at the end of the skew":  {tokenFor(t, k1, raw, raw, "", now.Unix()-300), 0},
		"a long time to live":     {tokenFor(t, k1, raw, raw, "", now.Unix()+400*86400), 0},
	} {
		if at, err := cred.VerifyProvisioning(c.token, "0ne1", "d:1", keys, now); at != c.at || err != nil {
			t.Errorf("%s: %d %v", name, at, err)
		}
	}
	for name, c := range map[string]struct {
		token string
		want  cred.Problem
	}{
		"none":               {"", cred.ProblemMissing},
		"rubbish":            {"x", cred.ProblemMalformed},
		"another key":        {tokenFor(t, cred.NewKey(), raw, raw, "", se), cred.ProblemSignature},
		"another id":         {tokenFor(t, k1, "0ne1/registrations/d:2", "0ne1/registrations/d:2", "", se), cred.ProblemAudience},
		"another scope":      {tokenFor(t, k1, "0ne2/registrations/d:1", "0ne2/registrations/d:1", "", se), cred.ProblemAudience},
		"trailing slash":     {tokenFor(t, k1, raw+"/", raw+"/", "", se), cred.ProblemAudience},
		"leading host":       {tokenFor(t, k1, "host/"+raw, "host/"+raw, "", se), cred.ProblemAudience},
		"prefix":             {tokenFor(t, k1, "0ne1/registrations", "0ne1/registrations", "", se), cred.ProblemAudience},
		"encoded twice":      {tokenFor(t, k1, "0ne1%252Fregistrations%252Fd%253A1", raw, "", se), cred.ProblemAudience},
		"skn of another use": {tokenFor(t, k1, raw, raw, "&skn=device", se), cred.ProblemAudience},
		"expired":            {tokenFor(t, k1, raw, raw, "", now.Unix()-301), cred.ProblemExpired},
		"Kelvin sign":        {tokenFor(t, k1, "0ne1/registrations/\u212a", "0ne1/registrations/\u212a", "", se), cred.ProblemAudience},
	} {
		if at, err := cred.VerifyProvisioning(c.token, "0ne1", "d:1", keys, now); at != -1 || cred.ProblemOf(err) != c.want {
			t.Errorf("%s: %d %v", name, at, err)
		}
	}
	if _, err := cred.VerifyProvisioning(tokenFor(t, k1, "/registrations/", "/registrations/", "", se), "", "", keys, now); cred.ProblemOf(err) != cred.ProblemAudience {
		t.Error("an empty registration", err)
	}
	tok, err := cred.ParseProvisioning(tokenFor(t, k4, upper, raw, "", se), "0ne1", "D:1", now)
	if err != nil || !tok.VerifyLoose(k4) || tok.VerifyLoose(k1) {
		t.Error(err)
	}
}

func TestDerivedKey(t *testing.T) {
	t.Run("DPS-110 derived key", func(t *testing.T) {
		key, err := cred.Derive("8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==", "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6")
		if err != nil || key != "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=" {
			t.Error(key, err)
		}
	})
}
