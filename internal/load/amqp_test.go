package load_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/load"
	"github.com/nave-hub/nave/internal/mqtt"
)

// back is the AMQP engine as a hub's: a token node, telemetry that is stored in memory, partitions that are read, commands and feedback.
type back struct {
	target  load.Target
	reject  bool                                 // refuse telemetry
	seen    func()                               // called for each telemetry message; may be nil
	event   func(partition, i int) int64         // sequence number of what is sent at place i; nil: i
	lack    int                                  // events that every reading leaves out
	command func(device, messageID, body string) // where a message for a device goes

	tokens, stored atomic.Int64

	mu       sync.Mutex
	parts    []int
	conns    []*amqp.Conn
	feedback *amqp.Link
}

// backConn is the handler of one connection.
type backConn struct {
	b       *back
	answers map[string]*amqp.Link // by node; owned by the read goroutine
}

// startBack serves until the test ends; each partition holds so many events.
func startBack(t testing.TB, b *back, parts ...int) *back {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.target, b.parts = load.Target{Address: ln.Addr().String()}, parts
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { amqp.Serve(nc, amqp.Options{}, &backConn{b: b, answers: map[string]*amqp.Link{}}) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		b.killAll()
		all.Wait()
	})
	return b
}

func (b *back) killAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		c.Abort()
	}
}

func (h *backConn) Opened(c *amqp.Conn) *amqp.Error {
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	h.b.conns = append(h.b.conns, c)
	return nil
}

func (h *backConn) Closed(error) {}

func (h *backConn) Attach(l *amqp.Link) {
	address := l.PeerAddress()
	switch {
	case address == "$cbs" || address == "$management":
		if l.Role == amqp.RoleSender {
			h.answers[address] = l
		}
		l.OnDelivery = func(d *amqp.Delivery) { d.Accept(); h.answer(address, d.Payload) }
	case strings.HasSuffix(address, "/messages/events"):
		l.OnDelivery = func(d *amqp.Delivery) {
			if h.b.seen != nil {
				h.b.seen()
			}
			if h.b.reject {
				d.Reject(amqp.Errorf(amqp.NotAllowed, "no room"))
				return
			}
			h.b.mu.Lock()
			h.b.parts[int(h.b.stored.Add(1))%len(h.b.parts)]++
			h.b.mu.Unlock()
			d.Accept()
		}
	case address == "/messages/devicebound":
		l.OnDelivery = h.b.toDevice
	case address == "/messages/servicebound/feedback":
		h.b.mu.Lock()
		h.b.feedback = l
		h.b.mu.Unlock()
	case strings.HasPrefix(address, hubName+"/ConsumerGroups/$Default/Partitions/"):
		p, _ := strconv.Atoi(address[strings.LastIndexByte(address, '/')+1:])
		r := &backReader{b: h.b, l: l, p: p}
		l.OnCredit = func(uint32, bool) { r.pump() }
	default:
		l.Refuse(amqp.Errorf(amqp.NotFound, "no node %q", address))
		return
	}
	l.Accept()
}

// answer plays $cbs and $management.
func (h *backConn) answer(node string, b []byte) {
	in, err := amqp.ParseMessage(b)
	if err != nil {
		return
	}
	out := in.Reply()
	status := int32(200)
	switch partition, ok := amqp.Text(in.ApplicationProperties.Get("partition")); {
	case node == "$cbs":
		h.b.tokens.Add(1)
		if text, _ := amqp.Text(in.Value); !strings.HasPrefix(text, "SharedAccessSignature ") {
			status = 401
		}
	case !ok:
		out.Value = amqp.Map{{Key: "partition_count", Value: int32(len(h.b.parts))}}
	default:
		p, _ := strconv.Atoi(partition)
		h.b.mu.Lock()
		out.Value = amqp.Map{{Key: "begin_sequence_number", Value: int64(0)}, {Key: "last_enqueued_sequence_number", Value: int64(h.b.parts[p] - 1)}}
		h.b.mu.Unlock()
	}
	out.HasValue = true
	out.ApplicationProperties = amqp.Map{{Key: "status-code", Value: status}, {Key: "status-description", Value: "as asked"}}
	reply, err := out.Append(nil)
	if err == nil {
		h.answers[node].Send(reply, nil, 0, true, nil)
	}
}

// backReader gives the events of a partition as far as there is credit.
type backReader struct {
	b  *back
	l  *amqp.Link
	p  int
	mu sync.Mutex
	at int
}

func (r *backReader) pump() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.b.mu.Lock()
	n := r.b.parts[r.p]
	r.b.mu.Unlock()
	for ; r.at < n-r.b.lack; r.at++ {
		seq := int64(r.at)
		if r.b.event != nil {
			seq = r.b.event(r.p, r.at)
		}
		m := amqp.Message{MessageAnnotations: amqp.Map{{Key: amqp.Symbol("x-opt-sequence-number"), Value: seq}}, Data: [][]byte{{'x'}}}
		b, _ := m.Append(nil)
		if _, err := r.l.Send(b, nil, 0, true, nil); err != nil {
			return
		}
	}
}

func (b *back) toDevice(d *amqp.Delivery) {
	m, err := amqp.ParseMessage(d.Payload)
	if err != nil || m.ApplicationProperties.Get("iothub-ack") != "full" {
		d.Reject(amqp.Errorf(amqp.NotAllowed, "a message that asks for feedback was expected"))
		return
	}
	d.Accept()
	b.command(strings.Split(m.Properties.To, "/")[2], m.Properties.MessageID.(string), string(m.Data[0]))
}

// done sends the feedback for a message.
func (b *back) done(messageID, status string) {
	body, _ := json.Marshal([]map[string]string{{"originalMessageId": messageID, "statusCode": status}})
	m := amqp.Message{Data: [][]byte{body}}
	enc, _ := m.Append(nil)
	b.mu.Lock()
	l := b.feedback
	b.mu.Unlock()
	l.Send(enc, nil, 0, false, nil)
}

const hubName = "hub.test"

// backEnd is a service of the hub that b plays, and n devices.
func backEnd(t testing.TB, n int) (*load.Service, []load.Login) {
	s, err := load.OpenService("HostName="+hubName+";SharedAccessKeyName=iothubowner;SharedAccessKey="+cred.NewKey(), load.ServiceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	all, err := s.Logins(load.Devices("bench-", n))
	if err != nil {
		t.Fatal(err)
	}
	return s, all
}

func TestTelemetryAMQP(t *testing.T) {
	for name, o := range map[string]load.Telemetry{
		"closed loop":               {Window: 10},
		"closed loop, above credit": {Window: 300},
		"closed loop, 64 KiB":       {Window: 3, Size: 64 << 10},
		"open loop":                 {Rate: 2000},
	} {
		t.Run(name, func(t *testing.T) {
			b := startBack(t, &back{}, 0)
			s, devices := backEnd(t, 4)
			o.Warmup, o.Duration = 50*time.Millisecond, 250*time.Millisecond
			r, err := load.RunTelemetryAMQP(t.Context(), s, b.target, devices, o)
			if err != nil || r.Errors != 0 {
				t.Fatal(err, r)
			}
			if got := b.stored.Load(); r.Sent != got || r.Answered != got || r.Done > got {
				t.Errorf("the server saw %d, the result says %+v", got, r)
			}
			if o.Rate > 0 {
				scheduled(t, r, &o)
			}
			if b.tokens.Load() != 4 {
				t.Errorf("%d tokens came", b.tokens.Load())
			}
		})
		t.Run(name+", ended early", func(t *testing.T) {
			o.Warmup, o.Duration = 50*time.Millisecond, time.Minute
			ctx, seen := enough(t, o.Warmup, 300)
			b := startBack(t, &back{seen: seen}, 0)
			s, devices := backEnd(t, 4)
			r, err := load.RunTelemetryAMQP(ctx, s, b.target, devices, o)
			if err != nil || r.Errors != 0 {
				t.Fatal(err, r)
			}
			if got := b.stored.Load(); r.Sent != got || r.Answered != got || r.Done == 0 || r.Done > got || r.Latency == nil {
				t.Errorf("the server saw %d, the result says %+v", got, r)
			}
		})
	}
	t.Run("rejected", func(t *testing.T) {
		ctx, seen := enough(t, 0, 10)
		b := startBack(t, &back{reject: true, seen: seen}, 0)
		s, devices := backEnd(t, 1)
		r, err := load.RunTelemetryAMQP(ctx, s, b.target, devices, load.Telemetry{Window: 2, Duration: time.Minute})
		if err != nil || r.Answered != 0 || r.Errors == 0 || !strings.Contains(r.LastError, "no room") {
			t.Fatal(err, r)
		}
	})
	t.Run("lost", func(t *testing.T) {
		b := startBack(t, &back{}, 0)
		s, devices := backEnd(t, 2)
		r, err := load.RunTelemetryAMQP(t.Context(), s, b.target, devices, load.Telemetry{Window: 2, Duration: time.Minute, Live: func(load.Live) { b.killAll() }})
		if err != nil || r.Errors != 2 {
			t.Fatal(err, r)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		b := startBack(t, &back{}, 0)
		s, devices := backEnd(t, 2)
		ctx, cancel := context.WithCancel(t.Context())
		r, err := load.RunTelemetryAMQP(ctx, s, b.target, devices, load.Telemetry{Duration: time.Minute, Live: func(load.Live) { cancel() }})
		if err != nil || r.Errors != 0 || r.Answered != r.Sent {
			t.Fatal(err, r)
		}
	})
}

func TestEvents(t *testing.T) {
	t.Run("found", func(t *testing.T) {
		b := startBack(t, &back{}, 3000, 0, 1, 2500)
		s, devices := backEnd(t, 1)
		r, err := load.RunEvents(t.Context(), s, b.target, devices, load.Events{Count: 5501, Window: 100})
		if err != nil || r.Errors != 0 || r.Answered != 5501 || r.Sent != 5501 || r.Connections != 4 || b.stored.Load() != 0 {
			t.Fatal(err, r)
		}
	})
	t.Run("stored", func(t *testing.T) {
		b := startBack(t, &back{}, 100, 7)
		s, devices := backEnd(t, 3)
		r, err := load.RunEvents(t.Context(), s, b.target, devices, load.Events{Count: 2000})
		if err != nil || r.Errors != 0 || r.Answered != 2000 || b.stored.Load() != 2000-107 {
			t.Fatal(err, r, b.stored.Load())
		}
	})
	t.Run("more than asked for", func(t *testing.T) {
		b := startBack(t, &back{}, 3000, 1000)
		s, devices := backEnd(t, 1)
		r, err := load.RunEvents(t.Context(), s, b.target, devices, load.Events{Count: 400})
		if err != nil || r.Errors != 0 || r.Answered != 4000 {
			t.Fatal(err, r)
		}
	})
	for name, event := range map[string]func(p, i int) int64{
		"twice":  func(_, i int) int64 { return int64(i - i/50) },
		"behind": func(_, i int) int64 { return int64(i ^ 1) },
		"beyond": func(_, i int) int64 { return int64(i + i/99) },
	} {
		t.Run(name, func(t *testing.T) {
			b := startBack(t, &back{event: event}, 100)
			s, devices := backEnd(t, 1)
			r, err := load.RunEvents(t.Context(), s, b.target, devices, load.Events{Count: 100})
			if err == nil || !strings.Contains(err.Error(), "came behind") {
				t.Fatal(err, r)
			}
		})
	}
	t.Run("one left out", func(t *testing.T) {
		b := startBack(t, &back{}, 0)
		b.event = func(_, i int) int64 { return int64(i + i/50) }
		b.lack = 1
		s, devices := backEnd(t, 1)
		r, err := load.RunEvents(t.Context(), s, b.target, devices, load.Events{Count: 100})
		if err != nil || r.Errors != 1 || r.Answered != 99 || r.Sent != 100 || !strings.Contains(r.LastError, "99 events were read, 100 are stored") {
			t.Fatal(err, r)
		}
	})
	t.Run("refused", func(t *testing.T) {
		b := startBack(t, &back{reject: true}, 1)
		s, devices := backEnd(t, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if r, err := load.RunEvents(ctx, s, b.target, devices, load.Events{Count: 3}); err == nil {
			t.Fatal(r)
		}
	})
}

func TestC2D(t *testing.T) {
	for _, status := range []string{"Success", "Expired"} {
		t.Run(status, func(t *testing.T) {
			b := startBack(t, &back{}, 0)
			devices := serve(t, &server{})
			s, all := backEnd(t, 3)
			var sent atomic.Int64
			seen := func() {}
			b.command = func(device, messageID, body string) {
				devices.mu.Lock()
				defer devices.mu.Unlock()
				for c := range devices.conns {
					if c.connect.ClientID == device {
						c.c.Publish(&mqtt.Publish{Topic: fmt.Sprintf("devices/%s/messages/devicebound/x", device), Payload: []byte(body)})
						sent.Add(1)
						seen()
						go b.done(messageID, status)
					}
				}
			}
			r, err := load.RunC2D(t.Context(), s, b.target, devices.target, all, load.Requests{Window: 2, Duration: 100 * time.Millisecond})
			if status != "Success" {
				if err != nil || r.Sent != sent.Load() || r.Sent < 6 || r.Errors != r.Sent {
					t.Fatal(err, r, sent.Load())
				}
				return
			}
			complete(t, r, err, sent.Load(), 6)
			sent.Store(0)
			var ctx context.Context
			ctx, seen = enough(t, 0, 30)
			r, err = load.RunC2D(ctx, s, b.target, devices.target, all, load.Requests{Window: 2, Duration: time.Minute})
			measured(t, r, err, sent.Load(), 6)
		})
	}
}
