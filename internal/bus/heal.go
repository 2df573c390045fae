package bus

import (
	"context"
	"fmt"
	"time"
)

const (
	healFirst = 200 * time.Millisecond
	healLast  = 5 * time.Second
)

// fail marks the embedded storage as sick and starts its repair; it returns the
// error for those who wait. JetStream refuses a stream for good after a write
// error, so the repair is a new server on the same folder.
func (b *Bus) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrUnavailable, cause)
	if b.server == nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.sick != nil {
		return err
	}
	b.sick = err
	close(b.down)
	b.o.Log.Error("event log takes no events; free disk space or repair the disk, it restarts by itself", "node", b.o.Node, "error", cause)
	b.work.Go(b.heal)
	return err
}

// heal tries until the storage works or the bus closes.
func (b *Bus) heal() {
	for wait := healFirst; ; wait = min(2*wait, healLast) {
		select {
		case <-b.closing:
			return
		case <-time.After(wait):
		}
		if err := b.restart(); err != nil {
			b.o.Log.Warn("event log is still down", "node", b.o.Node, "error", err)
			continue
		}
		b.mu.Lock()
		b.sick, b.down = nil, make(chan struct{})
		b.mu.Unlock()
		b.o.Log.Info("event log takes events again", "node", b.o.Node)
		return
	}
}

func (b *Bus) restart() error {
	if err := b.server.probe(); err != nil {
		return err
	}
	b.server.stop()
	if err := b.server.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for !b.write.IsConnected() || !b.read.IsConnected() {
		select {
		case <-b.closing:
			return errDown
		case <-ctx.Done():
			return errDown
		case <-time.After(5 * time.Millisecond):
		}
	}
	b.mu.Lock()
	logs := make([]*Log, 0, len(b.logs))
	for _, l := range b.logs {
		logs = append(logs, l)
	}
	b.mu.Unlock()
	for _, l := range logs {
		if err := l.refresh(ctx); err != nil {
			return err
		}
	}
	return nil
}
