package dps_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func parsed(t testing.TB, certPEM, _ []byte, err error) []*x509.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	certs, err := cred.ParseCertificates(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

func leafOf(t testing.TB, ca *cred.CA, id string) []*x509.Certificate {
	t.Helper()
	certPEM, key, err := ca.Client(id, time.Hour)
	return parsed(t, certPEM, key, err)
}

// upload stores a CA certificate.
func (k *rig) upload(name string, c *x509.Certificate, verified bool, revoked ...string) {
	k.row(dps.KindCertificate, name, "", "", &dps.Certificate{Name: name, PEM: pemOf(c), Verified: verified, Revoked: revoked})
}

func (k *rig) signedGroup(id string, ca *x509.Certificate, change ...func(*dps.Enrollment)) *dps.Enrollment {
	return k.enrolled(&dps.Enrollment{GroupID: id, Attestation: &dps.Attestation{Type: dps.AttestX509,
		X509: &dps.X509Attestation{Signing: &dps.CertificatePair{Primary: &dps.CertificateWithInfo{Certificate: pemOf(ca)}}}}}, change...)
}

func chainOf(t testing.TB) (root, middle *cred.CA) {
	t.Helper()
	root, err := cred.NewCAOf(cred.EC256, "root", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if middle, err = root.IntermediateOf(cred.EC256, "middle"); err != nil {
		t.Fatal(err)
	}
	return root, middle
}

// invalid checks that a certificate is refused as one.
func (k *rig) invalid(t *testing.T, c *dps.Claim) {
	t.Helper()
	_, err := k.service.Register(context.Background(), c, nil)
	if f := wants(t, err, fault.DPSIotHubUnauthorizedAccess); f.Text != "Invalid certificate." {
		t.Errorf("%q", f.Text)
	}
}

func TestCertificates(t *testing.T) {
	root, middle := chainOf(t)
	k := start(t)
	k.upload("root", root.Cert, true)
	t.Run("DPS-106 no enrollment", func(t *testing.T) { k.invalid(t, certClaim("x1", leafOf(t, middle, "x1")...)) })
	k.signedGroup("by-middle", middle.Cert)
	t.Run("DPS-100 leaf and intermediates", func(t *testing.T) {
		certs := leafOf(t, middle, "x1")
		st := assigned(t, k.register(certClaim("x1", certs...), ""))
		i := k.device(st.AssignedHub, "x1")
		short, _ := cred.Thumbprints(certs[0])
		if i.Auth.Type != nave.AuthSelfSigned || i.Auth.PrimaryThumbprint != short || st.X509 == nil || st.X509.Group != "by-middle" || st.X509.Certificate == nil || st.X509.Signing == nil {
			t.Errorf("%+v %s", i.Auth, wire(t, st))
		}
	})
	t.Run("DPS-101 leaf only: stored intermediates are used", func(t *testing.T) {
		assigned(t, k.register(certClaim("x2", leafOf(t, middle, "x2")[:1]...), ""))
	})
	t.Run("DPS-104 the nearer group decides", func(t *testing.T) {
		k.signedGroup("by-root", root.Cert)
		if st := assigned(t, k.register(certClaim("x3", leafOf(t, middle, "x3")...), "")); st.X509.Group != "by-middle" {
			t.Errorf("group %s", st.X509.Group)
		}
		if st := assigned(t, k.register(certClaim("x4", leafOf(t, root, "x4")...), "")); st.X509.Group != "by-root" {
			t.Errorf("group %s", st.X509.Group)
		}
	})
	t.Run("two groups with one certificate: the older decides", func(t *testing.T) {
		k.pass(time.Minute)
		k.signedGroup("aaa-younger", middle.Cert)
		if st := assigned(t, k.register(certClaim("x5", leafOf(t, middle, "x5")...), "")); st.X509.Group != "by-middle" {
			t.Errorf("group %s", st.X509.Group)
		}
	})
	t.Run("DPS-105 nearer group disabled", func(t *testing.T) {
		k := start(t)
		k.upload("root", root.Cert, true)
		k.signedGroup("near", middle.Cert, func(e *dps.Enrollment) { e.Provisioning = dps.ProvisioningDisabled })
		k.signedGroup("far", root.Cert)
		if op := k.register(certClaim("x6", leafOf(t, middle, "x6")...), ""); op.Status != dps.Disabled {
			t.Errorf("%s", wire(t, op))
		}
	})
	t.Run("risk 11: DPS-102 an uploaded root that is not verified is not trusted", func(t *testing.T) {
		other, between := chainOf(t)
		k.upload("other", other.Cert, false)
		k.signedGroup("other", other.Cert)
		k.signedGroup("between", between.Cert)
		k.invalid(t, certClaim("x7", leafOf(t, other, "x7")...))
		k.invalid(t, certClaim("x8", append(leafOf(t, between, "x8"), other.Cert)...))
		k.upload("other", other.Cert, true)
		assigned(t, k.register(certClaim("x8", leafOf(t, between, "x8")...), ""))
	})
}

func TestCertificatesByName(t *testing.T) {
	ctx := context.Background()
	root, middle := chainOf(t)
	k := start(t)
	k.upload("root", root.Cert, true)
	k.signedGroup("by-middle", middle.Cert)
	t.Run("DPS-103 group by caReferences", func(t *testing.T) {
		third, _ := chainOf(t)
		k.upload("third", third.Cert, false)
		k.enrolled(&dps.Enrollment{GroupID: "by-name", Attestation: &dps.Attestation{Type: dps.AttestX509, X509: &dps.X509Attestation{References: &dps.References{Primary: "third"}}}})
		certs := leafOf(t, third, "x9")
		k.invalid(t, certClaim("x9", certs...))
		k.upload("third", third.Cert, true)
		if st := assigned(t, k.register(certClaim("x9", certs...), "")); st.X509.Group != "by-name" {
			t.Errorf("%s", wire(t, st))
		}
	})
	t.Run("individual by caReferences", func(t *testing.T) {
		k.enrolled(&dps.Enrollment{RegistrationID: "x10", Attestation: &dps.Attestation{Type: dps.AttestX509, X509: &dps.X509Attestation{References: &dps.References{Primary: "root"}}}})
		assigned(t, k.register(certClaim("x10", leafOf(t, middle, "x10")[:1]...), ""))
		stranger, _ := chainOf(t)
		k.invalid(t, certClaim("x10", leafOf(t, stranger, "x10")...))
	})
	t.Run("DPS-095 DPS-096 DPS-097 individual certificates", func(t *testing.T) {
		one, oneKey, err := cred.SelfSigned("x11", time.Hour)
		first := parsed(t, one, oneKey, err)
		two, twoKey, err := cred.SelfSigned("x11", time.Hour)
		second := parsed(t, two, twoKey, err)
		k.enrolled(&dps.Enrollment{RegistrationID: "x11", Attestation: &dps.Attestation{Type: dps.AttestX509, X509: &dps.X509Attestation{Client: &dps.CertificatePair{
			Primary: &dps.CertificateWithInfo{Certificate: pemOf(first[0])}, Secondary: &dps.CertificateWithInfo{Certificate: pemOf(second[0])}}}}})
		for _, certs := range [][]*x509.Certificate{first, second} {
			st := assigned(t, k.register(certClaim("x11", certs...), ""))
			short, _ := cred.Thumbprints(certs[0])
			other, _ := cred.Thumbprints(second[0])
			if i := k.device(st.AssignedHub, "x11"); i.Auth.PrimaryThumbprint != short || i.Auth.SecondThumbprint != other {
				t.Errorf("%+v", i.Auth)
			}
		}
		k.invalid(t, certClaim("x11", leafOf(t, middle, "x11")...))
	})
	t.Run("DPS-098 DPS-099 name and dates", func(t *testing.T) {
		k.invalid(t, certClaim("x12", leafOf(t, middle, "x13")...))
		certPEM, key, err := middle.Client("x12", -time.Hour)
		k.invalid(t, certClaim("x12", parsed(t, certPEM, key, err)...))
	})
	t.Run("a revoked certificate is refused", func(t *testing.T) {
		certs := leafOf(t, middle, "x14")
		k.upload("middle", middle.Cert, true)
		assigned(t, k.register(certClaim("x14", certs...), ""))
		k.upload("middle", middle.Cert, true, dps.Serial(certs[0]))
		k.invalid(t, certClaim("x14", certs...))
	})
	t.Run("strangers' chains are bounded too", func(t *testing.T) {
		stranger, _ := chainOf(t)
		k.freeze()
		limited := false
		for range 80 {
			_, err := k.service.Register(ctx, certClaim("x15", leafOf(t, stranger, "x15")...), nil)
			limited = limited || errors.Is(err, fault.DPSThrottlingException)
		}
		if !limited {
			t.Error("80 chains in a row were judged")
		}
	})
}
