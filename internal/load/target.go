package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

// dialTimeout bounds TCP, TLS and CONNACK together.
const dialTimeout = 30 * time.Second

// Target is where MQTT connections go. TLS is nil for plain ones.
type Target struct {
	Address string // host:port
	TLS     *tls.Config
}

// ParseTarget reads mqtt://host[:1883] or mqtts://host[:8883]; conf is used for the latter, with the host as server name unless it has one.
func ParseTarget(text string, conf *tls.Config) (Target, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return Target{}, fmt.Errorf("%q is no address of a broker: mqtt://host:port or mqtts://host:port is needed", text)
	}
	port := u.Port()
	switch u.Scheme {
	case "mqtt", "tcp":
		return Target{Address: net.JoinHostPort(u.Hostname(), orDefault(port, "1883"))}, nil
	case "mqtts", "ssl", "tls":
		conf = conf.Clone()
		if conf == nil {
			conf = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if conf.ServerName == "" {
			conf.ServerName = u.Hostname()
		}
		return Target{Address: net.JoinHostPort(u.Hostname(), orDefault(port, "8883")), TLS: conf}, nil
	}
	return Target{}, fmt.Errorf("%q has the scheme %q: mqtt:// or mqtts:// is needed", text, u.Scheme)
}

func orDefault(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// TLSConfig returns settings for clients that trust the PEM file ca besides the system's roots; ca may be "". insecure trusts everybody.
func TLSConfig(ca string, insecure bool) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}
	if ca == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("the CA file: %w", err)
	}
	if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
		conf.RootCAs = x509.NewCertPool()
	}
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the CA file %s holds no certificate", ca)
	}
	return conf, nil
}

// Dial opens a connection, with the TLS handshake done.
func (t Target) Dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", t.Address)
	if err != nil || t.TLS == nil {
		return nc, err
	}
	tc := tls.Client(nc, t.TLS)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("TLS with %s: %w", t.Address, err)
	}
	return tc, nil
}

// Login is what one connection says in CONNECT, and where it publishes telemetry.
type Login struct {
	ClientID, Username string
	Password           []byte
	Topic              string
}

// open dials and connects without starting anything: the caller owns the socket and does all reading and writing.
func (t Target) open(ctx context.Context, l *Login, keepAlive uint16) (net.Conn, error) {
	nc, err := t.Dial(ctx)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(dialTimeout))
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	if err := handshake(nc, l, keepAlive); err != nil {
		stop()
		nc.Close()
		return nil, err
	}
	if !stop() {
		nc.Close()
		return nil, context.Cause(ctx)
	}
	return nc, nc.SetDeadline(time.Time{})
}

func handshake(nc net.Conn, l *Login, keepAlive uint16) error {
	c := mqtt.Connect{ClientID: l.ClientID, Clean: true, KeepAlive: keepAlive, Username: l.Username, HasUsername: l.Username != "",
		Password: l.Password, HasPassword: l.Password != nil}
	if _, err := nc.Write(c.Append(nil)); err != nil {
		return err
	}
	// A CONNACK has four bytes, and nothing follows it that was not asked for.
	var b [4]byte
	if _, err := io.ReadFull(nc, b[:]); err != nil {
		return fmt.Errorf("no CONNACK: %w", err)
	}
	p, _, err := mqtt.Parse(b[:])
	if err != nil {
		return err
	}
	ack, ok := p.(mqtt.Connack)
	switch {
	case !ok:
		return errors.New("the first packet is no CONNACK")
	case ack.Code != mqtt.Accepted:
		return &mqtt.RefusedError{Code: ack.Code}
	}
	return nil
}

// leave sends DISCONNECT and waits for the server to hang up, so that no port of this side is left waiting.
func leave(nc net.Conn) {
	nc.SetDeadline(time.Now().Add(partingTime))
	if _, err := nc.Write(mqtt.Disconnect{}.Append(nil)); err == nil {
		io.Copy(io.Discard, bufio.NewReaderSize(nc, 64))
	}
	bottom := nc
	if tc, ok := nc.(*tls.Conn); ok {
		bottom = tc.NetConn()
	}
	if tcp, ok := bottom.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	bottom.Close()
}
