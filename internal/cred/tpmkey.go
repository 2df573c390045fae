package cred

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math/big"
	"strings"
)

// maxTPMPublic bounds a TPM2B_PUBLIC: an RSA-4096 key with a SHA-512 policy takes 606 bytes.
const maxTPMPublic = 1 << 10

// Numbers of TPM 2.0 part 2: algorithms (table 9) and attributes of an object (8.3).
const (
	tpmRSA    = 0x0001
	tpmAES    = 0x0006
	tpmHMAC   = 0x0005
	tpmKeyed  = 0x0008
	tpmSHA256 = 0x000b
	tpmNull   = 0x0010
	tpmCFB    = 0x0043

	tpmUserWithAuth = 1 << 6
	tpmNoDA         = 1 << 10
	tpmRestricted   = 1 << 16
	tpmDecrypt      = 1 << 17
	tpmSign         = 1 << 18
)

// TPMKey is the public area of an RSA storage key of a TPM 2.0: an endorsement key or a storage root key (dps 2.9.3).
// It is made by ParseEndorsementKey and ParseStorageRootKey, then read only.
type TPMKey struct {
	public rsa.PublicKey
	name   []byte // algorithm and digest of the public area, 34 bytes
	raw    []byte // TPM2B_PUBLIC as it came
}

// Bytes returns the TPM2B_PUBLIC the key was parsed from.
func (k *TPMKey) Bytes() []byte { return bytes.Clone(k.raw) }

// String returns base64 of Bytes, the spelling of enrolments (dps 2.9.3).
func (k *TPMKey) String() string { return base64.StdEncoding.EncodeToString(k.raw) }

// Equal reports whether both are the same public area; nil equals nothing.
func (k *TPMKey) Equal(other *TPMKey) bool {
	return k != nil && other != nil && bytes.Equal(k.raw, other.raw)
}

// ParseEndorsementKey reads a binary TPM2B_PUBLIC: RSA with 2048 to 4096 bits, name algorithm SHA-256, restricted to
// decryption, AES-128-CFB for what it protects, no scheme (dps 2.9.3; TPM 2.0 part 2, 12.2.5). Errors are ProblemMissing
// for no bytes and ProblemMalformed otherwise.
func ParseEndorsementKey(b []byte) (*TPMKey, error) { return parseTPMKey("endorsement key", b) }

// ParseStorageRootKey is ParseEndorsementKey for the storage root key; the demands on both are the same.
func ParseStorageRootKey(b []byte) (*TPMKey, error) { return parseTPMKey("storage root key", b) }

// ParseEndorsementKeyText is ParseEndorsementKey for standard base64, as enrolments and register requests hold it.
func ParseEndorsementKeyText(text string) (*TPMKey, error) {
	return parseTPMKeyText("endorsement key", text)
}

// ParseStorageRootKeyText is ParseStorageRootKey for standard base64.
func ParseStorageRootKeyText(text string) (*TPMKey, error) {
	return parseTPMKeyText("storage root key", text)
}

func parseTPMKeyText(what, text string) (*TPMKey, error) {
	if limit := base64.StdEncoding.EncodedLen(maxTPMPublic); len(text) > limit {
		return nil, refuse(ProblemMalformed, "the %s has %d characters; at most %d are allowed", what, len(text), limit)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, refuse(ProblemMalformed, "the %s is not base64 (standard alphabet, with padding)", what)
	}
	return parseTPMKey(what, b)
}

func parseTPMKey(what string, b []byte) (*TPMKey, error) {
	if len(b) == 0 {
		return nil, refuse(ProblemMissing, "the %s is empty", what)
	}
	if len(b) > maxTPMPublic {
		return nil, refuse(ProblemMalformed, "the %s has %d bytes; at most %d are allowed", what, len(b), maxTPMPublic)
	}
	r := tpmReader{b: b}
	area := r.sized()
	if r.short || len(r.b) > 0 {
		return nil, refuse(ProblemMalformed, "the %s is no TPM2B_PUBLIC: its size does not fit its %d bytes", what, len(b))
	}
	p := tpmReader{b: area}
	k := &TPMKey{raw: bytes.Clone(b)}
	if err := k.read(what, &p); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(area)
	k.name = append([]byte{tpmSHA256 >> 8, tpmSHA256 & 0xff}, sum[:]...)
	return k, nil
}

// read takes the fields of a TPMT_PUBLIC (TPM 2.0 part 2, 12.2.4) in their order.
func (k *TPMKey) read(what string, p *tpmReader) error {
	bad := func(format string, args ...any) error {
		if p.short { // what was compared are zeros that were never there
			return refuse(ProblemMalformed, "the %s ends too early", what)
		}
		return refuse(ProblemMalformed, "the %s "+format, append([]any{what}, args...)...)
	}
	if v := p.u16(); v != tpmRSA {
		return bad("is of type 0x%04x; only RSA (0x0001) is supported", v)
	}
	if v := p.u16(); v != tpmSHA256 {
		return bad("has the name algorithm 0x%04x; only SHA-256 (0x000b) is supported", v)
	}
	if v := p.u32(); v&(tpmRestricted|tpmDecrypt|tpmSign) != tpmRestricted|tpmDecrypt {
		return bad("has the attributes 0x%08x, which are not those of a storage key", v)
	}
	if n := len(p.sized()); n != 0 && n != sha256.Size {
		return bad("has a policy of %d bytes; 0 or %d are allowed", n, sha256.Size)
	}
	if alg, bits, mode := p.u16(), p.u16(), p.u16(); alg != tpmAES || bits != 128 || mode != tpmCFB {
		return bad("protects with algorithm 0x%04x, %d bits, mode 0x%04x; only AES-128-CFB is supported", alg, bits, mode)
	}
	if v := p.u16(); v != tpmNull {
		return bad("has the scheme 0x%04x; a storage key has none (0x0010)", v)
	}
	bits, exponent, modulus := int(p.u16()), p.u32(), p.sized()
	if p.short || len(p.b) > 0 {
		return bad("is followed by %d bytes within its own size", len(p.b))
	}
	return k.setRSA(what, bits, exponent, modulus)
}

func (k *TPMKey) setRSA(what string, bits int, exponent uint32, modulus []byte) error {
	if bits != 2048 && bits != 3072 && bits != 4096 {
		return refuse(ProblemMalformed, "the %s has %d bits; 2048, 3072 and 4096 are allowed", what, bits)
	}
	if exponent == 0 {
		exponent = 65537 // part 2, 12.2.3.5
	}
	if exponent < 3 || exponent&1 == 0 || exponent > 1<<31-1 {
		return refuse(ProblemMalformed, "the %s has the exponent %d; odd ones from 3 to 2147483647 are allowed", what, exponent)
	}
	n := new(big.Int).SetBytes(modulus)
	if len(modulus) != bits/8 || n.BitLen() != bits || n.Bit(0) == 0 {
		return refuse(ProblemMalformed, "the modulus of the %s is no odd number of %d bits", what, bits)
	}
	k.public = rsa.PublicKey{N: n, E: int(exponent)}
	return nil
}

// tpmReader cuts big-endian fields off b; once b is too short it returns zeros.
type tpmReader struct {
	b     []byte
	short bool
}

func (r *tpmReader) take(n int) []byte {
	if len(r.b) < n {
		r.b, r.short = nil, true
		return nil
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

func (r *tpmReader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *tpmReader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// sized takes a field that its length of two bytes precedes.
func (r *tpmReader) sized() []byte { return r.take(int(r.u16())) }

// appendSized appends the parts behind their common length.
func appendSized(b []byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
