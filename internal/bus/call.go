package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// RemoteError is what a handler given to Serve returned.
type RemoteError struct{ Text string }

// Error returns the text of the handler's error.
func (e *RemoteError) Error() string { return e.Text }

// Handler answers calls; in is JSON, the result is encoded as JSON. It runs on
// a goroutine of its own, and ctx ends with the caller's or with the Bus.
type Handler = func(ctx context.Context, in []byte) (any, error)

// Call sends in as JSON to one node that serves the subject and decodes the
// answer into out, which may be nil. Errors: ErrNobody at once, *RemoteError
// with the text of the far side's error, the error of ctx, ErrUnavailable when
// the Bus closes or has lost the cluster.
func (b *Bus) Call(ctx context.Context, subject string, in, out any) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	data, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("bus: call %s: %w", subject, err)
	}
	var answer []byte
	if h := b.table.server(subject); h != nil {
		answer, err = b.callHere(ctx, h, data)
	} else if b.server == nil {
		answer, err = b.callAway(ctx, subject, data)
	} else {
		err = ErrNobody
	}
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("bus: answer of %s: %w", subject, err)
	}
	return nil
}

type answer struct {
	data []byte
	err  error
}

// callHere runs a handler of this process; the caller need not wait for it
// longer than its ctx allows.
func (b *Bus) callHere(ctx context.Context, h *endpoint, in []byte) ([]byte, error) {
	got := make(chan answer, 1)
	if !b.table.spawn(func() {
		data, err := b.answer(ctx, h, in)
		got <- answer{data, err}
	}) {
		return nil, errClosing
	}
	select {
	case a := <-got:
		switch {
		case a.err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case a.err != nil && b.table.ctx.Err() != nil:
			return nil, errClosing
		}
		return a.data, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *Bus) answer(ctx context.Context, h *endpoint, in []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.table.ctx, cancel)()
	v, err := h.serve(ctx, in)
	if err != nil {
		return nil, &RemoteError{err.Error()}
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, &RemoteError{"bus: answer: " + err.Error()}
	}
	return data, nil
}

// Serve answers calls to the subject until stop. Of several who serve it one is
// asked: the newest in the caller's process, or else any node.
func (b *Bus) Serve(subject string, f func(ctx context.Context, in []byte) (any, error)) (stop func(), err error) {
	return b.attach(subject, &endpoint{serve: f})
}

// Listen gives f each wake-up told to the subject until stop. f runs on a
// goroutine of the Bus, in order for one subject and this node; while it runs
// other wake-ups wait or get lost, so it must be quick.
func (b *Bus) Listen(subject string, f func(in []byte)) (stop func(), err error) {
	return b.attach(subject, &endpoint{listen: f})
}

func (b *Bus) attach(subject string, e *endpoint) (func(), error) {
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	if err := b.table.add(subject, e); err != nil {
		return nil, err
	}
	if b.server == nil {
		if err := b.subjects.attach(b, subject, e); err != nil {
			b.table.remove(subject, e)
			return nil, err
		}
	}
	return sync.OnceFunc(func() {
		b.table.remove(subject, e)
		if sub := e.sub.Load(); sub != nil {
			// A call that is on its way still arrives, and is told that nobody serves it.
			sub.Drain()
		}
	}), nil
}

// Tell wakes everybody who listens to the subject, on all nodes, with v as
// JSON. It never blocks; what finds a receiver busy is dropped, so receivers
// re-read the state they were told about.
func (b *Bus) Tell(subject string, v any) {
	data, err := json.Marshal(v)
	if err == nil {
		err = checkSubject(subject)
	}
	if err != nil {
		b.o.Log.Error("wake-up not sent", "node", b.o.Node, "subject", subject, "error", err)
		return
	}
	if b.server != nil {
		b.table.tell(subject, data)
		return
	}
	if err := b.write.Publish(tellPrefix+subject, data); err != nil {
		b.lost.Add(1)
	}
}

var errClosing = errors.Join(ErrUnavailable, errors.New("bus: closed"))
