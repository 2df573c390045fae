package hubamqp

import (
	"bytes"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// Resources of twin requests (device-protocols 3.8).
const (
	reportedResource = "/properties/reported"
	desiredResource  = "/notifications/twin/properties/desired"
)

// twinRequest is one request of a device.
type twinRequest struct {
	operation, resource string
	correlation         any // as sent, with its AMQP type
	body                []byte
}

// takeTwinRequest returns what a twin request link does with a delivery. The
// transfer is settled at once, as some clients wait for that before they go on;
// only whoever sends faster than the store can follow has to wait.
func (s *seat) takeTwinRequest(n *strand) func(d *amqp.Delivery) {
	return func(d *amqp.Delivery) {
		r, err := parseTwinRequest(d)
		if s.backlog.Add(1) <= maxBacklog {
			d.Accept()
		}
		s.do(func() {
			s.backlog.Add(-1)
			d.Accept()
			s.serveTwin(n, r, err)
		})
	}
}

func parseTwinRequest(d *amqp.Delivery) (r twinRequest, err error) {
	if d.TooLarge {
		return r, fault.MessageTooLarge.New("the request has %d bytes", d.Size)
	}
	m, err := amqp.ParseMessage(d.Payload)
	if err != nil {
		return r, malformed(err)
	}
	if m.Properties != nil {
		r.correlation = m.Properties.CorrelationID
	}
	r.operation, _ = amqp.Text(m.MessageAnnotations.Get("operation"))
	r.resource, _ = amqp.Text(m.MessageAnnotations.Get("resource"))
	r.body = bytes.Join(m.Data, nil)
	if text, ok := amqp.Text(m.Value); ok && m.Data == nil {
		r.body = []byte(text)
	} else if raw, ok := m.Value.([]byte); ok && m.Data == nil {
		r.body = raw
	}
	return r, nil
}

// serveTwin carries a request out and answers it; on the queue.
func (s *seat) serveTwin(n *strand, r twinRequest, err error) {
	if s.closed {
		return
	}
	op := "twin.request"
	var body []byte
	version := int64(-1)
	if err == nil {
		switch is := func(word, resource string) bool {
			return strings.EqualFold(r.operation, word) && (resource == "" || strings.EqualFold(r.resource, resource))
		}; {
		case is("GET", ""):
			op = "twin.get"
			body, err = s.readTwin()
		case is("PATCH", reportedResource):
			op = "twin.report"
			version, err = s.report(r.body)
		case is("PUT", desiredResource):
			s.listenDesired(n, true)
		case is("DELETE", desiredResource):
			s.listenDesired(n, false)
		default:
			err = fault.ArgumentInvalid.New("the operation %q on %q is unknown, known are GET, PATCH of %s, PUT and DELETE of %s",
				brief(r.operation), brief(r.resource), reportedResource, desiredResource)
		}
	}
	status := int32(200)
	if err != nil {
		e := s.c.record(op, s.id, err)
		status, body, version = int32(e.Code.HTTP), errorBody(e), -1
	}
	s.answerTwin(n, &r, status, version, body)
}

func (s *seat) readTwin() ([]byte, error) {
	t, err := s.line.Twin(s.c.ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	// A notification of this version must not follow the twin that shows it.
	s.shown = max(s.shown, t.Desired.Version)
	s.mu.Unlock()
	return t.AppendDevice(nil), nil
}

// report ignores the version that a request may carry: AMQP has no version
// check (device-protocols 3.8).
func (s *seat) report(body []byte) (int64, error) {
	doc, err := nave.ParseDoc(body)
	if err != nil {
		return 0, err
	}
	return s.line.Report(s.c.ctx, nave.Patch{Reported: doc}, len(body))
}

// listenDesired starts or ends notifications, on the receiver that belongs to
// the link of the request.
func (s *seat) listenDesired(n *strand, on bool) {
	s.mu.Lock()
	s.asked = nil
	if on && s.has(func(e *strand) bool { return e == n }) {
		s.asked = n
	}
	on = s.asked != nil
	s.mu.Unlock()
	s.line.WatchDesired(on)
}

// partner returns the receiver for the answers to a request link: the one with
// the same correlation id, in doubt the last. The caller holds mu.
func (s *seat) partner(n *strand) (found *strand) {
	for _, e := range s.links {
		if e.part != hub.TwinResponseLink {
			continue
		}
		if e.correlation == n.correlation {
			return e
		}
		if e.correlation == "" || n.correlation == "" {
			found = e
		}
	}
	return found
}

// answerTwin sends a response: status int, version long, always settled.
func (s *seat) answerTwin(n *strand, r *twinRequest, status int32, version int64, body []byte) {
	m := amqp.Message{Properties: &amqp.Properties{CorrelationID: r.correlation}, Data: [][]byte{body},
		MessageAnnotations: amqp.Map{{Key: amqp.Symbol("status"), Value: status}}}
	if version >= 0 {
		m.MessageAnnotations = append(m.MessageAnnotations, amqp.Pair{Key: amqp.Symbol("version"), Value: version})
	}
	b, err := m.Append(nil)
	if err == nil {
		s.mu.Lock()
		err = s.sendTwin(n, b)
		s.mu.Unlock()
	}
	if err != nil {
		s.c.log.Debug("a twin response was not sent", "hub", s.c.hub.Host(), "device", s.id.String(), "err", err)
	}
}

// sendTwin sends a message to the receiver that belongs to the request link. Some
// clients ask before they attach it; for those the message waits. The caller
// holds mu.
func (s *seat) sendTwin(n *strand, b []byte) error {
	o := outgoing{payload: b, tag: s.tag(), settled: true}
	switch to := s.partner(n); {
	case to != nil && len(n.waiting) == 0: // else catchUp is about to keep the order
		return s.send(to, o)
	case len(n.waiting) >= maxWaiting || !s.has(func(e *strand) bool { return e == n }):
		return errOff
	}
	n.waiting = append(n.waiting, o)
	return nil
}

// catchUp sends on a new receiver what waited for it.
func (s *seat) catchUp(n *strand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.links {
		if e.part == hub.TwinRequestLink && s.partner(e) == n {
			n.waiting = append(n.waiting, e.waiting...)
			e.waiting = nil
		}
	}
	s.flush(n)
}

// Desired implements hub.Peer.
func (s *seat) Desired(change *nave.Change) error {
	m := amqp.Message{Data: [][]byte{change.AppendNotification(nil)}, MessageAnnotations: amqp.Map{
		{Key: amqp.Symbol("resource"), Value: desiredResource}, {Key: amqp.Symbol("version"), Value: change.Version}}}
	b, err := m.Append(nil)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case change.Version <= s.shown:
		return nil
	case s.asked == nil:
		return errOff
	}
	return s.sendTwin(s.asked, b)
}
