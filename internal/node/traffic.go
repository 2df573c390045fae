package node

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/mqtt"
)

// metered says whether a hub of this node has traffic counted.
func (n *Node) metered() bool {
	for _, s := range n.sites {
		if s.hub.Metered() {
			return true
		}
	}
	return false
}

// meter counts what passes a connection after TLS and WebSocket framing
// (connectivity-api RP-7); it changes nothing while nobody wants to know.
func (n *Node) meter(ctx context.Context, nc net.Conn, protocol string) (context.Context, net.Conn) {
	if !n.metered() {
		return ctx, nc
	}
	c := &meteredConn{Conn: nc, wire: n.wires.New(protocol, nc.RemoteAddr().String(), n.now())}
	return c.wire.Context(ctx), c
}

// meteredConn is a connection that counts on a wire.
type meteredConn struct {
	net.Conn
	wire *hub.Wire
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wire.Received(n)
	return n, err
}

func (c *meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.wire.Sent(n)
	return n, err
}

// NetConn returns the connection beneath, for whoever must cut it.
func (c *meteredConn) NetConn() net.Conn { return c.Conn }

// Counted implements mqtt.Counted.
func (c *meteredConn) Counted() (beneath net.Conn, t mqtt.Tally) { return c.Conn, c.wire }

// CloseWrite does what the connection beneath does.
func (c *meteredConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// meteredListener has the connections of an HTTPS server counted.
type meteredListener struct {
	net.Listener // of tls.NewListener
	node         *Node
}

// tlsListener puts TLS, and perhaps a counter, onto the connections of l.
func (n *Node) tlsListener(l net.Listener) net.Listener {
	return &meteredListener{tls.NewListener(l, n.tls.config()), n}
}

// Accept implements net.Listener.
func (l *meteredListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil || !l.node.metered() {
		return nc, err
	}
	tc, ok := nc.(*tls.Conn)
	if !ok {
		return nc, nil
	}
	wire := l.node.wires.New(hub.HTTPTraffic, nc.RemoteAddr().String(), l.node.now())
	return &meteredTLS{meteredConn: meteredConn{nc, wire}, tls: tc, node: l.node}, nil
}

// meteredTLS is what an HTTP server takes for a TLS connection that somebody
// else has opened.
type meteredTLS struct {
	meteredConn
	tls   *tls.Conn
	node  *Node
	early atomic.Int64 // bytes of the request that follows, not yet counted
}

// Read implements net.Conn. net/http watches a connection while it answers by
// reading a single byte, which belongs to the next request.
func (c *meteredTLS) Read(b []byte) (int, error) {
	if len(b) != 1 {
		return c.meteredConn.Read(b)
	}
	n, err := c.Conn.Read(b)
	c.early.Add(int64(n))
	return n, err
}

// ConnectionState opens TLS: the server asks once, on the goroutine of the
// connection, before it reads.
func (c *meteredTLS) ConnectionState() tls.ConnectionState {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := c.tls.HandshakeContext(ctx); err != nil { // reading fails with the same
		c.node.log.Debug("TLS handshake failed", "node", c.node.name, "peer", c.RemoteAddr().String(), "err", err)
		plainRequest(err)
	}
	return c.tls.ConnectionState()
}

// plainRequest answers a request that came without TLS, as net/http does.
func plainRequest(err error) {
	var e tls.RecordHeaderError
	if !errors.As(err, &e) || e.Conn == nil {
		return
	}
	switch begin := string(e.RecordHeader[:]); {
	case strings.HasPrefix(begin, "GET /"), strings.HasPrefix(begin, "HEAD "), strings.HasPrefix(begin, "POST "),
		strings.HasPrefix(begin, "PUT /"), strings.HasPrefix(begin, "OPTIO"):
		io.WriteString(e.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
}

// wireContext is http.Server.ConnContext.
func wireContext(ctx context.Context, nc net.Conn) context.Context {
	if c, ok := nc.(*meteredTLS); ok {
		return c.wire.Context(ctx)
	}
	return ctx
}

// endRequest is http.Server.ConnState: an answer has been written when its
// connection becomes idle or ends.
func endRequest(nc net.Conn, s http.ConnState) {
	if c, ok := nc.(*meteredTLS); ok && (s == http.StateIdle || s == http.StateClosed || s == http.StateHijacked) {
		c.wire.EndRequest()
		c.wire.Received(int(c.early.Swap(0)))
	}
}
