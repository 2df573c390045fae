package amqp

import (
	"encoding/binary"
	"fmt"
)

const (
	headerSize   = 8   // of a frame and of a protocol header
	minMaxFrame  = 512 // the least max-frame-size a peer may declare (2.7.1)
	frameAMQP    = 0
	frameSASL    = 1
	maxSASLFrame = 16 << 10 // tokens are longer than the 512 bytes of 5.3.2
)

// frame is one frame without its header; body points into the read buffer and
// is empty for a heartbeat.
type frame struct {
	kind    byte
	channel uint16
	body    []byte
}

// frameLength checks a frame header of eight bytes (2.3) and returns the whole
// length of the frame and the offset of its body.
func frameLength(h []byte, limit uint32) (size, body int, err error) {
	n := binary.BigEndian.Uint32(h)
	off := uint32(h[4]) * 4
	switch {
	case n < headerSize:
		err = Errorf(FramingError, "frame of %d bytes", n)
	case n > limit:
		err = Errorf(FramingError, "frame of %d bytes exceeds the maximum of %d", n, limit)
	case off < headerSize || off > n:
		err = Errorf(FramingError, "data offset %d in a frame of %d bytes", off, n)
	}
	return int(n), int(off), err
}

// ParseFrame splits the first frame off b: its type, channel and body and the
// bytes it takes. n is 0 when b does not hold a whole frame yet.
func ParseFrame(b []byte, limit uint32) (kind byte, channel uint16, body []byte, n int, err error) {
	if len(b) < headerSize {
		return 0, 0, nil, 0, nil
	}
	size, off, err := frameLength(b, limit)
	if err != nil || len(b) < size {
		return 0, 0, nil, 0, err
	}
	return b[5], binary.BigEndian.Uint16(b[6:]), b[off:size:size], size, nil
}

// openFrameHeader appends a frame header; closeFrame fills in the size.
func openFrameHeader(b []byte, kind byte, channel uint16) (_ []byte, mark int) {
	return append(b, 0, 0, 0, 0, 2, kind, byte(channel>>8), byte(channel)), len(b)
}

func closeFrame(b []byte, mark int) []byte {
	binary.BigEndian.PutUint32(b[mark:], uint32(len(b)-mark))
	return b
}

// protocolHeader is what opens each layer (2.2): id 0 AMQP, 2 TLS, 3 SASL.
func protocolHeader(id byte) []byte { return []byte{'A', 'M', 'Q', 'P', id, 1, 0, 0} }

const (
	protoAMQP = 0
	protoTLS  = 2
	protoSASL = 3
)

// parseHeader returns the protocol id of a header; ok is false when it is not AMQP 1.0.
func parseHeader(h []byte) (id byte, ok bool) {
	ok = string(h[:4]) == "AMQP" && h[5] == 1 && h[6] == 0 && h[7] == 0
	return h[4], ok
}

// performative opens the composite of a frame body; d continues behind it, at the payload.
func performative(d *decoder) (desc uint64, f fields) {
	desc = d.descriptor()
	return desc, d.composite()
}

func newDecoder(body []byte) decoder { return decoder{b: body, left: maxPerformValues} }

func unknownPerformative(desc uint64) error {
	return fmt.Errorf("%w: performative 0x%x", ErrDecode, desc)
}
