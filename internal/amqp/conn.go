package amqp

import (
	"net"
	"sync"
	"time"
)

// Handler is the application behind one connection. Its methods are called on
// the read goroutine, without locks, and must not block.
type Handler interface {
	// Attach is called for each link the peer wants. The application sets the
	// fields it cares about and calls l.Accept or l.Refuse, once, now or later
	// and from any goroutine. Until then the peer has no credit.
	Attach(l *Link)
	// Closed is called exactly once, after the OnDetach of every link. cause is
	// nil when either side closed without an error, the *Error of the CLOSE
	// otherwise, or what broke the connection.
	Closed(cause error)
}

// Opener is a Handler that wants to see the peer's OPEN before it is answered.
type Opener interface {
	// Opened is called once; a result that is not nil closes the connection.
	Opened(c *Conn) *Error
}

// Conn is one AMQP connection. The package comment tells which goroutines touch
// it; methods whose comment says "mu" are called with mu held.
type Conn struct {
	// Set by Serve or Open, then read only:
	nc     net.Conn
	o      Options
	h      Handler
	client *ClientOptions // nil on the server
	start  time.Time
	done   chan struct{}
	ready  chan struct{} // closed when the peer's OPEN has arrived

	// Set by the peer's OPEN, read only after ready:
	peer openFrame

	// Owned by the read goroutine:
	in inbox

	// Guarded by mu:
	mu          sync.Mutex
	wake        sync.Cond // writer gone, backlog smaller, or over
	phase       phase
	cause       error // why it ends; valid when causeKnown
	causeKnown  bool
	paused      bool // the reader waits for the backlog
	timer       *time.Timer
	closeBy     time.Time
	maxOut      int           // greatest frame the peer takes
	beat        time.Duration // between frames of ours
	locals      []*Session    // by our channel
	remotes     map[uint16]*Session
	links       int
	sessions    int
	retained    int // bytes of links and unfinished deliveries
	held        int // deliveries the application has not answered
	heldBytes   int // their payloads
	outs        int // deliveries the peer has not settled
	starved     []*Link
	pendingSize int // bytes of deliveries waiting for a session window
	events      []event
	outbox
}

type phase uint8

const (
	opening phase = iota // until both OPENs are exchanged
	open
	closing // our CLOSE is out, what the peer sends is ignored
	closed
)

func newConn(nc net.Conn, o Options, h Handler) *Conn {
	c := &Conn{nc: nc, o: o.complete(), h: h, start: time.Now(), done: make(chan struct{}), ready: make(chan struct{})}
	c.in.nc, c.in.start = nc, c.start
	c.wake.L = &c.mu
	c.maxOut = minMaxFrame
	c.beat = heartbeatDefault
	return c
}

// ContainerID returns the peer's container id.
func (c *Conn) ContainerID() string { return c.peer.container }

// Hostname returns the host name of the peer's OPEN.
func (c *Conn) Hostname() string { return c.peer.hostname }

// Properties returns the properties of the peer's OPEN.
func (c *Conn) Properties() Map { return c.peer.properties }

// Desired returns the desired capabilities of the peer's OPEN.
func (c *Conn) Desired() []Symbol { return c.peer.desired }

// NetConn returns the connection given to Serve or Open, to ask for addresses and TLS state.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Done returns a channel that is closed after Handler.Closed has returned.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close sends CLOSE, with err unless it is nil, waits in the background for the
// peer's CLOSE, no longer than Options.CloseTimeout, and then closes the socket.
func (c *Conn) Close(err *Error) {
	c.mu.Lock()
	defer c.unlock()
	if c.phase == opening {
		c.end(ErrClosed)
		go c.nc.Close()
		return
	}
	if err != nil {
		c.end(err)
	} else {
		c.end(nil)
	}
	c.sendClose(err)
}

// Abort closes the socket at once, on TCP with a reset.
func (c *Conn) Abort() {
	c.mu.Lock()
	c.end(ErrAborted)
	c.unlock()
	c.reset()
}

// Kill is Abort once what is queued has been written; a peer that does not read
// gets Options.CloseTimeout.
func (c *Conn) Kill() {
	c.nc.SetWriteDeadline(time.Now().Add(c.o.CloseTimeout))
	c.mu.Lock()
	for c.writing {
		c.wake.Wait()
	}
	c.mu.Unlock()
	c.Abort()
}

func (c *Conn) reset() {
	nc := c.nc
	for { // a WebSocket may lie on TLS, and that on TCP
		t, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc = t.NetConn()
	}
	if t, ok := nc.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0)
	}
	nc.Close()
}

// end records why the connection ends; the first reason stays. mu.
func (c *Conn) end(cause error) {
	if !c.causeKnown {
		c.cause, c.causeKnown = cause, true
	}
}

// fail closes the connection because of an error of the peer. mu.
func (c *Conn) fail(err *Error) {
	c.end(err)
	c.sendClose(err)
}

// sendClose sends our CLOSE, once. mu.
func (c *Conn) sendClose(err *Error) {
	if c.phase >= closing {
		return
	}
	if c.phase == opening && c.client == nil {
		c.sendOpen() // 2.4.6: nobody may close what he has not opened
	}
	c.phase = closing
	c.putEnd(0, descClose, err)
	c.closeBy = time.Now().Add(c.o.CloseTimeout)
	c.arm()
	c.wake.Broadcast()
}

// opened handles the peer's OPEN (2.7.1). mu.
func (c *Conn) opened(o *openFrame) *Error {
	if c.peer.container != "" || c.phase != opening {
		return Errorf(IllegalState, "second open")
	}
	if c.client == nil {
		c.sendOpen()
	}
	c.phase = open
	if o.maxFrame < minMaxFrame {
		return Errorf(InvalidField, "max-frame-size %d is less than %d", o.maxFrame, minMaxFrame)
	}
	c.maxOut = int(min(o.maxFrame, bigBuffer))
	idle := time.Duration(o.idle) * time.Millisecond
	if idle > 0 {
		if idle < c.o.MinPeerIdle {
			return Errorf(InvalidField, "idle-time-out %v is less than %v", idle, c.o.MinPeerIdle)
		}
		c.beat = idle / 2
	}
	c.peer = *o
	c.arm()
	c.events = append(c.events, event{kind: evOpened})
	return nil
}

func (c *Conn) sendOpen() {
	o := openFrame{container: c.o.ContainerID, hostname: c.o.Hostname, maxFrame: c.o.MaxFrame,
		channelMax: c.o.ChannelMax, idle: uint32(c.o.IdleTimeout / time.Millisecond), offered: c.o.Offered, properties: c.o.Properties}
	mark := c.begin(0)
	c.out = o.append(c.out)
	c.out = closeFrame(c.out, mark)
}
