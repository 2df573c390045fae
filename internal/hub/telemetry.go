package hub

import (
	"context"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
)

var opSend = gate.Op{Name: "telemetry.send", Own: true, Right: nave.DeviceConnect, Rate: "d2cSend", Kind: gate.Stream, Charge: gate.Chunks}

// securityAgent is the interface of security messages, which never reach the
// built-in log (device-protocols 5.2).
const securityAgent = "urn:azureiot:security:securityagent:1"

// Send takes a telemetry message. done runs once, from any goroutine: nil when
// the message is on disk, ErrSilent when the sender must not get any answer
// (device-protocols 6.1), otherwise a fault. Messages of one line are stored in
// the order of the calls, and their done functions run in that order. It may
// block while the hub holds the sender back.
func (l *Line) Send(m *nave.Message, done func(error)) {
	l.speak()
	if l.hub.o.DeviceFaults && l.misbehave(m, done) {
		return
	}
	e, err := l.accept(m)
	if err != nil {
		done(err)
		return
	}
	if e == nil {
		done(nil)
		return
	}
	h, size := l.hub, m.Size()
	h.events.Append(e, func(err error) {
		if err != nil {
			done(logFault(err))
			return
		}
		h.gate.Charge(&opSend, size)
		done(nil)
	})
}

// SendBatch takes several messages as one: all are stored or none. Their sizes
// count together (hub-semantics 4.2).
func (l *Line) SendBatch(batch []*nave.Message, done func(error)) {
	l.speak()
	total := 0
	for _, m := range batch {
		total += m.Size()
		if l.hub.o.DeviceFaults && l.misbehave(m, done) {
			return
		}
	}
	if limit := l.hub.o.Limits.D2C; total > limit {
		done(fault.MessageTooLarge.Over("d2c.maxSize", limit, total, "the batch is too large"))
		return
	}
	events := make([]*nave.Event, 0, len(batch))
	for _, m := range batch {
		e, err := l.accept(m)
		if err != nil {
			done(err)
			return
		}
		if e != nil {
			events = append(events, e)
		}
	}
	h := l.hub
	h.events.AppendAll(events, func(err error) {
		if err != nil {
			done(logFault(err))
			return
		}
		for _, m := range batch {
			h.gate.Charge(&opSend, m.Size())
		}
		done(nil)
	})
}

// accept checks and stamps one message; a nil event means accepted but not for
// the log.
func (l *Line) accept(m *nave.Message) (*nave.Event, error) {
	if err := l.hub.gate.Enter(l.hub.ctx, l.who, l.id, &opSend, m.Size()); err != nil {
		return nil, err
	}
	if err := m.CheckD2C(&l.hub.o.Limits); err != nil {
		return nil, err
	}
	if m.System.Interface != "" && strings.EqualFold(m.System.Interface, securityAgent) {
		return nil, nil
	}
	e := &nave.Event{Message: *m, Source: nave.Telemetry, From: l.id, Generation: l.who.Generation,
		Auth: l.who.Auth, Model: l.modelID(), Enqueued: l.hub.now()}
	e.DropForged()
	return e, nil
}

// speak notes that the device has said something: its connection is news now.
func (l *Line) speak() {
	l.touch()
	if l.peer != nil && !l.spoke.Load() && !l.spoke.Swap(true) {
		l.hub.mu.Lock()
		if l.hub.seats[l.id] != nil {
			l.hub.news[l.id] = state{connected: true, was: l.hub.news[l.id].was}
		}
		l.hub.mu.Unlock()
	}
}

func logFault(err error) error {
	return fault.ServiceUnavailable.Wrap(err, "the event log takes no events now, nothing was stored")
}

var opEvents = gate.Op{Name: "events.read", Right: nave.ServiceConnect}

// EventReader follows one partition of the event log.
type EventReader struct{ *bus.Reader }

// Partitions returns how many partitions the event log has.
func (h *Hub) Partitions() int { return h.events.Partitions() }

// Events opens a reader of one partition. PartitionNotFound names the number of
// partitions.
func (b *Backend) Events(ctx context.Context, partition int, from nave.Position) (*EventReader, error) {
	if err := b.enter(ctx, nave.ID{}, &opEvents, 0); err != nil {
		return nil, err
	}
	if err := b.checkPartition(partition); err != nil {
		return nil, err
	}
	r, err := b.hub.events.Read(partition, from)
	if err != nil {
		return nil, fault.ServiceUnavailable.Wrap(err, "the event log can't be read now")
	}
	return &EventReader{r}, nil
}

func (b *Backend) checkPartition(partition int) error {
	if n := b.hub.events.Partitions(); partition < 0 || partition >= n {
		return fault.PartitionNotFound.New("partition %d does not exist, the log has the partitions 0 to %d", partition, n-1)
	}
	return nil
}

// PartitionInfo returns what the log knows of one partition.
func (b *Backend) PartitionInfo(ctx context.Context, partition int) (bus.Info, error) {
	if err := b.enter(ctx, nave.ID{}, &opEvents, 0); err != nil {
		return bus.Info{}, err
	}
	if err := b.checkPartition(partition); err != nil {
		return bus.Info{}, err
	}
	info, err := b.hub.events.Info(partition)
	if err != nil {
		err = fault.ServiceUnavailable.Wrap(err, "the event log can't be read now")
	}
	return info, err
}
