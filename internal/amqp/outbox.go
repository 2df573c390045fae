package amqp

import "time"

const keepBuffer = 256 << 10 // greatest write buffer worth keeping while busy

// outbox holds what the writer goroutine has yet to write. Part of Conn, guarded by its mu.
type outbox struct {
	out      []byte
	spare    []byte
	writing  bool // a writer goroutine exists
	broken   bool // writing failed
	sentAt   time.Time
	ack      ack
	writeErr error
}

// ack is a run of deliveries of one session, accepted and settled, whose
// disposition is not in out yet. Further ones join it until another frame is
// due, so answers given one by one leave as ranges.
type ack struct {
	s           *Session
	first, last uint32
}

// begin starts a frame in out and returns its mark for closeFrame. mu.
func (c *Conn) begin(channel uint16) (mark int) {
	c.flushAck()
	if c.out == nil {
		c.out = buffers.Get().(*[bigBuffer]byte)[:0]
	}
	c.out, mark = openFrameHeader(c.out, frameAMQP, channel)
	return mark
}

// putRaw appends bytes that are no AMQP frame. mu.
func (c *Conn) putRaw(b []byte) { c.out = append(c.out, b...) }

// tooLong reports whether the frame since mark exceeds the peer's maximum, and takes it back if so. mu.
func (c *Conn) tooLong(mark int) bool {
	if len(c.out)-mark <= c.maxOut {
		return false
	}
	c.out = c.out[:mark]
	return true
}

// putEnd sends END or CLOSE. mu.
func (c *Conn) putEnd(channel uint16, desc byte, err *Error) {
	for range 2 {
		mark := c.begin(channel)
		c.out = (&endFrame{err}).append(c.out, desc)
		if !c.tooLong(mark) {
			c.out = closeFrame(c.out, mark)
			return
		}
		err = err.brief()
	}
}

func (c *Conn) putDetach(channel uint16, d detachFrame) {
	for range 2 {
		mark := c.begin(channel)
		c.out = d.append(c.out)
		if !c.tooLong(mark) {
			c.out = closeFrame(c.out, mark)
			return
		}
		d.err = d.err.brief()
	}
}

func (c *Conn) putDisposition(channel uint16, p dispositionFrame) {
	for range 2 {
		mark := c.begin(channel)
		c.out = p.append(c.out)
		if !c.tooLong(mark) {
			c.out = closeFrame(c.out, mark)
			return
		}
		p.state = briefState(p.state)
	}
}

// accept queues the disposition (receiver, id, settled, accepted). mu.
func (c *Conn) accept(s *Session, id uint32) {
	switch a := &c.ack; {
	case a.s == s && id == a.last+1:
		a.last = id
	case a.s == s && id == a.first-1:
		a.first = id
	default:
		c.flushAck()
		c.ack = ack{s, id, id}
	}
}

func (c *Conn) flushAck() {
	a := c.ack
	if a.s == nil {
		return
	}
	c.ack.s = nil
	if !a.s.localEnded {
		c.putDisposition(a.s.local, dispositionFrame{RoleReceiver, a.first, a.last, true, Accepted{}})
	}
}

// unsent is the number of bytes not yet given to the socket. mu.
func (c *Conn) unsent() int { return len(c.out) + c.pendingSize }

// unlock releases mu, and starts the writer when there is something to write.
func (c *Conn) unlock() {
	if !c.writing && !c.broken && (len(c.out) > 0 || c.ack.s != nil) && c.nc != nil {
		c.writing = true
		c.sentAt = time.Now()
		go c.write()
	}
	c.mu.Unlock()
}

// write is the writer goroutine: it lives until nothing is left to write.
func (c *Conn) write() {
	c.mu.Lock()
	for {
		if c.flushAck(); len(c.out) == 0 || c.broken {
			break
		}
		b := c.out
		c.out, c.spare = c.spare, nil
		c.mu.Unlock()
		_, err := c.nc.Write(b)
		c.mu.Lock()
		c.wrote(b, err)
		if ready := c.takeStarved(); ready != nil {
			c.mu.Unlock()
			for _, l := range ready {
				l.tellCredit(false)
			}
			c.mu.Lock()
		}
	}
	c.writing = false
	recycle(c.out)
	recycle(c.spare)
	c.out, c.spare = nil, nil
	c.wake.Broadcast()
	c.mu.Unlock()
}

// wrote takes note of a finished write. mu.
func (c *Conn) wrote(b []byte, err error) {
	c.sentAt = time.Now()
	if err != nil {
		c.broken, c.writeErr = true, err
		c.out, c.ack.s = nil, nil
		c.end(err)
		go c.nc.Close() // the reader finds out by it
	}
	if cap(b) <= keepBuffer {
		c.spare = b[:0]
	}
	if c.paused {
		c.wake.Broadcast()
	}
}

func recycle(b []byte) {
	if cap(b) == bigBuffer {
		buffers.Put((*[bigBuffer]byte)(b[:bigBuffer]))
	}
}
