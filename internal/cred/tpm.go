package cred

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

// MaxActivationURI is the longest text in bytes that Activation puts behind the key (dps 2.9.3, part 6 of the blob).
const MaxActivationURI = 1024

// NewActivationKey returns 32 random bytes, a key for Activation; base64 of it is what VerifyProvisioning takes.
func NewActivationKey() []byte {
	k := make([]byte, sha256.Size)
	rand.Read(k) // never fails since Go 1.24
	return k
}

// Activation returns the blob by which the TPM that holds both ek and srk, and no other, comes to hold the HMAC key: made for
// ActivateCredential, Import and Load (dps 2.9.3, "activation blob"). The key has 1 to 64 bytes; uri, 1 to MaxActivationURI
// bytes, is what clients decrypt and throw away. With RSA-2048 keys the blob has 734 + len(key) + len(uri) bytes, but a uri that
// would need a third segment, which Java's client does not take, is cut. Errors are ProblemKey for the key, ProblemMissing for
// an absent argument, ProblemMalformed for a uri beyond that and for a modulus that RSA cannot use.
func Activation(ek, srk *TPMKey, key []byte, uri string) ([]byte, error) {
	if ek == nil || srk == nil || uri == "" {
		return nil, refuse(ProblemMissing, "an activation needs an endorsement key, a storage root key and a URI")
	}
	if len(uri) > MaxActivationURI {
		return nil, refuse(ProblemMalformed, "the URI of an activation has %d bytes; at most %d are allowed", len(uri), MaxActivationURI)
	}
	// The key of an HMAC object is at most one block of its hash long (TPM 2.0 part 1, 27.2).
	if len(key) == 0 || len(key) > sha256.BlockSize {
		return nil, refuse(ProblemKey, "the key of an activation has %d bytes; 1 to %d are allowed", len(key), sha256.BlockSize)
	}
	wrap := make([]byte, aes.BlockSize)
	rand.Read(wrap)
	b, err := appendCredential(nil, ek, srk, wrap)
	if err != nil {
		return nil, err
	}
	object := newKeyedObject(key)
	if b, err = object.appendDuplicate(b, srk, wrap); err != nil {
		return nil, err
	}
	b = appendSized(b, object.public)
	if room := twoSegments - len(b) - 2; 0 < room && room < len(uri) {
		uri = uri[:room]
	}
	return appendSized(b, encryptCFB(wrap, []byte(uri))), nil
}

// appendCredential appends TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET: what TPM2_MakeCredential makes of credential for the
// object srk (TPM 2.0 part 1, 24).
func appendCredential(b []byte, ek, srk *TPMKey, credential []byte) ([]byte, error) {
	seed, secret, err := ek.newSeed("IDENTITY")
	if err != nil {
		return nil, err
	}
	identity, integrity := protect(seed, srk.name, appendSized(nil, credential))
	b = appendSized(b, appendSized(nil, integrity), identity)
	return appendSized(b, secret), nil
}

// keyedObject is an HMAC key as a TPM object.
type keyedObject struct {
	public    []byte // TPMT_PUBLIC
	sensitive []byte // TPMT_SENSITIVE
	name      []byte
}

func newKeyedObject(key []byte) *keyedObject {
	seed := make([]byte, sha256.Size)
	rand.Read(seed)
	o := new(keyedObject)
	o.sensitive = binary.BigEndian.AppendUint16(nil, tpmKeyed)
	for _, field := range [][]byte{nil, seed, key} { // authValue, seedValue, the key
		o.sensitive = appendSized(o.sensitive, field)
	}
	unique := sha256.Sum256(append(seed[:len(seed):len(seed)], key...))
	o.public = binary.BigEndian.AppendUint16(o.public, tpmKeyed)
	o.public = binary.BigEndian.AppendUint16(o.public, tpmSHA256)
	o.public = binary.BigEndian.AppendUint32(o.public, tpmSign|tpmUserWithAuth|tpmNoDA)
	o.public = appendSized(o.public) // no policy
	o.public = binary.BigEndian.AppendUint16(o.public, tpmHMAC)
	o.public = binary.BigEndian.AppendUint16(o.public, tpmSHA256)
	o.public = appendSized(o.public, unique[:])
	sum := sha256.Sum256(o.public)
	o.name = append([]byte{tpmSHA256 >> 8, tpmSHA256 & 0xff}, sum[:]...)
	return o
}

// appendDuplicate appends TPM2B_PRIVATE and TPM2B_ENCRYPTED_SECRET: the object wrapped with the key wrap inside and for
// parent outside (TPM 2.0 part 1, 23.3).
func (o *keyedObject) appendDuplicate(b []byte, parent *TPMKey, wrap []byte) ([]byte, error) {
	seed, secret, err := parent.newSeed("DUPLICATE")
	if err != nil {
		return nil, err
	}
	sensitive := appendSized(nil, o.sensitive)
	sum := sha256.Sum256(append(sensitive[:len(sensitive):len(sensitive)], o.name...))
	inner := encryptCFB(wrap, append(appendSized(nil, sum[:]), sensitive...))
	outer, integrity := protect(seed, o.name, inner)
	b = appendSized(b, appendSized(nil, integrity), outer)
	return appendSized(b, secret), nil
}

// newSeed returns a random seed and its encryption to k (TPM 2.0 part 1, B.10.3 and B.10.4).
func (k *TPMKey) newSeed(label string) (seed, secret []byte, err error) {
	seed = make([]byte, sha256.Size)
	rand.Read(seed)
	secret, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, &k.public, seed, append([]byte(label), 0))
	if err != nil {
		return nil, nil, refuse(ProblemMalformed, "nothing can be encrypted to the TPM's key: %v", err)
	}
	return seed, secret, nil
}

// protect encrypts plain under keys derived from seed and binds it to an object's name (TPM 2.0 part 1, 24.4 and 23.3.2.3).
func protect(seed, name, plain []byte) (text, integrity []byte) {
	text = encryptCFB(deriveTPM(seed, "STORAGE", name, 128), plain)
	h := hmac.New(sha256.New, deriveTPM(seed, "INTEGRITY", nil, 256))
	h.Write(text)
	h.Write(name)
	return text, h.Sum(nil)
}

// deriveTPM is KDFa with SHA-256 for up to 256 bits (TPM 2.0 part 1, 11.4.10.2).
func deriveTPM(key []byte, label string, context []byte, bits uint32) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte{0, 0, 0, 1})
	h.Write(append([]byte(label), 0))
	h.Write(context)
	h.Write(binary.BigEndian.AppendUint32(nil, bits))
	return h.Sum(nil)[:bits/8]
}

// encryptCFB is AES in full-block cipher feedback mode from a zero vector, which is safe here as each key is used once; the
// key must have 16 bytes.
func encryptCFB(key, plain []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("cred: an AES key of a wrong length: " + err.Error())
	}
	text, feedback := make([]byte, len(plain)), make([]byte, aes.BlockSize)
	for at := 0; at < len(plain); at += aes.BlockSize {
		block.Encrypt(feedback, feedback)
		n := subtle.XORBytes(text[at:], plain[at:], feedback)
		copy(feedback, text[at:at+n])
	}
	return text
}
