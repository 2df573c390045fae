package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
)

// peer is one AMQP connection to a hub, with one session and a token that the hub took.
type peer struct {
	c *amqp.Conn
	s *amqp.Session
}

// openPeer dials, opens and proves the identity by a token through $cbs (service-api 3.2).
func (s *Service) openPeer(ctx context.Context, t Target, name, audience, token string) (*peer, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := t.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c, err := amqp.Open(ctx, nc, amqp.ClientOptions{Mechanism: amqp.MSSBCBS, Options: amqp.Options{ContainerID: name, Hostname: s.host}})
	if err != nil {
		return nil, fmt.Errorf("%s: AMQP with %s: %w", name, t.Address, err)
	}
	p := &peer{c: c, s: c.Begin()}
	m := &amqp.Message{Value: token, HasValue: true, ApplicationProperties: amqp.Map{{Key: "operation", Value: "put-token"},
		{Key: "type", Value: "servicebus.windows.net:sastoken"}, {Key: "name", Value: audience}}}
	if _, err := p.request(ctx, "$cbs", m); err != nil {
		p.close()
		return nil, fmt.Errorf("%s: the token: %w", name, err)
	}
	return p, nil
}

// openDevice is openPeer for a device, whose token is its MQTT password.
func (s *Service) openDevice(ctx context.Context, t Target, l *Login) (*peer, error) {
	return s.openPeer(ctx, t, l.ClientID, s.host+"/devices/"+l.ClientID, string(l.Password))
}

// openBackEnd is openPeer for the service's policy.
func (s *Service) openBackEnd(ctx context.Context, t Target, name string) (*peer, error) {
	token := s.sas
	if token == "" {
		var err error
		if token, err = cred.Sign(s.host, s.key, s.policy, time.Now().Add(tokenLife)); err != nil {
			return nil, err
		}
	}
	return s.openPeer(ctx, t, name, s.host, token)
}

// close ends the connection in order and waits for it.
func (p *peer) close() {
	p.c.Close(nil)
	<-p.c.Done()
}

// closePeers closes all that are open.
func closePeers(peers []*peer) {
	for _, p := range peers {
		if p != nil {
			p.c.Close(nil)
		}
	}
	for _, p := range peers {
		if p != nil {
			<-p.c.Done()
		}
	}
}

// openPeers opens so many, some at a time; after the first failure it gives up and closes what it has.
func openPeers(ctx context.Context, n int, open func(ctx context.Context, i int) (*peer, error)) ([]*peer, error) {
	peers := make([]*peer, n)
	err := each(ctx, n, 32, nil, func(ctx context.Context, i int) (err error) {
		peers[i], err = open(ctx, i)
		return err
	})
	if err != nil {
		closePeers(peers)
		return nil, err
	}
	return peers, nil
}

// request sends a request to a request/response node and returns the answer, whose status is 2xx.
func (p *peer) request(ctx context.Context, node string, m *amqp.Message) (*amqp.Message, error) {
	const answerTo = "answers"
	m.Properties = &amqp.Properties{MessageID: "1", To: node, ReplyTo: answerTo}
	body, err := m.Append(nil)
	if err != nil {
		return nil, err
	}
	came, lost := make(chan []byte, 1), make(chan error, 2)
	ended := func(cause error, _ []*amqp.Out) { lost <- cause }
	in := &amqp.Link{Name: node + "-in", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: node}, Target: &amqp.Terminus{Address: answerTo}, OnDetach: ended,
		OnDelivery: func(d *amqp.Delivery) {
			d.Accept()
			select {
			case came <- d.Payload:
			default:
			}
		}}
	out := &amqp.Link{Name: node + "-out", Role: amqp.RoleSender, SndMode: amqp.SettleMixed, Target: &amqp.Terminus{Address: node}, OnDetach: ended}
	credit := make(chan struct{}, 1)
	out.OnCredit = func(uint32, bool) {
		select {
		case credit <- struct{}{}:
		default:
		}
	}
	for _, l := range []*amqp.Link{in, out} {
		if err := p.s.Attach(ctx, l); err != nil {
			return nil, err
		}
		defer l.Detach(nil)
	}
	for {
		_, err := out.Send(body, nil, 0, true, nil)
		if err != nil && !errors.Is(err, amqp.ErrNoCredit) {
			return nil, err
		}
		if err == nil {
			credit = nil
		}
		select {
		case <-credit:
		case b := <-came:
			return readAnswer(b)
		case cause := <-lost:
			return nil, fmt.Errorf("the link to %s ended: %w", node, orClosed(cause))
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// readAnswer reads what a request/response node answered.
func readAnswer(b []byte) (*amqp.Message, error) {
	m, err := amqp.ParseMessage(b)
	if err != nil {
		return nil, err
	}
	if status, _ := amqp.Int(m.ApplicationProperties.Get("status-code")); status/100 != 2 {
		text, _ := amqp.Text(m.ApplicationProperties.Get("status-description"))
		return nil, fmt.Errorf("status %d: %s", status, text)
	}
	return m, nil
}

// orClosed is the cause, or that there was none.
func orClosed(cause error) error {
	if cause == nil {
		return amqp.ErrClosed
	}
	return cause
}
