package cred_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

type pool = []*x509.Certificate

// authority is a CA made by hand, so that two certificates can share a key and a name.
type authority struct {
	name string
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) authority {
	return authority{name, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
}

func (a authority) sign(t testing.TB, name string, public crypto.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	now := time.Now()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign, MaxPathLen: -1}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, &x509.Certificate{Subject: pkix.Name{CommonName: a.name}}, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return must(x509.ParseCertificate(der))
}

func names(path pool) string {
	var all []string
	for _, c := range path {
		all = append(all, c.Subject.CommonName)
	}
	return strings.Join(all, " ")
}

func TestPath(t *testing.T) {
	l := line()
	root, one, two := l.root.Cert, l.one.Cert, l.two.Cert
	sent := client(t, l.two, "d1", time.Hour) // with two and one
	leaf := sent[:1]
	for name, c := range map[string]struct {
		presented, known, roots pool
		want                    string
	}{
		"leaf and intermediates":                    {sent, nil, pool{root}, "d1 two one root"},
		"leaf only":                                 {leaf, pool{one, two}, pool{root}, "d1 two one root"},
		"root not verified":                         {sent, pool{root}, nil, ""},
		"nearest first":                             {leaf, pool{root, two, one}, pool{root}, "d1 two one root"},
		"one intermediate sent, one on file":        {sent[:2], pool{one}, pool{root}, "d1 two one root"},
		"sent backwards":                            {pool{sent[0], sent[2], sent[1]}, nil, pool{root}, "d1 two one root"},
		"sent twice":                                {pool{sent[0], sent[1], sent[1], sent[2]}, pool{one, two}, pool{root, root}, "d1 two one root"},
		"verified intermediate ends the trust":      {sent, pool{one, root}, pool{two}, "d1 two"},
		"verified on both sides of one that is not": {leaf, pool{one}, pool{two, root}, "d1 two one root"},
		"all verified":                              {leaf, nil, pool{root, one, two}, "d1 two one root"},
		"root presented by the client":              {append(sent[:3:3], root), nil, nil, ""},
		"a gap":                                     {leaf, pool{two}, pool{root}, ""},
		"the leaf is no path of its own":            {leaf, leaf, leaf, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cred.Path(c.presented, c.known, c.roots, time.Now(), cred.Skew)
			if names(got) != c.want || (c.want == "") != (cred.ProblemOf(err) == cred.ProblemChain) {
				t.Errorf("%q, %v", names(got), err)
			}
		})
	}
}

func TestPathCrossSigned(t *testing.T) {
	r1, r2, mid := newAuthority("r1"), newAuthority("r2"), newAuthority("mid")
	root1, root2 := r1.sign(t, "r1", &r1.key.PublicKey, nil), r2.sign(t, "r2", &r2.key.PublicKey, nil)
	by1, by2 := r1.sign(t, "mid", &mid.key.PublicKey, nil), r2.sign(t, "mid", &mid.key.PublicKey, nil)
	leaf := mid.sign(t, "d", &mid.key.PublicKey, func(c *x509.Certificate) { c.IsCA = false })
	path, err := cred.Path(pool{leaf}, pool{by1, by2}, pool{root1, root2}, time.Now(), 0)
	if err != nil || names(path) != "d mid mid r1 r2" {
		t.Error(names(path), err)
	}
	path, err = cred.Path(pool{leaf}, pool{by1, by2, root1}, pool{root2}, time.Now(), 0)
	if err != nil || names(path) != "d mid r2" || !path[1].Equal(by2) {
		t.Error(names(path), err)
	}
}

func TestPathRules(t *testing.T) {
	root := newAuthority("root")
	mid := newAuthority("mid")
	anchor := root.sign(t, "root", &root.key.PublicKey, nil)
	leafOf := func(a authority, f func(*x509.Certificate)) *x509.Certificate {
		return a.sign(t, "d", &a.key.PublicKey, func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
			if f != nil {
				f(c)
			}
		})
	}
	now := time.Now()
	from := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore = now.Add(d) }
	}
	until := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = now.Add(d) }
	}
	middle := func(f func(*x509.Certificate)) *x509.Certificate { return root.sign(t, "mid", &mid.key.PublicKey, f) }
	impostor := newAuthority("mid")
	for name, c := range map[string]struct {
		leaf *x509.Certificate
		more pool
		want cred.Problem
	}{
		"leaf expired within the skew": {leafOf(root, until(-4*time.Minute)), nil, ""},
		"leaf expired":                 {leafOf(root, until(-6*time.Minute)), nil, cred.ProblemDates},
		"leaf of soon":                 {leafOf(root, from(4*time.Minute)), nil, ""},
		"leaf of the future":           {leafOf(root, from(6*time.Minute)), nil, cred.ProblemDates},
		"intermediate expired in skew": {leafOf(mid, nil), pool{middle(until(-4 * time.Minute))}, ""},
		"intermediate expired":         {leafOf(mid, nil), pool{middle(until(-6 * time.Minute))}, cred.ProblemDates},
		"intermediate is no CA":        {leafOf(mid, nil), pool{middle(func(c *x509.Certificate) { c.IsCA = false })}, cred.ProblemChain},
		"intermediate may not sign":    {leafOf(mid, nil), pool{middle(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })}, cred.ProblemChain},
		"intermediate of another key":  {leafOf(impostor, nil), pool{middle(nil)}, cred.ProblemChain},
		"impostor beside the true one": {leafOf(mid, nil), pool{impostor.sign(t, "mid", &impostor.key.PublicKey, nil), middle(nil)}, ""},
		"self-signed":                  {newAuthority("d").sign(t, "d", &root.key.PublicKey, nil), nil, cred.ProblemChain},
		"unknown critical extension": {leafOf(root, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true}}
		}), nil, cred.ProblemChain},
		"ten certificates are presented": {leafOf(root, nil), pool{anchor, anchor, anchor, anchor, anchor, anchor, anchor, anchor, anchor}, ""},
		"eleven are":                     {leafOf(root, nil), pool{anchor, anchor, anchor, anchor, anchor, anchor, anchor, anchor, anchor, anchor}, cred.ProblemChain},
	} {
		path, err := cred.Path(append(pool{c.leaf}, c.more...), nil, pool{anchor}, now, cred.Skew)
		if cred.ProblemOf(err) != c.want || (err == nil) != (len(path) >= 2) {
			t.Errorf("%s: %q, %v", name, names(path), err)
		}
	}
	tight := root.sign(t, "root", &root.key.PublicKey, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	if _, err := cred.Path(pool{leafOf(mid, nil), middle(nil)}, nil, pool{tight}, now, 0); cred.ProblemOf(err) != cred.ProblemChain {
		t.Error("path length", err)
	}
	if _, err := cred.Path(nil, nil, pool{anchor}, now, 0); cred.ProblemOf(err) != cred.ProblemMissing {
		t.Error(err)
	}
}

// TestPathIsBounded presents certificates that all vouch for each other, beside many on file of the same name.
func TestPathIsBounded(t *testing.T) {
	a, other := newAuthority("a"), newAuthority("a")
	var presented, known pool
	for range cred.MaxCerts {
		presented = append(presented, a.sign(t, "a", &a.key.PublicKey, nil))
	}
	for range 300 {
		known = append(known, a.sign(t, "a", &a.key.PublicKey, nil), other.sign(t, "a", &other.key.PublicKey, nil))
	}
	began := time.Now()
	if _, err := cred.Path(presented, known, nil, time.Now(), 0); cred.ProblemOf(err) != cred.ProblemChain {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Minute { // unbounded it would take years
		t.Errorf("%v", took)
	} else {
		t.Log(took)
	}
	// What the client made up does not keep a path from being found.
	root := other.sign(t, "a", &other.key.PublicKey, nil)
	leaf := other.sign(t, "d", &other.key.PublicKey, nil)
	if path, err := cred.Path(append(pool{leaf}, presented[1:]...), nil, pool{root}, time.Now(), 0); err != nil || len(path) != 2 {
		t.Error(len(path), err)
	}
}

func TestCheckLeaf(t *testing.T) {
	now := time.Now()
	ca := newAuthority("ca")
	leaf := func(key crypto.PublicKey, f func(*x509.Certificate)) *x509.Certificate {
		return ca.sign(t, "Dev-1", key, f)
	}
	p256 := &ca.key.PublicKey
	expired := leaf(p256, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute * 6) })
	for name, c := range map[string]struct {
		leaf *x509.Certificate
		id   string
		want cred.Problem
	}{
		"same":                {leaf(p256, nil), "Dev-1", ""},
		"other case":          {leaf(p256, nil), "dev-1", ""},
		"another name":        {leaf(p256, nil), "dev-2", cred.ProblemName},
		"empty name":          {ca.sign(t, "", p256, nil), "", cred.ProblemName},
		"nil":                 {nil, "dev-1", cred.ProblemMissing},
		"expired":             {expired, "dev-1", cred.ProblemDates},
		"server usage passes": {leaf(p256, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "dev-1", ""},
		"P-384":               {leaf(&must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).PublicKey, nil), "dev-1", ""},
		"P-521":               {leaf(&must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).PublicKey, nil), "dev-1", cred.ProblemKey},
		"RSA-2048":            {leaf(&tpmPair().ek.PublicKey, nil), "dev-1", ""},
		"RSA-1024":            {leaf(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}, nil), "dev-1", cred.ProblemKey},
	} {
		if err := cred.CheckLeaf(c.leaf, c.id, now, cred.Skew); cred.ProblemOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := cred.CheckLeaf(leaf(p256, nil), "Dev-1", now, 0); err != nil {
		t.Error(fmt.Sprint(err))
	}
}
