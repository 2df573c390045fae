package sdk_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy passes TCP connections on to the hub and can cut them, as a bad network
// does. TLS goes through untouched.
type proxy struct {
	// Guarded by mu:
	mu    sync.Mutex
	conns map[net.Conn]bool // both ends
	hold  chan struct{}     // nil, or closed when bytes towards the device may pass again
	came  chan struct{}     // closed when there is something that is held back
}

// newProxy listens on the ports of the hub on an address of its own.
func newProxy(t *testing.T, address string, ports ...string) *proxy {
	p := &proxy{conns: map[net.Conn]bool{}}
	for _, port := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(address, port))
		if err != nil {
			t.Fatal(err)
		}
		serve(t, l, func(device net.Conn) { p.pass(device, net.JoinHostPort(hubAddress, port)) })
	}
	t.Cleanup(p.cut)
	return p
}

func (p *proxy) pass(device net.Conn, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns[device], p.conns[server] = true, true
	p.mu.Unlock()
	done := make(chan struct{}, 2)
	go func() { io.Copy(server, device); done <- struct{}{} }()
	go func() { io.Copy(held{p, device}, server); done <- struct{}{} }()
	<-done
	device.Close()
	server.Close()
	<-done
	p.mu.Lock()
	delete(p.conns, device)
	delete(p.conns, server)
	p.mu.Unlock()
}

// cut closes every connection, with what was held back lost.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for nc := range p.conns {
		nc.Close()
	}
	if p.hold != nil {
		close(p.hold)
		p.hold = nil
	}
}

// keep lets nothing more through to the device until cut.
func (p *proxy) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold == nil {
		p.hold, p.came = make(chan struct{}), make(chan struct{})
	}
}

// holds waits until something is held back.
func (p *proxy) holds(ctx context.Context) error {
	p.mu.Lock()
	came := p.came
	p.mu.Unlock()
	select {
	case <-came:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// held is the way to the device.
type held struct {
	p *proxy
	net.Conn
}

// Write waits while the proxy holds bytes back.
func (h held) Write(b []byte) (int, error) {
	h.p.mu.Lock()
	wait := h.p.hold
	if wait != nil {
		select {
		case <-h.p.came:
		default:
			close(h.p.came)
		}
	}
	h.p.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return h.Conn.Write(b)
}
