package dpsapi_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/store"
)

// issuing is a kit with the authority ca1, its policy policy1 and the bundle
// bundle1.
func issuing(t testing.TB) (*kit, *cred.CA) {
	t.Helper()
	root, err := cred.NewCAOf(cred.EC256, "issuing root", 24*time.Hour*3650)
	if err != nil {
		t.Fatal(err)
	}
	ca := intermediate(t, root, "issuing authority")
	certs, key := ca.PEM()
	seal, err := dps.NewSealer(atRest)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := string(cred.AppendCertificate(nil, root.Cert))
	k := open(t, func(s *setup) {
		s.rows = func(put func(kind, key string, v any)) {
			put(dps.KindCA, "ca1", dps.CertificateAuthority{Name: "ca1", Type: dps.LocalAuthority, Issuer: string(certs), Key: seal.Seal("ca/ca1", string(key))})
			put(dps.KindCredential, "policy1", dps.CredentialPolicy{Name: "policy1", Authority: "ca1"})
			put(dps.KindBundle, "bundle1", dps.TrustBundle{ID: "bundle1", Certificates: []dps.BundleCertificate{{Certificate: certPEM}}})
		}
	})
	return k, root
}

func withPolicy(e *dps.Enrollment) { e.CredentialPolicy = "policy1" }

// chain decodes issuedCertificateChain and checks it: leaf first, root last.
func chain(t testing.TB, a *answer, id string, root *cred.CA) (all []*x509.Certificate) {
	t.Helper()
	list, _ := a.at("registrationState.issuedCertificateChain").([]any)
	for _, text := range list {
		der, err := base64.StdEncoding.DecodeString(fmt.Sprint(text))
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if len(all) < 2 || all[0].Subject.CommonName != id || !bytes.Equal(all[len(all)-1].Raw, root.Cert.Raw) {
		t.Fatalf("%d certificates in %s", len(all), a.raw)
	}
	for n := range all[:len(all)-1] {
		if err := all[n].CheckSignatureFrom(all[n+1]); err != nil {
			t.Error(err)
		}
	}
	return all
}

func TestIssuance(t *testing.T) {
	k, root := issuing(t)
	const version = "2025-07-01-preview"
	body := func(id string) string { return `{"csr":"` + newCSR(t, id) + `"}` }
	t.Run("DPS-128 DPS-135 csr over MQTT", func(t *testing.T) {
		d := k.enrol(t, "csr-1", withPolicy).withVersion(version)
		a := d.mqtt().outcome(body("csr-1"))
		all := chain(t, a, "csr-1", root)
		host := a.get("registrationState.assignedHub")
		if _, err := k.hubs[host].Authenticate(within(t), cred.Claim{Certs: all}, nave.ID{Device: "csr-1"}); err != nil {
			t.Error(err)
		}
	})
	t.Run("DPS-129 csr over HTTPS and AMQP", func(t *testing.T) {
		d := k.enrol(t, "csr-2", withPolicy).withVersion(version)
		chain(t, d.assigned(body("csr-2")), "csr-2", root)
		d = k.enrol(t, "csr-3", withPolicy).withVersion(version)
		chain(t, d.amqp().outcome(body("csr-3")), "csr-3", root)
	})
	t.Run("DPS-130 another common name", func(t *testing.T) {
		d := k.enrol(t, "csr-4", withPolicy).withVersion(version)
		d.register(body("other")).want(400, 400004)
		d.mqtt().register(body("other")).want(400, 400004)
	})
	t.Run("DPS-131 lookup shows no chain", func(t *testing.T) {
		d := k.enrol(t, "csr-5", withPolicy).withVersion(version)
		d.assigned(body("csr-5"))
		if a := d.lookup("").want(200, 0); strings.Contains(string(a.raw), "issued") {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-132 clientCertificateCsr", func(t *testing.T) {
		d := k.enrol(t, "csr-6", func(e *dps.Enrollment) { e.Issuance = &dps.IssuancePolicy{Authority: "ca1"} }).withVersion("2021-11-01-preview")
		a := d.assigned(`{"clientCertificateCsr":"` + newCSR(t, "csr-6") + `"}`)
		certs, err := cred.ParseCertificates([]byte(a.get("registrationState.issuedClientCertificate")))
		if err != nil {
			t.Fatal(err)
		}
		sha1, _ := cred.Thumbprints(certs[0])
		i := k.onHub(t, a.get("registrationState.assignedHub"), "csr-6")
		if i.Auth.Type != nave.AuthSelfSigned || !strings.EqualFold(i.Auth.PrimaryThumbprint, sha1) {
			t.Errorf("%+v, want %s", i.Auth, sha1)
		}
	})
	t.Run("DPS-133 trust bundle", func(t *testing.T) {
		d := k.enrol(t, "csr-7", func(e *dps.Enrollment) { e.TrustBundle = "bundle1" }).withVersion("2021-11-01-preview")
		if a := d.assigned(""); a.get("registrationState.trustBundle.id") != "bundle1" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-136 risk 14: an older api-version", func(t *testing.T) {
		d := k.enrol(t, "csr-8", withPolicy, func(e *dps.Enrollment) { e.TrustBundle = "bundle1" })
		a := d.assigned("")
		for _, name := range []string{"issued", "trustBundle", "connectionProfile"} {
			if strings.Contains(string(a.raw), name) {
				t.Errorf("%s in %s", name, a.raw)
			}
		}
	})
	t.Run("DPS-134 the authority is gone", func(t *testing.T) {
		d := k.enrol(t, "csr-9", withPolicy).withVersion(version)
		if err := k.db.Update(within(t), func(tx *store.Tx) error { return tx.DeleteDPS(dps.KindCA, "ca1") }); err != nil {
			t.Fatal(err)
		}
		a := d.outcome(body("csr-9"))
		if a.code != 200 || a.get("status") != "failed" || a.get("registrationState.errorCode") != "404211" {
			t.Errorf("%d %s", a.code, a.raw)
		}
	})
}
