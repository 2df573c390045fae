package hubamqp

import (
	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
)

// attachNotifications lets a service wait for file-upload notifications. As long
// as no hub has file upload none are due, and the link stays silent, as it does
// in a hub whose notifications are switched off (service-api 3.5).
func (c *conn) attachNotifications(l *amqp.Link) {
	const op = "notification.receive"
	if l.Role != amqp.RoleSender {
		c.refuse(l, op, nave.ID{}, notServed(l))
		return
	}
	_, err := c.backend("messages", "servicebound", "filenotifications")
	if err == nil {
		err = c.mayOpen()
	}
	if err != nil {
		c.refuse(l, op, nave.ID{}, err)
		return
	}
	c.accept(l)
}
