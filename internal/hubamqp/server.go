package hubamqp

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"net"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/hub"
)

// Options say what a Server serves; Hub is required.
type Options struct {
	Hub *hub.Hub

	// Find returns the hub of this process that answers to the host name of an
	// OPEN, nil when there is none, which refuses the connection. A nil Find
	// takes every name for Hub (service-api 3.1).
	Find func(host string) *hub.Hub

	Log *slog.Logger // slog.Default when nil
}

// Server speaks AMQP for one hub.
type Server struct {
	o Options
}

// New returns a server; it holds nothing that would have to be closed.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Server{o}
}

// Values of our OPEN (device-protocols 3.1).
const (
	containerPrefix = "DeviceGateway_"
	minPeerIdle     = 5 * time.Second
)

// Serve runs one connection, whose TLS handshake is done when it is a
// *tls.Conn; certs are the certificates that the client presented, leaf first.
// protocol is amqp, amqpws or amqpplain, for the log. It returns when the
// connection has ended and everything about it is settled; the end of ctx
// closes the connection with amqp:connection:forced.
func (s *Server) Serve(ctx context.Context, nc net.Conn, certs []*x509.Certificate, protocol string) {
	c := &conn{server: s, hub: s.o.Hub, log: s.o.Log, ctx: context.WithoutCancel(ctx), nc: nc, certs: certs,
		protocol: protocol, remote: nc.RemoteAddr().String()}
	stop := context.AfterFunc(ctx, c.shutDown)
	defer stop()
	var id [16]byte
	rand.Read(id[:])
	amqp.Serve(nc, amqp.Options{ContainerID: containerPrefix + hex.EncodeToString(id[:]), MinPeerIdle: minPeerIdle,
		SASL: c.sasl}, c)
	c.work.Wait()
	hub.EndTraffic(ctx)
}
