package dps_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

// requestFor returns a signing request of the name in DER.
func requestFor(t testing.TB, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name, Organization: []string{"dropped"}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestIssuance(t *testing.T) {
	k := start(t)
	ctx := context.Background()
	ca, err := k.PutCertificateAuthority(ctx, "ca1", &dps.CertificateAuthority{Name: "ca1", Type: dps.LocalAuthority, KeyType: "ec256", Subject: "CN=plant", Validity: 30}, dps.Match{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.PutCredentialPolicy(ctx, "p1", &dps.CredentialPolicy{Name: "p1", Authority: "ca1", Validity: 7}, dps.Match{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(wire(t, ca), "PRIVATE") {
		t.Error("the key of the authority shows")
	}
	body := func(name, member string) string {
		text := base64.StdEncoding.EncodeToString(requestFor(t, name))
		return `{"` + member + `":"` + text + `"}`
	}
	t.Run("DPS-135 connect to the hub with the issued certificate", func(t *testing.T) {
		e := k.enroll("i1", func(e *dps.Enrollment) { e.CredentialPolicy = "p1" })
		st := assigned(t, k.register(k.by(e, "i1"), body("i1", "csr")))
		if len(st.IssuedChain) != 2 || st.IssuedPEM != "" {
			t.Fatalf("%s", wire(t, st))
		}
		var chain []*x509.Certificate
		for _, text := range st.IssuedChain {
			cert, err := cred.ParseCertificate([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			chain = append(chain, cert)
		}
		if err := chain[0].CheckSignatureFrom(chain[1]); err != nil || chain[0].Subject.String() != "CN=i1" {
			t.Errorf("%s, %v", chain[0].Subject, err)
		}
		if life := chain[0].NotAfter.Sub(k.now()).Hours() / 24; life < 6.9 || life > 7.1 {
			t.Errorf("valid for %v days", life)
		}
		if _, err := k.hubs[st.AssignedHub].Authenticate(ctx, cred.Claim{Certs: chain[:1]}, nave.ID{Device: "i1"}); err != nil {
			t.Error(err)
		}
		if r, err := k.service.Lookup(ctx, k.by(e, "i1"), nil); err != nil || r.IssuedChain != nil {
			t.Errorf("DPS-131: %+v, %v", r, err)
		}
		d := stored[dps.DeviceRecord](k, dps.KindDeviceRecord, "i1")
		if len(d.Issued) != 1 || d.Issued[0].Status != "valid" || d.Issued[0].Serial == "" {
			t.Errorf("%+v", d.Issued)
		}
		t.Run("and attest by it later", func(t *testing.T) {
			k.signedGroup("issued", chain[1])
			if err := k.DeleteEnrollment(ctx, "i1", dps.Match{IfMatch: "*"}); err != nil {
				t.Fatal(err)
			}
			if st := assigned(t, k.register(certClaim("i1", chain[0]), "")); st.X509.Group != "issued" {
				t.Errorf("%s", wire(t, st))
			}
		})
	})
	t.Run("DPS-132 older preview: PEM and thumbprint", func(t *testing.T) {
		e := k.enroll("i2", func(e *dps.Enrollment) { e.Issuance = &dps.IssuancePolicy{Authority: "ca1"} })
		st := assigned(t, k.register(k.by(e, "i2"), body("i2", "clientCertificateCsr")))
		block, rest := pem.Decode([]byte(st.IssuedPEM))
		if block == nil || len(rest) == 0 || st.IssuedChain != nil {
			t.Fatalf("%s", wire(t, st))
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		short, _ := cred.Thumbprints(leaf)
		if i := k.device(st.AssignedHub, "i2"); i.Auth.Type != nave.AuthSelfSigned || i.Auth.PrimaryThumbprint != short {
			t.Errorf("%+v", i.Auth)
		}
	})
	t.Run("CSR without a policy", func(t *testing.T) {
		e := k.enroll("i3")
		failed(t, k.register(k.by(e, "i3"), body("i3", "csr")), 400004)
	})
	t.Run("DPS-134 CA deleted with force", func(t *testing.T) {
		e := k.enroll("i4", func(e *dps.Enrollment) { e.CredentialPolicy = "p1" })
		if err := k.DeleteCertificateAuthority(ctx, "ca1", dps.Match{}, true); err != nil {
			t.Fatal(err)
		}
		failed(t, k.register(k.by(e, "i4"), body("i4", "csr")), 404211)
	})
}
