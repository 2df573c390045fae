package mqtt

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// How a connection is stopped; a later, harsher call wins.
const (
	stopFlushed = iota // what is queued is written first, and the peer gets the time to read it
	stopNow            // the socket is closed
	stopReset          // the socket is reset
)

const lingerTime = 500 * time.Millisecond

// past wakes a read that is waiting.
var past = time.Unix(1, 0)

// link is the half of a connection that server and client share: a reader, a writer on demand, and the way to an orderly end.
//
// The end has one order. stop sets stopped under mu, once, and wakes the writer. From then on nothing is queued and no packet is
// handled. The writer flushes, or drops, the queue, ends for good, wakes the reader and closes flushed. The reader, which may
// have been the one to call stop, waits for flushed, tells the owner (ended), closes the socket, and closes done.
type link struct {
	// Set before the reader starts, then read only:
	nc     net.Conn
	o      *Options
	handle func(head byte, body []byte, own bool) error // a packet; own: body is not reused
	ended  func(cause error)
	limit  time.Duration // longest silence; 0 for none
	done   chan struct{}
	modern *modernLink // nil for MQTT 3.1.1

	// Owned by the reader:
	in      input
	renewed time.Time // when the read deadline was set
	last    bool      // what it waits for now is the last

	// Owned by the writer, but for what output says:
	out output

	// Shared by atomic access:
	state   atomic.Uint32 // of the writer
	acks    atomic.Pointer[ring]
	stopped atomic.Bool // written under mu

	// Guarded by mu, the only lock, which is held over no call but the setting of a deadline:
	mu      sync.Mutex
	how     int
	cause   error         // set once, with stopped
	failed  error         // of a write: the reader looks for what came before
	flushed chan struct{} // made with stopped
}

var errDisconnect = errors.New("mqtt: DISCONNECT")

// run is the reader goroutine.
func (l *link) run() {
	if err, how := l.read(); err == errDisconnect {
		l.stop(nil, how)
	} else if err != nil {
		l.stop(err, how)
	}
	<-l.flushed
	l.in.drop()
	l.ended(l.cause)
	l.linger()
	l.nc.Close()
	close(l.done)
}

func (l *link) read() (err error, how int) {
	for !l.stopped.Load() {
		head, body, own, err := l.next()
		if err != nil {
			if failed := l.late(err); failed != nil {
				return failed, stopNow
			}
			err, how = explain(err)
			if err == ErrKeepAlive && l.modern != nil {
				how = stopFlushed // MQTT 5.0 tells the client
			}
			return err, how
		}
		if l.stopped.Load() {
			break
		}
		if err := l.handle(head, body, own); err != nil {
			return err, stopFlushed
		}
	}
	return nil, stopFlushed
}

// spared gives the reader a moment of its own after a failed write, once: it may have been busy while the other passed.
func (l *link) spared(err error) bool {
	if l.last || l.late(err) == nil {
		return false
	}
	l.last = true
	l.mu.Lock()
	if !l.stopped.Load() {
		l.nc.SetReadDeadline(time.Now().Add(lingerTime))
	}
	l.mu.Unlock()
	return true
}

// late returns the error of the write after which the reader has waited in vain, nil when err tells something else.
func (l *link) late(err error) error {
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// explain turns what ended the reading into the cause and the way of closing. After an error of the network there is nobody to flush for.
func explain(err error) (cause error, how int) {
	var broken net.Error
	switch {
	case errors.Is(err, ErrProtocol), errors.Is(err, ErrTooLarge):
		return err, stopFlushed
	case errors.As(err, &broken) && broken.Timeout():
		return ErrKeepAlive, stopNow
	}
	return err, stopNow
}

// stop begins the end; only the first cause counts. It does not block.
func (l *link) stop(cause error, how int) {
	l.mu.Lock()
	if !l.stopped.Load() {
		if l.modern != nil && how == stopFlushed {
			l.farewell(cause)
		}
		l.cause, l.flushed = cause, make(chan struct{})
		l.stopped.Store(true)
	}
	harder := how > l.how
	l.how = max(how, l.how)
	l.mu.Unlock()
	if harder {
		cut(l.nc, how == stopReset)
	}
	l.kick()
}

// cut closes the connection at the bottom, as a TLS layer would first try to write.
func cut(nc net.Conn, reset bool) {
	nc = bottom(nc)
	if tcp, ok := nc.(*net.TCPConn); ok && reset {
		tcp.SetLinger(0)
	}
	nc.Close()
}

func bottom(nc net.Conn) net.Conn {
	for {
		outer, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		inner := outer.NetConn()
		if inner == nil {
			return nc
		}
		nc = inner
	}
}

// finish is the writer's last act.
func (l *link) finish() {
	l.state.Store(writerEnded)
	if r := l.acks.Load(); r != nil {
		r.release()
	}
	l.nc.SetReadDeadline(past)
	close(l.flushed)
}

// renew sets the read deadline, at most 64 times in the span of the limit; a connection that cannot have one shows it in the read.
// Bytes count, not packets, so that a large packet on a slow line is not silence.
func (l *link) renew() {
	if l.limit == 0 {
		return
	}
	now, slack := time.Now(), min(l.limit/64, time.Second)
	if now.Sub(l.renewed) < slack {
		return
	}
	l.renewed = now
	l.mu.Lock()
	if !l.stopped.Load() && l.failed == nil { // afterwards the deadline is what wakes the reader
		l.nc.SetReadDeadline(now.Add(l.limit + slack))
	}
	l.mu.Unlock()
}

// linger lets the peer read what was flushed: closing a socket that holds unread data would reset it, and what was sent is lost.
func (l *link) linger() {
	l.mu.Lock()
	how := l.how
	l.mu.Unlock()
	if how == stopFlushed {
		lingerClose(l.nc)
	}
}

func lingerClose(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if tcp, ok := bottom(nc).(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	if nc.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		io.Copy(io.Discard, nc)
	}
}
