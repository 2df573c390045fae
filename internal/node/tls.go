package node

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// Lives of what the node's own CA issues.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 825 * 24 * time.Hour
	renewAhead = 30 * 24 * time.Hour
)

// identity is the node's server certificates, renewed while it runs.
type identity struct {
	// Set by openIdentity, then read only:
	folder string
	names  []string // of the certificate that the node issues
	files  TLS      // the operator's own files, if any
	ca     *cred.CA // nil with the operator's files

	rsa atomic.Pointer[tls.Certificate] // every client can read it; the operator's own, of any kind
	ec  atomic.Pointer[tls.Certificate] // for clients that can: cheaper handshakes; nil with the operator's files
}

// CAFile returns the path of the certificate that clients must trust, "" when
// the operator brings the server certificate.
func (i *identity) CAFile() string {
	if i.ca == nil {
		return ""
	}
	return filepath.Join(i.folder, "ca.pem")
}

func openIdentity(folder string, files TLS, names []string) (*identity, error) {
	i := &identity{folder: folder, files: files, names: names}
	if files.Cert == "" {
		var err error
		if i.ca, err = openCA(folder); err != nil {
			return nil, err
		}
	}
	return i, i.refresh()
}

func openCA(folder string) (*cred.CA, error) {
	certFile, keyFile := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "ca.key")
	cert, err := os.ReadFile(certFile)
	if err == nil {
		key, err := os.ReadFile(keyFile)
		if err != nil {
			return nil, fmt.Errorf("the key of the CA: %w", err)
		}
		return cred.LoadCA(cert, key)
	}
	ca, err := cred.NewCA("nave "+hostName(), caLife)
	if err != nil {
		return nil, err
	}
	cert, key := ca.PEM()
	if err := writeFile(keyFile, key, 0o600); err != nil {
		return nil, err
	}
	return ca, writeFile(certFile, cert, 0o644)
}

// refresh loads the certificates, and issues them anew when names are missing or
// their end is near. It is called at start and once a day.
func (i *identity) refresh() error {
	if i.ca == nil {
		return i.load(&i.rsa, i.files.Cert, i.files.Key)
	}
	for _, k := range []struct {
		name  string
		issue func([]string, time.Duration) (cert, key []byte, err error)
		to    *atomic.Pointer[tls.Certificate]
	}{{"server", i.ca.Server, &i.rsa}, {"server-ec", i.ca.ServerEC, &i.ec}} {
		certFile, keyFile := filepath.Join(i.folder, k.name+".pem"), filepath.Join(i.folder, k.name+".key")
		if !i.usable(certFile) {
			cert, key, err := k.issue(i.names, serverLife)
			if err == nil {
				err = writeFile(keyFile, key, 0o600)
			}
			if err == nil {
				err = writeFile(certFile, cert, 0o644)
			}
			if err != nil {
				return err
			}
		}
		if err := i.load(k.to, certFile, keyFile); err != nil {
			return err
		}
	}
	return nil
}

func (i *identity) load(to *atomic.Pointer[tls.Certificate], certFile, keyFile string) error {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return fmt.Errorf("the server certificate: %w", err)
	}
	to.Store(&pair)
	return nil
}

func (i *identity) usable(certFile string) bool {
	text, err := os.ReadFile(certFile)
	if err != nil {
		return false
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || time.Until(cert.NotAfter) < renewAhead || cert.CheckSignatureFrom(i.ca.Cert) != nil {
		return false
	}
	for _, name := range i.names {
		if cert.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

// config is the TLS side of every listener (device-protocols 0.2): client
// certificates are asked for and judged later, and HTTP/2 is never offered.
func (i *identity) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequestClientCert,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := i.ec.Load(); c != nil && hello.SupportsCertificate(c) == nil {
				return c, nil
			}
			return i.rsa.Load(), nil
		},
	}
}

// certificateNames returns every name that a client may dial.
func certificateNames(c *Config) (names []string) {
	add := func(more ...string) {
		for _, n := range more {
			if n != "" && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	for _, h := range c.hubs() {
		add(strings.ToLower(h.Host))
		add(h.Aliases...)
	}
	if c.DPS.Enabled {
		add(c.dpsHost())
		add(c.DPS.Aliases...)
	}
	add(c.TLS.Names...)
	add("localhost", "127.0.0.1", "::1", hostName())
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			add(ip.IP.String())
		}
	}
	return names
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return strings.ToLower(name)
}

// writeFile replaces a file as a whole: readers see the old or the new one.
func writeFile(name string, data []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, data) {
		return nil
	}
	part := name + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(part, name)
}
