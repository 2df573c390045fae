package amqp

// Session carries links between two channels of a connection (2.5).
type Session struct {
	// App is the application's own.
	App any

	// Set when the session appears, then read only:
	c     *Conn
	local uint16 // our channel

	// Guarded by Conn.mu:
	remote      uint16 // the peer's channel, when remoteBegun
	remoteBegun bool
	localEnded  bool
	remoteEnded bool
	cause       error // why it ended
	handleMax   uint32
	links       map[uint32]*Link   // by the peer's handle
	names       map[linkName]*Link // links that are not being detached
	handles     []*Link            // by our handle
	freeHandles []uint32
	errant      map[uint32]struct{} // handles whose links we closed with an error
	window
	nextDelivery uint32               // id of the next delivery we send
	outs         map[uint32]*Out      // sent, not settled by the peer
	held         map[uint32]*Delivery // received unsettled, not settled yet
}

// linkName scopes names to the session and the direction (2.6.1).
type linkName struct {
	name string
	role Role
}

const maxErrant = 64

// Conn returns the connection of the session.
func (s *Session) Conn() *Conn { return s.c }

// Channel returns our channel number, which tells sessions of a connection apart.
func (s *Session) Channel() uint16 { return s.local }

// End ends the session and with it all its links; err may be nil. Their
// OnDetach runs when the peer has answered.
func (s *Session) End(err *Error) {
	s.c.mu.Lock()
	defer s.c.unlock()
	s.end(err)
}

// end sends END. mu.
func (s *Session) end(err *Error) {
	if s.localEnded || s.c.phase != open {
		return
	}
	s.cause = orNil(err)
	s.c.putEnd(s.local, descEnd, err)
	s.localEnded = true
}

// alive reports whether frames may still be sent. mu.
func (s *Session) alive() bool { return !s.localEnded && s.c.phase == open }

// newSession makes a session with the lowest free channel of ours. mu.
func (c *Conn) newSession() *Session {
	s := &Session{c: c, handleMax: 1<<32 - 1, nextDelivery: 1}
	s.window = window{inLeft: c.o.IncomingWindow, nextOut: 1}
	for i := range c.locals {
		if c.locals[i] == nil {
			s.local = uint16(i)
			c.locals[i] = s
			return s
		}
	}
	s.local = uint16(len(c.locals))
	c.locals = append(c.locals, s)
	return s
}

// begun handles the peer's BEGIN. mu.
func (c *Conn) begun(channel uint16, p *beginFrame) *Error {
	if p.hasRemote {
		return c.beginAnswered(channel, p)
	}
	// Room is kept for refused sessions the peer has not ended yet.
	if c.sessions >= c.o.MaxSessions+16 || len(c.locals) > int(c.peer.channelMax) && !c.freeChannel() {
		return Errorf(ResourceLimitExceeded, "more than %d sessions", c.o.MaxSessions)
	}
	s := c.newSession()
	c.bind(s, channel, p)
	s.sendBegin()
	if c.sessions > c.o.MaxSessions {
		s.end(Errorf(ResourceLimitExceeded, "more than %d sessions", c.o.MaxSessions))
	}
	return nil
}

func (c *Conn) freeChannel() bool {
	for _, s := range c.locals {
		if s == nil {
			return true
		}
	}
	return false
}

// bind connects a session to the peer's channel. mu.
func (c *Conn) bind(s *Session, channel uint16, p *beginFrame) {
	s.remote, s.remoteBegun = channel, true
	s.handleMax = p.handleMax
	s.nextIn, s.peerWindow = p.nextOut, p.inWindow
	if c.remotes == nil {
		c.remotes = map[uint16]*Session{}
	}
	c.remotes[channel] = s
	c.sessions++
}

// beginAnswered handles the answer to a BEGIN of ours. mu.
func (c *Conn) beginAnswered(channel uint16, p *beginFrame) *Error {
	if int(p.remote) >= len(c.locals) || c.locals[p.remote] == nil || c.locals[p.remote].remoteBegun {
		return Errorf(IllegalState, "begin answers channel %d, which asked for nothing", p.remote)
	}
	s := c.locals[p.remote]
	c.bind(s, channel, p)
	return nil
}

func (s *Session) sendBegin() {
	c := s.c
	mark := c.begin(s.local)
	p := beginFrame{remote: s.remote, hasRemote: s.remoteBegun, nextOut: s.nextOut,
		inWindow: s.inLeft, outWindow: c.o.IncomingWindow, handleMax: c.o.HandleMax}
	c.out = closeFrame(p.append(c.out), mark)
}

// receive handles a frame on the session. An error of the result ends the
// connection; errors that end only the session or a link are dealt with here. mu.
func (s *Session) receive(desc uint64, d *decoder, fs *fields) error {
	var fault *Error
	switch desc {
	case descTransfer:
		var p transferFrame
		p.parse(fs)
		if err := d.end(fs); err != nil {
			return err
		}
		if !s.localEnded {
			fault = s.transfer(&p, d.b)
		}
	case descFlow:
		var p flowFrame
		p.parse(fs)
		if err := d.end(fs); err != nil {
			return err
		}
		if !s.localEnded {
			fault = s.flow(&p)
		}
	case descDisposition:
		var p dispositionFrame
		p.parse(fs)
		if err := d.end(fs); err != nil {
			return err
		}
		if !s.localEnded {
			fault = s.disposition(&p)
		}
	default:
		return s.receiveRare(desc, d, fs)
	}
	if fault != nil {
		s.end(fault)
	}
	return nil
}

func (s *Session) receiveRare(desc uint64, d *decoder, fs *fields) error {
	var fault *Error
	switch desc {
	case descAttach:
		var p attachFrame
		size := len(fs.b)
		p.parse(fs)
		if err := d.end(fs); err != nil {
			return err
		}
		if p.handle > s.c.o.HandleMax {
			// 2.7.3: a handle out of range is a framing error of the connection.
			return Errorf(FramingError, "handle %d exceeds handle-max %d", p.handle, s.c.o.HandleMax)
		}
		if !s.localEnded {
			var err error
			if fault, err = s.attach(&p, size+48*p.values); err != nil {
				return err
			}
		}
	case descDetach:
		var p detachFrame
		p.parse(fs)
		if err := d.end(fs); err != nil {
			return err
		}
		if !s.localEnded {
			fault = s.detached(&p)
		}
	case descEnd:
		var p endFrame
		p.parse(fs)
		if err := d.end(fs); err != nil {
			return err
		}
		s.ended(p.err)
	}
	if fault != nil {
		s.end(fault)
	}
	return nil
}

// ended handles the peer's END. mu.
func (s *Session) ended(err *Error) {
	s.remoteEnded = true
	if !s.localEnded {
		s.cause = orNil(err)
		s.c.putEnd(s.local, descEnd, nil)
		s.localEnded = true
	}
	s.lose(s.cause)
	delete(s.c.remotes, s.remote)
	s.c.locals[s.local] = nil
	s.c.sessions--
	s.c.wakeStarved()
}

// lose ends all links of a session that is over. mu.
func (s *Session) lose(cause error) {
	s.localEnded = true
	for _, l := range s.handles {
		if l != nil {
			l.lose(cause)
		}
	}
}
