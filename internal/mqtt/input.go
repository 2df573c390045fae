package mqtt

import (
	"bytes"
	"io"
	"net"
	"sync"
	"syscall"
)

const (
	bufferSize = 32 << 10 // a packet up to this is read into the buffer, a larger one into memory of its own
	smallSize  = 256      // what a connection that is not plain TCP waits with
	stashLimit = 512      // the longest beginning of a packet that is moved out of a buffer to free it
)

// buffer is lent to a connection while data is coming in.
type buffer struct {
	data  [bufferSize]byte
	topic string // of the last PUBLISH, since devices repeat theirs; it is valid, and its memory is never reused
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// input cuts the byte stream into packets. It holds no buffer while it waits: a TCP socket is read without one (attempt), other
// connections wait with a small one. All of it is owned by the goroutine that reads.
type input struct {
	raw  syscall.RawConn // nil when the connection is not plain TCP
	try  func(fd uintptr) bool
	err  error // what try met
	full bool  // the last read filled its buffer, so there is probably more

	tally Tally // set before the reader starts, then read only, by the writer, too; nil while nobody counts

	buf   *buffer // nil while nothing is lent
	small []byte
	store []byte // buf, small, or a stash; store[r:w] is read but not handled
	r, w  int
}

func (i *input) init(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok && rawReads {
		if raw, err := tcp.SyscallConn(); err == nil {
			i.raw, i.try = raw, i.attempt
			return
		}
	}
	i.small = make([]byte, smallSize)
	i.store = i.small
}

// borrow makes room behind store[r:w] in a big buffer.
func (i *input) borrow() {
	if i.buf == nil {
		i.buf = buffers.Get().(*buffer)
		i.w = copy(i.buf.data[:], i.store[i.r:i.w])
		i.r, i.store = 0, i.buf.data[:]
		return
	}
	i.compact()
}

func (i *input) compact() {
	if i.r > 0 {
		i.w = copy(i.store, i.store[i.r:i.w])
		i.r = 0
	}
}

// giveBack frees the big buffer unless it holds much of a packet.
func (i *input) giveBack() {
	left := i.w - i.r
	if i.buf == nil || left > stashLimit {
		return
	}
	store := i.small
	if left > len(store) {
		store = bytes.Clone(i.store[i.r:i.w])
	} else {
		copy(store, i.store[i.r:i.w])
	}
	i.buf.topic = ""
	buffers.Put(i.buf)
	i.buf, i.store, i.r, i.w = nil, store, 0, left
}

func (i *input) drop() {
	i.r, i.w = 0, 0
	i.giveBack()
}

func (i *input) received(n int) {
	if i.tally != nil {
		i.tally.Received(n)
	}
}

// fill waits for at least one byte more.
func (i *input) fill(nc net.Conn) error {
	if i.raw != nil {
		i.err = nil
		if err := i.raw.Read(i.try); err != nil {
			return err
		}
		return i.err
	}
	switch {
	case i.full:
		i.borrow()
	case i.r == i.w:
		i.giveBack()
		i.r, i.w = 0, 0
	default:
		i.compact()
	}
	if i.w == len(i.store) {
		i.borrow()
	}
	n, err := nc.Read(i.store[i.w:])
	i.w += n
	i.received(n)
	i.full = i.w == len(i.store)
	if n > 0 {
		return nil // an error that came with data comes again
	}
	return err
}

// next returns the first byte and the body of the next packet; the body is valid until the following call, or for good when own is set.
func (l *link) next() (head byte, body []byte, own bool, err error) {
	i := &l.in
	for {
		if b := i.store[i.r:i.w]; len(b) > 1 {
			size, n, err := parseLength(b)
			if err == nil && n > 0 {
				err = l.admit(b[0], size)
			}
			switch {
			case err != nil:
				return 0, nil, false, err
			case n > 0 && len(b) >= n+size:
				i.r += n + size
				return b[0], b[n : n+size : n+size], false, nil
			case n > 0 && n+size > bufferSize && len(b) == bufferSize:
				head := b[0]
				body, err := l.large(b[n:], size)
				return head, body, true, err
			}
		}
		l.renew()
		if err := i.fill(l.nc); err != nil {
			if l.spared(err) {
				continue
			}
			if err == io.EOF && i.r < i.w {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, false, err
		}
	}
}

func (l *link) admit(head byte, size int) error {
	if err := l.checkHeader(head, size); err != nil {
		return err
	}
	if size > l.o.MaxPacket {
		return &TooLargeError{Limit: l.o.MaxPacket, Size: size}
	}
	return nil
}

func (l *link) checkHeader(head byte, size int) error {
	if l.modern != nil {
		return checkHeaderModern(head, size)
	}
	return checkHeader(head, size)
}

// large reads the rest of a packet that fills the buffer; so much of it having come, the announced size is worth its memory.
func (l *link) large(begin []byte, size int) ([]byte, error) {
	body := make([]byte, size)
	n := copy(body, begin)
	l.in.drop()
	for n < size {
		l.renew()
		m, err := l.nc.Read(body[n:])
		l.in.received(m)
		if n += m; err != nil && n < size {
			if l.spared(err) {
				continue
			}
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return body, nil
}
