package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	ackWait  = time.Minute            // embedded: how long a sync may take
	lookWait = 500 * time.Millisecond // embedded: without an answer for so long, the storage is looked at
	tryAgain = 100 * time.Millisecond // cluster: how often the connection is looked at
	tryWait  = 5 * time.Second        // cluster: one attempt
	tryLast  = 20 * time.Second       // cluster: all of them
)

var errSlow = errors.New("bus: no acknowledgement in time")

// take returns the next batch, nil when there is none.
func (p *part) take() (b *batch, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.queue) > 0:
		b = p.queue[0]
		p.queue = append(p.queue[:0], p.queue[1:]...)
	case p.open != nil && len(p.open.dones) > 0:
		b, p.open = p.open, nil
	}
	if b != nil {
		p.bytes -= len(b.buf)
		if p.room != nil {
			close(p.room)
			p.room = nil
		}
	}
	return b, p.closed
}

// run commits batches until the partition is closed and nothing is left. The
// next batch is on its way before the callers of the last one are told.
func (p *part) run() {
	defer close(p.ended)
	for {
		b, closed := p.take()
		if b == nil {
			if closed {
				return
			}
			<-p.wake
			continue
		}
		err := p.send(b)
		for b != nil {
			err = p.await(b, err)
			next, _ := p.take()
			var sent error
			if next != nil {
				sent = p.send(next)
			}
			for _, s := range b.dones {
				s.done(either(s.err, err))
			}
			b.free()
			b, err = next, sent
		}
	}
}

func either(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// send publishes b.
func (p *part) send(b *batch) error {
	if b.count == 0 {
		return nil
	}
	bus := p.log.bus
	if sick, _ := bus.state(); sick != nil {
		return sick
	}
	p.reply = p.inbox + strconv.FormatUint(p.log.replies.Add(1), 36)
	b.seal(p.number())
	if err := p.publish(b); err != nil && bus.server != nil {
		return bus.fail(err)
	}
	return nil
}

// number returns the sequence number of the next event, or byStream.
func (p *part) number() int64 {
	if p.log.bus.server == nil {
		return byStream
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.first + int64(p.last.count)
}

func (p *part) publish(b *batch) error {
	bus := p.log.bus
	m := nats.Msg{Subject: p.subject, Reply: p.reply, Data: b.buf}
	if bus.server == nil {
		// A second attempt must not store the batch twice.
		m.Header = nats.Header{nats.MsgIdHdr: {p.reply}}
		p.reconnects = bus.write.Stats().Reconnects
	}
	p.sent = time.Now()
	err := bus.write.PublishMsg(&m)
	if err != nil {
		p.sent = time.Time{}
	}
	return err
}

// await returns when b is durable or failed.
func (p *part) await(b *batch, err error) error {
	if b.count == 0 || err != nil {
		return err
	}
	bus := p.log.bus
	tick, late := lookWait, ackWait
	if bus.server == nil {
		tick, late = tryAgain, tryLast
	}
	end := time.Now().Add(late)
	_, down := bus.state()
	for {
		p.timer.Reset(tick)
		select {
		case m := <-p.acks:
			if m.Subject != p.reply {
				continue // of an attempt given up
			}
			seq, again, err := parseAck(m)
			switch {
			case err == nil:
				p.committed(b, seq)
				return nil
			case !again || bus.server != nil:
				return bus.fail(err)
			}
			p.sent = time.Time{}
		case <-p.timer.C:
			if err := p.overdue(b, end); err != nil {
				return bus.fail(err)
			}
		case <-down:
			sick, _ := bus.state()
			return either(sick, errBehind)
		}
	}
}

// overdue deals with a missing acknowledgement: the embedded storage is looked
// at, since JetStream does not answer at all when it can't write, and a cluster
// is given the batch again.
func (p *part) overdue(b *batch, end time.Time) error {
	bus := p.log.bus
	if time.Now().After(end) {
		return errSlow
	}
	if bus.server != nil {
		return bus.server.check(p.stream)
	}
	lost := p.sent.IsZero() || time.Since(p.sent) > tryWait || p.reconnects != bus.write.Stats().Reconnects
	if lost && bus.write.IsConnected() {
		_ = p.publish(b) // what fails shows at the next look
	}
	return nil
}

func (p *part) committed(b *batch, seq uint64) {
	p.mu.Lock()
	first := b.first
	if first == byStream {
		first = streamFirst(seq)
	}
	p.last = lastBatch{seq, first, b.count, b.last}
	p.mu.Unlock()
	p.tail.set(seq)
	if bus := p.log.bus; bus.server == nil {
		bus.write.Publish(tailPrefix+Word(p.log.name)+"."+strconv.Itoa(p.index), strconv.AppendUint(nil, seq, 10))
	}
}

// parseAck reads the answer of the server; again says that another attempt may
// succeed.
func parseAck(m *nats.Msg) (seq uint64, again bool, err error) {
	if len(m.Data) == 0 {
		return 0, true, fmt.Errorf("no stream takes the batch (status %s)", m.Header.Get("Status"))
	}
	var a struct {
		Seq   uint64 `json:"seq"`
		Error *struct {
			Code        int    `json:"code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return 0, false, err
	}
	if a.Error != nil {
		return 0, a.Error.Code >= 500, errors.New(a.Error.Description)
	}
	if a.Seq == 0 {
		return 0, false, errors.New("acknowledgement without a sequence number")
	}
	return a.Seq, false, nil
}
