package cred_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

func csr(t testing.TB, key crypto.Signer, name string) []byte {
	t.Helper()
	tmpl := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name, Organization: []string{"organisation"}}, DNSNames: []string{"evil.example"},
		//lint:ignore SA1019 the only way to write a challenge password
		Attributes: []pkix.AttributeTypeAndValueSET{
			{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}, Value: [][]pkix.AttributeTypeAndValue{{{Type: asn1.ObjectIdentifier{1, 2, 3}, Value: "opensesame"}}}}}}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestParseRequest(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := csr(t, key, "Dev-1")
	armour := pemOf("CERTIFICATE REQUEST", der)
	for name, text := range map[string][]byte{
		"DER": der, "PEM": armour, "base64 of DER": []byte(encode(der)), "base64 of PEM": []byte(encode(armour)),
		"old PEM":             pemOf("NEW CERTIFICATE REQUEST", der),
		"text before the PEM": append([]byte("-- made here --\n"), armour...),
		"base64 in lines":     []byte(encode(der)[:64] + "\r\n" + encode(der)[64:] + "\n"),
		"without padding":     []byte(strings.TrimRight(encode(der), "=")),
	} {
		r, err := cred.ParseRequest(text)
		if err != nil || r.CommonName != "Dev-1" || !key.PublicKey.Equal(r.PublicKey) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.CheckName("dev-1") != nil || r.CheckName("Dev-1") != nil || cred.ProblemOf(r.CheckName("dev-2")) != cred.ProblemName || r.CheckName("") == nil {
			t.Errorf("%s: names", name)
		}
	}
	for name, key := range map[string]crypto.Signer{
		"RSA-2048": must(rsa.GenerateKey(rand.Reader, 2048)), "P-384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
	} {
		if _, err := cred.ParseRequest(csr(t, key, "d")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseRequestRefuses(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := csr(t, key, "d1")
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	forged := bytes.Clone(der)
	forged[len(forged)-1] ^= 1
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	selfPEM, _, _ := cred.SelfSigned("d1", time.Hour)
	for name, c := range map[string]struct {
		text []byte
		want cred.Problem
	}{
		"empty":            {nil, cred.ProblemMissing},
		"rubbish":          {[]byte("%%%"), cred.ProblemMalformed},
		"base64 of naught": {[]byte("===="), cred.ProblemMalformed},
		"cut off":          {der[:len(der)-5], cred.ProblemMalformed},
		"something behind": {append(bytes.Clone(der), 0), cred.ProblemMalformed},
		"certificate":      {selfPEM, cred.ProblemMalformed},
		"half PEM":         {[]byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA"), cred.ProblemMalformed},
		"forged":           {forged, cred.ProblemSignature},
		"Ed25519":          {csr(t, edwards, "d1"), cred.ProblemKey},
		"RSA-1024":         {csr(t, small, "d1"), cred.ProblemKey},
		"P-521":            {csr(t, must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), "d1"), cred.ProblemKey},
		"no name":          {csr(t, key, ""), cred.ProblemMalformed},
		"8 KiB and one":    {bytes.Repeat([]byte("A"), cred.MaxRequest+1), cred.ProblemSize},
	} {
		r, err := cred.ParseRequest(c.text)
		if r != nil || cred.ProblemOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "opensesame") {
			t.Errorf("%s: the challenge password is in %v", name, err)
		}
	}
}

func TestIssue(t *testing.T) {
	now := time.Now()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	r := must(cred.ParseRequest(csr(t, key, "d1")))
	two := line().two
	chain, err := two.Issue(r, now, time.Hour)
	if err != nil || len(chain) != 4 {
		t.Fatal(len(chain), err)
	}
	if !slices.EqualFunc(chain[1:], []*cred.CA{two, line().one, line().root}, func(c *x509.Certificate, ca *cred.CA) bool { return c.Equal(ca.Cert) }) {
		t.Error("the chain does not lead from leaf to root")
	}
	leaf := chain[0]
	if leaf.Subject.String() != "CN=d1" || len(leaf.DNSNames) != 0 || leaf.KeyUsage != x509.KeyUsageDigitalSignature || leaf.IsCA ||
		!slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || !key.PublicKey.Equal(leaf.PublicKey) {
		t.Errorf("%+v", cred.Info(leaf))
	}
	if bytes.Contains(leaf.Raw, []byte("opensesame")) || bytes.Contains(leaf.Raw, []byte("evil.example")) || bytes.Contains(leaf.Raw, []byte("organisation")) {
		t.Error("more than the common name was taken over")
	}
	if leaf.NotBefore.After(now) || leaf.NotAfter.Sub(now).Round(time.Minute) != time.Hour || leaf.NotBefore.Before(two.Cert.NotBefore) {
		t.Error(leaf.NotBefore, leaf.NotAfter)
	}
	if _, err := cred.Path(chain[:1], []*x509.Certificate{two.Cert, line().one.Cert}, []*x509.Certificate{line().root.Cert}, now, 0); err != nil {
		t.Error(err)
	}
	if long, err := two.Issue(r, now, 1000*time.Hour); err != nil || long[0].NotAfter.After(two.Cert.NotAfter) {
		t.Error("outlives its CA", err)
	}
	for name, c := range map[string]struct {
		now  time.Time
		life time.Duration
	}{"no life": {now, 0}, "negative life": {now, -time.Hour}, "expired CA": {now.Add(48 * time.Hour), time.Hour}, "CA of the future": {now.Add(-time.Hour), time.Hour}} {
		if _, err := two.Issue(r, c.now, c.life); cred.ProblemOf(err) != cred.ProblemDates {
			t.Errorf("%s: %v", name, err)
		}
	}
	seen, bits := map[string]bool{}, 0
	for range 16 {
		c := must(two.Issue(r, now, time.Hour))[0]
		seen[c.SerialNumber.String()], bits = true, max(bits, c.SerialNumber.BitLen())
	}
	if len(seen) != 16 || bits < 121 || bits > 129 {
		t.Errorf("%d serial numbers of up to %d bits", len(seen), bits)
	}
}

func TestKeyTypes(t *testing.T) {
	r := must(cred.ParseRequest(csr(t, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "d1")))
	for kind, want := range map[cred.KeyType]string{cred.RSA2048: "RSA 2048", cred.EC256: "EC P-256", cred.EC384: "EC P-384", "": "RSA 2048"} {
		root, err := cred.NewCAOf(kind, "root", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		ca := must(root.IntermediateOf(cred.EC256, "mid"))
		if got := describeKey(root.Cert.PublicKey); got != want {
			t.Errorf("%s: %s", kind, got)
		}
		again, err := cred.LoadCA(ca.PEM())
		if err != nil || len(again.Chain()) != 2 || !again.Chain()[1].Equal(root.Cert) {
			t.Fatal(kind, err)
		}
		chain, err := again.Issue(r, time.Now(), time.Hour)
		if err != nil || len(chain) != 3 {
			t.Fatal(kind, err)
		}
		if _, err := cred.Path(chain, nil, []*x509.Certificate{root.Cert}, time.Now(), 0); err != nil {
			t.Error(kind, err)
		}
	}
	if _, err := cred.NewCAOf("dsa", "x", time.Hour); cred.ProblemOf(err) != cred.ProblemKey {
		t.Error(err)
	}
	if k, err := cred.ParseKeyType("rsa4096"); err != nil || k != cred.RSA4096 {
		t.Error(k, err)
	}
	if _, err := line().root.IntermediateOf("x", "x"); cred.ProblemOf(err) != cred.ProblemKey {
		t.Error(err)
	}
}

func describeKey(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return "RSA " + map[int]string{2048: "2048", 4096: "4096"}[k.N.BitLen()]
	case *ecdsa.PublicKey:
		return "EC " + k.Params().Name
	}
	return ""
}

func FuzzParseRequest(f *testing.F) {
	der := csr(f, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "d1")
	f.Add(der)
	f.Add([]byte(encode(der)))
	f.Add(pemOf("CERTIFICATE REQUEST", der))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := cred.ParseRequest(text)
		if (r == nil) != (cred.ProblemOf(err) != "") {
			t.Fatal(r, err)
		}
		if r != nil && (r.CommonName == "" || r.PublicKey == nil) {
			t.Fatalf("%+v", r)
		}
	})
}
