package tpm_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/tcp"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/test/tpm"
)

// device is what a provisioning client does with its TPM.
type device struct {
	tpm     transport.TPM
	ek, srk tpm2.AuthHandle
	ekPub   []byte // TPM2B_PUBLIC
	srkPub  []byte
}

func start(t *testing.T) (*tpm.Server, *tcp.TPM) {
	t.Helper()
	s, err := tpm.Listen("127.0.0.1:0", "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := tcp.Open(tcp.Config{CommandAddress: s.Addr(), PlatformAddress: s.PlatformAddr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.PowerOn(); err != nil {
		t.Fatal(err)
	}
	if _, err := (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(c); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func newDevice(t *testing.T, c transport.TPM) *device {
	t.Helper()
	d := &device{tpm: c}
	d.ek, d.ekPub = d.primary(t, tpm2.TPMRHEndorsement, tpm2.RSAEKTemplate)
	d.srk, d.srkPub = d.primary(t, tpm2.TPMRHOwner, tpm2.RSASRKTemplate)
	return d
}

func (d *device) primary(t *testing.T, hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic) (tpm2.AuthHandle, []byte) {
	t.Helper()
	r, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)}, InPublic: tpm2.New2B(template)}.Execute(d.tpm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tpm2.FlushContext{FlushHandle: r.ObjectHandle}.Execute(d.tpm) })
	return tpm2.AuthHandle{Handle: r.ObjectHandle, Name: r.Name, Auth: tpm2.PasswordAuth(nil)}, tpm2.Marshal(r.OutPublic)
}

// unwrap does ActivateCredential and decrypts the text at the end of the blob; it returns the six parts, too.
func (d *device) unwrap(t *testing.T, blob []byte) (wrap []byte, parts [][]byte, err error) {
	t.Helper()
	for rest := blob; len(rest) > 0; {
		n := 2 + int(binary.BigEndian.Uint16(rest))
		parts, rest = append(parts, rest[:n]), rest[n:]
	}
	if len(parts) != 6 {
		t.Fatalf("%d parts", len(parts))
	}
	ek := d.ek
	ek.Auth = tpm2.Policy(tpm2.TPMAlgSHA256, 16, func(c transport.TPM, session tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicySecret{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)}, PolicySession: session, NonceTPM: nonce}.Execute(c)
		return err
	})
	r, err := tpm2.ActivateCredential{ActivateHandle: d.srk, KeyHandle: ek,
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: parts[0][2:]}, Secret: tpm2.TPM2BEncryptedSecret{Buffer: parts[1][2:]}}.Execute(d.tpm)
	if err != nil {
		return nil, parts, err
	}
	return r.CertInfo.Buffer, parts, nil
}

// load does Import and Load with what unwrap returned; sign frees the key, as the TPM has room for three.
func (d *device) load(t *testing.T, wrap []byte, parts [][]byte) tpm2.AuthHandle {
	t.Helper()
	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](parts[4])
	if err != nil {
		t.Fatal(err)
	}
	in, err := tpm2.Import{ParentHandle: d.srk, EncryptionKey: tpm2.TPM2BData{Buffer: wrap}, ObjectPublic: *public,
		Duplicate: tpm2.TPM2BPrivate{Buffer: parts[2][2:]}, InSymSeed: tpm2.TPM2BEncryptedSecret{Buffer: parts[3][2:]},
		Symmetric: tpm2.TPMTSymDef{Algorithm: tpm2.TPMAlgAES,
			KeyBits: tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
			Mode:    tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB)}}.Execute(d.tpm)
	if err != nil {
		t.Fatal("Import:", err)
	}
	k, err := tpm2.Load{ParentHandle: d.srk, InPrivate: in.OutPrivate, InPublic: *public}.Execute(d.tpm)
	if err != nil {
		t.Fatal("Load:", err)
	}
	return tpm2.AuthHandle{Handle: k.ObjectHandle, Name: k.Name, Auth: tpm2.PasswordAuth(nil)}
}

func (d *device) sign(t *testing.T, key tpm2.AuthHandle, text []byte) []byte {
	t.Helper()
	defer tpm2.FlushContext{FlushHandle: key.Handle}.Execute(d.tpm)
	r, err := tpm2.Hmac{Handle: key, Buffer: tpm2.TPM2BMaxBuffer{Buffer: text}, HashAlg: tpm2.TPMAlgSHA256}.Execute(d.tpm)
	if err != nil {
		t.Fatal("HMAC:", err)
	}
	return r.OutHMAC.Buffer
}

func (d *device) keys(t *testing.T) (ek, srk *cred.TPMKey) {
	t.Helper()
	ek, err := cred.ParseEndorsementKey(d.ekPub)
	if err != nil {
		t.Fatal(err)
	}
	if srk, err = cred.ParseStorageRootKey(d.srkPub); err != nil {
		t.Fatal(err)
	}
	return ek, srk
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}

func TestActivation(t *testing.T) {
	_, c := start(t)
	d := newDevice(t, c)
	ek, srk := d.keys(t)
	for _, size := range []int{1, 16, 31, 32, 33, 64} {
		key := make([]byte, size)
		rand.Read(key)
		blob, err := cred.Activation(ek, srk, key, "hub.example/devices/d1")
		if err != nil {
			t.Fatal(err)
		}
		t.Run("DPS-117 ActivateCredential, Import, Load, HMAC", func(t *testing.T) {
			wrap, parts, err := d.unwrap(t, blob)
			if err != nil || len(wrap) != 16 {
				t.Fatalf("ActivateCredential: %d bytes, %v", len(wrap), err)
			}
			text := []byte("0ne00000000/registrations/d1\n1800000000")
			if got := d.sign(t, d.load(t, wrap, parts), text); !bytes.Equal(got, mac(key, text)) {
				t.Errorf("the TPM's HMAC differs from ours for a key of %d bytes", size)
			}
			if got := d.decrypt(t, wrap, parts[5][2:]); got != "hub.example/devices/d1" {
				t.Errorf("text %q", got)
			}
		})
	}
}

// decrypt is the last step of Java's client: the key of the blob's text is used within the TPM.
func (d *device) decrypt(t *testing.T, key, text []byte) string {
	t.Helper()
	sym := tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgAES,
		KeyBits: tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
		Mode:    tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB)}
	template := tpm2.TPMTPublic{Type: tpm2.TPMAlgSymCipher, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{UserWithAuth: true, Decrypt: true, NoDA: true},
		Parameters:       tpm2.NewTPMUPublicParms(tpm2.TPMAlgSymCipher, &tpm2.TPMSSymCipherParms{Sym: sym})}
	r, err := tpm2.CreateLoaded{ParentHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: key})}},
		InPublic:    tpm2.New2BTemplate(&template)}.Execute(d.tpm)
	if err != nil {
		t.Fatal("CreateLoaded:", err)
	}
	defer tpm2.FlushContext{FlushHandle: r.ObjectHandle}.Execute(d.tpm)
	out, err := tpm2.EncryptDecrypt2{KeyHandle: tpm2.AuthHandle{Handle: r.ObjectHandle, Name: r.Name, Auth: tpm2.PasswordAuth(nil)},
		Message: tpm2.TPM2BMaxBuffer{Buffer: text}, Decrypt: true, Mode: tpm2.TPMAlgCFB, IV: tpm2.TPM2BIV{Buffer: make([]byte, 16)}}.Execute(d.tpm)
	if err != nil {
		t.Fatal("EncryptDecrypt2:", err)
	}
	return string(out.OutData.Buffer)
}

func TestActivationOfOthers(t *testing.T) {
	_, c := start(t)
	d := newDevice(t, c)
	ek, srk := d.keys(t)
	_, otherPub := d.primary(t, tpm2.TPMRHPlatform, tpm2.RSASRKTemplate)
	stranger, err := cred.ParseStorageRootKey(otherPub)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]*cred.TPMKey{"endorsement key": {stranger, srk}, "storage root key": {ek, stranger}} {
		blob, err := cred.Activation(pair[0], pair[1], cred.NewActivationKey(), "u")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.unwrap(t, blob); err == nil {
			t.Errorf("another %s: the credential was released", name)
		}
	}
}
