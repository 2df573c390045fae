package cred_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

const (
	hub  = "myhub.example.test"
	key1 = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" // 0123456789abcdef twice
	key2 = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

var (
	hosts = []string{"gateway.test", hub}
	end   = time.Unix(1_900_000_000, 0).UTC()
)

// rawSig is written without the package under test: what a client computes over the bytes it is going to send.
func rawSig(t testing.TB, key, sr, se string) string {
	t.Helper()
	k, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, k)
	h.Write([]byte(sr + "\n" + se))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

func percent(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// sdks builds a device's token as each SDK does (device-protocols 1.2).
var sdks = []struct {
	name  string
	token func(t testing.TB, id, key string) string
}{
	{"Node", func(t testing.TB, id, key string) string {
		sr := percent(hub + "/devices/" + id)
		return "SharedAccessSignature sr=" + sr + "&sig=" + percent(rawSig(t, key, sr, "1900000000")) + "&skn=&se=1900000000"
	}},
	{"Python", func(t testing.TB, id, key string) string {
		sr := percent(hub + "/devices/" + id)
		return "SharedAccessSignature sr=" + sr + "&sig=" + percent(rawSig(t, key, sr, "1900000000")) + "&se=1900000000"
	}},
	{"C", func(t testing.TB, id, key string) string {
		sr := lowerEscapes(percent(hub + "/devices/" + id))
		return "SharedAccessSignature sr=" + sr + "&sig=" + lowerEscapes(percent(rawSig(t, key, sr, "1900000000"))) + "&se=1900000000&skn="
	}},
	{"C#", func(t testing.TB, id, key string) string {
		sr := url.QueryEscape(hub + "/devices/" + url.QueryEscape(id))
		return "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(rawSig(t, key, sr, "1900000000")) + "&se=1900000000"
	}},
	{"Java", func(t testing.TB, id, key string) string {
		sr := hub + "/devices/" + url.QueryEscape(id)
		return "SharedAccessSignature sig=" + url.QueryEscape(rawSig(t, key, sr, "1900000000")) + "&se=1900000000&sr=" + sr
	}},
}

var ids = []string{"dev1", "a%b", "a+b", "dev#+", "$x", "it's", "k=v", "100%", "a%2Fb", "a%25b", "(x),:*?!@_.-~", "%", "a;b"}

func TestSDKShapes(t *testing.T) {
	for _, sdk := range sdks {
		for _, id := range ids {
			t.Run(sdk.name+" "+id, func(t *testing.T) {
				tok := parse(t, sdk.token(t, id, key1))
				if !tok.Verify(key2, key1) || !tok.Verify(key1) || tok.Verify(key2) {
					t.Error("signature misjudged")
				}
				if !tok.Covers(hosts, "devices", id) || !tok.Covers(hosts, "Devices", id, "modules", "m") {
					t.Errorf("%s does not cover its device", tok)
				}
				if tok.Covers(hosts, "devices", id+"0") || tok.Covers(hosts, "devices") || tok.Covers(hosts) || tok.Covers([]string{"other"}, "devices", id) {
					t.Errorf("%s covers too much", tok)
				}
				if d := tok.Depth(hosts); d != 2 {
					t.Errorf("depth %d of %s", d, tok)
				}
				if !tok.Expiry.Equal(end) || tok.Policy != "" {
					t.Errorf("expiry %v, policy %q", tok.Expiry, tok.Policy)
				}
			})
		}
	}
}

func parse(t testing.TB, text string) *cred.SAS {
	t.Helper()
	tok, err := cred.ParseSAS(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return tok
}

// forResource reads tokens whose signature does not matter.
func forResource(t testing.TB, sr string) *cred.SAS {
	t.Helper()
	return parse(t, "SharedAccessSignature sr="+sr+"&sig="+percent(rawSig(t, key1, sr, "1900000000"))+"&se=1900000000")
}

func TestPlusInSignature(t *testing.T) {
	for n := 0; ; n++ {
		sr := fmt.Sprintf("%s/devices/d%d", hub, n)
		sig := rawSig(t, key1, sr, "1900000000")
		if !strings.Contains(sig, "+") || !strings.Contains(sig, "/") {
			continue
		}
		tok := parse(t, "sharedaccesssignature se=1900000000&sr="+sr+"&sig="+sig)
		if !tok.Verify(key1) {
			t.Error("a literal '+' was not taken as plus")
		}
		return
	}
}

func TestCovers(t *testing.T) {
	path := []string{"devices", "dev10", "modules", "m"}
	for _, c := range []struct {
		sr    string
		depth int
		want  bool
	}{
		{hub, 0, true},
		{"MyHub.Example.TEST", 0, true},
		{hub + "/", 0, true},
		{hub + ":443", 0, true},
		{"amqps://" + hub + ":5671/devices/", 1, true},
		{"https%3A%2F%2F" + hub + "%2fdevices%2fdev10", 2, true},
		{"sb://" + hub, 0, true},
		{hub + "%252Fdevices%252Fdev10", 2, true},
		{hub + "/devices/dev10/modules/m", 4, true},
		{hub + "/DEVICES/dev10/Modules/m", 4, true},
		{hub + "/devices/dev10/modules/m/x", 5, false},
		{hub + "/devices/dev1", 2, false},
		{hub + "/devices/dev100", 2, false},
		{hub + "/devices/DEV10", 2, false},
		{hub + "/devices/dev10/modules/M", 4, false},
		{hub + "/device", 1, false},
		{hub + "/devicesX", 1, false},
		{hub + "/twins/dev10", 2, false},
		{hub + "//", 1, false},
		{hub + "/devices//", 2, false},
		{hub + "//devices/dev10", 3, false},
		{hub + ":x/devices", -1, false},
		{"ftp://" + hub, -1, false},
		{hub + ".evil.test", -1, false},
		{"evil.test/" + hub, -1, false},
		{"x" + hub, -1, false},
		{"/devices/dev10", -1, false},
		{"%zz" + hub, -1, false},
	} {
		tok := forResource(t, c.sr)
		if got := tok.Covers(hosts, path...); got != c.want {
			t.Errorf("%s covers: %v", c.sr, got)
		}
		if got := tok.Depth(hosts); got != c.depth {
			t.Errorf("%s depth: %d, want %d", c.sr, got, c.depth)
		}
		segments, ok := tok.Path(hosts)
		if ok != (c.depth >= 0) || ok && len(segments) != c.depth {
			t.Errorf("%s path: %q %v", c.sr, segments, ok)
		}
		if err := tok.CheckAudience(hosts, path...); (err == nil) != c.want || err != nil && cred.ProblemOf(err) != cred.ProblemAudience {
			t.Errorf("%s audience: %v", c.sr, err)
		}
	}
	if forResource(t, hub+"/devices//").Covers(hosts, "devices", "") || forResource(t, hub+"//x").Covers(hosts, "", "x") {
		t.Error("an empty segment of the path was covered")
	}
}

func TestCoversJavaBlank(t *testing.T) {
	if !forResource(t, hub+"/devices/a+b").Covers(hosts, "devices", "a b") || !forResource(t, hub+"/devices/a+b").Covers(hosts, "devices", "a+b") {
		t.Error("'+' of a raw segment is either itself or a blank")
	}
}

func TestCoversFold(t *testing.T) {
	path := []string{"MyHub", "ConsumerGroups", "$Default", "Partitions", "0"}
	for sr, want := range map[string]bool{
		"sb://" + hub + "/myhub": true,
		"amqp%3a%2f%2f" + hub + "%2fmyhub%2fconsumergroups%2f%24default": true,
		"sb://" + hub + "/myhu":                       false,
		"sb://" + hub + "/myhub/consumergroups/other": false,
	} {
		if got := forResource(t, sr).CoversFold(hosts, path...); got != want {
			t.Errorf("%s: %v", sr, got)
		}
	}
}

func TestExpiry(t *testing.T) {
	tok := forResource(t, hub)
	for _, c := range []struct {
		now     time.Time
		skew    time.Duration
		expired bool
	}{
		{end, 0, false},
		{end.Add(1), 0, true},
		{end.Add(2 * time.Minute), cred.Skew, false},
		{end.Add(300 * time.Second), cred.Skew, false},
		{end.Add(300*time.Second + 1), cred.Skew, true},
		{end.Add(10 * time.Minute), cred.Skew, true},
		{end.Add(-time.Hour), cred.Skew, false},
	} {
		if got := tok.Expired(c.now, c.skew); got != c.expired {
			t.Errorf("%v %v: %v", c.now, c.skew, got)
		}
		if err := tok.CheckExpiry(c.now, c.skew); (err != nil) != c.expired {
			t.Errorf("%v %v: %v", c.now, c.skew, err)
		}
	}
	err := tok.CheckExpiry(end.Add(time.Hour), cred.Skew)
	if cred.ProblemOf(err) != cred.ProblemExpired || !strings.Contains(err.Error(), "2030-03-17T17:46:40Z") || !strings.Contains(err.Error(), "5m0s") {
		t.Errorf("%v", err)
	}
	far := parse(t, "SharedAccessSignature sr=h&se=9223372036854775807&sig="+rawSig(t, key1, "h", "9223372036854775807"))
	if far.Expired(end, 0) || !far.Verify(key1) || far.Expiry.Year() != 9999 {
		t.Error("a distant expiry is not an error")
	}
}

func TestParseSASRefuses(t *testing.T) {
	sig := "sig=" + percent(rawSig(t, key1, "h", "1"))
	for _, c := range []struct{ text, want string }{
		{"", "no token"},
		{"SharedAccessSignature", "does not start"},
		{"SharedAccessSignature ", "field 1"},
		{"SharedAccessSignature\tsr=h&se=1&" + sig, "does not start"},
		{"Bearer sr=h&se=1&" + sig, "does not start"},
		{"SharedAccessSignature  sr=h&se=1&" + sig, "no sr"},
		{" SharedAccessSignature sr=h&se=1&" + sig, "does not start"},
		{"SharedAccessSignature sr=h&se=1", "no sig"},
		{"SharedAccessSignature sr=h&" + sig, "no se"},
		{"SharedAccessSignature se=1&" + sig, "no sr"},
		{"SharedAccessSignature sr=&se=1&" + sig, "no sr"},
		{"SharedAccessSignature sr=h&se=abc&" + sig, "not a decimal"},
		{"SharedAccessSignature sr=h&se=-1&" + sig, "not a decimal"},
		{"SharedAccessSignature sr=h&se=%2B1&" + sig, "not a decimal"},
		{"SharedAccessSignature sr=h&se=1.5&" + sig, "not a decimal"},
		{"SharedAccessSignature sr=h&se=1 &" + sig, "not a decimal"},
		{"SharedAccessSignature sr=h&se=0x1&" + sig, "not a decimal"},
		{"SharedAccessSignature sr=h&se=99999999999999999999&" + sig, "64 bits"},
		{"SharedAccessSignature sr=h&se=1&sr=i&" + sig, "sr twice"},
		{"SharedAccessSignature sr=h&se=1&" + sig + "&" + sig, "sig twice"},
		{"SharedAccessSignature sr=h&se=1&skn=&skn=&" + sig, "skn twice"},
		{"SharedAccessSignature sr=h&se=1&&" + sig, "field 3"},
		{"SharedAccessSignature sr=h&se=1&sig=", "no sig"},
		{"SharedAccessSignature sr=h&se=1&sig=%", "starts no escape"},
		{"SharedAccessSignature sr=h&se=1&sig=AAAA", "base64 of 32"},
		{"SharedAccessSignature sr=h&se=1&sig=" + strings.Repeat("A", 44), "base64 of 32"},
		{"SharedAccessSignature sr=h&se=1&sig=" + strings.Repeat("A", 42) + "==", "base64 of 32"},
		{"SharedAccessSignature sr=h&se=1&sig=" + strings.Repeat("-", 43) + "=", "base64 of 32"},
		{"SharedAccessSignature sr=h&se=1&sig=" + strings.Repeat("A", 39) + "=%0A%0A%0A%0A", "base64 of 32"},
		{"SharedAccessSignature sr=h&se=1&skn=%zz&" + sig, "skn"},
		{"SharedAccessSignature sr=" + strings.Repeat("h", cred.MaxSAS) + "&se=1&" + sig, "at most 4096"},
	} {
		_, err := cred.ParseSAS(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q: %v", c.text, err)
			continue
		}
		want := cred.ProblemMalformed
		if c.text == "" {
			want = cred.ProblemMissing
		}
		if cred.ProblemOf(err) != want {
			t.Errorf("%.80q: problem %q", c.text, cred.ProblemOf(err))
		}
	}
}

func TestVerifyKeys(t *testing.T) {
	tok := forResource(t, hub)
	for _, keys := range [][]string{nil, {""}, {"", ""}, {"!!"}, {key2}, {key1[:40]}, {key1 + "\n"}, {strings.Repeat("A", 92)}, {"MTIz"}} {
		if tok.Verify(keys...) {
			t.Errorf("%q matched", keys)
		}
		err := tok.CheckSignature(keys...)
		if cred.ProblemOf(err) != cred.ProblemSignature {
			t.Errorf("%q: %v", keys, err)
		}
		for _, k := range keys {
			if k != "" && strings.Contains(err.Error(), k) {
				t.Errorf("the key is in the error: %v", err)
			}
		}
	}
	if !tok.Verify("", key1) || !tok.Verify("!!", key2, key1) || !tok.Verify(key1, "") || tok.CheckSignature(key1) != nil {
		t.Error("a good key among bad ones was not found")
	}
	if new(cred.SAS).Verify(key1) || new(cred.SAS).VerifyText(key1) {
		t.Error("the zero token was believed")
	}
	h := hmac.New(sha256.New, nil) // what anybody can compute when a key is empty
	h.Write([]byte("h\n1"))
	open := parse(t, "SharedAccessSignature sr=h&se=1&sig="+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	if open.Verify("", "====") || open.VerifyText("") || open.VerifyLoose("") {
		t.Error("an empty key matched")
	}
}

func TestVerifyText(t *testing.T) {
	text, err := cred.SignText("sb://"+hub+"/myhub", key1, "iothubowner", end)
	if err != nil {
		t.Fatal(err)
	}
	tok := parse(t, text)
	if !tok.VerifyText(key2, key1) || tok.VerifyText(key2) || tok.Verify(key1) || tok.Policy != "iothubowner" {
		t.Error("the text of the key is the key")
	}
}

func TestVerifyLoose(t *testing.T) {
	const plain = "0ne00000000/registrations/dev 1"
	upper := "0ne00000000%2Fregistrations%2Fdev%201"
	for _, signed := range []string{plain, upper, strings.ToLower(upper)} {
		for _, sent := range []string{upper, strings.ToLower(upper), plain} {
			tok := parse(t, "SharedAccessSignature sr="+sent+"&se=1&sig="+percent(rawSig(t, key1, signed, "1")))
			if !tok.VerifyLoose(key2, key1) || tok.VerifyLoose(key2) {
				t.Errorf("signed %s, sent %s", signed, sent)
			}
			if r := tok.Readings(); r[len(r)-1] != plain {
				t.Errorf("readings of %s: %q", sent, r)
			}
		}
	}
}

func TestSignRefuses(t *testing.T) {
	for _, c := range []struct {
		resource, key, policy string
		expiry                time.Time
		want                  cred.Problem
	}{
		{hub, "", "", end, cred.ProblemKey},
		{hub, "????", "", end, cred.ProblemKey},
		{"", key1, "", end, cred.ProblemMissing},
		{hub, key1, "", time.Time{}, cred.ProblemMalformed},
		{hub, key1, "", time.Unix(1<<40, 0), cred.ProblemMalformed},
		{strings.Repeat("h", cred.MaxSAS), key1, "", end, cred.ProblemMalformed},
	} {
		if _, err := cred.Sign(c.resource, c.key, c.policy, c.expiry); cred.ProblemOf(err) != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := cred.SignText(hub, "", "", end); cred.ProblemOf(err) != cred.ProblemKey {
		t.Error(err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	text, _ := cred.Sign(hub, key1, "a b", end)
	tok := parse(t, text)
	sig := rawSig(t, key1, hub, "1900000000")
	claim := cred.Claim{SAS: text, Bearer: "beareRtext"}
	for _, s := range []string{fmt.Sprint(tok), fmt.Sprintf("%+v %#v", tok, tok), fmt.Sprintf("%v %+v %#v %s", claim, claim, claim, claim)} {
		if strings.Contains(s, sig) || strings.Contains(s, percent(sig)) || strings.Contains(s, "beareRtext") {
			t.Errorf("%s", s)
		}
	}
	if claim.String() != "sas+bearer" || !(cred.Claim{}).Empty() || claim.Empty() || (cred.Claim{}).String() != "nothing" || claim.Leaf() != nil {
		t.Errorf("%s", claim)
	}
}

func BenchmarkVerify(b *testing.B) {
	text := sdks[0].token(b, "dev1", key1)
	b.ReportAllocs()
	for b.Loop() {
		tok, err := cred.ParseSAS(text)
		if err != nil || !tok.Verify(key1, key2) || !tok.Covers(hosts, "devices", "dev1") {
			b.Fatal(err)
		}
	}
}
