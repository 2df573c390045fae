package mqtt

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	chunkSize  = 4 << 10  // what small packets are copied into
	writeLimit = 64 << 10 // what one Write takes at most, unless one packet is larger
)

// chunk is a piece of the outbound queue: bytes, then perhaps a payload that was not copied. Once it has ref, nothing is added.
type chunk struct {
	next *chunk
	ref  []byte
	n    int
	acks int // of n, bytes of PUBACKs, which the queue does not count
	b    [chunkSize]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// drop frees the chunk and returns the next.
func (c *chunk) drop() *chunk {
	next := c.next
	c.next, c.ref, c.n, c.acks = nil, nil, 0, 0
	chunks.Put(c)
	return next
}

// collect fills the chunk with PUBACKs.
func (c *chunk) collect(r *ring) {
	c.acks = len(r.collect(c.b[c.n:c.n]))
	c.n += c.acks
}

func (c *chunk) queued() int { return c.n + len(c.ref) - c.acks }

// States of the writer. Idle: there is no goroutine. Woken: there is, and it will look at queue and ring again. Ended: for good.
const (
	writerIdle uint32 = iota
	writerBusy
	writerWoken
	writerEnded
)

// output is the queue and the writer, a goroutine that exists while there is something to write.
type output struct {
	// Guarded by link.mu:
	head, tail *chunk
	queued     int // bytes accepted and not yet written

	// Owned by the writer:
	renewed time.Time // when the write deadline was set
	last    bool      // it is not set again, as the connection is closing
	broken  bool      // a write has failed: nothing is written any more
}

// kick makes sure that the writer looks at queue and ring after this call; it costs a load when that is due anyway.
func (l *link) kick() {
	for {
		s := l.state.Load()
		switch s {
		case writerWoken, writerEnded:
			return
		case writerIdle:
			if l.state.CompareAndSwap(s, writerWoken) {
				go l.write()
				return
			}
		default:
			if l.state.CompareAndSwap(s, writerWoken) {
				return
			}
		}
	}
}

// send queues the packet; size is its whole length.
func (l *link) send(p *Publish) error {
	if l.modern != nil {
		return l.sendModern(p)
	}
	if err := p.check(); err != nil {
		return err
	}
	size := p.size()
	size += headerSize(size)
	l.mu.Lock()
	if err := l.accept(size); err != nil {
		l.mu.Unlock()
		return err
	}
	if size <= chunkSize {
		c := l.space(size)
		c.n = len(p.Append(c.b[:c.n]))
	} else {
		l.split(p, size-len(p.Payload))
	}
	l.mu.Unlock()
	l.kick()
	return nil
}

// split queues a packet larger than a chunk with its payload by reference.
func (l *link) split(p *Publish, head int) {
	if head <= chunkSize {
		c := l.space(head)
		c.n = len(p.appendHead(c.b[:c.n]))
	} else {
		l.space(chunkSize).ref = p.appendHead(make([]byte, 0, head))
	}
	if len(p.Payload) > 0 {
		l.space(0).ref = p.Payload
	}
}

// reply queues a small packet that is already encoded.
func (l *link) reply(b []byte) error {
	l.mu.Lock()
	err := l.accept(len(b))
	if err == nil {
		l.enqueue(b)
	}
	l.mu.Unlock()
	if err == nil {
		l.kick()
	}
	return err
}

// enqueue is called with mu held, for bytes that accept has counted.
func (l *link) enqueue(b []byte) {
	if len(b) <= chunkSize {
		c := l.space(len(b))
		c.n += copy(c.b[c.n:], b)
	} else {
		l.space(chunkSize).ref = b
	}
}

// accept is called with mu held.
func (l *link) accept(size int) error {
	if l.stopped.Load() {
		return ErrClosed
	}
	if l.out.queued > 0 && l.out.queued+size > l.o.MaxQueue {
		return ErrSlow
	}
	l.out.queued += size
	return nil
}

// space is called with mu held; it returns the last chunk of the queue, with room for size bytes.
func (l *link) space(size int) *chunk {
	o := &l.out
	if t := o.tail; t != nil && t.ref == nil && t.n+size <= chunkSize {
		return t
	}
	c := chunks.Get().(*chunk)
	if o.tail == nil {
		o.head = c
	} else {
		o.tail.next = c
	}
	o.tail = c
	return c
}

// write is the writer goroutine: it takes everything there is, writes it, and ends when nothing is left.
func (l *link) write() {
	for {
		l.state.Store(writerBusy)
		list, end := l.take()
		if list != nil {
			if err := l.drain(list); err != nil {
				l.out.broken = true
				l.fail(err)
			}
			continue
		}
		if end {
			l.finish()
			return
		}
		if l.state.CompareAndSwap(writerBusy, writerIdle) {
			return
		}
	}
}

// fail ends the connection after a failed write. What the peer has sent before it broke the connection off, perhaps a DISCONNECT, is
// the reader's to find, and so is the end behind that; it gets a moment, which spared makes one of its own when it was busy.
func (l *link) fail(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		l.stop(ErrSlow, stopNow)
	case l.stopped.Load():
		l.stop(err, stopNow)
	default:
		l.mu.Lock()
		if !l.stopped.Load() {
			l.failed = err
			l.nc.SetReadDeadline(time.Now().Add(lingerTime))
		}
		l.mu.Unlock()
	}
}

// take empties the queue and adds the PUBACKs that are due; end is set when nothing will come after it.
func (l *link) take() (list *chunk, end bool) {
	l.mu.Lock()
	o := &l.out
	list, last := o.head, o.tail
	o.head, o.tail = nil, nil
	end, now := l.stopped.Load(), l.how > stopFlushed
	l.mu.Unlock()
	if now {
		for list != nil {
			list = list.drop()
		}
		return nil, true
	}
	r := l.acks.Load()
	switch {
	case r == nil || !r.due():
	case last != nil && last.ref == nil && last.n < chunkSize:
		last.collect(r)
	default:
		c := chunks.Get().(*chunk)
		c.collect(r)
		if last != nil {
			last.next = c
		} else {
			list = c
		}
	}
	return list, end
}

// drain writes the list, unless an earlier write has failed, and frees it.
func (l *link) drain(list *chunk) (err error) {
	for list != nil {
		next, n := list.next, list.queued()
		if err == nil && !l.out.broken {
			next, n, err = l.writeSome(list)
		}
		for list != next {
			list = list.drop()
		}
		l.mu.Lock()
		l.out.queued -= n
		l.mu.Unlock()
	}
	return err
}

var vectors = sync.Pool{New: func() any { return new(vector) }}

type vector struct {
	bufs net.Buffers
	list [32][]byte
}

// writeSome writes the beginning of the list with one call; it returns the first chunk that was not part of it and how many queued
// bytes were.
func (l *link) writeSome(list *chunk) (next *chunk, n int, err error) {
	l.renewWrite()
	if list.ref == nil && list.next == nil {
		m, err := l.nc.Write(list.b[:list.n])
		l.sent(int64(m))
		return nil, list.queued(), err
	}
	v := vectors.Get().(*vector)
	v.bufs = v.list[:0]
	for next = list; next != nil && len(v.bufs)+2 <= len(v.list); next = next.next {
		if n > 0 && n+next.queued() > writeLimit {
			break
		}
		if n += next.queued(); next.n > 0 {
			v.bufs = append(v.bufs, next.b[:next.n])
		}
		if len(next.ref) > 0 {
			v.bufs = append(v.bufs, next.ref)
		}
	}
	m, err := v.bufs.WriteTo(l.nc)
	l.sent(m)
	clear(v.list[:])
	vectors.Put(v)
	return next, n, err
}

func (l *link) sent(n int64) {
	if l.in.tally != nil {
		l.in.tally.Sent(int(n))
	}
}

// renewWrite sets the write deadline now and then, and once more when the connection closes.
func (l *link) renewWrite() {
	now, limit := time.Now(), l.o.WriteTimeout
	closing := l.stopped.Load()
	if l.out.last || !closing && now.Sub(l.out.renewed) < limit/8 {
		return
	}
	l.out.renewed, l.out.last = now, closing
	l.nc.SetWriteDeadline(now.Add(limit + limit/8))
}
