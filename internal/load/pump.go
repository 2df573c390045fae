package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

// drainTimeout is what a server gets at the end for the acknowledgements that are still due.
const drainTimeout = 10 * time.Second

// minSleep keeps an open loop from waking for each packet when the rate is high.
const minSleep = time.Millisecond

const idle = -1

// pump is one connection that publishes. Slot i owns packet identifier i+1 and the i-th of the encoded packets; it is free, or waits for its
// PUBACK. Slots are taken in a circle, and servers acknowledge in order, so that what is sent next is nearly always one piece.
//
// Closed loop: the reader sends again what it saw acknowledged. Open loop: a second goroutine sends what is due, the reader frees slots.
type pump struct {
	// Set by newPump, then read only:
	nc      net.Conn
	packets []byte
	packet  int // bytes of one
	window  int
	base    time.Time // all times below are nanoseconds since it
	from    int64     // what is acknowledged from here
	until   int64     // to here is measured; nothing is sent after it
	byDue   bool      // measured is what was due in this time, not what was acknowledged in it
	count   *counter

	// Guarded by mu, which a closed loop never contends for:
	mu    sync.Mutex
	sent  []int64 // by slot: when, or when due; idle when free
	queue []int   // free slots in the order of their use
	hist  Histogram
	freed chan struct{} // holds one token when a slot became free

	// Owned by the reader:
	open int // closed loop: slots that wait

	stop atomic.Bool // no more sending
}

// counter is shared by all pumps of a run.
type counter struct {
	sent, acked atomic.Int64 // of the whole run
	inTime      atomic.Int64 // of it, what is measured
	unsent      atomic.Int64 // was due, and found no free slot before the end
}

func newPump(nc net.Conn, topic string, payload []byte, qos byte, window int, count *counter) *pump {
	p := &pump{nc: nc, window: window, count: count, sent: make([]int64, window), freed: make(chan struct{}, 1)}
	for i := range window {
		m := mqtt.Publish{Topic: topic, Payload: payload, QoS: qos}
		if qos == 1 {
			m.ID = uint16(i + 1)
		}
		p.packets = m.Append(p.packets)
		p.sent[i] = idle
		p.queue = append(p.queue, i)
	}
	p.packet = len(p.packets) / window
	return p
}

func (p *pump) now() int64 { return int64(time.Since(p.base)) }

// write sends the packets of the slots, adjacent ones together.
func (p *pump) write(slots []int) error {
	for len(slots) > 0 {
		n := 1
		for n < len(slots) && slots[n] == slots[n-1]+1 {
			n++
		}
		if _, err := p.nc.Write(p.packets[slots[0]*p.packet : (slots[n-1]+1)*p.packet]); err != nil {
			return err
		}
		p.count.sent.Add(int64(n))
		slots = slots[n:]
	}
	return nil
}

// closed keeps the window full until the end, and returns when all is acknowledged.
func (p *pump) closed() error {
	now := p.now()
	for i := range p.sent {
		p.sent[i] = now
	}
	all := p.queue
	p.queue = nil
	if err := p.write(all); err != nil {
		return err
	}
	p.open = p.window
	return p.read(func(slots []int, now int64) error {
		if p.open -= len(slots); now >= p.until || p.stop.Load() {
			if p.open == 0 {
				return io.EOF
			}
			return nil
		}
		for _, s := range slots {
			p.sent[s] = now
		}
		p.open += len(slots)
		return p.write(slots)
	})
}

// paced sends by the schedule until the end, and returns when all is acknowledged.
func (p *pump) paced(ctx context.Context, s pace) error {
	p.byDue = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.pace(ctx, s) }()
	err := p.read(func(slots []int, now int64) error {
		p.mu.Lock()
		p.queue = append(p.queue, slots...)
		over := p.stop.Load() && len(p.queue) == p.window
		p.mu.Unlock()
		select {
		case p.freed <- struct{}{}:
		default:
		}
		if over {
			return io.EOF
		}
		return nil
	})
	p.stop.Store(true)
	cancel()
	return errors.Join(err, <-done)
}

// pace is the goroutine that sends.
func (p *pump) pace(ctx context.Context, s pace) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer p.endOfPace()
	batch := make([]int, 0, p.window)
	for i := int64(0); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		now := p.now()
		if p.stop.Load() {
			return nil
		}
		due := s.due(p.base.Add(time.Duration(min(now, p.until-1)))) - i
		batch = p.take(batch[:0], s, i, due)
		i += int64(len(batch))
		if err := p.write(batch); err != nil {
			return err
		}
		if now >= p.until {
			p.count.unsent.Add(due - int64(len(batch)))
			return nil
		}
		if int64(len(batch)) < due {
			select { // no slot is free
			case <-p.freed:
			case <-ctx.Done():
			}
			timer.Reset(0)
			continue
		}
		timer.Reset(min(max(time.Until(s.at(i)), minSleep), time.Duration(p.until-p.now())))
	}
}

// endOfPace lets the reader end as soon as nothing is outstanding.
func (p *pump) endOfPace() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop.Store(true)
	if len(p.queue) == p.window {
		p.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// take gives out free slots for at most n events from number i on, and notes when each was due.
func (p *pump) take(batch []int, s pace, i, n int64) []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = min(n, int64(len(p.queue)))
	batch = append(batch, p.queue[:n]...)
	p.queue = p.queue[:copy(p.queue, p.queue[n:])]
	for k, slot := range batch {
		p.sent[slot] = int64(s.at(i + int64(k)).Sub(p.base))
	}
	return batch
}

// read handles what the server sends; acked gets the slots of each piece that was read, and ends the loop with io.EOF.
func (p *pump) read(acked func(slots []int, now int64) error) error {
	p.nc.SetReadDeadline(p.base.Add(time.Duration(p.until) + drainTimeout))
	buf, r, w := make([]byte, 4096), 0, 0
	slots := make([]int, 0, p.window)
	for {
		n, err := p.nc.Read(buf[w:])
		if w += n; err != nil && n == 0 {
			return p.ended(err)
		}
		now := p.now()
		slots, r, err = p.acks(slots[:0], buf[:w], now)
		if err != nil {
			return err
		}
		w = copy(buf, buf[r:w])
		if len(slots) == 0 {
			continue
		}
		if err := acked(slots, now); err != nil {
			return p.ended(err)
		}
	}
}

// ended turns what ended the reading into an error, nil when that was the plan.
func (p *pump) ended(err error) error {
	p.mu.Lock()
	waiting := 0
	for _, at := range p.sent {
		if at != idle {
			waiting++
		}
	}
	p.mu.Unlock()
	var timeout net.Error
	switch {
	case waiting == 0 && (p.stop.Load() || p.now() >= p.until):
		return nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%d acknowledgements were missing %s after the end", waiting, drainTimeout)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the server closed the connection with %d packets unacknowledged", waiting)
	}
	return err
}

// acks reads PUBACKs, records them and appends their slots; n bytes of b are used up.
func (p *pump) acks(slots []int, b []byte, now int64) (_ []int, n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	measured := int64(0)
	for len(b)-n >= 4 {
		if b[n] != 4<<4 || b[n+1] != 2 {
			return slots, n, p.foreign(b[n:])
		}
		slot := int(binary.BigEndian.Uint16(b[n+2:])) - 1
		if slot < 0 || slot >= p.window || p.sent[slot] == idle {
			return slots, n, fmt.Errorf("PUBACK for identifier %d, which is not outstanding", slot+1)
		}
		if at := p.moment(slot, now); at >= p.from && at < p.until {
			p.hist.Record(time.Duration(now - p.sent[slot]))
			measured++
		}
		p.sent[slot] = idle
		slots = append(slots, slot)
		n += 4
	}
	p.count.acked.Add(int64(len(slots)))
	p.count.inTime.Add(measured)
	return slots, n, nil
}

// moment is what decides whether an acknowledgement is measured.
func (p *pump) moment(slot int, now int64) int64 {
	if p.byDue {
		return p.sent[slot]
	}
	return now
}

func (p *pump) foreign(b []byte) error {
	packet, _, err := mqtt.Parse(b)
	if err != nil && !errors.Is(err, mqtt.ErrShort) {
		return err
	}
	return fmt.Errorf("the server sent %T, which nobody asked for", packet)
}

// flood is QoS 0: the window is written again and again, nothing comes back; with a rate, what is due is.
func (p *pump) flood(ctx context.Context, s *pace) error {
	p.nc.SetWriteDeadline(p.base.Add(time.Duration(p.until) + drainTimeout))
	all := p.queue
	for i := int64(0); ctx.Err() == nil; {
		now := p.now()
		if now >= p.until {
			return nil
		}
		slots := all
		if s != nil {
			due := s.due(p.base.Add(time.Duration(now))) - i
			slots = all[:min(due, int64(len(all)))]
		}
		if err := p.write(slots); err != nil {
			return err
		}
		i += int64(len(slots))
		p.count.acked.Add(int64(len(slots)))
		if now >= p.from {
			p.count.inTime.Add(int64(len(slots)))
		}
		if s != nil && len(slots) < len(all) {
			wait(ctx, max(time.Until(s.at(i)), minSleep))
		}
	}
	return nil
}

// wait sleeps, and says whether ctx lived on.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
