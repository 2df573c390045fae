package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Subjects on the cluster; all of them start with nave.
const (
	callPrefix = "nave.call."
	tellPrefix = "nave.tell."
	tailPrefix = "nave.tail."
	logPrefix  = "nave.log."

	headerWait  = "Nave-Wait"  // milliseconds the caller waits
	headerError = "Nave-Error" // "remote", "nobody", "closing" or "late"; the body is the text

	inboxSize = 64 << 10
	flushWait = 5 * time.Second
)

// errMoved says that an endpoint stopped while the call was under way to it.
var errMoved = errors.New("bus: no longer served there")

// subscriptions brings messages of the cluster to the table. All endpoints
// share two channels, since a subscription with a goroutine of its own costs
// too much at one or more a device.
type subscriptions struct {
	calls, tells chan *nats.Msg
}

func (s *subscriptions) start(b *Bus) error {
	s.calls, s.tells = make(chan *nats.Msg, inboxSize), make(chan *nats.Msg, inboxSize)
	b.work.Go(func() {
		for {
			select {
			case m := <-s.calls:
				b.serveAway(m)
			case m := <-s.tells:
				b.table.tell(strings.TrimPrefix(m.Subject, tellPrefix), m.Data)
			case <-b.closing:
				for len(s.calls) > 0 {
					b.serveAway(<-s.calls)
				}
				return
			}
		}
	})
	return nil
}

// stop ends all subscriptions; what the servers sent before that is in the
// channels when it returns.
func (s *subscriptions) stop(b *Bus) {
	if s.calls == nil || !b.write.IsConnected() {
		return
	}
	for _, sub := range b.table.subscriptions() {
		sub.Drain()
	}
	b.flush()
}

// flush waits for the servers to have seen what was published.
func (b *Bus) flush() {
	if err := b.write.FlushTimeout(flushWait); err != nil {
		b.o.Log.Warn("bus connection", "node", b.o.Node, "error", err)
	}
}

func (s *subscriptions) attach(b *Bus, subject string, e *endpoint) error {
	// One subscription an endpoint would deliver a wake-up to each endpoint once
	// for each of them; the queue group of this Bus makes it one.
	name, group, to := tellPrefix+subject, b.id, s.tells
	if e.serve != nil {
		name, group, to = callPrefix+subject, "nave", s.calls
	}
	sub, err := b.write.ChanQueueSubscribe(name, group, to)
	if err != nil {
		return fmt.Errorf("bus: %s: %w", subject, errors.Join(ErrUnavailable, err))
	}
	e.sub.Store(sub)
	// Whoever hears of this endpoint may call it at once.
	if err := b.write.FlushTimeout(flushWait); err != nil {
		sub.Unsubscribe()
		return fmt.Errorf("bus: %s: %w", subject, errors.Join(ErrUnavailable, err))
	}
	return nil
}

// callAway asks another node, and the next one when the first has just stopped
// serving without having run anything.
func (b *Bus) callAway(ctx context.Context, subject string, in []byte) (out []byte, err error) {
	for range 3 {
		if out, err = b.callOnce(ctx, subject, in); !errors.Is(err, errMoved) {
			return out, err
		}
	}
	return nil, ErrNobody
}

func (b *Bus) callOnce(ctx context.Context, subject string, in []byte) ([]byte, error) {
	m := nats.NewMsg(callPrefix + subject)
	m.Data = in
	if end, ok := ctx.Deadline(); ok {
		m.Header.Set(headerWait, strconv.FormatInt(time.Until(end).Milliseconds(), 10))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.table.ctx, cancel)()
	got, err := b.write.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, ErrNobody
	case b.table.ctx.Err() != nil:
		return nil, errClosing
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("bus: call %s: %w", subject, errors.Join(ErrUnavailable, err))
	}
	switch got.Header.Get(headerError) {
	case "":
		return got.Data, nil
	case "nobody":
		return nil, errMoved
	case "closing":
		return nil, fmt.Errorf("%w: call %s: the node that served it has stopped", ErrUnavailable, subject)
	case "late":
		return nil, context.DeadlineExceeded
	}
	return nil, &RemoteError{string(got.Data)}
}

// serveAway answers a call of another node.
func (b *Bus) serveAway(m *nats.Msg) {
	reply := func(data []byte, fail string) {
		r := &nats.Msg{Subject: m.Reply, Data: data}
		if fail != "" {
			r.Header = nats.Header{headerError: {fail}}
		}
		if err := b.write.PublishMsg(r); err != nil {
			b.o.Log.Warn("answer not sent", "node", b.o.Node, "subject", m.Subject, "error", err)
		}
	}
	h := b.table.server(strings.TrimPrefix(m.Subject, callPrefix))
	ok := h != nil && b.table.spawn(func() {
		ctx, cancel := b.table.ctx, context.CancelFunc(func() {})
		if ms, err := strconv.ParseInt(m.Header.Get(headerWait), 10, 64); err == nil {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		}
		defer cancel()
		data, err := b.answer(ctx, h, m.Data)
		switch {
		case err != nil && b.table.ctx.Err() != nil:
			reply(nil, "closing")
		case err != nil && ctx.Err() != nil:
			reply(nil, "late")
		case err != nil:
			reply([]byte(err.Error()), "remote")
		case int64(len(data)) > b.write.MaxPayload():
			reply(fmt.Appendf(nil, "bus: answer of %d bytes, the servers carry up to %d", len(data), b.write.MaxPayload()), "remote")
		default:
			reply(data, "")
		}
	})
	if !ok {
		reply(nil, "nobody") // stopped while the call was under way
	}
}
