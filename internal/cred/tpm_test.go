package cred_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync"
	"testing"

	"github.com/nave-hub/nave/internal/cred"
)

// The keys of one TPM; test/tpm asks a software TPM in their stead.
var tpmPair = sync.OnceValue(func() (p struct{ ek, srk *rsa.PrivateKey }) {
	p.ek = must(rsa.GenerateKey(rand.Reader, 2048))
	p.srk = must(rsa.GenerateKey(rand.Reader, 2048))
	return p
})

func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

// policyA is the policy of standard endorsement keys.
var policyA = []byte("\x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24\xfd\x52\xd7\x6e\x06\x52\x0b\x64\xf2\xa1\xda\x1b\x33\x14\x69\xaa")

func endorsement(k *rsa.PrivateKey) []byte { return public(k, "\x00\x03\x00\xb2", policyA) }

func storage(k *rsa.PrivateKey) []byte { return public(k, "\x00\x03\x04\x72", nil) }

func public(k *rsa.PrivateKey, attributes string, policy []byte) []byte {
	b := append([]byte("\x00\x01\x00\x0b"+attributes), sized(policy)...)
	b = append(b, "\x00\x06\x00\x80\x00\x43\x00\x10\x08\x00\x00\x00\x00\x00"...)
	return sized(append(b, sized(k.N.Bytes())...))
}

func TestParseTPMKey(t *testing.T) {
	good := endorsement(tpmPair().ek)
	k, err := cred.ParseEndorsementKey(good)
	if err != nil || !bytes.Equal(k.Bytes(), good) || !strings.HasPrefix(k.String(), "AToAAQALAAMAsgAg") {
		t.Fatal(k, err)
	}
	again := must(cred.ParseEndorsementKeyText(k.String()))
	srk := must(cred.ParseStorageRootKeyText(base64.StdEncoding.EncodeToString(storage(tpmPair().srk))))
	if !k.Equal(again) || k.Equal(srk) || k.Equal(nil) || (*cred.TPMKey)(nil).Equal(k) {
		t.Error("keys compare wrongly")
	}
	swap := func(at int, s string) []byte {
		b := bytes.Clone(good)
		copy(b[at:], s)
		return b
	}
	for name, b := range map[string][]byte{
		"empty":                nil,
		"one byte":             {1},
		"size only":            {0, 0},
		"size too great":       swap(0, "\x01\x3b"),
		"something behind":     append(bytes.Clone(good), 0),
		"huge":                 make([]byte, 1<<20),
		"elliptic":             swap(2, "\x00\x23"),
		"SHA-1 name":           swap(4, "\x00\x04"),
		"signs":                swap(6, "\x00\x07"),
		"not restricted":       swap(6, "\x00\x02"),
		"policy cut off":       swap(10, "\xff\xff"),
		"AES-256":              swap(46, "\x01\x00"),
		"no symmetric":         swap(44, "\x00\x10"),
		"with scheme":          swap(50, "\x00\x14"),
		"1024 bits":            swap(52, "\x04\x00"),
		"even exponent":        swap(54, "\x00\x00\x00\x02"),
		"huge exponent":        swap(54, "\x80\x00\x00\x01"),
		"modulus of 255 bytes": swap(58, "\x00\xff"),
		"modulus with zero":    swap(60, "\x00"),
		"even modulus":         swap(len(good)-1, "\x00"),
	} {
		k, err := cred.ParseEndorsementKey(b)
		want := cred.ProblemMalformed
		if len(b) == 0 {
			want = cred.ProblemMissing
		}
		if k != nil || cred.ProblemOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(name+":", err)
	}
	for _, text := range []string{"", "!", "AToA\n", strings.Repeat("A", 4000), k.String()[:400], k.String() + "AAAA"} {
		if _, err := cred.ParseStorageRootKeyText(text); cred.ProblemOf(err) == "" {
			t.Errorf("%.20q passes", text)
		}
	}
}

// kdf is written down anew here, to see slips in the code it checks.
func kdf(seed []byte, label string, context []byte, n int) []byte {
	h := hmac.New(sha256.New, seed)
	h.Write([]byte("\x00\x00\x00\x01" + label + "\x00" + string(context)))
	h.Write([]byte{0, 0, byte(n * 8 >> 8), byte(n * 8)})
	return h.Sum(nil)[:n]
}

func cfb(key, text []byte) []byte {
	block := must(aes.NewCipher(key))
	out := make([]byte, len(text))
	cipher.NewCFBDecrypter(block, make([]byte, 16)).XORKeyStream(out, text) //lint:ignore SA1019 the mode of TPMs
	return out
}

// unprotect takes the integrity off and decrypts what stands behind it.
func unprotect(t *testing.T, seed, name, b []byte) []byte {
	t.Helper()
	h := hmac.New(sha256.New, kdf(seed, "INTEGRITY", nil, 32))
	h.Write(b[34:])
	h.Write(name)
	if string(b[:2]) != "\x00\x20" || !hmac.Equal(h.Sum(nil), b[2:34]) {
		t.Fatal("integrity")
	}
	return cfb(kdf(seed, "STORAGE", name, 16), b[34:])
}

func nameOf(public []byte) []byte {
	sum := sha256.Sum256(public)
	return append([]byte{0, 0x0b}, sum[:]...)
}

func TestActivation(t *testing.T) {
	pair := tpmPair()
	ek := must(cred.ParseEndorsementKey(endorsement(pair.ek)))
	srk := must(cred.ParseStorageRootKey(storage(pair.srk)))
	key, uri := cred.NewActivationKey(), "hub/devices/d1"
	blob, err := cred.Activation(ek, srk, key, uri)
	if err != nil || len(blob) != 734+len(key)+len(uri) {
		t.Fatal(len(blob), err)
	}
	var parts [][]byte
	for rest := blob; len(rest) > 0; {
		n := 2 + int(binary.BigEndian.Uint16(rest))
		parts, rest = append(parts, rest[2:n]), rest[n:]
	}
	if len(parts) != 6 {
		t.Fatal(len(parts))
	}
	seed := must(rsa.DecryptOAEP(sha256.New(), nil, pair.ek, parts[1], []byte("IDENTITY\x00")))
	identity := unprotect(t, seed, nameOf(srk.Bytes()[2:]), parts[0])
	if len(seed) != 32 || len(identity) != 18 || identity[1] != 16 {
		t.Fatal(len(seed), len(identity))
	}
	wrap, object := identity[2:], nameOf(parts[4])
	seed = must(rsa.DecryptOAEP(sha256.New(), nil, pair.srk, parts[3], []byte("DUPLICATE\x00")))
	inner := cfb(wrap, unprotect(t, seed, object, parts[2]))
	sensitive := inner[34:]
	if sum := sha256.Sum256(append(bytes.Clone(sensitive), object...)); !bytes.Equal(inner[2:34], sum[:]) {
		t.Error("inner integrity")
	}
	want := append([]byte("\x00\x48\x00\x08\x00\x00\x00\x20"), sensitive[8:40]...)
	if want = append(append(want, 0, 32), key...); !bytes.Equal(sensitive, want) {
		t.Errorf("sensitive % x", sensitive)
	}
	unique := sha256.Sum256(append(bytes.Clone(sensitive[8:40]), key...))
	if want := "\x00\x08\x00\x0b\x00\x04\x04\x40\x00\x00\x00\x05\x00\x0b\x00\x20" + string(unique[:]); string(parts[4]) != want {
		t.Errorf("public % x", parts[4])
	}
	if got := string(cfb(wrap, parts[5])); got != uri {
		t.Errorf("text %q", got)
	}
}

func TestActivationRefuses(t *testing.T) {
	ek := must(cred.ParseEndorsementKey(endorsement(tpmPair().ek)))
	for name, c := range map[string]struct {
		ek, srk *cred.TPMKey
		key     int
		uri     string
		want    cred.Problem
	}{
		"no endorsement key": {nil, ek, 32, "u", cred.ProblemMissing},
		"no storage key":     {ek, nil, 32, "u", cred.ProblemMissing},
		"no key":             {ek, ek, 0, "u", cred.ProblemKey},
		"long key":           {ek, ek, 65, "u", cred.ProblemKey},
		"no URI":             {ek, ek, 32, "", cred.ProblemMissing},
		"long URI":           {ek, ek, 32, strings.Repeat("u", 1025), cred.ProblemMalformed},
	} {
		if b, err := cred.Activation(c.ek, c.srk, make([]byte, c.key), c.uri); b != nil || cred.ProblemOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, size := range []int{1, 32, 64} {
		blob, err := cred.Activation(ek, ek, make([]byte, size), strings.Repeat("u", cred.MaxActivationURI))
		if all, _ := cred.Segments(blob); err != nil || len(all) != 2 || len(blob) != 938 {
			t.Error(len(blob), len(all), err)
		}
	}
}

func FuzzParseTPMKey(f *testing.F) {
	f.Add(endorsement(tpmPair().ek))
	f.Add(storage(tpmPair().srk))
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := cred.ParseEndorsementKey(b)
		if err != nil {
			if k != nil || cred.ProblemOf(err) == "" {
				t.Fatal(k, err)
			}
			return
		}
		if !bytes.Equal(k.Bytes(), b) {
			t.Fatal("another key")
		}
		if blob, err := cred.Activation(k, k, make([]byte, 32), "u"); err == nil && len(blob) < 700 || err != nil && cred.ProblemOf(err) == "" {
			t.Fatal(len(blob), err)
		}
	})
}
