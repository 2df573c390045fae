package cred_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// line is one family of authorities for all tests: RSA keys take a while to find.
var line = sync.OnceValue(func() (l struct{ root, one, two *cred.CA }) {
	l.root = must(cred.NewCA("root", 24*time.Hour))
	l.one = must(l.root.Intermediate("one"))
	l.two = must(l.one.Intermediate("two"))
	return l
})

func certs(t testing.TB, pem []byte, _ []byte, err error) []*x509.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return must(cred.ParseCertificates(pem))
}

func client(t testing.TB, ca *cred.CA, name string, life time.Duration) []*x509.Certificate {
	t.Helper()
	pem, key, err := ca.Client(name, life)
	return certs(t, pem, key, err)
}

func colons(s string) string {
	var parts []string
	for i := 0; i < len(s); i += 2 {
		parts = append(parts, s[i:i+2])
	}
	return strings.Join(parts, ":")
}

func TestThumbprint(t *testing.T) {
	pem, key, err := cred.SelfSigned("d1", time.Hour)
	mine := certs(t, pem, key, err)[0]
	pem, key, err = cred.SelfSigned("d1", time.Hour)
	other := certs(t, pem, key, err)[0]
	short, long := cred.Thumbprints(mine)
	for _, c := range []struct {
		name       string
		registered []string
		want       bool
	}{
		{"SHA-1", []string{short}, true},
		{"SHA-1 lower case", []string{strings.ToLower(short)}, true},
		{"SHA-256", []string{long}, true},
		{"SHA-256 with colons", []string{colons(long)}, true},
		{"SHA-1 with blanks", []string{strings.ReplaceAll(colons(strings.ToLower(short)), ":", " ")}, true},
		{"secondary", []string{strings.Repeat("0", 40), long}, true},
		{"primary, secondary empty", []string{short, ""}, true},
		{"none", nil, false},
		{"empty", []string{"", ""}, false},
		{"prefix of SHA-256", []string{long[:40]}, false},
		{"garbage", []string{"x", strings.Repeat("g", 40), strings.Repeat(":", 300)}, false},
	} {
		if got := cred.MatchThumbprint(mine, c.registered...); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if cred.MatchThumbprint(other, c.registered...) || cred.MatchThumbprint(nil, c.registered...) {
			t.Errorf("%s: matched by another certificate", c.name)
		}
	}
	if cred.CheckMatch(mine, "", short) != nil || cred.ProblemOf(cred.CheckMatch(nil, short, "")) != cred.ProblemMissing {
		t.Error("check misjudged")
	}
	otherShort, _ := cred.Thumbprints(other)
	err = cred.CheckMatch(other, short, "")
	if cred.ProblemOf(err) != cred.ProblemThumbprint || !strings.Contains(err.Error(), "SHA1Hash="+otherShort) || !strings.Contains(err.Error(), "PrimaryThumbprint="+short) {
		t.Error(err)
	}
}

func TestCheckThumbprint(t *testing.T) {
	hex40 := strings.Repeat("aB", 20)
	for text, good := range map[string]bool{
		hex40: true, hex40 + hex40[:24]: true, colons(hex40): true, " " + hex40 + " ": true,
		"": false, hex40[1:]: false, hex40 + "0": false, hex40[:39] + "g": false, strings.Repeat("a", 1000): false,
	} {
		if err := cred.CheckThumbprint(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestVerifyChain(t *testing.T) {
	l, now := line(), time.Now()
	root, one, two := l.root.Cert, l.one.Cert, l.two.Cert
	stranger := must(cred.NewCA("root", time.Hour)) // the same name, another key
	full := client(t, l.two, "d1", time.Hour)
	if len(full) != 3 {
		t.Fatalf("%d certificates to present", len(full))
	}
	pem, key, err := l.two.Server([]string{"d1"}, time.Hour)
	server := certs(t, pem, key, err)
	pem, key, err = cred.SelfSigned("d1", time.Hour)
	alone := certs(t, pem, key, err)
	type list = []*x509.Certificate
	for _, c := range []struct {
		name  string
		certs list
		roots list
		now   time.Time
		as    string
		want  cred.Problem
	}{
		{"two intermediates", full, list{root}, now, "d1", ""},
		{"in another order, with strays", list{full[0], alone[0], full[2], full[1]}, list{stranger.Cert, root}, now, "d1", ""},
		{"root presented too", append(full[:3:3], root), list{root}, now, "d1", ""},
		{"registered intermediate", full[:1], list{two}, now, "d1", ""},
		{"registered intermediate further up", full, list{one}, now, "d1", ""},
		{"module", client(t, l.one, "d1/m", time.Hour), list{root}, now, "d1/m", ""},
		{"leaf right below the root", client(t, l.root, "d1", time.Hour), list{root}, now, "d1", ""},
		{"nothing presented", nil, list{root}, now, "d1", cred.ProblemMissing},
		{"wrong name", full, list{root}, now, "d2", cred.ProblemName},
		{"name in another case", full, list{root}, now, "D1", cred.ProblemName},
		{"no name", client(t, l.root, "", time.Hour), list{root}, now, "", cred.ProblemName},
		{"intermediate not presented", list{full[0], full[1]}, list{root}, now, "d1", cred.ProblemChain},
		{"no registered CA", full, nil, now, "d1", cred.ProblemChain},
		{"foreign root of the same name", full, list{stranger.Cert}, now, "d1", cred.ProblemChain},
		{"self-signed", alone, list{root}, now, "d1", cred.ProblemChain},
		{"leaf registered as CA", alone, alone, now, "d1", cred.ProblemChain},
		{"expired", full, list{root}, now.Add(2 * time.Hour), "d1", cred.ProblemDates},
		{"CA expired too", full, list{root}, now.Add(48 * time.Hour), "d1", cred.ProblemDates},
		{"not yet valid", full, list{root}, now.Add(-time.Hour), "d1", cred.ProblemDates},
		{"made expired", client(t, l.root, "d1", -time.Minute), list{root}, now, "d1", cred.ProblemDates},
		{"server certificate", server, list{root}, now, "d1", cred.ProblemUsage},
		{"too many", make(list, 11), list{root}, now, "d1", cred.ProblemChain},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.certs != nil && c.certs[0] == nil {
				c.certs[0] = full[0]
			}
			err := cred.VerifyChain(c.certs, c.roots, c.now, c.as)
			if cred.ProblemOf(err) != c.want || (err == nil) != (c.want == "") {
				t.Errorf("%v, want problem %q", err, c.want)
			}
		})
	}
}

func TestChainIsNearest(t *testing.T) {
	l := line()
	full := client(t, l.two, "d1", time.Hour)
	path, err := cred.Chain(full, []*x509.Certificate{l.root.Cert, l.one.Cert}, time.Now(), 0)
	if err != nil || len(path) != 3 || !path[0].Equal(full[0]) || !path[2].Equal(l.one.Cert) {
		t.Errorf("%d certificates, %v", len(path), err)
	}
	late := full[0].NotAfter.Add(4 * time.Minute)
	if _, err := cred.Chain(full, []*x509.Certificate{l.root.Cert}, late, 5*time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := cred.Chain(full, []*x509.Certificate{l.root.Cert}, late, 0); cred.ProblemOf(err) != cred.ProblemDates {
		t.Error(err)
	}
}

// custom makes certificates no CA of the package would make.
func custom(t testing.TB, tmpl, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	tmpl.SerialNumber, tmpl.NotBefore, tmpl.NotAfter = big.NewInt(7), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return must(x509.ParseCertificate(der))
}

func TestChainConstraints(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	name := func(n string) *x509.Certificate { return &x509.Certificate{Subject: pkix.Name{CommonName: n}} }
	ca := func(n string) *x509.Certificate {
		c := name(n)
		c.BasicConstraintsValid, c.IsCA, c.KeyUsage = true, true, x509.KeyUsageCertSign
		return c
	}
	flat := ca("flat")
	flat.MaxPathLenZero = true
	root := custom(t, flat, nil, key)
	below := custom(t, ca("below"), root, key)
	device := custom(t, name("dev"), root, key) // no CA, yet it signs
	noSign := ca("nosign")
	noSign.KeyUsage = x509.KeyUsageDigitalSignature
	mute := custom(t, noSign, nil, key)
	critical := name("d")
	critical.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	anyUse := name("d")
	anyUse.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	type list = []*x509.Certificate
	for _, c := range []struct {
		name  string
		certs list
		roots list
		want  string
	}{
		{"no usage", list{custom(t, name("d"), root, key)}, list{root}, ""},
		{"any usage", list{custom(t, anyUse, root, key)}, list{root}, ""},
		{"path too long", list{custom(t, name("d"), below, key), below}, list{root}, "allows 0 CAs"},
		{"signed by a device", list{custom(t, name("d"), device, key), device}, list{root}, "not a CA"},
		{"key usage without certSign", list{custom(t, name("d"), mute, key)}, list{mute}, "not signed by"},
		{"critical extension", list{custom(t, critical, root, key)}, list{root}, "1.2.3"},
	} {
		err := cred.VerifyChain(c.certs, c.roots, time.Now(), "d")
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || cred.ProblemOf(err) != cred.ProblemChain) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTLS(t *testing.T) {
	l := line()
	certPEM, keyPEM, err := l.one.Server([]string{"localhost", hub, "127.0.0.1"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	serverPair := must(tls.X509KeyPair(certPEM, keyPEM))
	certPEM, keyPEM, err = l.two.Client("d1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	clientPair := must(tls.X509KeyPair(certPEM, keyPEM))
	roots := x509.NewCertPool()
	roots.AddCert(l.root.Cert)
	ln := must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{serverPair}, ClientAuth: tls.RequestClientCert}))
	defer ln.Close()
	for _, name := range []string{hub, "127.0.0.1"} {
		seen := make(chan []*x509.Certificate, 1)
		go func() {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			conn.(*tls.Conn).Handshake()
			seen <- conn.(*tls.Conn).ConnectionState().PeerCertificates
		}()
		conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: roots, ServerName: name, Certificates: []tls.Certificate{clientPair}})
		if err != nil {
			t.Fatal(err)
		}
		if err := cred.VerifyChain(<-seen, []*x509.Certificate{l.root.Cert}, time.Now(), "d1"); err != nil {
			t.Error(err)
		}
		conn.Close()
	}
}

func TestLoadCA(t *testing.T) {
	l := line()
	cert, key := l.two.PEM()
	again, err := cred.LoadCA(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := cred.VerifyChain(client(t, again, "d1", time.Hour), []*x509.Certificate{l.root.Cert}, time.Now(), "d1"); err != nil {
		t.Error(err)
	}
	_, otherKey := l.one.PEM()
	leafPEM, leafKey, _ := l.one.Client("d", time.Hour)
	for name, pair := range map[string][2][]byte{
		"another's key": {cert, otherKey},
		"no CA":         {leafPEM, leafKey},
		"no key":        {cert, cert},
		"no cert":       {key, key},
		"empty":         {nil, nil},
	} {
		if _, err := cred.LoadCA(pair[0], pair[1]); cred.ProblemOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClientFor(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	chain, err := line().one.ClientFor(key.Public(), "d1", 1000*time.Hour)
	if err != nil || len(chain) != 3 || !key.PublicKey.Equal(chain[0].PublicKey) || chain[0].NotAfter.After(line().one.Cert.NotAfter) {
		t.Fatalf("%d certificates, %v", len(chain), err)
	}
	if err := cred.VerifyChain(chain, []*x509.Certificate{line().root.Cert}, time.Now(), "d1"); err != nil {
		t.Error(err)
	}
	if _, _, err := line().root.Server(nil, time.Hour); cred.ProblemOf(err) != cred.ProblemMissing {
		t.Error(err)
	}
}
