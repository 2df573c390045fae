package bus

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/nave-hub/nave"
)

const (
	backlog     = 8 << 20 // bytes of a partition that wait for the disk before Append waits
	backlogWait = 10 * time.Second
)

var errBehind = fmt.Errorf("%w: the log is behind", ErrUnavailable)

// part is one partition. Appenders fill the open batch under mu; the goroutine
// run takes it when nothing is in flight.
type part struct {
	// Set by newPart and start, then read only:
	log     *Log
	index   int
	stream  string
	subject string
	inbox   string
	acks    chan *nats.Msg
	subs    []*nats.Subscription
	wake    chan struct{} // has a token when run may have something to do
	ended   chan struct{} // closed when run has ended
	tail    tail

	// Guarded by mu:
	mu      sync.Mutex
	open    *batch
	queue   []*batch // closed batches before open
	bytes   int      // in queue and open
	room    chan struct{}
	started bool
	closed  bool
	last    lastBatch

	// Owned by run:
	timer      *time.Timer
	reply      string    // where the acknowledgement of the batch in flight arrives
	sent       time.Time // when it was published last, zero when that failed
	reconnects uint64    // of the connection until then
}

// lastBatch is what is known of the newest batch. With count 0 the events of
// the batch are gone or damaged, and first is the number that follows.
type lastBatch struct {
	seq   uint64
	first int64 // sequence number of its first event
	count int
	at    int64
}

func newPart(l *Log, index int) *part {
	n := strconv.Itoa(index)
	return &part{
		log: l, index: index, stream: streamName(l.name, index), subject: logPrefix + Word(l.name) + "." + n,
		inbox: "nave.ack." + l.bus.id + "." + Word(l.name) + "." + n + ".",
		acks:  make(chan *nats.Msg, 16), wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

func (p *part) start() error {
	b := p.log.bus
	sub, err := b.write.ChanSubscribe(p.inbox+"*", p.acks)
	if err != nil {
		return err
	}
	p.subs = append(p.subs, sub)
	if b.server == nil {
		// Other nodes append as well and tell how far they got.
		sub, err := b.read.Subscribe(tailPrefix+Word(p.log.name)+"."+strconv.Itoa(p.index), func(m *nats.Msg) {
			if seq, err := strconv.ParseUint(string(m.Data), 10, 64); err == nil {
				p.tail.set(seq)
			}
		})
		if err != nil {
			return err
		}
		p.subs = append(p.subs, sub)
	}
	p.mu.Lock()
	p.started = true
	p.mu.Unlock()
	p.timer = time.NewTimer(time.Hour)
	go p.run()
	return nil
}

func (p *part) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.nudge()
}

func (p *part) wait() {
	if p.started {
		<-p.ended
	}
	for _, s := range p.subs {
		s.Unsubscribe()
	}
}

func (p *part) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *part) append(e *nave.Event, done func(error)) {
	size := eventBound(e)
	var err error
	if size > p.log.max {
		err = fmt.Errorf("bus: event of %d bytes, a log takes up to %d", size, p.log.max)
	}
	if !p.enter() {
		go done(errClosing)
		return
	}
	if err == nil {
		err = p.fit(size, 1)
	}
	if err == nil {
		p.open.add(e)
	}
	p.leave(done, err)
}

// appendAll keeps the events together when they fit one batch, and must when
// they are of one device.
func (p *part) appendAll(events []*nave.Event, done func(error)) {
	total, one := 0, true
	for _, e := range events {
		total += eventBound(e)
		one = one && e.From.Device == events[0].From.Device
	}
	if len(events) > batchMax || total > p.log.max {
		if one {
			err := fmt.Errorf("bus: %d events of %d bytes for one device, a log takes up to %d and %d together", len(events), total, batchMax, p.log.max)
			p.refuse(done, err)
			return
		}
		done = countdown(len(events), done)
		for _, e := range events {
			p.append(e, done)
		}
		return
	}
	if !p.enter() {
		go done(errClosing)
		return
	}
	err := p.fit(total, len(events))
	if err == nil {
		for _, e := range events {
			p.open.add(e)
		}
	}
	p.leave(done, err)
}

// refuse lets done run in its turn.
func (p *part) refuse(done func(error), err error) {
	if !p.enter() {
		go done(errClosing)
		return
	}
	p.leave(done, err)
}

// enter takes the lock; false, without it, when the partition is closed.
func (p *part) enter() bool {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return false
	}
	if p.open == nil {
		p.open = newBatch()
	}
	return true
}

// fit makes the open batch one with room for size bytes more, waiting when too
// much is in front of it. The lock is held before and after.
func (p *part) fit(size, count int) error {
	if p.bytes+size > backlog && len(p.queue) > 0 {
		if err := p.waitRoom(size); err != nil {
			return err
		}
	}
	if p.open.count > 0 && (len(p.open.buf)+size > p.log.full || p.open.count+count > batchMax) {
		p.queue = append(p.queue, p.open)
		p.open = newBatch()
	}
	return nil
}

func (p *part) waitRoom(size int) error {
	timer := time.NewTimer(backlogWait)
	defer timer.Stop()
	for p.bytes+size > backlog && len(p.queue) > 0 {
		if p.room == nil {
			p.room = make(chan struct{})
		}
		room := p.room
		p.mu.Unlock()
		late := false
		select {
		case <-room:
		case <-timer.C:
			late = true
		}
		p.mu.Lock()
		if p.open == nil {
			p.open = newBatch()
		}
		if late {
			return errBehind
		}
		if p.closed {
			return errClosing
		}
	}
	return nil
}

// leave notes who waits for what was added and gives the lock back.
func (p *part) leave(done func(error), err error) {
	first := len(p.open.dones) == 0 && len(p.queue) == 0
	p.open.dones = append(p.open.dones, settle{done, err})
	p.recount()
	p.mu.Unlock()
	if first {
		p.nudge()
	}
}

func (p *part) recount() {
	p.bytes = len(p.open.buf)
	for _, b := range p.queue {
		p.bytes += len(b.buf)
	}
}
