package hubamqp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// Sizes of the token node (device-protocols 3.5).
const (
	tokenMessage  = 1 << 20  // advertised
	tokenKept     = 64 << 10 // greatest request that is looked at
	tokensWaiting = 1000     // answers without credit or receiver, a session
)

// tokenNode is $cbs as one session sees it: requests come in on links of the
// peer, answers go out on the receiver that it attached last.
type tokenNode struct {
	// Guarded by conn.mu:
	requests []*amqp.Link
	replies  []*amqp.Link
	waiting  [][]byte
}

// attachTokens accepts a link to $cbs; nobody has to prove anything for it.
func (c *conn) attachTokens(l *amqp.Link) {
	l.SetMaxMessageSize(tokenMessage)
	l.BufferLimit = tokenKept
	l.OnDetach = func(error, []*amqp.Out) { c.dropTokens(l) }
	c.mu.Lock()
	if c.nodes == nil {
		c.nodes = map[*amqp.Session]*tokenNode{}
	}
	n := c.nodes[l.Session()]
	if n == nil {
		n = &tokenNode{}
		c.nodes[l.Session()] = n
	}
	if l.Role == amqp.RoleReceiver {
		n.requests = append(n.requests, l)
		l.OnDelivery = func(d *amqp.Delivery) { c.do(func() { c.takeToken(d) }) }
	} else {
		n.replies = append(n.replies, l)
		l.OnCredit = func(_ uint32, drain bool) {
			c.sendTokens(n)
			if drain {
				l.Drained()
			}
		}
	}
	c.mu.Unlock()
	if l.Accept() != nil {
		c.dropTokens(l)
	}
}

func (c *conn) dropTokens(l *amqp.Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[l.Session()]
	if n == nil {
		return
	}
	n.requests, n.replies = without(n.requests, l), without(n.replies, l)
	if len(n.requests)+len(n.replies) == 0 {
		delete(c.nodes, l.Session())
	}
}

func without[T comparable](list []T, v T) []T {
	for i, w := range list {
		if w == v {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}

// sendTokens sends the answers that wait, as far as there is credit.
func (c *conn) sendTokens(n *tokenNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(n.waiting) > 0 && len(n.replies) > 0 {
		l := n.replies[len(n.replies)-1]
		if _, err := l.Send(n.waiting[0], nil, 0, false, nil); err != nil {
			return // OnCredit or the next receiver goes on
		}
		n.waiting[0] = nil
		n.waiting = n.waiting[1:]
	}
}

// takeToken handles one request. It is settled before it is answered, as some
// clients insist (device-protocols 3.3).
func (c *conn) takeToken(d *amqp.Delivery) {
	m, err := amqp.ParseMessage(d.Payload)
	if d.TooLarge {
		err = fmt.Errorf("the request has %d bytes", d.Size)
	}
	if err != nil {
		m, err = &amqp.Message{}, fault.ArgumentInvalid.Wrap(err, "the request is malformed: %v", err)
	} else {
		err = c.tokenRequest(m)
	}
	d.Accept()
	r := m.Reply()
	status, text := int32(200), "OK"
	if err != nil {
		e := c.record("token.put", nave.ID{}, err)
		status, text = int32(e.Code.HTTP), e.Text
		if e.Code == fault.IotHubNotFound {
			status = 401 // device-protocols 3.3: 404 means that the identity is unknown
		}
	}
	r.ApplicationProperties = amqp.Map{{Key: "status-code", Value: status}, {Key: "status-description", Value: text}}
	r.HasValue = true
	b, err := r.Append(nil)
	if err != nil { // a message-id that was read can be written
		c.log.Error("a token answer could not be encoded", "hub", c.hub.Host(), "err", err)
		return
	}
	c.answerToken(d.Link.Session(), b)
}

func (c *conn) answerToken(s *amqp.Session, b []byte) {
	c.mu.Lock()
	n := c.nodes[s]
	if n != nil && len(n.waiting) < tokensWaiting {
		n.waiting = append(n.waiting, b)
	}
	c.mu.Unlock()
	if n != nil {
		c.sendTokens(n)
	}
}

// tokenRequest carries out put-token or delete-token.
func (c *conn) tokenRequest(m *amqp.Message) error {
	operation, _ := amqp.Text(m.ApplicationProperties.Get("operation"))
	kind, _ := amqp.Text(m.ApplicationProperties.Get("type"))
	switch {
	case operation == "delete-token":
		return c.deleteToken(m)
	case operation != "put-token":
		return fault.ArgumentInvalid.New("the operation is %q, known are put-token and delete-token", brief(operation))
	case !tokenType(kind):
		return fault.ArgumentInvalid.New("the token type %q is unknown, expected is servicebus.windows.net:sastoken or jwt", brief(kind))
	}
	text, err := tokenText(m)
	if err != nil {
		return err
	}
	claim, err := c.judge(text)
	if err != nil {
		return err
	}
	return c.take(claim.name(), claim)
}

// tokenType knows the types that clients send (service-api 3.2); what the token
// is, its text tells.
func tokenType(kind string) bool {
	if at := strings.LastIndexByte(kind, ':'); at >= 0 {
		kind = kind[at+1:]
	}
	switch strings.ToLower(kind) {
	case "", "sastoken", "jwt", "bearer":
		return true
	}
	return false
}

func tokenText(m *amqp.Message) (string, error) {
	text, ok := amqp.Text(m.Value)
	if !ok && len(m.Data) > 0 {
		for _, p := range m.Data {
			text += string(p)
		}
		ok = true
	}
	if !ok || text == "" {
		return "", fault.ArgumentInvalid.New("the body of the request holds no token")
	}
	return text, nil
}

// deleteToken drops the claims of the audience that the request names. Links of
// services go once no other claim carries them.
func (c *conn) deleteToken(m *amqp.Message) error {
	name, _ := amqp.Text(m.ApplicationProperties.Get("name"))
	if _, rest, ok := strings.Cut(name, "://"); ok {
		name = rest
	}
	host, rest, _ := strings.Cut(strings.TrimSuffix(name, "/"), "/")
	if c.hub.Answers(host) {
		c.forget(func(m *claim) bool {
			return m.on == nave.ID{} && !m.socket && !m.key && m.cred.Bearer == "" && strings.EqualFold(strings.Join(m.path, "/"), rest)
		})
	}
	a := strings.Split(strings.Trim(name, "/"), "/")
	for n, word := range a {
		if strings.EqualFold(word, "devices") {
			ids := identities(a[n:])
			c.forget(func(m *claim) bool { return m.on != nave.ID{} && slices.Contains(ids, m.on) })
		}
	}
	return nil
}

// cutTokens ends the token links of one direction (device-protocols 6.2).
func (c *conn) cutTokens(what hub.Part, why *fault.Error) {
	c.mu.Lock()
	var links []*amqp.Link
	for _, n := range c.nodes {
		if what == hub.TokenRequestLink {
			links = append(links, n.requests...)
		} else {
			links = append(links, n.replies...)
		}
	}
	c.mu.Unlock()
	for _, l := range links {
		l.Detach(c.deviceCondition("token.link", nave.ID{}, why))
	}
}
