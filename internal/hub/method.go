package hub

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

var opInvoke = gate.Op{Name: "method.invoke", Right: nave.ServiceConnect, Rate: "method", Standard: true,
	Charge: gate.Chunks, Cost: func(size int) float64 { return float64(max(1, (size+4095)/4096) * 4096) }}

// Bounds of the two time-outs of a call (hub-semantics 7).
const (
	minResponse = 5 * time.Second
	maxResponse = 300 * time.Second
	maxConnect  = 300 * time.Second
)

// Invoke calls a direct method and waits for the device's reply. c.Timeout zero
// means the default. Answers, besides refusals of the gate: ArgumentInvalid,
// MessageTooLarge, DeviceNotFound, ModuleNotFound, DeviceNotOnline after
// c.Connect, DeviceMaximumInflightMethodExceeded, GatewayTimeout,
// GenericBadGateway for a reply that is not JSON.
func (b *Backend) Invoke(ctx context.Context, on nave.ID, c nave.Call) (*nave.Reply, error) {
	h := b.hub
	if err := b.enter(ctx, on, &opInvoke, len(c.Payload)); err != nil {
		return nil, err
	}
	if err := h.checkCall(&c); err != nil {
		return nil, err
	}
	err := h.db.View(ctx, func(tx *store.Tx) error { _, err := h.addressee(tx, on); return err })
	if err != nil {
		return nil, storeFault(err)
	}
	if err := h.open1(on); err != nil {
		return nil, err
	}
	defer h.close1(on)
	reply, err := h.reach(ctx, on, &c)
	h.gate.Charge(&opInvoke, len(c.Payload))
	if err != nil {
		h.gate.Charge(&opInvoke, 0)
		return nil, h.offline(ctx, on, err)
	}
	h.gate.Charge(&opInvoke, len(reply.Payload))
	return reply, nil
}

func (h *Hub) checkCall(c *nave.Call) error {
	if err := nave.CheckMethod(c.Method); err != nil {
		return err
	}
	if c.Timeout == 0 {
		c.Timeout = h.o.Limits.MethodTimeout
	}
	switch limit := h.o.Limits.Method; {
	case len(c.Payload) > limit:
		return fault.MessageTooLarge.Over("method.maxPayload", limit, len(c.Payload), "the payload of the method is too large")
	case c.Timeout < minResponse || c.Timeout > maxResponse:
		return fault.ArgumentInvalid.New("responseTimeoutInSeconds is %g, allowed are 5 to 300", c.Timeout.Seconds())
	case c.Connect < 0 || c.Connect > maxConnect:
		return fault.ArgumentInvalid.New("connectTimeoutInSeconds is %g, allowed are 0 to 300", c.Connect.Seconds())
	}
	return nil
}

// open1 counts an open call to the identity, close1 its end.
func (h *Hub) open1(on nave.ID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n, limit := h.inflight[on], h.o.Limits.MethodInflight; n >= limit {
		return fault.DeviceMaximumInflightMethodExceeded.Over("method.maxInflight", limit, n+1, "too many method calls to %s are open", on)
	}
	h.inflight[on]++
	return nil
}

func (h *Hub) close1(on nave.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.inflight[on]--; h.inflight[on] <= 0 {
		delete(h.inflight, on)
	}
}

// reach finds the device, waiting for it as long as the call allows, and makes
// the call there.
func (h *Hub) reach(ctx context.Context, on nave.ID, c *nave.Call) (*nave.Reply, error) {
	deadline := time.Now().Add(c.Connect)
	for {
		came := h.arrival(on)
		reply, err := h.call(ctx, on, c)
		if !errors.Is(err, fault.DeviceNotOnline) {
			return reply, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil, err
		}
		if err := await(ctx, came, left); err != nil {
			return nil, fault.RequestCanceled.Wrap(err, "the caller ended the request while the hub waited for %s", on)
		}
	}
}

// call makes the call on the node that holds the line.
func (h *Hub) call(ctx context.Context, on nave.ID, c *nave.Call) (*nave.Reply, error) {
	if l := h.holder(on, Methods); l != nil {
		return l.invoke(ctx, c)
	}
	node := h.hint(on)
	if node == "" {
		var err error
		if node, err = h.elsewhere(ctx, on); err != nil {
			return nil, err
		}
	}
	if node == "" {
		return nil, fault.DeviceNotOnline.New("Timed out waiting for device to connect: %s has no connection", on)
	}
	return h.callNode(ctx, node, on, c)
}

// invoke hands the call to the device and waits for the reply.
func (l *Line) invoke(ctx context.Context, c *nave.Call) (*nave.Reply, error) {
	c.ID = strconv.FormatUint(l.hub.calls.Add(1), 10)
	answer := make(chan nave.Reply, 1)
	l.mu.Lock()
	if !l.methods {
		l.mu.Unlock()
		return nil, fault.DeviceNotOnline.New("Timed out waiting for device to connect: %s is connected but does not listen for methods", l.id)
	}
	if l.calls == nil {
		l.calls = map[string]chan<- nave.Reply{}
	}
	l.calls[c.ID] = answer
	l.mu.Unlock()
	defer l.forget(c.ID)
	if err := l.peer.Invoke(c); err != nil {
		return nil, fault.DeviceNotOnline.Wrap(err, "Timed out waiting for device to connect: %s is connected but does not take the method %s", l.id, c.Method)
	}
	timeout := time.NewTimer(c.Timeout)
	defer timeout.Stop()
	select {
	case r, ok := <-answer:
		if !ok {
			return nil, fault.GatewayTimeout.New("the connection of %s ended before it answered", l.id)
		}
		return l.hub.checkReply(l.id, &r)
	case <-timeout.C:
		return nil, fault.GatewayTimeout.Over("responseTimeoutInSeconds", c.Timeout.Seconds(), "none", "Timed out waiting for the response from device.")
	case <-ctx.Done():
		l.hub.Report("method.invoke", l.id, fault.ClientClosedRequest.New("the caller of method %s closed its request, the device is not informed", c.Method))
		return nil, fault.RequestCanceled.Wrap(ctx.Err(), "the caller ended the request")
	}
}

func (l *Line) forget(call string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, call)
}

func (h *Hub) checkReply(on nave.ID, r *nave.Reply) (*nave.Reply, error) {
	switch limit := h.o.Limits.Method; {
	case len(r.Payload) > limit:
		return nil, fault.GenericBadGateway.Over("method.maxPayload", limit, len(r.Payload), "the device's reply is too large")
	case len(r.Payload) > 0 && !json.Valid(r.Payload):
		return nil, fault.GenericBadGateway.New("the reply of %s is not JSON", on)
	case len(r.Payload) == 0:
		r.Payload = nil
	}
	return r, nil
}

// Answer passes a device's reply to whoever waits for it; a reply that nobody
// waits for is dropped (hub-semantics 7.6).
func (l *Line) Answer(call string, r nave.Reply) {
	l.touch()
	l.mu.Lock()
	answer := l.calls[call]
	delete(l.calls, call)
	l.mu.Unlock()
	if answer != nil {
		answer <- r
	}
}

// WatchMethods says whether the device listens for methods.
func (l *Line) WatchMethods(on bool) {
	l.speak()
	l.mu.Lock()
	l.methods = on
	l.mu.Unlock()
	if on {
		l.hub.arrived(l.id)
		l.hub.tell(note{Kind: noteMethods, On: l.id})
	}
}

// arrival returns a channel that is closed when the identity starts to listen
// for methods.
func (h *Hub) arrival(on nave.ID) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.arrivals[on]
	if c == nil {
		c = make(chan struct{})
		h.arrivals[on] = c
	}
	return c
}

func (h *Hub) arrived(on nave.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.arrivals[on]; c != nil {
		close(c)
		delete(h.arrivals, on)
	}
}

// A call to another node, and what comes back.
type (
	farCall struct {
		On   nave.ID
		Call nave.Call
	}
	farReply struct {
		Reply *nave.Reply
		Code  int
		Text  string
	}
)

func (h *Hub) callSubject(node string) string {
	return "call." + bus.Word(node) + "." + bus.Word(h.o.Host)
}

func (h *Hub) callNode(ctx context.Context, node string, on nave.ID, c *nave.Call) (*nave.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout+time.Second)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	h.spawn(func() { h.watch(ctx, node, end) })
	var out farReply
	err := h.bus.Call(ctx, h.callSubject(node), farCall{on, *c}, &out)
	switch {
	case err != nil && context.Cause(ctx) == errGone:
		h.inquire(node)
		return nil, fault.GatewayTimeout.Wrap(err, "the node that held the connection of %s is gone, perhaps the device got the call before", on)
	case errors.Is(err, bus.ErrNobody):
		h.inquire(node)
		return nil, fault.DeviceNotOnline.New("Timed out waiting for device to connect: the node that held the connection of %s is gone", on)
	case err != nil:
		return nil, fault.GatewayTimeout.Wrap(err, "the node that holds the connection of %s did not answer", on)
	case out.Code != 0:
		return nil, fault.Lookup(out.Code, fault.Hub).New("%s", out.Text)
	}
	return out.Reply, nil
}

// errGone ends a call to a node that has died.
var errGone = errors.New("hub: the node is gone")

// watch ends a call that takes long once nobody serves the node's calls any
// more: it may have died with the call, which then has no answer. Two probes in
// a row must fail, as for inquire.
func (h *Hub) watch(ctx context.Context, node string, end context.CancelCauseFunc) {
	for missed := 0; missed < 2; {
		if await(ctx, nil, probePause) != nil {
			return
		}
		if missed++; !h.absent(node) {
			missed = 0
		}
	}
	end(errGone)
}

func (h *Hub) serveCall(ctx context.Context, in []byte) (any, error) {
	var c farCall
	if err := json.Unmarshal(in, &c); err != nil {
		return nil, err
	}
	l := h.holder(c.On, Methods)
	if l == nil {
		return farReply{Code: fault.DeviceNotOnline.ID, Text: "Timed out waiting for device to connect"}, nil
	}
	r, err := l.invoke(ctx, &c.Call)
	if err != nil {
		e := fault.From(err)
		return farReply{Code: e.Code.ID, Text: e.Text}, nil
	}
	return farReply{Reply: r}, nil
}
