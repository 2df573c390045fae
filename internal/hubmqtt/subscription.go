package hubmqtt

import (
	"slices"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/mqtt"
)

// resume returns the stored session that the device wants to go on with, nil
// when there is none; CleanSession forgets it (device-protocols 2.2).
func (c *client) resume() (*nave.Session, error) {
	stored, err := c.line.Session(c.ctx)
	if err != nil || stored == nil {
		return nil, err
	}
	if c.clean {
		return nil, c.line.Keep(c.ctx, nil)
	}
	return stored, nil
}

// basic says whether the hub's tier lacks everything that a device could
// subscribe to (hub-semantics 1).
func (s *Server) basic() bool { return s.o.Hub.Gate().Tier().Basic() }

// Subscribe implements mqtt.Handler. Methods and desired properties are
// watched before the SUBACK, so that whoever has it can rely on them; messages
// follow in Subscribed.
func (c *client) Subscribe(subs []mqtt.Subscription) ([]byte, error) {
	codes := make([]byte, len(subs))
	c.mu.Lock()
	before := c.filters
	c.mu.Unlock()
	filters := slices.Clone(before)
	for n, sub := range subs {
		code, err := c.admit(&filters, sub)
		if err != nil {
			return nil, err
		}
		codes[n] = code
	}
	if slices.Equal(before, filters) {
		return codes, nil
	}
	return codes, c.adopt(before, filters)
}

// admit adds one filter. err ends the connection, unless it is of a kind that
// is answered with 0x80.
func (c *client) admit(filters *[]nave.Filter, sub mqtt.Subscription) (code byte, err error) {
	id, limit := c.line.ID(), c.server.o.Hub.Limits().Subscriptions
	known := slices.IndexFunc(*filters, func(f nave.Filter) bool { return f.Topic == sub.Filter })
	switch {
	case classify(id, sub.Filter) == 0:
		err = illegalFilter(id, sub.Filter)
	case c.server.basic():
		c.fail("mqtt.subscribe", fault.OperationNotAvailableInCurrentTier.New("the tier %s of the hub has nothing a device could subscribe to", c.server.o.Hub.Gate().Tier().SKU))
		return mqtt.SubFailure, nil
	case known < 0 && len(*filters) >= limit:
		err = fault.ArgumentInvalid.Over("mqtt.maxSubscriptions", limit, len(*filters)+1, "the connection has too many topic filters")
	}
	if err != nil && c.server.o.SubscribeFailure {
		c.fail("mqtt.subscribe", err)
		return mqtt.SubFailure, nil
	}
	if err != nil {
		return 0, err
	}
	f := nave.Filter{Topic: sub.Filter, QoS: min(sub.QoS, 1)}
	if known >= 0 {
		(*filters)[known] = f
	} else {
		*filters = append(*filters, f)
	}
	return f.QoS, nil
}

// adopt puts other filters in force and into the stored session.
func (c *client) adopt(before, filters []nave.Filter) error {
	if !c.clean {
		if err := c.line.Keep(c.ctx, &nave.Session{Filters: filters}); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.filters = filters
	c.mu.Unlock()
	id := c.line.ID()
	c.watch(reached(id, before), reached(id, filters))
	return nil
}

// watch tells the line what is listened for, also when that has only become
// more: a method may wait for just this.
func (c *client) watch(before, after tree) {
	if (before|after)&methods != 0 {
		c.line.WatchMethods(after&methods != 0)
	}
	if (before|after)&desired != 0 {
		c.line.WatchDesired(after&desired != 0)
	}
	if before&^after&commands != 0 {
		c.line.Credit(0)
	}
}

// Subscribed implements mqtt.Handler: the SUBACK is on its way, messages may
// follow it (device-protocols 2.4).
func (c *client) Subscribed([]mqtt.Subscription) {
	c.mu.Lock()
	filters := c.filters
	c.mu.Unlock()
	if reached(c.line.ID(), filters)&commands != 0 {
		c.line.Credit(-1)
	}
}

// Unsubscribe implements mqtt.Handler; unknown filters are none of its
// business.
func (c *client) Unsubscribe(topics []string) error {
	c.mu.Lock()
	before := c.filters
	c.mu.Unlock()
	filters := slices.DeleteFunc(slices.Clone(before), func(f nave.Filter) bool { return slices.Contains(topics, f.Topic) })
	if len(filters) == len(before) {
		return nil
	}
	return c.adopt(before, filters)
}
