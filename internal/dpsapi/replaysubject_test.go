package dpsapi_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

// subject is a device with the enrolment that lets it in.
type subject struct {
	*device
	enrolment *dps.Enrollment
	kind      string
}

// subjects enrols a device for each attestation of the matrix of dps 7.9. An
// SDK that shows nothing but its leaf relies on stored intermediates.
func (k *authorities) subjects(t testing.TB, id string, leafOnly bool) (all []*subject) {
	t.Helper()
	name := func(kind string) string { return id + "-" + kind }
	c := selfSigned(t, name("x"))
	below := issued(t, k.inter, name("xg"))
	if leafOnly {
		below = alone(below)
	}
	key, group := cred.NewLongKey(), cred.NewLongKey()
	derived, err := cred.Derive(group, name("sg"))
	if err != nil {
		t.Fatal(err)
	}
	pair := func(key string) *dps.Attestation {
		return &dps.Attestation{Type: dps.AttestKey, SymmetricKey: &dps.SymmetricKey{Primary: key, Secondary: cred.NewLongKey()}}
	}
	certified := func(x *dps.X509Attestation) *dps.Attestation { return &dps.Attestation{Type: dps.AttestX509, X509: x} }
	first := func(cert *x509.Certificate) *dps.CertificatePair {
		return &dps.CertificatePair{Primary: &dps.CertificateWithInfo{Certificate: string(cred.AppendCertificate(nil, cert))}}
	}
	all = []*subject{
		{k.device(t, name("x")).withCert(c), &dps.Enrollment{RegistrationID: name("x"), Attestation: certified(&dps.X509Attestation{Client: first(c.Leaf)})}, "X.509 individual"},
		{k.device(t, name("xg")).withCert(below), &dps.Enrollment{GroupID: name("xg"), Attestation: certified(&dps.X509Attestation{Signing: first(k.inter.Cert)})}, "X.509 group"},
		{k.device(t, name("s")).withKey(key), &dps.Enrollment{RegistrationID: name("s"), Attestation: pair(key)}, "symmetric individual"},
		{k.device(t, name("sg")).withKey(derived), &dps.Enrollment{GroupID: name("sg"), Attestation: pair(group)}, "symmetric group"},
	}
	return all
}

func (s *subject) put() { s.kit.put(s.t, s.enrolment) }

func (s *subject) delete() {
	s.t.Helper()
	remove := s.DeleteEnrollment
	if s.enrolment.IsGroup() {
		remove = s.DeleteGroup
	}
	if err := remove(within(s.t), s.enrolment.ID(), dps.Match{}); err != nil {
		s.t.Fatal(err)
	}
}

// admitted shows the device to the hub it was sent to.
func (d *device) admitted(t *testing.T, x *told) {
	t.Helper()
	host, id := x.at("assignedHub"), x.at("deviceId")
	h := d.hubs[host]
	if h == nil {
		t.Fatalf("no hub %q", host)
	}
	claim := cred.Claim{}
	switch {
	case d.key != "":
		claim.SAS = d.sign(host+"/devices/"+id, "", time.Hour)
	default:
		claim.Certs = []*x509.Certificate{d.cert[0].Leaf}
	}
	if _, err := h.Authenticate(within(t), claim, nave.ID{Device: id}); err != nil {
		t.Errorf("the hub refuses %s: %v", id, err)
	}
}
