package dpsapi_test

import (
	"bytes"
	"crypto/aes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"testing"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
)

// softTPM does in software what a TPM does with an activation blob:
// ActivateCredential, Import, Load (TPM 2.0 part 1, 23 and 24).
type softTPM struct {
	ekKey, srkKey *rsa.PrivateKey
	ek, srk       []byte // TPM2B_PUBLIC
	name          []byte // of the storage root key
}

// rsaKeys are made once, as that takes long.
var rsaKeys = sync.OnceValues(func() (all [4]*rsa.PrivateKey, err error) {
	for n := range all {
		if all[n], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return all, err
		}
	}
	return all, nil
})

// newTPM returns one of two TPMs.
func newTPM(t testing.TB, n int) *softTPM {
	t.Helper()
	keys, err := rsaKeys()
	if err != nil {
		t.Fatal(err)
	}
	v := &softTPM{ekKey: keys[2*n], srkKey: keys[2*n+1]}
	v.ek, _ = publicArea(&v.ekKey.PublicKey, 0x000300b2, make([]byte, 32))
	v.srk, v.name = publicArea(&v.srkKey.PublicKey, 0x00030472, nil)
	return v
}

func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func publicArea(k *rsa.PublicKey, attributes uint32, policy []byte) (public, name []byte) {
	b := []byte{0, 1, 0, 0x0b}
	b = binary.BigEndian.AppendUint32(b, attributes)
	b = append(b, sized(policy)...)
	b = append(b, 0, 6, 0, 128, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0)
	b = append(b, sized(k.N.Bytes())...)
	sum := sha256.Sum256(b)
	return sized(b), append([]byte{0, 0x0b}, sum[:]...)
}

// cutter takes sized fields off a blob.
type cutter struct {
	t testing.TB
	b []byte
}

func (c *cutter) next() []byte {
	c.t.Helper()
	if len(c.b) < 2 || len(c.b)-2 < int(binary.BigEndian.Uint16(c.b)) {
		c.t.Fatalf("the blob is cut off: %x", c.b)
	}
	n := int(binary.BigEndian.Uint16(c.b))
	f := c.b[2 : 2+n]
	c.b = c.b[2+n:]
	return f
}

func kdf(seed []byte, label string, context []byte, bits uint32) []byte {
	h := hmac.New(sha256.New, seed)
	h.Write([]byte{0, 0, 0, 1})
	h.Write([]byte(label + "\x00"))
	h.Write(context)
	h.Write(binary.BigEndian.AppendUint32(nil, bits))
	return h.Sum(nil)[:bits/8]
}

func decryptCFB(t testing.TB, key, text []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	feedback, plain := make([]byte, 16), make([]byte, 0, len(text))
	for len(text) > 0 {
		block.Encrypt(feedback, feedback)
		n := min(16, len(text))
		for i := range n {
			plain = append(plain, text[i]^feedback[i])
		}
		copy(feedback, text[:n])
		text = text[n:]
	}
	return plain
}

// open takes apart what protect of the service made: integrity, then text.
func (v *softTPM) open(t testing.TB, key *rsa.PrivateKey, label string, secret, wrapped, name []byte) []byte {
	t.Helper()
	seed, err := rsa.DecryptOAEP(sha256.New(), nil, key, secret, []byte(label+"\x00"))
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{t, wrapped}
	integrity := c.next()
	h := hmac.New(sha256.New, kdf(seed, "INTEGRITY", nil, 256))
	h.Write(c.b)
	h.Write(name)
	if !hmac.Equal(h.Sum(nil), integrity) {
		t.Fatal("the integrity of the blob is broken")
	}
	return decryptCFB(t, kdf(seed, "STORAGE", name, 128), c.b)
}

// activate returns the HMAC key inside a blob in base64.
func (v *softTPM) activate(t testing.TB, blob []byte) string {
	t.Helper()
	c := &cutter{t, blob}
	identity, secret, private, seed, public, uri := c.next(), c.next(), c.next(), c.next(), c.next(), c.next()
	wrap := (&cutter{t, v.open(t, v.ekKey, "IDENTITY", secret, identity, v.name)}).next()
	sum := sha256.Sum256(public)
	name := append([]byte{0, 0x0b}, sum[:]...)
	inner := &cutter{t, decryptCFB(t, wrap, v.open(t, v.srkKey, "DUPLICATE", seed, private, name))}
	digest := inner.next()
	if want := sha256.Sum256(append(bytes.Clone(inner.b), name...)); !bytes.Equal(digest, want[:]) {
		t.Fatal("the inner wrap is broken")
	}
	s := &cutter{t, inner.next()[2:]}
	s.next() // authValue
	salt, key := s.next(), s.next()
	if unique := sha256.Sum256(append(bytes.Clone(salt), key...)); !bytes.HasSuffix(public, unique[:]) {
		t.Fatal("private and public part do not belong together")
	}
	if len(decryptCFB(t, wrap, uri)) == 0 || len(c.b) > 0 {
		t.Fatal("the blob has no URI, or something behind it")
	}
	return base64.StdEncoding.EncodeToString(key)
}

func (v *softTPM) activateText(t testing.TB, text string) string {
	t.Helper()
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil || text == "" {
		t.Fatalf("%q is no blob: %v", text, err)
	}
	return v.activate(t, blob)
}

// body is the register body of the TPM.
func (v *softTPM) body(id string) string {
	return `{"registrationId":"` + id + `","tpm":{"endorsementKey":"` + base64.StdEncoding.EncodeToString(v.ek) +
		`","storageRootKey":"` + base64.StdEncoding.EncodeToString(v.srk) + `"}}`
}

// exchange is a client's side of SASL TPM; it records the challenges.
type exchange struct {
	t          testing.TB
	v          *softTPM
	d          *device
	split      int // bytes of a segment, 0: the initial response is one
	rest       [][]byte
	challenges [][]byte
	blob       []byte
}

// options begin the exchange; C splits its first text, each part behind a
// control byte.
func (x *exchange) options() amqp.ClientOptions {
	first := cred.AppendTPMInit(nil, x.d.scope, x.d.id, x.v.ek)
	response := append([]byte{0}, first...)
	if x.split > 0 {
		for n := 0; len(first) > 0; n++ {
			size := min(x.split, len(first))
			control := byte(0x80 | n)
			if size == len(first) {
				control |= 0x40
			}
			x.rest = append(x.rest, append([]byte{control}, first[:size]...))
			first = first[size:]
		}
		response, x.rest = x.rest[0], x.rest[1:]
	}
	return amqp.ClientOptions{Mechanism: "TPM", Response: response, SASLHostname: x.d.resource(), Step: x.step}
}

func (x *exchange) step(challenge []byte) ([]byte, error) {
	x.challenges = append(x.challenges, challenge)
	switch {
	case len(x.rest) > 0:
		response := x.rest[0]
		x.rest = x.rest[1:]
		return response, nil
	case len(challenge) == 1:
		return append([]byte{0}, x.v.srk...), nil
	}
	x.blob = append(x.blob, challenge[1:]...)
	if challenge[0]&0x40 == 0 {
		return []byte{0}, nil
	}
	return append([]byte{0}, x.d.withKey(x.v.activate(x.t, x.blob)).token()...), nil
}
