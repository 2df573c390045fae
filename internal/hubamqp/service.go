package hubamqp

import (
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// Values of our side of the devicebound link (service-api 3.3). The advertised
// size is above the limit, or a client library refuses with an error of its own.
const (
	serviceMaxMessage = 1 << 20
	serviceWindow     = 200
)

const opServiceSend = "c2d.send"

// attachDevicebound takes the messages of a service for devices. Each gets its
// outcome; none ends the link.
func (c *conn) attachDevicebound(l *amqp.Link) {
	if l.Role != amqp.RoleReceiver {
		c.refuse(l, opServiceSend, nave.ID{}, notServed(l))
		return
	}
	b, err := c.backend("messages", "devicebound")
	if err != nil {
		c.refuse(l, opServiceSend, nave.ID{}, err)
		return
	}
	l.MaxMessageSize, l.Window = serviceMaxMessage, serviceWindow
	var q queue
	l.OnDelivery = func(d *amqp.Delivery) { q.do(&c.work, func() { c.sendToDevice(b, d) }) }
	c.accept(l)
}

// accept lets a link of a service or a reader in, for as long as its proof
// holds; false when the link is gone already.
func (c *conn) accept(l *amqp.Link) bool {
	if l.Accept() != nil {
		return false
	}
	c.watch(l)
	return true
}

// notServed is what an attach gets whose address does not serve its direction.
func notServed(l *amqp.Link) error {
	return fault.AmqpAddressNotFound.New("the address %q takes no link in this direction", brief(l.PeerAddress()))
}

// sendToDevice answers when the message is on disk.
func (c *conn) sendToDevice(b *hub.Backend, d *amqp.Delivery) {
	var on nave.ID
	m, others, err := readC2D(d, c.hub.Limits().C2D)
	if err == nil {
		on = m.On
		if err = b.SendToDevice(c.ctx, m); err != nil && unknownIdentity(err) {
			for _, m.On = range others {
				if again := b.SendToDevice(c.ctx, m); again == nil || !unknownIdentity(again) {
					on, err = m.On, again
					break
				}
			}
		}
	}
	if err != nil {
		d.Reject(c.condition(opServiceSend, on, err))
		return
	}
	d.Accept()
}

func unknownIdentity(err error) bool {
	code := fault.From(err).Code
	return code == fault.DeviceNotFound || code == fault.ModuleNotFound
}

// readC2D makes a message of a delivery. others are further identities that its
// address may mean, for when the first is unknown.
func readC2D(d *amqp.Delivery, limit int) (m *nave.C2D, others []nave.ID, err error) {
	switch {
	case d.TooLarge:
		return nil, nil, fault.MessageTooLarge.Over("c2d.maxSize", limit, d.Size, "the cloud-to-device message is too large")
	case d.Format != 0:
		return nil, nil, fault.FeatureNotSupported.New("message format 0x%x is not taken here, only single messages (format 0) are", d.Format)
	case len(d.Payload) == 0:
		return nil, nil, fault.NullMessage.New("the transfer is empty")
	}
	m = &nave.C2D{}
	w := amqp.NewSections(d.Payload)
	for err == nil {
		s, ok := w.Next()
		if !ok {
			break
		}
		err = readC2DSection(&m.Message, s)
	}
	if err == nil {
		err = w.Err()
	}
	switch {
	case errors.Is(err, amqp.ErrDecode):
		return nil, nil, fault.NullMessage.Wrap(err, "the transfer holds no readable message: %v", err)
	case err != nil:
		return nil, nil, err
	}
	ids := parseDevicebound(m.System.To)
	if len(ids) == 0 {
		return nil, nil, fault.InvalidOperation.New("to must contain a device id: it is %q, expected is /devices/{id}/messages/devicebound or /devices/{id}/modules/{id}/messages/devicebound", brief(m.System.To))
	}
	m.On = ids[0]
	return m, ids[1:], nil
}

// readC2DSection takes over one section of a service's message; annotations
// mean nothing.
func readC2DSection(m *nave.Message, s amqp.Section) error {
	switch s.Kind {
	case amqp.SectionProperties:
		p, err := s.Properties()
		if err != nil {
			return err
		}
		m.System.To = p.To
		return systemOf(&m.System, &p)
	case amqp.SectionApplicationProperties:
		ack := ""
		err := eachText(s, func(name, value string, has bool) {
			if name == "iothub-ack" {
				ack = value
				return
			}
			m.SetApp(name, value, has)
		})
		if err == nil {
			m.System.Ack, err = nave.ParseAck(ack)
		}
		return err
	case amqp.SectionData, amqp.SectionValue:
		return readBody(m, s)
	case amqp.SectionSequence:
		return fault.ArgumentInvalid.New("the body is an amqp-sequence, expected is data")
	}
	return nil
}

// parseDevicebound returns whom an address names: with its ids percent-decoded,
// as most clients write them, then as they are (service-api 3.3).
func parseDevicebound(to string) (ids []nave.ID) {
	if _, rest, ok := strings.Cut(to, "://"); ok {
		_, to, _ = strings.Cut(rest, "/")
	}
	parts := strings.Split(strings.TrimPrefix(to, "/"), "/")
	var raw nave.ID
	switch n := len(parts); {
	case n == 6 && strings.EqualFold(parts[2], "modules"):
		raw = nave.ID{Device: parts[1], Module: parts[3]}
	case n == 4:
		raw = nave.ID{Device: parts[1]}
	default:
		return nil
	}
	end := parts[len(parts)-2:]
	if !strings.EqualFold(parts[0], "devices") || !strings.EqualFold(end[0], "messages") || !strings.EqualFold(end[1], "devicebound") ||
		raw.Device == "" || len(parts) == 6 && raw.Module == "" {
		return nil
	}
	device, err1 := url.PathUnescape(raw.Device)
	module, err2 := url.PathUnescape(raw.Module)
	if decoded := (nave.ID{Device: device, Module: module}); err1 == nil && err2 == nil && decoded != raw {
		ids = append(ids, decoded)
	}
	return append(ids, raw)
}

// newGUID returns a random UUID, version 4.
func newGUID() string {
	var u amqp.UUID
	rand.Read(u[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u.String()
}

// opensPerSecond is how many receiving links of services a connection may open
// a second, and at once (service-api 7.3, 503008).
const opensPerSecond = 50

// opens counts the receiving links that a connection opens. Guarded by conn.mu.
type opens struct {
	left float64
	at   time.Time
}

// mayOpen answers ReceiveLinkOpensThrottled when receivers are opened too fast.
func (c *conn) mayOpen() error {
	now := c.hub.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	o := &c.opens
	if o.at.IsZero() {
		o.left = opensPerSecond
	} else {
		o.left = min(opensPerSecond, o.left+max(0, now.Sub(o.at).Seconds())*opensPerSecond)
	}
	o.at = now
	if o.left < 1 {
		return fault.ReceiveLinkOpensThrottled.Over("receiving links a second", opensPerSecond, "more", "the connection opens receivers too fast").RetryAfter(time.Second)
	}
	o.left--
	return nil
}
