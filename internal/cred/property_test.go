package cred_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nave-hub/nave/internal/cred"
)

var (
	anyID  = rapid.StringMatching(`[A-Za-z0-9\-.%_*?!(),:=@$'+#~]{1,40}`)
	anyKey = rapid.Map(rapid.SliceOfN(rapid.Byte(), cred.MinKey, cred.MaxKey), encode)
)

func TestSignRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, module, other := anyID.Draw(t, "id"), anyID.Draw(t, "module"), anyID.Draw(t, "other")
		key, wrong := anyKey.Draw(t, "key"), anyKey.Draw(t, "wrong")
		policy := rapid.StringMatching(`[A-Za-z0-9_\-@.]{0,64}`).Draw(t, "policy")
		expiry := time.Unix(rapid.Int64Range(0, 253402300799).Draw(t, "se"), 0)
		text, err := cred.Sign(hub+"/devices/"+id+"/modules/"+module, key, policy, expiry)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := cred.ParseSAS(text)
		if err != nil {
			t.Fatal(err)
		}
		if !tok.Verify(key) || !tok.Verify(wrong, key) || !tok.VerifyLoose(key) || key != wrong && tok.Verify(wrong) {
			t.Fatal("signature misjudged")
		}
		if tok.Policy != policy || !tok.Expiry.Equal(expiry) || tok.Depth(hosts) != 4 {
			t.Fatalf("%s: policy %q, expiry %v, depth %d", text, tok.Policy, tok.Expiry, tok.Depth(hosts))
		}
		if !tok.Covers(hosts, "devices", id, "modules", module) || !tok.Covers(hosts, "devices", id, "modules", module, "x") {
			t.Fatal("does not cover what it was signed for")
		}
		if tok.Covers(hosts, "devices", id) || tok.Covers(hosts, "devices", id, "modules", module+"x") {
			t.Fatal("covers more than it was signed for")
		}
		// Ids without escapes have one reading only; another id is then never covered.
		if !strings.ContainsAny(id+other, "%+") && id != other && tok.Covers(hosts, "devices", other, "modules", module) {
			t.Fatal("covers another device")
		}
		// One changed byte of what is signed breaks the signature.
		at := strings.Index(text, "sr=") + 3 + rapid.IntRange(0, len(hub)-1).Draw(t, "at")
		if bad, err := cred.ParseSAS(text[:at] + "_" + text[at+1:]); err != nil || bad.Verify(key) {
			t.Fatal("a changed resource verifies", err)
		}
	})
}

func TestConnectionStringRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := cred.ConnectionString{HostName: hub, DeviceID: anyID.Draw(t, "id"), Key: anyKey.Draw(t, "key")}
		if rapid.Bool().Draw(t, "module") {
			c.ModuleID = anyID.Draw(t, "mid")
		}
		if rapid.Bool().Draw(t, "gateway") {
			c.Gateway = "localhost"
		}
		switch rapid.IntRange(0, 2).Draw(t, "proof") {
		case 1:
			c.SAS, _ = cred.Sign(hub, c.Key, "", end)
			c.Key = ""
		case 2:
			c.Key, c.X509 = "", true
		}
		got, err := cred.ParseConnectionString(c.String())
		if err != nil || *got != c {
			t.Fatalf("%s: %+v %v", c.String(), got, err)
		}
	})
}

func FuzzParseSAS(f *testing.F) {
	for _, sdk := range sdks {
		f.Add(sdk.token(f, "a%+#$'=b", key1))
	}
	f.Add("SharedAccessSignature sr=%25%32%35&sig=&se=1&skn=%")
	f.Add("sharedaccesssignature sr=amqps%3A%2F%2Fh%3A1%2F&sig=" + strings.Repeat("A", 43) + "%3D&se=0&x=y")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := cred.ParseSAS(text)
		if err != nil {
			if tok != nil || cred.ProblemOf(err) == "" {
				t.Fatalf("%v %v", tok, err)
			}
			return
		}
		if tok.Resource == "" || !strings.Contains(text, "sr="+tok.Resource) || len(tok.Readings()) > 3 {
			t.Fatalf("%q: resource %q", text, tok.Resource)
		}
		tok.Verify(key1, key2)
		tok.VerifyLoose(key1)
		segments, ok := tok.Path(hosts)
		if d := tok.Depth(hosts); ok != (d >= 0) || ok && d != len(segments) {
			t.Fatalf("%q: depth %d, path %q", text, d, segments)
		}
		if tok.Covers(hosts) && !tok.Covers(hosts, "devices", "d") {
			t.Fatalf("%q covers the hub but not a device", text)
		}
	})
}

func FuzzConnectionString(f *testing.F) {
	for _, s := range connections {
		f.Add(s)
	}
	f.Add("HostName=;=;;x509=1")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := cred.ParseConnectionString(text)
		if err != nil {
			if c != nil || cred.ProblemOf(err) == "" {
				t.Fatalf("%v %v", c, err)
			}
			return
		}
		again, err := cred.ParseConnectionString(c.String())
		if err != nil || *again != *c {
			t.Fatalf("%q: %q: %v", text, c, err)
		}
	})
}
