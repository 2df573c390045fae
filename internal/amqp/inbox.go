package amqp

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bigBuffer  = 64 << 10
	stayBig    = 8 << 10 // a read at least this long is likely to be followed by another
	smallInbox = 512
)

var buffers = sync.Pool{New: func() any { return new([bigBuffer]byte) }}

// inbox reads from the socket: into 512 bytes of its own while the connection is
// quiet, into a pooled buffer while it is busy or a frame needs the room.
// Owned by the read goroutine, but for last.
type inbox struct {
	nc    net.Conn
	start time.Time
	last  atomic.Int64 // when bytes last arrived, since start

	buf    []byte
	r, w   int
	pooled *[bigBuffer]byte
	lately int // length of the last read
	small  [smallInbox]byte
}

// need blocks until n bytes are buffered and returns them without consuming
// them. They are valid until the next call.
func (in *inbox) need(n int) ([]byte, error) {
	for in.w-in.r < n {
		in.room(n)
		k, err := in.nc.Read(in.buf[in.w:])
		if k > 0 {
			in.last.Store(int64(time.Since(in.start)))
		}
		in.w += k
		in.lately = k
		if err != nil && in.w-in.r < n {
			return nil, err
		}
	}
	return in.buf[in.r : in.r+n : in.r+n], nil
}

func (in *inbox) skip(n int) { in.r += n }

// room provides for n bytes from in.r on and for at least one byte more to read.
func (in *inbox) room(n int) {
	have := in.buf[in.r:in.w]
	switch {
	case len(have) == 0 && n <= smallInbox && in.lately < stayBig:
		in.drop()
		in.buf, in.r, in.w = in.small[:], 0, 0
	case n <= smallInbox && in.pooled == nil && in.lately < smallInbox && len(in.buf) == smallInbox:
		in.move(in.buf)
	case n <= bigBuffer:
		if in.pooled != nil && len(in.buf) == bigBuffer {
			in.move(in.buf)
			return
		}
		p := buffers.Get().(*[bigBuffer]byte)
		in.move(p[:])
		in.drop()
		in.pooled = p
	case n > len(in.buf):
		in.move(make([]byte, n))
		in.drop()
	default:
		in.move(in.buf)
	}
}

// move makes b the buffer, with what is unread at its start.
func (in *inbox) move(b []byte) {
	in.w = copy(b, in.buf[in.r:in.w])
	in.r = 0
	in.buf = b
}

// drop returns the pooled buffer; nothing may point into it any more.
func (in *inbox) drop() {
	if in.pooled != nil {
		buffers.Put(in.pooled)
		in.pooled = nil
	}
}

// frame blocks for the next frame.
func (in *inbox) frame(limit uint32) (frame, error) {
	h, err := in.need(headerSize)
	if err != nil {
		return frame{}, err
	}
	size, off, err := frameLength(h, limit)
	if err != nil {
		return frame{}, err
	}
	b, err := in.need(size)
	if err != nil {
		return frame{}, err
	}
	in.skip(size)
	return frame{kind: b[5], channel: uint16(b[6])<<8 | uint16(b[7]), body: b[off:]}, nil
}
