package hubamqp

import (
	"net"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
)

// eventPort is the port that clients look for in a redirect's address, whatever
// port the hub listens on (service-api 4.1).
const eventPort = 5671

// below is what stands in front of the part of the address that is kept.
const below = "messages/events"

// redirect sends a client that asks for messages/events to the address of the
// event endpoint: the same host, and the hub's entity in place of the two words.
func (c *conn) redirect(l *amqp.Link) {
	if _, err := c.readerBackend("messages", "events"); err != nil {
		c.refuse(l, opRead, nave.ID{}, err)
		return
	}
	host := c.dialled()
	address := "amqps://" + host + ":5671/" + c.hub.Name() + "/" + redirected(l.PeerAddress())
	l.Refuse(&amqp.Error{Condition: amqp.LinkRedirect, Description: "The events of this hub are read at " + address + ".", Info: amqp.Map{
		{Key: amqp.Symbol("hostname"), Value: host},
		{Key: amqp.Symbol("network-host"), Value: host},
		{Key: amqp.Symbol("port"), Value: int32(eventPort)},
		{Key: amqp.Symbol("address"), Value: address},
		{Key: trackingKey, Value: newGUID()},
	}})
}

// redirected returns what followed messages/events/.
func redirected(address string) string {
	n := strings.Index(strings.ToLower(address), below)
	if n < 0 {
		return ""
	}
	return strings.TrimPrefix(address[n+len(below):], "/")
}

// dialled is the host name that the client used for the hub, if it is one of
// the hub's; else the hub's own.
func (c *conn) dialled() string {
	c.mu.Lock()
	name := c.engine.Hostname()
	c.mu.Unlock()
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	if name == "" || !c.hub.Answers(name) {
		return c.hub.Host()
	}
	return name
}
