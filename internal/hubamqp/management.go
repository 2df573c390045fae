package hubamqp

import (
	"strconv"
	"strings"
	"sync"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

const (
	opManage      = "events.manage"
	typeHub       = "com.microsoft:eventhub"
	typePartition = "com.microsoft:partition"

	managementMessage = 64 << 10
	managementWaiting = 100 // answers without credit, a link
)

// management is the node $management: requests come in on links of the peer,
// answers go out on the receiver that the request names, or that was attached
// last. Part of conn.
type management struct {
	queue queue

	mu      sync.Mutex
	answers []*answerLink
}

// answerLink is a receiver of answers.
type answerLink struct {
	l *amqp.Link

	// Guarded by management.mu:
	waiting [][]byte
}

// attachManagement accepts one direction of $management. A receiver that never
// gets a request beside it is fine (service-api 4.1).
func (c *conn) attachManagement(l *amqp.Link) {
	b, err := c.managementBackend(entityOf(l.PeerAddress()))
	if err != nil {
		c.refuse(l, opManage, nave.ID{}, err)
		return
	}
	m := &c.management
	if l.Role == amqp.RoleReceiver {
		l.MaxMessageSize = managementMessage
		l.OnDelivery = func(d *amqp.Delivery) { m.queue.do(&c.work, func() { c.manage(b, d) }) }
		c.accept(l)
		return
	}
	a := &answerLink{l: l}
	l.OnCredit = func(_ uint32, drain bool) {
		m.flush(a)
		if drain {
			l.Drained()
		}
	}
	l.OnDetach = func(error, []*amqp.Out) { m.drop(a) }
	m.mu.Lock()
	m.answers = append(m.answers, a)
	m.mu.Unlock()
	if !c.accept(l) {
		m.drop(a)
	}
}

// drop forgets a receiver that is gone.
func (m *management) drop(a *answerLink) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers = without(m.answers, a)
}

// entityOf returns what stands before $management in an address, "" for
// nothing.
func entityOf(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		_, address, _ = strings.Cut(rest, "/")
	}
	entity, _, ok := strings.Cut(strings.Trim(address, "/"), "/")
	if !ok {
		return ""
	}
	return entity
}

// managementBackend returns the handle of whoever may read the entity.
func (c *conn) managementBackend(entity string) (*hub.Backend, error) {
	if entity != "" && !c.isEntity(entity) {
		return nil, noEntity(entity)
	}
	if entity == "" {
		// The address does not say which of the entity's names the token is for.
		if b, err := c.readerBackend(c.hub.Host(), "$management"); err == nil {
			return b, nil
		}
		entity = c.hub.Name()
	}
	return c.readerBackend(entity, "$management")
}

// manage answers one request.
func (c *conn) manage(b *hub.Backend, d *amqp.Delivery) {
	in, err := amqp.ParseMessage(d.Payload)
	if err != nil || d.TooLarge {
		d.Reject(c.condition(opManage, nave.ID{}, fault.ArgumentInvalid.New("the request is malformed or has more than %d bytes", managementMessage)))
		return
	}
	d.Accept()
	r := in.Reply()
	body, err := c.read(b, in.ApplicationProperties)
	r.Value, r.HasValue = body, true
	if err != nil {
		r.Value = nil
	}
	r.ApplicationProperties = c.verdict(err)
	out, err := r.Append(nil)
	if err != nil { // what was read can be written
		c.log.Error("an answer could not be encoded", "hub", c.hub.Host(), "err", err)
		return
	}
	c.management.answer(d.Link.Session(), r.Properties.To, out)
}

// verdict returns the status of an answer.
func (c *conn) verdict(err error) amqp.Map {
	if err == nil {
		return statusOf(200, "OK")
	}
	e := c.record(opManage, nave.ID{}, err)
	status := int32(e.Code.HTTP)
	if e.Code == fault.PartitionNotFound {
		status = 404 // service-api 4.3; the code's own 503 would be tried again
	}
	return append(statusOf(status, e.Text), amqp.Pair{Key: "error-condition", Value: amqp.Symbol(e.Code.Condition())})
}

// statusOf names the status twice: the Event Hubs client for Python looks for
// the text under its older name only (service-api 4.3).
func statusOf(status int32, text string) amqp.Map {
	return amqp.Map{{Key: "status-code", Value: status}, {Key: "status-description", Value: text},
		{Key: "statusCode", Value: status}, {Key: "statusDescription", Value: text}}
}

// read carries out a READ.
func (c *conn) read(b *hub.Backend, q amqp.Map) (any, error) {
	operation, _ := amqp.Text(q.Get("operation"))
	name, _ := amqp.Text(q.Get("name"))
	kind, _ := amqp.Text(q.Get("type"))
	switch {
	case !strings.EqualFold(operation, "READ"):
		return nil, fault.ArgumentInvalid.New("the operation is %q, known is READ", brief(operation))
	case !c.isEntity(name):
		return nil, noEntity(name)
	case strings.EqualFold(kind, typeHub):
		return c.describeHub(name), nil
	case strings.EqualFold(kind, typePartition):
		return c.describePartition(b, name, q.Get("partition"))
	}
	return nil, fault.ArgumentInvalid.New("the type is %q, known are %s and %s", brief(kind), typeHub, typePartition)
}

func (c *conn) describeHub(name string) amqp.Map {
	n := c.hub.Partitions()
	ids := make([]string, n)
	for p := range ids {
		ids[p] = strconv.Itoa(p)
	}
	return amqp.Map{
		{Key: "name", Value: name},
		{Key: "type", Value: typeHub},
		{Key: "created_at", Value: amqp.NewTimestamp(c.hub.Created())},
		{Key: "partition_count", Value: int32(n)},
		{Key: "partition_ids", Value: ids},
		{Key: "georeplication_factor", Value: int32(1)},
	}
}

func (c *conn) describePartition(b *hub.Backend, name string, id any) (any, error) {
	text, ok := amqp.Text(id)
	if n, number := amqp.Int(id); number && !ok {
		text = strconv.FormatInt(n, 10)
	}
	p, err := parsePartition(text, c.hub.Partitions())
	if err != nil {
		return nil, err
	}
	info, err := b.PartitionInfo(c.ctx, p)
	if err != nil {
		return nil, err
	}
	last := amqp.Timestamp(0)
	if info.Last >= 0 {
		last = amqp.NewTimestamp(info.LastEnqueued)
	}
	return amqp.Map{
		{Key: "name", Value: name},
		{Key: "type", Value: typePartition},
		{Key: "partition", Value: text},
		{Key: "begin_sequence_number", Value: max(info.First, 0)},
		{Key: "last_enqueued_sequence_number", Value: info.Last},
		{Key: "last_enqueued_offset", Value: strconv.FormatInt(info.Last, 10)},
		{Key: "last_enqueued_time_utc", Value: last},
		{Key: "is_partition_empty", Value: info.Last < 0},
	}, nil
}

// answer hands an answer to the receiver that to names, else to the newest one
// of the session, else to the newest of the connection.
func (m *management) answer(s *amqp.Session, to string, b []byte) {
	m.mu.Lock()
	var chosen *answerLink
	best := 0
	for _, a := range m.answers {
		fit := 1
		switch {
		case to != "" && (a.l.Target != nil && a.l.Target.Address == to || a.l.Name == to):
			fit = 3
		case a.l.Session() == s:
			fit = 2
		}
		if fit >= best {
			chosen, best = a, fit
		}
	}
	if chosen != nil && len(chosen.waiting) < managementWaiting {
		chosen.waiting = append(chosen.waiting, b)
	}
	m.mu.Unlock()
	if chosen != nil {
		m.flush(chosen)
	}
}

// flush sends the answers that wait, as far as there is credit.
func (m *management) flush(a *answerLink) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(a.waiting) > 0 {
		if _, err := a.l.Send(a.waiting[0], nil, 0, false, nil); err != nil {
			return // OnCredit goes on
		}
		a.waiting[0] = nil
		a.waiting = a.waiting[1:]
	}
}
