package dpsapi_test

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// serverIdentity is what all kits show to clients, and what these trust.
type serverIdentity struct {
	pair  tls.Certificate
	roots *x509.CertPool
}

// identity is made once, as keys take long.
var identity = sync.OnceValues(func() (*serverIdentity, error) {
	ca, err := cred.NewCAOf(cred.EC256, "kit", time.Hour*24)
	if err != nil {
		return nil, err
	}
	certPEM, keyPEM, err := ca.ServerEC([]string{serviceHost, globalHost}, time.Hour*24)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	s := &serverIdentity{pair, x509.NewCertPool()}
	s.roots.AddCert(ca.Cert)
	return s, nil
})
