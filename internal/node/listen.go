package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nave-hub/nave/internal/controlapi"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/simapi"
)

// handshakeTimeout is what a client may take for TLS and its first packet.
const handshakeTimeout = 60 * time.Second

// Alternatives of ports that need rights which the process may lack.
var alternatives = map[string]string{":443": ":8443"}

// bind opens a listener. A default port that needs rights the process lacks is
// replaced by its alternative, and note says so.
func bind(address string) (l net.Listener, note string, err error) {
	l, err = net.Listen("tcp", address)
	if err == nil {
		return l, "", nil
	}
	other, ok := alternatives[address]
	switch {
	case errors.Is(err, syscall.EACCES) && ok:
		if l, err = net.Listen("tcp", other); err != nil {
			return nil, "", portError(other, err)
		}
		return l, fmt.Sprintf("Port %s needs rights that this process lacks, so HTTPS and WebSockets listen on %s. SDKs dial %s: "+
			"run 'sudo setcap cap_net_bind_service=+ep %s' or redirect the port.", address[1:], other[1:], address[1:], executable()), nil
	default:
		return nil, "", portError(address, err)
	}
}

func portError(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("the address %s is in use: another hub runs, or another program holds the port. Stop it, or choose another address (listen.…): %w", address, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("the address %s needs rights that this process lacks: run 'sudo setcap cap_net_bind_service=+ep %s', or choose a port above 1023 (listen.…): %w", address, executable(), err)
	}
	return fmt.Errorf("the address %s can't be listened on: %w", address, err)
}

func executable() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return "nave"
}

// accept runs serve for each connection on a goroutine of its own, until ctx
// ends; tls is nil for plain listeners.
func (n *Node) accept(ctx context.Context, l net.Listener, conf *tls.Config, serve func(net.Conn, *tls.ConnectionState)) {
	defer l.Close()
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.log.Warn("a connection could not be accepted", "node", n.name, "err", err)
			if !pause(ctx, 50*time.Millisecond) {
				return
			}
			continue
		}
		n.work.Go(func() {
			if conf == nil {
				serve(nc, &tls.ConnectionState{})
				return
			}
			n.handshake(ctx, nc, conf, serve)
		})
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (n *Node) handshake(ctx context.Context, nc net.Conn, conf *tls.Config, serve func(net.Conn, *tls.ConnectionState)) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	tc := tls.Server(nc, conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		n.log.Debug("TLS handshake failed", "node", n.name, "peer", nc.RemoteAddr().String(), "err", err)
		nc.Close()
		return
	}
	state := tc.ConnectionState()
	serve(tc, &state)
}

// site returns the hub that a client dialled: by name, else the first.
func (n *Node) site(name string) *site {
	for _, s := range n.sites {
		if name != "" && s.hub.Answers(name) {
			return s
		}
	}
	return nil
}

// untilEnd closes a connection with the node: whoever waits for its first packet
// has nothing else to end that. stop takes it back.
func untilEnd(ctx context.Context, nc net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { nc.Close() })
}

// find returns the hub that answers to a name; a node with one hub takes every
// name for it.
func (n *Node) find(name string) *hub.Hub {
	s := n.site(name)
	switch {
	case s != nil:
		return s.hub
	case len(n.sites) == 1:
		return n.sites[0].hub
	}
	return nil
}

func (n *Node) serveAMQP(ctx context.Context, protocol string) func(net.Conn, *tls.ConnectionState) {
	return func(nc net.Conn, state *tls.ConnectionState) {
		s := n.site(state.ServerName)
		if s == nil {
			s = n.sites[0]
		}
		if n.forDPS(state.ServerName, nc) {
			n.dps.amqp.Serve(ctx, nc, state.PeerCertificates, protocol)
			return
		}
		ctx, nc := n.meter(ctx, nc, hub.AMQPTraffic)
		s.amqp.Serve(ctx, nc, state.PeerCertificates, protocol)
	}
}

// serveHTTP chooses the provisioning service or the hub by the Host header, and
// takes WebSockets aside.
func (n *Node) serveHTTP(ctx context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := n.site(r.Host)
		if s != nil && s.firmware != nil && controlapi.Serves(r.URL.Path) {
			s.firmware.ServeHTTP(w, r) // with a limit of its own for the body
			return
		}
		r = hurry(w, r, bodyTimeout)
		switch {
		case n.dpsRequest(r):
			n.serveDPS(ctx, w, r)
		case s == nil:
			n.foreignHost(w, r)
		case simapi.Serves(r.URL.Path):
			n.sims.server.ServeHTTP(w, r)
		case strings.EqualFold(r.URL.Path, wsPath):
			n.serveWebSocket(ctx, s, w, r, "mqtt", wsAMQP)
		case strings.EqualFold(r.URL.Path, wsReaderPath):
			n.serveWebSocket(ctx, s, w, r, wsAMQP)
		default:
			s.http.ServeHTTP(w, r)
		}
	})
}

// foreignHost answers a request for a host that is not ours (device-protocols
// 0.2).
func (n *Node) foreignHost(w http.ResponseWriter, r *http.Request) {
	e := fault.ArgumentInvalid.New("Requested Host is not supported: %s names no hub of this server", r.Host)
	if len(n.sites) > 1 {
		e = fault.IotHubNotFound.New("%s names no hub of this server", r.Host)
	}
	n.sites[0].http.Refuse(w, r, e)
}

func (n *Node) serveWebSocket(ctx context.Context, s *site, w http.ResponseWriter, r *http.Request, protocols ...string) {
	var certs []*x509.Certificate
	if r.TLS != nil {
		certs = r.TLS.PeerCertificates
	}
	nc, protocol := upgrade(w, r, protocols...)
	switch protocol {
	case "mqtt":
		n.work.Go(func() {
			defer untilEnd(ctx, nc)()
			ctx, nc := n.meter(ctx, nc, hub.MQTTTraffic)
			s.mqtt.Serve(ctx, nc, certs, "mqttws")
		})
	case wsAMQP:
		// Close waits for what runs here; the HTTP server does not.
		n.work.Go(func() {
			ctx, nc := n.meter(ctx, nc, hub.AMQPTraffic)
			s.amqp.Serve(ctx, nc, certs, "amqpws")
		})
	}
}

// httpServer returns a server with the limits of device-protocols 4.1.
func (n *Node) httpServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: handshakeTimeout, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 1 << 20,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ConnContext:  wireContext, ConnState: endRequest,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)}
}

// listeners are open sockets by name.
type listeners struct {
	mu    sync.Mutex
	byKey map[string]net.Listener
}

func (l *listeners) add(name string, nl net.Listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byKey == nil {
		l.byKey = map[string]net.Listener{}
	}
	l.byKey[name] = nl
}

func (l *listeners) address(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if nl := l.byKey[name]; nl != nil {
		return nl.Addr().String()
	}
	return ""
}
