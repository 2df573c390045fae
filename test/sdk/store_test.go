package sdk_test

import (
	"context"
	"fmt"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/hub"
)

// handle returns a device's handle, as the operator of the hub.
func (r *rig) handle(ctx context.Context, name string) (*hub.Line, error) {
	id, err := nave.ParseID(name)
	if err != nil {
		return nil, err
	}
	return r.Hub.Connect(ctx, hub.Operator(), id, hub.Arrival{})
}

type publishArgs struct {
	ID     string
	Bodies []string
	App    map[string]string
	System systemProperties
}

// publish stores telemetry of a device, an event for each body.
func publish(ctx context.Context, d *driver, a publishArgs) (any, error) {
	l, err := d.rig.handle(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	done := make(chan error, len(a.Bodies))
	for _, body := range a.Bodies {
		s := &a.System
		m := &nave.Message{Body: []byte(body), System: nave.System{MessageID: s.MessageID, CorrelationID: s.CorrelationID, UserID: s.UserID,
			ContentType: s.ContentType, ContentEncoding: s.ContentEncoding}}
		for name, value := range a.App {
			m.SetApp(name, value, true)
		}
		l.Send(m, func(err error) { done <- err })
	}
	for range a.Bodies {
		if err := <-done; err != nil {
			return nil, err
		}
	}
	return nave.Partition(l.ID().Device, d.rig.Hub.Partitions()), nil
}

type settleArgs struct{ ID, Verdict string }

var verdicts = map[string]nave.Verdict{"complete": nave.Complete, "abandon": nave.Abandon, "reject": nave.Reject}

// settle has a device take its next message and returns it.
func settle(ctx context.Context, d *driver, a settleArgs) (any, error) {
	l, err := d.rig.handle(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	c, err := l.Receive(ctx, 0)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fmt.Errorf("nothing waits for %s", a.ID)
	}
	v, ok := verdicts[a.Verdict]
	if !ok {
		return nil, fmt.Errorf("the verdict is %q", a.Verdict)
	}
	app := map[string]string{}
	for _, p := range c.App {
		app[p.Name] = p.Value
	}
	s := &c.System
	return map[string]any{"body": string(c.Body), "app": app, "system": systemProperties{MessageID: s.MessageID, CorrelationID: s.CorrelationID,
		UserID: s.UserID, ContentType: s.ContentType, ContentEncoding: s.ContentEncoding, Ack: s.Ack}}, l.Settle(ctx, c.Lock, v)
}

// purge empties the queue of a device.
func purge(ctx context.Context, d *driver, a onArgs) (any, error) {
	id, err := nave.ParseID(a.ID)
	if err != nil {
		return nil, err
	}
	return d.rig.Backend.Purge(ctx, id)
}
